// Part 9d: Blob and File. Their bytes are in memory and never change, so slices share them. The
// engine has no streams, and so no stream(); what npm has for these is built on streams.

// `list` of Uint8Arrays as one.
function joinBytes(list) {
  let total = 0;
  for (let i = 0; i < list.length; i++) total += typedLength(list[i]);
  const joined = new NativeUint8Array(total);
  let at = 0;
  for (let i = 0; i < list.length; i++) {
    typedSet(joined, list[i], at);
    at += typedLength(list[i]);
  }
  return joined;
}
// The same memory: subarray would ask the task's Uint8Array for a constructor.
function partOf(bytes, from, to) {
  return new NativeUint8Array(typedBuffer(bytes), typedByteOffset(bytes) + from, to - from);
}
function decodeAll(bytes) {
  return $.decodeText(encodingUtf8, typedBuffer(bytes), typedByteOffset(bytes),
                      typedLength(bytes), false);
}
function decodeUtf8(bytes) {
  const text = decodeAll(bytes);
  return charCodeAt(text, 0) === 0xfeff ? stringSlice(text, 1) : text;
}
// A text without lone surrogates, which have no bytes.
function scalarText(value) {
  return decodeAll($.utf8Encode(`${value}`));
}
// The text with every end of a line as `end`.
function withLineEnds(text, end) {
  if (stringIndexOf(text, '\r') < 0 && stringIndexOf(text, '\n') < 0) return text;
  let out = '';
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const c = charCodeAt(text, i);
    if (c !== 13 && c !== 10) continue;
    out += stringSlice(text, from, i) + end;
    if (c === 13 && charCodeAt(text, i + 1) === 10) i++;
    from = i + 1;
  }
  return out + stringSlice(text, from);
}
// What a sequence of the task holds, read once.
function sequenceOf(sequence, what) {
  if (!isObject(sequence) || typeof sequence[symbolIterator] !== 'function') {
    throw new NativeTypeError(`${what} must be a list`);
  }
  return listOf(sequence);
}
function blobType(type) {
  const text = `${type}`;
  for (let i = 0; i < text.length; i++) {
    const c = charCodeAt(text, i);
    if (c < 0x20 || c > 0x7e) return '';
  }
  return stringToLowerCase(text);
}

let blobControl;  // reaches into blobs; set when Blob is built
defineLazyGlobal('Blob', () => {
  class Blob {
    #bytes = new NativeUint8Array(0);  // nobody else has them
    #type = '';
    constructor(parts = undefined, options = undefined) {
      const list = parts === undefined ? [] : sequenceOf(parts, 'The parts of a Blob');
      if (options !== undefined && options !== null && !isObject(options)) {
        throw new NativeTypeError('The options of a Blob must be an object');
      }
      const endings = `${options?.endings ?? 'transparent'}`;
      if (endings !== 'transparent' && endings !== 'native') {
        throw new NativeTypeError("endings must be 'transparent' or 'native'");
      }
      const chunks = [];
      for (let i = 0; i < list.length; i++) append(chunks, Blob.#bytesOfPart(list[i], endings));
      this.#bytes = joinBytes(chunks);
      if (options?.type !== undefined) this.#type = blobType(options.type);
    }
    static #bytesOfPart(part, endings) {
      if (isObject(part)) {
        if (#bytes in part) return part.#bytes;
        switch (typeof part === 'function' ? undefined : $.kind(part)) {
          case kindArrayBuffer:
          case kindTypedArray:
          case kindDataView:
            return bytesOf(part);
          default: break;
        }
      }
      const text = `${part}`;
      return $.utf8Encode(endings === 'native' ? withLineEnds(text, '\n') : text);
    }
    get size() { return typedLength(this.#bytes); }
    get type() { return this.#type; }
    slice(start = 0, end = undefined, type = '') {
      const size = typedLength(this.#bytes);
      const place = (index) => min(max(relativeIndex(index, size), 0), size);
      const from = place(start);
      const to = end === undefined ? size : max(place(end), from);
      return blobControl.make(partOf(this.#bytes, from, to), blobType(type));
    }
    async text() { return decodeUtf8(this.#bytes); }
    async arrayBuffer() { return bufferOf(this.#bytes); }
    async bytes() { return new NativeUint8Array(this.#bytes); }
    static control = {
      isBlob: (value) => isObject(value) && #bytes in value,
      bytes: (blob) => blob.#bytes,
      type: (blob) => blob.#type,
      fill(blob, bytes, type) {
        blob.#bytes = bytes;
        blob.#type = type;
      },
      make(bytes, type) {
        const blob = new Blob();
        blob.#bytes = bytes;
        blob.#type = type;
        return blob;
      },
    };
  }
  blobControl = Blob.control;
  deleteProperty(Blob, 'control');
  tag(Blob.prototype, 'Blob');
  return Blob;
});
function isBlob(value) {
  return blobControl !== undefined && blobControl.isBlob(value);
}
function makeBlob(bytes, type) {
  lazyGlobal('Blob');
  return blobControl.make(bytes, type);
}

let fileControl;  // reaches into files; set when File is built
defineLazyGlobal('File', () => {
  class File extends lazyGlobal('Blob') {
    #name;
    #lastModified = now;
    constructor(parts, name, options = undefined) {
      if (arguments.length < 2) throw new NativeTypeError('File needs its parts and a name');
      super(parts, options);
      this.#name = scalarText(name);
      if (options?.lastModified !== undefined) {
        this.#lastModified = trunc(+options.lastModified) || 0;
      }
    }
    get name() { return this.#name; }
    get lastModified() { return this.#lastModified; }
    static control = {
      isFile: (value) => isObject(value) && #name in value,
      name: (file) => file.#name,
      // Of a blob's bytes.
      make(blob, name, lastModified = now) {
        const file = new File([], name);
        file.#lastModified = lastModified;
        blobControl.fill(file, blobControl.bytes(blob), blobControl.type(blob));
        return file;
      },
    };
  }
  fileControl = File.control;
  deleteProperty(File, 'control');
  tag(File.prototype, 'File');
  return File;
});
