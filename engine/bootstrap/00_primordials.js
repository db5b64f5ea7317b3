// Part 1 of the runtime that every task context is born with. The parts are concatenated in name
// order inside `(function ($) { 'use strict'; … })` and evaluated once, when the base snapshot is
// made; the completion value of the last part is the control object that only C++ can reach.
//
// Rules of all parts, because the task may replace any built-in before our code runs again:
//   - call built-ins only through the captured copies below;
//   - no spread, no for-of, no array destructuring, no push: they look things up on prototypes;
//   - never add properties to arrays or plain objects by assignment: setters on Object.prototype
//     and Array.prototype would see it; use literals, class fields or `define`;
//   - decide nothing by looking things up on an object that the task made.
// `$` holds the native functions (natives.cpp), each in the external reference table.

const globalObject = globalThis;
const { apply, construct, defineProperty, deleteProperty, ownKeys } = Reflect;
const getDescriptor = Reflect.getOwnPropertyDescriptor;
const getPrototype = Reflect.getPrototypeOf;
const NativeObject = Object;
const { assign, freeze, is } = Object;
const uncurry = Function.prototype.bind.bind(Function.prototype.call);
const hasOwn = uncurry(Object.prototype.hasOwnProperty);

const NativeArray = Array;
const isArray = Array.isArray;
const NativeDate = Date;
const NativeError = Error;
const NativeTypeError = TypeError;
const NativeRangeError = RangeError;
const NativePromise = Promise;
const NativeMap = Map;
const NativeSet = Set;
const NativeSymbol = Symbol;
const NativeProxy = Proxy;
const NativeString = String;
const NativeNumber = Number;
const captureStackTrace = Error.captureStackTrace;
const stringify = JSON.stringify;

const mapGet = uncurry(Map.prototype.get);
const mapSet = uncurry(Map.prototype.set);
const mapHas = uncurry(Map.prototype.has);
const mapDelete = uncurry(Map.prototype.delete);
const mapClear = uncurry(Map.prototype.clear);
const mapForEach = uncurry(Map.prototype.forEach);
const mapSize = uncurry(getDescriptor(Map.prototype, 'size').get);
const setForEach = uncurry(Set.prototype.forEach);
const setSize = uncurry(getDescriptor(Set.prototype, 'size').get);
const setHas = uncurry(Set.prototype.has);
const setAdd = uncurry(Set.prototype.add);
const setDelete = uncurry(Set.prototype.delete);
const charCodeAt = uncurry(String.prototype.charCodeAt);
const stringSlice = uncurry(String.prototype.slice);
const stringIndexOf = uncurry(String.prototype.indexOf);
const stringStartsWith = uncurry(String.prototype.startsWith);
const stringReplace = uncurry(String.prototype.replace);
const stringRepeat = uncurry(String.prototype.repeat);
const stringTrim = uncurry(String.prototype.trim);
const stringToLowerCase = uncurry(String.prototype.toLowerCase);
const stringToUpperCase = uncurry(String.prototype.toUpperCase);
const regExpExec = uncurry(RegExp.prototype.exec);
const regExpToString = uncurry(RegExp.prototype.toString);
const dateGetTime = uncurry(Date.prototype.getTime);
const dateToISOString = uncurry(Date.prototype.toISOString);
const symbolToString = uncurry(Symbol.prototype.toString);
const functionToString = uncurry(Function.prototype.toString);
const numberToString = uncurry(Number.prototype.toString);
const bigintToString = uncurry(BigInt.prototype.toString);
const { floor, trunc, min, max } = Math;
const { isFinite: isFiniteNumber, isInteger, isNaN: isNaNNumber, MAX_SAFE_INTEGER } = Number;
const { hasInstance, iterator: symbolIterator, toStringTag } = Symbol;

