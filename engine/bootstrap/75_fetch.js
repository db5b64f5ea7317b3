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
        const pairs = listOf(init);
        for (let i = 0; i < pairs.length; i++) {
          const pair = listOf(pairs[i]);
          if (pair.length !== 2) throw new NativeTypeError('A header is a pair of name and value');
          this.#append(pair[0], pair[1]);
        }
        return;
      }
      const keys = ownKeys(init);
      for (let i = 0; i < keys.length; i++) {
        if (getDescriptor(init, keys[i])?.enumerable) this.#append(keys[i], init[keys[i]]);
      }
    }
    append(name, value) { this.#append(name, value); }
    #append(name, value) {
      append(this.#list, { name: headerName(name), value: headerValue(value) });
    }
    set(name, value) { this.#set(name, value); }
    #set(name, value) {
      const key = headerName(name);
      const text = headerValue(value);
      this.#delete(key);
      append(this.#list, { name: key, value: text });
    }
    delete(name) { this.#delete(headerName(name)); }
    #delete(key) {
      const rest = [];
      for (let i = 0; i < this.#list.length; i++) {
        if (this.#list[i].name !== key) append(rest, this.#list[i]);
      }
      this.#list = rest;
    }
    get(name) { return this.#get(headerName(name)); }
    #get(key) {
      let out = null;
      for (let i = 0; i < this.#list.length; i++) {
        if (this.#list[i].name !== key) continue;
        out = out === null ? this.#list[i].value : `${out}, ${this.#list[i].value}`;
      }
      return out;
    }
    has(name) { return this.#get(headerName(name)) !== null; }
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
          const pair = [headers.#list[i].name, headers.#list[i].value];
          define(pair, 'toJSON', undefined);  // for it is to be written as it is
          append(out, pair);
        }
        define(out, 'toJSON', undefined);
        return out;
      },
      // The content type that a body implies, unless there is one.
      suggestType(headers, type) {
        if (headers.#get('content-type') === null) headers.#set('content-type', type);
      },
      has: (headers, key) => headers.#get(key) !== null,
      set: (headers, key, value) => headers.#set(key, value),
      add(headers, name, value) { append(headers.#list, { name, value }); },
      get(headers, name) {
        let out = null;
        for (let i = 0; i < headers.#list.length; i++) {
          const one = headers.#list[i];
          if (one.name === name) out = out === null ? one.value : `${out}, ${one.value}`;
        }
        return out;
      },
    };
  }
  define(Headers.prototype, symbolIterator, Headers.prototype.entries);
  headersControl = Headers.control;
  deleteProperty(Headers, 'control');
  tag(Headers.prototype, 'Headers');
  return Headers;
});

let makeReply;  // the http service's reply → Response; set when Response is built
defineLazyGlobal('Response', () => {
  const Headers = lazyGlobal('Headers');
  class Response extends bodyClass() {
    #status = 200;
    #statusText = '';
    #headers;
    #url = '';
    #redirected = false;
    #type = 'default';
    constructor(body = null, init = no_options) {
      super();
      const status = init?.status ?? 200;
      if (!isInteger(status) || status < 200 || status > 599) {
        throw new NativeRangeError('The status must be an integer from 200 to 599');
      }
      this.#status = status;
      this.#statusText = `${init?.statusText ?? ''}`;
      this.#headers = new Headers(init?.headers);
      bodyControl.tellHeaders(this, this.#headers);
      if (body === null || body === undefined) return;
      if (status === 204 || status === 205 || status === 304) {
        throw new NativeTypeError('A response of this status cannot have a body');
      }
      bodyControl.fill(this, body, this.#headers);
    }
    get status() { return this.#status; }
    get ok() { return this.#status >= 200 && this.#status <= 299; }
    get statusText() { return this.#statusText; }
    get headers() { return this.#headers; }
    get url() { return this.#url; }
    get redirected() { return this.#redirected; }
    get type() { return this.#type; }
    clone() {
      const copy = new Response(null);
      copy.#copyFrom(this);
      return copy;
    }
    #copyFrom(other) {
      this.#status = other.#status;
      this.#statusText = other.#statusText;
      this.#headers = new Headers(other.#headers);
      bodyControl.tellHeaders(this, this.#headers);
      this.#url = other.#url;
      this.#redirected = other.#redirected;
      this.#type = other.#type;
      bodyControl.copy(this, other);
    }
    static json(data, init = no_options) {
      const text = stringify(data);
      if (text === undefined) throw new NativeTypeError('The data cannot be written as JSON');
      const response = new Response(text, init);
      if (!headersControl.has(new Headers(init?.headers), 'content-type')) {
        headersControl.set(response.#headers, 'content-type', 'application/json');
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
      if (typeof text === 'string') bodyControl.set(response, text, undefined);
      else if (typeof base64 === 'string') {
        bodyControl.set(response, undefined, $.base64Decode(base64));
      }
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
function requestMethod(given) {
  const method = `${given}`;
  if (!isToken(method)) throw new NativeTypeError(`Invalid method: ${quote(method)}`);
  const upper = stringToUpperCase(method);
  if (upper === 'CONNECT' || upper === 'TRACE' || upper === 'TRACK') {
    throw new NativeTypeError(`The method ${method} is not allowed`);
  }
  return normalMethods[upper] ? upper : method;
}

function requestRedirect(redirect) {
  if (redirect === 'follow' || redirect === 'error' || redirect === 'manual') return redirect;
  throw new NativeTypeError("redirect must be 'follow', 'error' or 'manual'");
}

let requestControl;  // reaches into requests; set when Request is built
defineLazyGlobal('Request', () => {
  const Headers = lazyGlobal('Headers');
  class Request extends bodyClass() {
    #url;
    #method = 'GET';
    #headers;
    #redirect = 'follow';
    #signal;
    #hasBody = false;
    constructor(input, init = undefined) {
      super();
      if (arguments.length === 0) throw new NativeTypeError('Request needs an argument');
      init = isObject(init) ? init : no_options;
      const from = isObject(input) && #url in input ? input : undefined;
      const URL = lazyGlobal('URL');
      this.#url = from === undefined ? urlHref(new URL(isUrl(input) ? urlHref(input) : `${input}`))
          : from.#url;
      this.#method = init.method === undefined ? from?.#method ?? 'GET'
          : requestMethod(init.method);
      this.#headers = new Headers(init.headers ?? from?.#headers);
      bodyControl.tellHeaders(this, this.#headers);
      this.#redirect = requestRedirect(init.redirect ?? from?.#redirect ?? 'follow');
      this.#setSignal(init.signal === undefined ? from?.#signal : init.signal ?? undefined);
      this.#setBody(init.body ?? undefined, from);
    }
    #setSignal(signal) {
      if (signal !== undefined && !abortControl?.isSignal(signal)) {
        throw new NativeTypeError('The signal option must be an AbortSignal');
      }
      this.#signal = signal;
    }
    #setBody(body, from) {
      const has = body !== undefined || from?.#hasBody === true;
      if (has && (this.#method === 'GET' || this.#method === 'HEAD')) {
        throw new NativeTypeError('A request with method GET or HEAD cannot have a body');
      }
      this.#hasBody = has;
      if (body !== undefined) {
        bodyControl.fill(this, body, this.#headers);
      } else if (has) {
        const { text, bytes } = bodyControl.take(from);
        bodyControl.set(this, text, bytes);
      }
    }
    get url() { return this.#url; }
    get method() { return this.#method; }
    get headers() { return this.#headers; }
    get redirect() { return this.#redirect; }
    get signal() {
      if (this.#signal === undefined) {
        lazyGlobal('AbortSignal');
        this.#signal = abortControl.make();
      }
      return this.#signal;
    }
    clone() {
      const copy = new Request(this.#url, {
        method: this.#method, headers: this.#headers, redirect: this.#redirect,
        signal: this.#signal,
      });
      bodyControl.copy(copy, this);
      copy.#hasBody = this.#hasBody;
      return copy;
    }
    static control = {
      isRequest: (value) => isObject(value) && #url in value,
      signal: (request) => request.#signal,
      // What the http service takes.
      call(request) {
        const call = { __proto__: null, url: request.#url, method: request.#method };
        if (request.#hasBody) {
          const { text, bytes } = bodyControl.take(request);
          if (bytes === undefined) call.body = text;
          else call.bodyBase64 = $.base64Encode(bytes);
        }
        call.headers = headersControl.pairs(request.#headers);
        call.redirect = request.#redirect;
        return call;
      },
    };
  }
  requestControl = Request.control;
  deleteProperty(Request, 'control');
  tag(Request.prototype, 'Request');
  return Request;
});

// Of a text or a URL, which is sent as it is. (A Request has looked at its own.)
function fetchRequest(input, init) {
  const url = isUrl(input) ? urlHref(input) : `${input}`;
  const method = init.method === undefined ? 'GET' : requestMethod(init.method);
  const Headers = lazyGlobal('Headers');
  const headers = new Headers(init.headers ?? undefined);
  const request = { __proto__: null, url, method };
  const { body, redirect } = init;
  if (body !== undefined && body !== null) {
    if (method === 'GET' || method === 'HEAD') {
      throw new NativeTypeError('A request with method GET or HEAD cannot have a body');
    }
    const extracted = extractBody(body);
    if (extracted.type !== undefined) headersControl.suggestType(headers, extracted.type);
    if (extracted.bytes === undefined) request.body = extracted.text;
    else request.bodyBase64 = $.base64Encode(extracted.bytes);
  }
  request.headers = headersControl.pairs(headers);
  if (redirect !== undefined) request.redirect = requestRedirect(redirect);
  return request;
}
// A call that did not come through is a TypeError, as the web's fetch has it; `cause` tells why.
function fetchFailure(error) {
  const failure = new NativeTypeError('fetch failed', { cause: error });
  define(failure, 'code', getDescriptor(error, 'code')?.value);
  setStack(failure, `TypeError: fetch failed${siteFrames(error)}`);
  return failure;
}
// A request whose body is read with the one that it is made of.
function requestWith(input, init) {
  const Request = lazyGlobal('Request');
  return new Request(input, init);
}

define(globalObject, 'fetch', {
  fetch(input, init) {
    init = isObject(init) ? init : no_options;
    lazyGlobal('Response');
    let text;
    let signal;
    try {
      if (arguments.length === 0) throw new NativeTypeError('fetch needs an argument');
      const request = requestControl?.isRequest(input) ? requestWith(input, init) : undefined;
      signal = request === undefined ? signalOf(init) : requestControl.signal(request);
      if (signal !== undefined && abortControl.aborted(signal)) {
        return rejected(abortControl.reason(signal));
      }
      text = requestText(request === undefined ? fetchRequest(input, init)
          : requestControl.call(request), 'the request');
    } catch (error) {
      return rejected(error);
    }
    return issue('http', 'fetch', text, '', globalFetch, {
      __proto__: null, convert: makeReply, convertFailure: fetchFailure, timer: undefined,
    }, signal);
  },
}.fetch);
const globalFetch = globalObject.fetch;
