// Part 10: fetch. One durable call of the http service; the reply is a Response over the recorded
// body.

function isToken(text) {
  if (text === '') return false;
  for (let i = 0; i < text.length; i++) {
    const c = charCodeAt(text, i);
    const alphanumeric = (c >= 48 && c <= 57) || (c >= 65 && c <= 90) || (c >= 97 && c <= 122);
    if (!alphanumeric && stringIndexOf("!#$%&'*+-.^_`|~", text[i]) < 0) return false;
  }
  return true;
}
function headerName(name) {
  const text = `${name}`;
  if (!isToken(text)) throw new NativeTypeError(`Invalid header name: ${quote(text)}`);
  return stringToLowerCase(text);
}
function headerValue(value) {
  const text = `${value}`;
  let from = 0;
  let to = text.length;
  const blank = (i) => {
    const c = charCodeAt(text, i);
    return c === 32 || c === 9 || c === 10 || c === 13;
  };
  while (from < to && blank(from)) from++;
  while (to > from && blank(to - 1)) to--;
  for (let i = from; i < to; i++) {
    const c = charCodeAt(text, i);
    if (c === 0 || c === 10 || c === 13 || c > 255) {
      throw new NativeTypeError('Invalid header value');
    }
  }
  return stringSlice(text, from, to);
}

