// Part 4: library features that V8 10.2 installs only in ordinary isolates, and again at every
// restore. The native ones are switched off by V8 flags, so that the isolate that makes a snapshot
// and the one that runs tasks see the same library.

function addIfMissing(object, name, f) {
  if (!hasOwn(object, name)) define(object, name, f);
}
function lengthOf(object) {
  const n = +object.length;
  return n > 0 ? min(floor(n), MAX_SAFE_INTEGER) : 0;
}
function relativeIndex(index, length) {
  const i = trunc(+index) || 0;
  return i < 0 ? i + length : i;
}
const library = {
  at(index) {
    if (this === null || this === undefined) {
      throw new NativeTypeError('Array.prototype.at called on null or undefined');
    }
    const object = NativeObject(this);
    const length = lengthOf(object);
    const i = relativeIndex(index, length);
    return i < 0 || i >= length ? undefined : object[i];
  },
  findLast(predicate, thisArg) {
    const object = NativeObject(this);
    const length = lengthOf(object);
    if (typeof predicate !== 'function') throw new NativeTypeError('predicate is not a function');
    for (let i = length - 1; i >= 0; i--) {
      const value = object[i];
      if (apply(predicate, thisArg, [value, i, object])) return value;
    }
    return undefined;
  },
  findLastIndex(predicate, thisArg) {
    const object = NativeObject(this);
    const length = lengthOf(object);
    if (typeof predicate !== 'function') throw new NativeTypeError('predicate is not a function');
    for (let i = length - 1; i >= 0; i--) {
      if (apply(predicate, thisArg, [object[i], i, object])) return i;
    }
    return -1;
  },
};
addIfMissing(Array.prototype, 'at', library.at);
addIfMissing(Array.prototype, 'findLast', library.findLast);
addIfMissing(Array.prototype, 'findLastIndex', library.findLastIndex);
addIfMissing(TypedArray.prototype, 'at', library.at);
addIfMissing(TypedArray.prototype, 'findLast', library.findLast);
addIfMissing(TypedArray.prototype, 'findLastIndex', library.findLastIndex);
addIfMissing(String.prototype, 'at', {
  at(index) {
    if (this === null || this === undefined) {
      throw new NativeTypeError('String.prototype.at called on null or undefined');
    }
    const text = `${this}`;
    const i = relativeIndex(index, text.length);
    return i < 0 || i >= text.length ? undefined : text[i];
  },
}.at);
addIfMissing(Object, 'hasOwn', {
  hasOwn(object, key) {
    if (object === null || object === undefined) {
      throw new NativeTypeError('Cannot convert undefined or null to object');
    }
    return hasOwn(NativeObject(object), key);
  },
}.hasOwn);
