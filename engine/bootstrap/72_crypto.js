// Part 9b: crypto.subtle, as far as it needs no secrets of its own: digests and HMAC. The functions
// are those of @noble/hashes, bundled (digest/README.md).

// The library knows nothing of rule 1 (00_primordials.js). So it gets, instead of the classes that it
// uses, ones whose objects find their methods where the task cannot replace them.
function sealedClass(Native, source, names) {
  function Sealed() { return construct(Native, arguments, Sealed); }
  const prototype = { __proto__: null, constructor: Sealed };
  for (let i = 0; i < names.length; i++) {
    defineProperty(prototype, names[i], getDescriptor(source, names[i]));
  }
  defineProperty(Sealed, 'prototype', { __proto__: null, value: prototype });
  define(Sealed, NativeSymbol.species, Sealed);
  define(Sealed, 'from', (list) => new Sealed(list));
  return Sealed;
}
const sealed_names =
    ['buffer', 'byteOffset', 'byteLength', 'length', 'set', 'subarray', 'slice', 'fill', 'map'];
const DigestBytes = sealedClass(NativeUint8Array, TypedArray.prototype, sealed_names);
const digestFunctions = digestLibrary({
  __proto__: null,
  Uint8Array: DigestBytes,
  Uint32Array: sealedClass(Uint32Array, TypedArray.prototype, sealed_names),
  DataView: sealedClass(DataView, DataView.prototype, ['getUint32', 'setUint32', 'setBigUint64']),
  Math: freeze({ __proto__: null, min }),
  BigInt,
  Number,
  Error: NativeError,
});
const block_bytes = freeze({
  __proto__: null, 'SHA-1': 64, 'SHA-256': 64, 'SHA-384': 128, 'SHA-512': 128,
});

// The name of an algorithm, given as a text or as an object with one.
function algorithmName(algorithm) {
  return stringToUpperCase(`${isObject(algorithm) ? algorithm.name : algorithm}`);
}
function hashName(algorithm) {
  const name = algorithmName(algorithm);
  if (block_bytes[name] !== undefined) return name;
  throw domException(`The digest ${quote(name)} is not supported: it is one of SHA-1, SHA-256, ` +
      'SHA-384 and SHA-512', 'NotSupportedError');
}
function mustBeHmac(algorithm) {
  const name = algorithmName(algorithm);
  if (name === 'HMAC') return;
  throw domException(`The algorithm ${quote(name)} is not supported: it is HMAC`,
                     'NotSupportedError');
}
// A copy of the bytes at the time of the call.
function copyOfBytes(data, what) {
  const kind = isObject(data) && typeof data !== 'function' ? $.kind(data) : undefined;
  if (kind !== kindArrayBuffer && kind !== kindTypedArray && kind !== kindDataView) {
    throw new NativeTypeError(`${what} must be an ArrayBuffer or a view of one`);
  }
  return new NativeUint8Array(bytesOf(data));
}
function bufferOf(bytes) {
  return typedBuffer(new NativeUint8Array(bytes));
}

function digestOf(hash, bytes) {
  return new NativeUint8Array(digestFunctions[hash](
      new DigestBytes(typedBuffer(bytes), typedByteOffset(bytes), typedByteLength(bytes))));
}
// RFC 2104.
function hmac(hash, key, data) {
  const block = block_bytes[hash];
  if (typedLength(key) > block) key = digestOf(hash, key);
  const dataLength = typedLength(data);
  const inner = new NativeUint8Array(block + dataLength);
  typedSet(inner, key);
  for (let i = 0; i < block; i++) inner[i] ^= 0x36;
  typedSet(inner, data, block);
  const digest = digestOf(hash, inner);
  const outer = new NativeUint8Array(block + typedLength(digest));
  typedSet(outer, key);
  for (let i = 0; i < block; i++) outer[i] ^= 0x5c;
  typedSet(outer, digest, block);
  return digestOf(hash, outer);
}

