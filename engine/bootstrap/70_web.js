// Part 9: the web's small tools. Those that need classes are built on first use (see
// defineLazyGlobal), so that contexts which never touch them stay small.

define(globalObject, 'self', globalObject);

define(globalObject, 'queueMicrotask', {
  queueMicrotask(callback) {
    if (typeof callback !== 'function') {
      throw new NativeTypeError('The callback of queueMicrotask must be a function');
    }
    $.enqueueMicrotask(() => {
      try {
        apply(callback, undefined, []);
      } catch (error) {
        logUncaught('Uncaught exception in a microtask:', error);
      }
    });
  },
}.queueMicrotask);

function domException(message, name) {
  const DOMException = lazyGlobal('DOMException');
  return new DOMException(message, name);
}

// ---- DOMException -------------------------------------------------------------------------------
defineLazyGlobal('DOMException', () => {
  const legacyCodes = freeze({
    __proto__: null, IndexSizeError: 1, HierarchyRequestError: 3, WrongDocumentError: 4,
    InvalidCharacterError: 5, NoModificationAllowedError: 7, NotFoundError: 8,
    NotSupportedError: 9, InUseAttributeError: 10, InvalidStateError: 11, SyntaxError: 12,
    InvalidModificationError: 13, NamespaceError: 14, InvalidAccessError: 15,
    TypeMismatchError: 17, SecurityError: 18, NetworkError: 19, AbortError: 20,
    URLMismatchError: 21, QuotaExceededError: 22, TimeoutError: 23, InvalidNodeTypeError: 24,
    DataCloneError: 25,
  });
  class DOMException extends NativeError {
    #name;
    constructor(message = '', options = 'Error') {
      super(`${message}`);
      if (isObject(options)) {
        const name = options.name;
        this.#name = name === undefined ? 'Error' : `${name}`;
        if ('cause' in options) define(this, 'cause', options.cause);
      } else {
        this.#name = `${options}`;
      }
    }
    get name() { return this.#name; }
    get code() { return legacyCodes[this.#name] ?? 0; }
  }
  tag(DOMException.prototype, 'DOMException');
  return DOMException;
});

// ---- text and bytes -----------------------------------------------------------------------------
// A Uint8Array over the bytes of any buffer source.
function bytesOf(source) {
  if (isObject(source)) {
    switch ($.kind(source)) {
      case kindArrayBuffer: return new NativeUint8Array(source);
      case kindTypedArray:
        return new NativeUint8Array(typedBuffer(source), typedByteOffset(source),
                                    typedByteLength(source));
      case kindDataView:
        return new NativeUint8Array(dataViewBuffer(source), dataViewOffset(source),
                                    dataViewLength(source));
      default: break;
    }
  }
  throw new NativeTypeError('The argument must be an ArrayBuffer or a view of one');
}

defineLazyGlobal('TextEncoder', () => {
  class TextEncoder {
    get encoding() { return 'utf-8'; }
    encode(text = '') { return $.utf8Encode(`${text}`); }
    encodeInto(source, destination) {
      const text = `${source}`;
      if (!isObject(destination) || typedName(destination) !== 'Uint8Array') {
        throw new NativeTypeError('The destination must be a Uint8Array');
      }
      const room = typedLength(destination);
      let read = 0;
      let written = 0;
      while (read < text.length) {
        const end = min(read + 2048, text.length);
        const pair = end < text.length && (charCodeAt(text, end - 1) & 0xfc00) === 0xd800 ? 1 : 0;
        const chunk = stringSlice(text, read, end - pair);
        const bytes = $.utf8Encode(chunk);
        if (written + typedLength(bytes) <= room) {
          typedSet(destination, bytes, written);
          written += typedLength(bytes);
          read = end - pair;
          continue;
        }
        // The last stretch, one character at a time.
        for (let i = 0; i < chunk.length;) {
          const units = (charCodeAt(chunk, i) & 0xfc00) === 0xd800 && i + 1 < chunk.length &&
              (charCodeAt(chunk, i + 1) & 0xfc00) === 0xdc00 ? 2 : 1;
          const one = $.utf8Encode(stringSlice(chunk, i, i + units));
          if (written + typedLength(one) > room) return { read, written };
          typedSet(destination, one, written);
          written += typedLength(one);
          read += units;
          i += units;
        }
      }
      return { read, written };
    }
  }
  tag(TextEncoder.prototype, 'TextEncoder');
  return TextEncoder;
});

const encodingUtf8 = 0;  // what $.decodeText takes
const encodingUtf16le = 1;
const encodingUtf16be = 2;
const encodingWindows1252 = 3;
const encodingNames = freeze(['utf-8', 'utf-16le', 'utf-16be', 'windows-1252']);
const encodingLabels = freeze({
  __proto__: null, 'utf-8': 0, utf8: 0, 'unicode-1-1-utf-8': 0, unicode11utf8: 0,
  unicode20utf8: 0, 'x-unicode20utf8': 0, 'utf-16le': 1, 'utf-16': 1, 'csunicode': 1,
  'iso-10646-ucs-2': 1, 'ucs-2': 1, unicode: 1, unicodefeff: 1, 'utf-16be': 2, unicodefffe: 2,
  'windows-1252': 3, ascii: 3, 'us-ascii': 3, 'ansi_x3.4-1968': 3, latin1: 3, l1: 3,
  'iso-8859-1': 3, iso88591: 3, 'iso8859-1': 3, 'iso_8859-1': 3, 'iso_8859-1:1987': 3,
  'iso-ir-100': 3, cp1252: 3,
  'x-cp1252': 3, cp819: 3, ibm819: 3, csisolatin1: 3,
});

// How many bytes at the end belong to a character that is not complete yet.
function incompleteTail(encoding, bytes) {
  const length = typedLength(bytes);
  if (encoding === encodingWindows1252) return 0;
  if (encoding === encodingUtf8) {
    for (let i = 1; i <= 3 && i <= length; i++) {
      const byte = bytes[length - i];
      if ((byte & 0xc0) === 0x80) continue;
      const need = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;
      return need > i ? i : 0;
    }
    return 0;
  }
  const odd = length & 1;
  if (length < 2) return odd;
  const high = bytes[length - odd - (encoding === encodingUtf16le ? 1 : 2)];
  return (high & 0xfc) === 0xd8 ? odd + 2 : odd;
}

defineLazyGlobal('TextDecoder', () => {
  class TextDecoder {
    #encoding;
    #fatal;
    #ignoreBom;
    #rest = new NativeUint8Array(0);  // bytes of an incomplete character
    #begun = false;                   // the start of the stream, where a BOM can be, is past
    constructor(label = 'utf-8', options = {}) {
      const key = stringToLowerCase(stringTrim(`${label}`));
      const encoding = encodingLabels[key];
      if (encoding === undefined) {
        throw new NativeRangeError(`The encoding '${key}' is not supported`);
      }
      this.#encoding = encoding;
      this.#fatal = !!options?.fatal;
      this.#ignoreBom = !!options?.ignoreBOM;
    }
    get encoding() { return encodingNames[this.#encoding]; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#ignoreBom; }
    decode(input, options) {
      const stream = !!options?.stream;
      let bytes = input === undefined ? new NativeUint8Array(0) : bytesOf(input);
      const kept = typedLength(this.#rest);
      if (kept > 0) {
        const joined = new NativeUint8Array(kept + typedLength(bytes));
        typedSet(joined, this.#rest, 0);
        typedSet(joined, bytes, kept);
        bytes = joined;
      }
      const length = typedLength(bytes);
      const tail = stream ? incompleteTail(this.#encoding, bytes) : 0;
      this.#rest = new NativeUint8Array(tail);
      for (let i = 0; i < tail; i++) this.#rest[i] = bytes[length - tail + i];
      const begun = this.#begun;
      let text = $.decodeText(this.#encoding, typedBuffer(bytes), typedByteOffset(bytes),
                              length - tail, this.#fatal);
      this.#begun = stream && (begun || length > tail);
      if (text === undefined) {
        this.#begun = false;
        throw new NativeTypeError('The encoded data was not valid');
      }
      if (!begun && !this.#ignoreBom && this.#encoding !== encodingWindows1252 &&
          text.length > 0 && charCodeAt(text, 0) === 0xfeff) {
        text = stringSlice(text, 1);
      }
      return text;
    }
  }
  tag(TextDecoder.prototype, 'TextDecoder');
  return TextDecoder;
});

define(globalObject, 'btoa', {
  btoa(text) {
    if (arguments.length === 0) throw new NativeTypeError('btoa needs an argument');
    const encoded = $.btoa(`${text}`);
    if (encoded === undefined) {
      throw domException('The string contains characters outside of the Latin1 range',
                         'InvalidCharacterError');
    }
    return encoded;
  },
}.btoa);
define(globalObject, 'atob', {
  atob(text) {
    if (arguments.length === 0) throw new NativeTypeError('atob needs an argument');
    const decoded = $.atob(`${text}`);
    if (decoded === undefined) {
      throw domException('The string is not correctly encoded base64', 'InvalidCharacterError');
    }
    return decoded;
  },
}.atob);

define(globalObject, 'structuredClone', {
  structuredClone(value, options) {
    if (arguments.length === 0) throw new NativeTypeError('structuredClone needs an argument');
    const transfer = isObject(options) ? options.transfer : undefined;
    const list = [];
    if (transfer !== undefined) {
      const items = listOf(transfer);
      for (let i = 0; i < items.length; i++) {
        if (!isObject(items[i]) || $.kind(items[i]) !== kindArrayBuffer) {
          throw domException('Only ArrayBuffers can be transferred', 'DataCloneError');
        }
        append(list, items[i]);
      }
    }
    const answer = $.structuredClone(value, list);
    if (isArray(answer)) return answer[0];
    throw domException(answer, 'DataCloneError');
  },
}.structuredClone);

// ---- URL: whatwg-url, bundled (url/README.md), compiled when first used -------------------------
let urlClasses;
function loadUrl(name) {
  if (urlClasses === undefined) {
    urlClasses = apply($.urlModule(), undefined,
                       [lazyGlobal('TextEncoder'), lazyGlobal('TextDecoder')]);
    urlHref = uncurry(getDescriptor(urlClasses.URL.prototype, 'href').get);
    searchParamsText = uncurry(urlClasses.URLSearchParams.prototype.toString);
    searchParamsEach = uncurry(urlClasses.URLSearchParams.prototype.forEach);
  }
  return urlClasses[name];
}
let urlHref;
let searchParamsText;
let searchParamsEach;
defineLazyGlobal('URL', () => loadUrl('URL'));
defineLazyGlobal('URLSearchParams', () => loadUrl('URLSearchParams'));

function isInstanceOf(value, Class) {
  return isObject(value) && $.kind(value) !== kindProxy && getPrototype(value) === Class.prototype;
}
function isUrl(value) {
  return urlClasses !== undefined && isInstanceOf(value, urlClasses.URL);
}
function isSearchParams(value) {
  return urlClasses !== undefined && isInstanceOf(value, urlClasses.URLSearchParams);
}