let headersControl;  // reaches into Headers; set when Headers is built
defineLazyGlobal('Headers', () => {
  class Headers {
    #list = [];  // {name (lower case), value}
    constructor(init) {
      if (init === undefined) return;
      if (!isObject(init)) throw new NativeTypeError('Headers takes an object or a list of pairs');
      if (#list in init) {
        for (let i = 0; i < init.#list.length; i++) append(this.#list, init.#list[i]);
        return;
      }
      if (typeof init[symbolIterator] === 'function') {
        const pairs = [...init];
        for (let i = 0; i < pairs.length; i++) {
          const pair = [...pairs[i]];
          if (pair.length !== 2) throw new NativeTypeError('A header is a pair of name and value');
          this.append(pair[0], pair[1]);
        }
        return;
      }
      const keys = ownKeys(init);
      for (let i = 0; i < keys.length; i++) {
        if (getDescriptor(init, keys[i])?.enumerable) this.append(keys[i], init[keys[i]]);
      }
    }
    append(name, value) {
      append(this.#list, { name: headerName(name), value: headerValue(value) });
    }
    set(name, value) {
      const key = headerName(name);
      const text = headerValue(value);
      this.delete(key);
      append(this.#list, { name: key, value: text });
    }
    delete(name) {
      const key = headerName(name);
      const rest = [];
      for (let i = 0; i < this.#list.length; i++) {
        if (this.#list[i].name !== key) append(rest, this.#list[i]);
      }
      this.#list = rest;
    }
    get(name) {
      const key = headerName(name);
      let out = null;
      for (let i = 0; i < this.#list.length; i++) {
        if (this.#list[i].name !== key) continue;
        out = out === null ? this.#list[i].value : `${out}, ${this.#list[i].value}`;
      }
      return out;
    }
    has(name) { return this.get(name) !== null; }
    getSetCookie() {
      const out = [];
      for (let i = 0; i < this.#list.length; i++) {
        if (this.#list[i].name === 'set-cookie') append(out, this.#list[i].value);
      }
      return out;
    }
    forEach(callback, thisArg) {
      const entries = this.#entries();
      for (let i = 0; i < entries.length; i++) {
        apply(callback, thisArg, [entries[i][1], entries[i][0], this]);
      }
    }
    *entries() {
      const entries = this.#entries();
      for (let i = 0; i < entries.length; i++) yield entries[i];
    }
    *keys() {
      const entries = this.#entries();
      for (let i = 0; i < entries.length; i++) yield entries[i][0];
    }
    *values() {
      const entries = this.#entries();
      for (let i = 0; i < entries.length; i++) yield entries[i][1];
    }
    // Sorted by name, values of one name joined, except Set-Cookie.
    #entries() {
      const out = [];
      for (let i = 0; i < this.#list.length; i++) {
        const { name, value } = this.#list[i];
        let at = out.length;
        let joined = false;
        for (let k = 0; k < out.length; k++) {
          if (out[k][0] === name && name !== 'set-cookie') {
            out[k] = [name, `${out[k][1]}, ${value}`];
            joined = true;
            break;
          }
          if (out[k][0] > name) {
            at = k;
            break;
          }
        }
        if (joined) continue;
        append(out, undefined);
        for (let k = out.length - 1; k > at; k--) out[k] = out[k - 1];
        out[at] = [name, value];
      }
      return out;
    }
    static control = {
      pairs(headers) {
        const out = [];
        for (let i = 0; i < headers.#list.length; i++) {
          append(out, [headers.#list[i].name, headers.#list[i].value]);
        }
        return out;
      },
      add(headers, name, value) { append(headers.#list, { name, value }); },
    };
  }
  define(Headers.prototype, symbolIterator, Headers.prototype.entries);
  headersControl = Headers.control;
  deleteProperty(Headers, 'control');
  tag(Headers.prototype, 'Headers');
  return Headers;
});

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
  }
  return { text: `${body}`, bytes: undefined, type: 'text/plain;charset=UTF-8' };
}

const parseJson = JSON.parse;
let makeReply;  // the http service's reply → Response; set when Response is built
defineLazyGlobal('Response', () => {
  const Headers = lazyGlobal('Headers');
  class Response {
    #status = 200;
    #statusText = '';
    #headers;
    #url = '';
    #redirected = false;
    #type = 'default';
    #text;          // the body, one of both
    #bytes;
    #used = false;
    constructor(body = null, init = {}) {
      const status = init?.status ?? 200;
      if (!isInteger(status) || status < 200 || status > 599) {
        throw new NativeRangeError('The status must be an integer from 200 to 599');
      }
      this.#status = status;
      this.#statusText = `${init?.statusText ?? ''}`;
      this.#headers = new Headers(init?.headers);
      if (body === null || body === undefined) return;
      if (status === 204 || status === 205 || status === 304) {
        throw new NativeTypeError('A response of this status cannot have a body');
      }
      const extracted = extractBody(body);
      this.#text = extracted.text;
      this.#bytes = extracted.bytes;
      if (extracted.type !== undefined && !this.#headers.has('content-type')) {
        this.#headers.set('content-type', extracted.type);
      }
    }
    get status() { return this.#status; }
    get ok() { return this.#status >= 200 && this.#status <= 299; }
    get statusText() { return this.#statusText; }
    get headers() { return this.#headers; }
    get url() { return this.#url; }
    get redirected() { return this.#redirected; }
    get type() { return this.#type; }
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
    clone() {
      if (this.#used) throw new NativeTypeError('The body has already been read');
      const copy = new Response(null);
      copy.#copyFrom(this);
      return copy;
    }
    #copyFrom(other) {
      this.#status = other.#status;
      this.#statusText = other.#statusText;
      this.#headers = new Headers(other.#headers);
      this.#url = other.#url;
      this.#redirected = other.#redirected;
      this.#type = other.#type;
      this.#text = other.#text;
      this.#bytes = other.#bytes;
    }
    static json(data, init = {}) {
      const text = stringify(data);
      if (text === undefined) throw new NativeTypeError('The data cannot be written as JSON');
      const response = new Response(text, init);
      if (!new Headers(init?.headers).has('content-type')) {
        response.#headers.set('content-type', 'application/json');
      }
      return response;
    }
    static error() {
      const response = new Response(null);
      response.#status = 0;
      response.#type = 'error';
      return response;
    }
    static control(reply, requestUrl) {
      const response = new Response(null);
      const status = own(reply, 'status');
      const url = own(reply, 'url');
      const statusText = own(reply, 'statusText');
      const text = own(reply, 'body');
      const base64 = own(reply, 'bodyBase64');
      response.#status = typeof status === 'number' ? status : 0;
      response.#statusText = typeof statusText === 'string' ? statusText : '';
      response.#url = typeof url === 'string' ? url : '';
      response.#redirected = own(reply, 'redirected') === true;
      response.#type = 'basic';
      const headers = own(reply, 'headers');
      for (let i = 0; isArray(headers) && i < headers.length; i++) {
        const name = own(headers[i], 0);
        const value = own(headers[i], 1);
        if (typeof name === 'string' && typeof value === 'string') {
          headersControl.add(response.#headers, stringToLowerCase(name), value);
        }
      }
      if (typeof text === 'string') response.#text = text;
      else if (typeof base64 === 'string') response.#bytes = $.base64Decode(base64);
      return response;
    }
  }
  makeReply = Response.control;
  deleteProperty(Response, 'control');
  tag(Response.prototype, 'Response');
  return Response;
});

const normalMethods = freeze({
  __proto__: null, DELETE: true, GET: true, HEAD: true, OPTIONS: true, POST: true, PUT: true,
});
function fetchRequest(input, init) {
  const url = isUrl(input) ? urlHref(input) : `${input}`;
  let method = init.method === undefined ? 'GET' : `${init.method}`;
  if (!isToken(method)) throw new NativeTypeError(`Invalid method: ${quote(method)}`);
  const upper = stringToUpperCase(method);
  if (normalMethods[upper]) method = upper;
  if (upper === 'CONNECT' || upper === 'TRACE' || upper === 'TRACK') {
    throw new NativeTypeError(`The method ${method} is not allowed`);
  }
  const Headers = lazyGlobal('Headers');
  const headers = new Headers(init.headers ?? undefined);
  const request = { __proto__: null, url, method };
  const { body, redirect } = init;
  if (body !== undefined && body !== null) {
    if (method === 'GET' || method === 'HEAD') {
      throw new NativeTypeError('A request with method GET or HEAD cannot have a body');
    }
    const extracted = extractBody(body);
    if (extracted.type !== undefined && !headers.has('content-type')) {
      headers.set('content-type', extracted.type);
    }
    if (extracted.bytes === undefined) request.body = extracted.text;
    else request.bodyBase64 = $.base64Encode(extracted.bytes);
  }
  request.headers = headersControl.pairs(headers);
  if (redirect !== undefined) {
    if (redirect !== 'follow' && redirect !== 'error' && redirect !== 'manual') {
      throw new NativeTypeError("redirect must be 'follow', 'error' or 'manual'");
    }
    request.redirect = redirect;
  }
  return request;
}
// A call that did not come through is a TypeError, as the web's fetch has it; `cause` tells why.
function fetchFailure(error) {
  const failure = new NativeTypeError('fetch failed', { cause: error });
  define(failure, 'code', getDescriptor(error, 'code')?.value);
  setStack(failure, `TypeError: fetch failed${siteFrames(error)}`);
  return failure;
}
const promiseThen = uncurry(NativePromise.prototype.then);

define(globalObject, 'fetch', {
  fetch(input, init) {
    init = isObject(init) ? init : {};
    lazyGlobal('Response');
    let text;
    let signal;
    try {
      if (arguments.length === 0) throw new NativeTypeError('fetch needs an argument');
      signal = init.signal ?? undefined;
      if (signal !== undefined && !abortControl?.isSignal(signal)) {
        throw new NativeTypeError('The signal option must be an AbortSignal');
      }
      if (signal?.aborted) return rejected(signal.reason);
      text = stringify([fetchRequest(input, init)]);
      if (typeof text !== 'string' || charCodeAt(text, 0) !== argument_mark) {
        throw new NativeTypeError('the request cannot be written as JSON');
      }
    } catch (error) {
      return rejected(error);
    }
    const reply = issue('http', 'fetch', text, '', globalFetch, {
      __proto__: null, convert: makeReply, convertFailure: fetchFailure, timer: undefined,
    });
    if (signal === undefined) return reply;
    return new NativePromise((resolve, reject) => {
      abortControl.onAbort(signal, () => reject(signal.reason));
      promiseThen(reply, resolve, reject);
    });
  },
}.fetch);
const globalFetch = globalObject.fetch;
