// Part 9c: what Request and Response share: a body, as text or as bytes, that is read once.

const parseJson = JSON.parse;

// What can be a body, as text or as bytes: {text} or {bytes}, and the content type it implies.
function extractBody(body) {
  if (isObject(body) && typeof body !== 'function') {
    switch ($.kind(body)) {
      case kindArrayBuffer:
      case kindTypedArray:
      case kindDataView:
        return { text: undefined, bytes: bytesOf(body), type: undefined };
      default: break;
    }
    if (isSearchParams(body)) {
      return { text: searchParamsText(body), bytes: undefined,
               type: 'application/x-www-form-urlencoded;charset=UTF-8' };
    }
    if (isBlob(body)) {
      return { text: undefined, bytes: blobControl.bytes(body),
               type: blobControl.type(body) || undefined };
    }
    if (isForm(body)) {
      const { bytes, type } = multipartOf(body);
      return { text: undefined, bytes, type };
    }
  }
  return { text: `${body}`, bytes: undefined, type: 'text/plain;charset=UTF-8' };
}

let bodyControl;  // reaches into bodies; set when Body is built
let BodyClass;
function bodyClass() {
  if (BodyClass !== undefined) return BodyClass;
  class Body {
    #text;
    #bytes;
    #used = false;
    #headers;
    get bodyUsed() { return this.#used; }
    #take() {
      if (this.#used) throw new NativeTypeError('The body has already been read');
      this.#used = this.#text !== undefined || this.#bytes !== undefined;
    }
    #asText() {
      this.#take();
      if (this.#text !== undefined) return this.#text;
      if (this.#bytes === undefined) return '';
      const text = $.decodeText(encodingUtf8, typedBuffer(this.#bytes),
                                typedByteOffset(this.#bytes), typedLength(this.#bytes), false);
      return charCodeAt(text, 0) === 0xfeff ? stringSlice(text, 1) : text;
    }
    #asBytes() {
      this.#take();
      if (this.#text !== undefined) return $.utf8Encode(this.#text);
      return new NativeUint8Array(this.#bytes ?? 0);
    }
    async text() { return this.#asText(); }
    async json() { return parseJson(this.#asText()); }
    async bytes() { return this.#asBytes(); }
    async arrayBuffer() { return typedBuffer(this.#asBytes()); }
    async blob() {
      const type = headersControl.get(this.#headers, 'content-type') ?? '';
      return makeBlob(this.#asBytes(), type);
    }
    async formData() {
      const type = headersControl.get(this.#headers, 'content-type');
      return formOf(this.#asBytes(), type);
    }
    static control = {
      // Whose content type says what the body is.
      tellHeaders(target, headers) { target.#headers = headers; },
      // Sets the body and the content type that it implies, unless there is one.
      fill(target, body, headers) {
        const extracted = extractBody(body);
        target.#text = extracted.text;
        target.#bytes = extracted.bytes;
        if (extracted.type !== undefined) headersControl.suggestType(headers, extracted.type);
      },
      set(target, text, bytes) {
        target.#text = text;
        target.#bytes = bytes;
      },
      copy(target, source) {
        if (source.#used) throw new NativeTypeError('The body has already been read');
        target.#text = source.#text;
        target.#bytes = source.#bytes;
      },
      // Whoever sends it reads it: {text, bytes}.
      take(source) {
        source.#take();
        return { text: source.#text, bytes: source.#bytes };
      },
    };
  }
  bodyControl = Body.control;
  deleteProperty(Body, 'control');
  BodyClass = Body;
  return Body;
}