const TypedArray = getPrototype(Uint8Array);
const NativeUint8Array = Uint8Array;
const NativeArrayBuffer = ArrayBuffer;
const typedBuffer = uncurry(getDescriptor(TypedArray.prototype, 'buffer').get);
const typedByteOffset = uncurry(getDescriptor(TypedArray.prototype, 'byteOffset').get);
const typedByteLength = uncurry(getDescriptor(TypedArray.prototype, 'byteLength').get);
const typedLength = uncurry(getDescriptor(TypedArray.prototype, 'length').get);
const typedSet = uncurry(TypedArray.prototype.set);
const typedIndexOf = uncurry(TypedArray.prototype.indexOf);
const typedSubarray = uncurry(TypedArray.prototype.subarray);
const dataViewBuffer = uncurry(getDescriptor(DataView.prototype, 'buffer').get);
const dataViewOffset = uncurry(getDescriptor(DataView.prototype, 'byteOffset').get);
const dataViewLength = uncurry(getDescriptor(DataView.prototype, 'byteLength').get);
const bufferByteLength = uncurry(getDescriptor(ArrayBuffer.prototype, 'byteLength').get);

// An own data property like those of the language's own library.
function define(object, key, value) {
  defineProperty(object, key, {
    __proto__: null, value, writable: true, enumerable: false, configurable: true,
  });
}
function defineReadOnly(object, key, value) {
  defineProperty(object, key, {
    __proto__: null, value, writable: false, enumerable: false, configurable: true,
  });
}
function defineGetter(object, key, get) {
  defineProperty(object, key, {
    __proto__: null, get, set: undefined, enumerable: true, configurable: true,
  });
}
function setName(f, name) {
  defineReadOnly(f, 'name', name);
  return f;
}
function tag(prototype, name) {
  defineReadOnly(prototype, toStringTag, name);
}
// The own data property of an object that JSON.parse made, or undefined.
function own(object, key) {
  return typeof object === 'object' && object !== null && hasOwn(object, key) ? object[key]
      : undefined;
}
function isObject(value) {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

// Appends without looking at Array.prototype (an assignment could meet a setter there).
function append(array, value) {
  defineProperty(array, array.length, {
    __proto__: null, value, writable: true, enumerable: true, configurable: true,
  });
}

// A copy of what a list or another iterable of the task holds. Of an array without its iterator.
function listOf(values) {
  if (!isArray(values)) return [...values];
  const list = [];
  for (let i = 0; i < values.length; i++) append(list, values[i]);
  return list;
}
// What stands for options that were not given: nothing can be found on it.
const no_options = freeze({ __proto__: null });
// Refuses options of the task that nobody knows, which are misspelt most of the time. `known`: an
// object with the known ones' names, without a prototype.
function checkOptionNames(options, known, what) {
  const names = ownKeys(options);
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    if (typeof name === 'symbol' || known[name] || !getDescriptor(options, name)?.enumerable) continue;
    const all = ownKeys(known);
    let text = '';
    for (let k = 0; k < all.length; k++) {
      text = k === 0 ? all[k] : `${text}${k === all.length - 1 ? ' and ' : ', '}${all[k]}`;
    }
    throw new NativeTypeError(`${what} has no option ${quote(name)}: its options are ${text}`);
  }
}

// A global that is built on first use: contexts that never touch it stay small.
const lazyGlobals = { __proto__: null };
function defineLazyGlobal(name, make) {
  const get = setName(function () {
    const value = lazyGlobal(name);
    define(globalObject, name, value);
    return value;
  }, name);
  lazyGlobals[name] = { make, made: false, value: undefined };
  defineProperty(globalObject, name, {
    __proto__: null,
    get,
    set: setName(function (value) { define(globalObject, name, value); }, name),
    enumerable: false,
    configurable: true,
  });
}
// Our own way to it, whatever the task did to the global of that name.
function lazyGlobal(name) {
  const entry = lazyGlobals[name];
  if (!entry.made) {
    entry.value = entry.make();
    entry.made = true;
  }
  return entry.value;
}