let keyControl;  // reaches into keys; set when CryptoKey is built
const key_key = {};  // only we can construct a CryptoKey
defineLazyGlobal('CryptoKey', () => {
  class CryptoKey {
    #bytes;
    #hash;
    #extractable;
    #usages;
    constructor(key, bytes, hash, extractable, usages) {
      if (key !== key_key) throw new NativeTypeError('Illegal constructor');
      this.#bytes = bytes;
      this.#hash = hash;
      this.#extractable = extractable;
      this.#usages = usages;
    }
    get type() { return 'secret'; }
    get extractable() { return this.#extractable; }
    get algorithm() {
      return { name: 'HMAC', hash: { name: this.#hash }, length: typedLength(this.#bytes) * 8 };
    }
    get usages() { return listOf(this.#usages); }
    #mayBeUsedTo(usage) {
      for (let i = 0; i < this.#usages.length; i++) {
        if (this.#usages[i] === usage) return true;
      }
      return false;
    }
    static control = {
      secret(key, usage) {
        if (!(isObject(key) && #bytes in key)) {
          throw new NativeTypeError('The key must be a CryptoKey');
        }
        if (usage === undefined ? !key.#extractable : !key.#mayBeUsedTo(usage)) {
          throw domException(`The key may not be used to ${usage ?? 'export it'}`,
                             'InvalidAccessError');
        }
        return { bytes: key.#bytes, hash: key.#hash };
      },
    };
  }
  keyControl = CryptoKey.control;
  deleteProperty(CryptoKey, 'control');
  tag(CryptoKey.prototype, 'CryptoKey');
  return CryptoKey;
});

function hmacOf(key, usage, data) {
  lazyGlobal('CryptoKey');
  const { bytes, hash } = keyControl.secret(key, usage);
  return hmac(hash, bytes, data);
}
function usagesOf(usages) {
  const list = listOf(usages);
  for (let i = 0; i < list.length; i++) {
    if (list[i] !== 'sign' && list[i] !== 'verify') {
      throw domException("An HMAC key is used to 'sign' and to 'verify'", 'SyntaxError');
    }
  }
  if (list.length === 0) throw domException('A key without usages is of no use', 'SyntaxError');
  return list;
}

defineLazyGlobal('SubtleCrypto', () => {
  class SubtleCrypto {
    constructor(key) {
      if (key !== key_key) throw new NativeTypeError('Illegal constructor');
    }
    async digest(algorithm, data) {
      const hash = hashName(algorithm);
      return typedBuffer(digestOf(hash, copyOfBytes(data, 'What is digested')));
    }
    async importKey(format, data, algorithm, extractable, usages) {
      if (format !== 'raw') {
        throw domException("A key is imported in the format 'raw'", 'NotSupportedError');
      }
      mustBeHmac(algorithm);
      const hash = hashName(algorithm.hash);
      const bytes = copyOfBytes(data, 'A key');
      if (typedLength(bytes) === 0) throw domException('The key is empty', 'DataError');
      const CryptoKey = lazyGlobal('CryptoKey');
      return new CryptoKey(key_key, bytes, hash, !!extractable, usagesOf(usages));
    }
    async exportKey(format, key) {
      if (format !== 'raw') {
        throw domException("A key is exported in the format 'raw'", 'NotSupportedError');
      }
      lazyGlobal('CryptoKey');
      return bufferOf(keyControl.secret(key, undefined).bytes);
    }
    async sign(algorithm, key, data) {
      mustBeHmac(algorithm);
      return typedBuffer(hmacOf(key, 'sign', copyOfBytes(data, 'What is signed')));
    }
    async verify(algorithm, key, signature, data) {
      mustBeHmac(algorithm);
      const given = copyOfBytes(signature, 'A signature');
      const right = hmacOf(key, 'verify', copyOfBytes(data, 'What was signed'));
      let differs = typedLength(given) ^ typedLength(right);
      for (let i = 0; i < typedLength(right); i++) differs |= right[i] ^ (given[i] ?? 0);
      return differs === 0;
    }
  }
  tag(SubtleCrypto.prototype, 'SubtleCrypto');
  return SubtleCrypto;
});

let subtle;
defineGetter(cryptoObject, 'subtle', setName(() => {
  if (subtle === undefined) {
    const SubtleCrypto = lazyGlobal('SubtleCrypto');
    subtle = new SubtleCrypto(key_key);
  }
  return subtle;
}, 'subtle'));
