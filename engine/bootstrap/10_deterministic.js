// Part 2: everything that could differ between two executions of the same journal is replaced by
// state of this closure, which lives in the JS heap and so in every checkpoint.

// ---- clock: stands still within a turn, moves to the recorded time of each delivered outcome ----
let now = 0;
let timeOrigin = 0;

function VirtualDate() {
  if (new.target === undefined) return apply(nativeDateToString, construct(NativeDate, [now]), []);
  return construct(NativeDate, arguments.length === 0 ? [now] : arguments, new.target);
}
const nativeDateToString = NativeDate.prototype.toString;
define(VirtualDate, 'parse', NativeDate.parse);
define(VirtualDate, 'UTC', NativeDate.UTC);
define(VirtualDate, 'now', { now() { return now; } }.now);
setName(VirtualDate, 'Date');
defineReadOnly(VirtualDate, 'length', 7);
defineProperty(VirtualDate, 'prototype', {
  __proto__: null, value: NativeDate.prototype, writable: false, enumerable: false,
  configurable: false,
});
define(NativeDate.prototype, 'constructor', VirtualDate);
define(globalObject, 'Date', VirtualDate);

const performanceObject = {};
define(performanceObject, 'now', { now() { return now - timeOrigin; } }.now);
defineGetter(performanceObject, 'timeOrigin', function () { return timeOrigin; });
tag(performanceObject, 'Performance');
define(globalObject, 'performance', performanceObject);

// ---- randomness: sfc32 from the run's recorded seed; not for secrets ----------------------------
let seedA = 1;
let seedB = 2;
let seedC = 3;
let seedD = 4;

function randomUint32() {
  const t = ((seedA + seedB) | 0) + seedD | 0;
  seedD = seedD + 1 | 0;
  seedA = seedB ^ (seedB >>> 9);
  seedB = seedC + (seedC << 3) | 0;
  seedC = ((seedC << 21) | (seedC >>> 11)) + t | 0;
  return t >>> 0;
}
function seedRandom(a, b, c, d) {
  seedA = a;
  seedB = b;
  seedC = c;
  seedD = d;
  for (let i = 0; i < 15; i++) randomUint32();
}
define(Math, 'random', {
  random() {
    return ((randomUint32() >>> 5) * 67108864 + (randomUint32() >>> 6)) / 9007199254740992;
  },
}.random);

const hexBytes = [];
for (let i = 0; i < 256; i++) append(hexBytes, stringSlice(numberToString(i + 256, 16), 1));
const integerArrayNames = freeze({
  __proto__: null, Int8Array: true, Uint8Array: true, Uint8ClampedArray: true, Int16Array: true,
  Uint16Array: true, Int32Array: true, Uint32Array: true, BigInt64Array: true, BigUint64Array: true,
});
const typedName = uncurry(getDescriptor(TypedArray.prototype, toStringTag).get);
const random_bytes_max = 65536;  // the limit the Web Crypto specification sets

const cryptoObject = {};
define(cryptoObject, 'getRandomValues', {
  getRandomValues(array) {
    const name = typedName(array);
    if (name === undefined || !integerArrayNames[name]) {
      throw domException('The argument must be an integer-type TypedArray', 'TypeMismatchError');
    }
    if (typedByteLength(array) > random_bytes_max) {
      throw domException(`The requested length exceeds ${random_bytes_max} bytes`,
                             'QuotaExceededError');
    }
    const bytes = new NativeUint8Array(typedBuffer(array), typedByteOffset(array),
                                       typedByteLength(array));
    for (let i = 0, n = typedLength(bytes); i < n; i++) bytes[i] = randomUint32() >>> 24;
    return array;
  },
}.getRandomValues);
define(cryptoObject, 'randomUUID', {
  randomUUID() {
    let text = '';
    for (let i = 0; i < 16; i++) {
      let byte = randomUint32() >>> 24;
      if (i === 6) byte = (byte & 15) | 64;
      if (i === 8) byte = (byte & 63) | 128;
      if (i === 4 || i === 6 || i === 8 || i === 10) text += '-';
      text += hexBytes[byte];
    }
    return text;
  },
}.randomUUID);
tag(cryptoObject, 'Crypto');
define(globalObject, 'crypto', cryptoObject);

// ---- garbage collection is not observable: a WeakRef holds its target, a registry never fires ---
{
  class WeakRef {
    #target;
    constructor(target) {
      if (!isObject(target)) throw new NativeTypeError('WeakRef: target must be an object');
      this.#target = target;
    }
    deref() { return this.#target; }
  }
  tag(WeakRef.prototype, 'WeakRef');
  define(globalObject, 'WeakRef', WeakRef);

  class FinalizationRegistry {
    #tokens = new NativeSet();  // held, as WeakRef holds its target
    constructor(cleanup) {
      if (typeof cleanup !== 'function') {
        throw new NativeTypeError('FinalizationRegistry: cleanup must be callable');
      }
    }
    register(target, held, token) {
      if (!isObject(target)) {
        throw new NativeTypeError('FinalizationRegistry.prototype.register: invalid target');
      }
      if (isObject(token)) setAdd(this.#tokens, token);
    }
    unregister(token) {
      if (!isObject(token)) {
        throw new NativeTypeError('FinalizationRegistry.prototype.unregister: invalid token');
      }
      return setDelete(this.#tokens, token);
    }
  }
  tag(FinalizationRegistry.prototype, 'FinalizationRegistry');
  define(globalObject, 'FinalizationRegistry', FinalizationRegistry);
}

// ---- removed: shared memory, blocking, machine code (switched off by V8 flags as well) ----------
deleteProperty(globalObject, 'WebAssembly');
deleteProperty(globalObject, 'SharedArrayBuffer');
deleteProperty(globalObject, 'Atomics');
deleteProperty(globalObject, 'gc');
