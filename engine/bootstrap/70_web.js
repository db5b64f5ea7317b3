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

// ---- events -------------------------------------------------------------------------------------
defineLazyGlobal('Event', () => {
  class Event {
    #type;
    #bubbles;
    #cancelable;
    #composed;
    #canceled = false;
    #passive = false;
    #stopped = false;
    #phase = 0;
    #target = null;
    #trusted = false;
    #timeStamp = now - timeOrigin;
    constructor(type, init = {}) {
      if (arguments.length === 0) {
        throw new NativeTypeError("Failed to construct 'Event': 1 argument required");
      }
      init = init ?? {};
      this.#type = `${type}`;
      this.#bubbles = !!init.bubbles;
      this.#cancelable = !!init.cancelable;
      this.#composed = !!init.composed;
    }
    get type() { return this.#type; }
    get target() { return this.#target; }
    get srcElement() { return this.#target; }
    get currentTarget() { return this.#phase === 0 ? null : this.#target; }
    get eventPhase() { return this.#phase; }
    get bubbles() { return this.#bubbles; }
    get cancelable() { return this.#cancelable; }
    get composed() { return this.#composed; }
    get defaultPrevented() { return this.#canceled; }
    get returnValue() { return !this.#canceled; }
    get isTrusted() { return this.#trusted; }
    get timeStamp() { return this.#timeStamp; }
    get cancelBubble() { return false; }
    composedPath() { return this.#phase === 0 ? [] : [this.#target]; }
    preventDefault() { if (this.#cancelable && !this.#passive) this.#canceled = true; }
    stopPropagation() {}
    stopImmediatePropagation() { this.#stopped = true; }

    static control = {
      begin(event, target) {
        if (event.#phase !== 0) {
          throw domException('The event is already being dispatched', 'InvalidStateError');
        }
        event.#target = target;
        event.#phase = 2;
        event.#stopped = false;
      },
      end(event) { event.#phase = 0; },
      stopped: (event) => event.#stopped,
      type: (event) => event.#type,
      canceled: (event) => event.#canceled,
      setPassive(event, passive) { event.#passive = passive; },
      trust(event) { event.#trusted = true; },
      isEvent: (value) => isObject(value) && #phase in value,
    };
  }
  eventControl = Event.control;
  deleteProperty(Event, 'control');
  for (let i = 0; i < 4; i++) {
    const name = ['NONE', 'CAPTURING_PHASE', 'AT_TARGET', 'BUBBLING_PHASE'][i];
    defineReadOnly(Event, name, i);
    defineReadOnly(Event.prototype, name, i);
  }
  tag(Event.prototype, 'Event');
  return Event;
});
let eventControl;  // reaches into events; set when Event is built

defineLazyGlobal('CustomEvent', () => {
  class CustomEvent extends lazyGlobal('Event') {
    #detail;
    constructor(type, init) {
      super(type, init);
      this.#detail = init?.detail ?? null;
    }
    get detail() { return this.#detail; }
  }
  tag(CustomEvent.prototype, 'CustomEvent');
  return CustomEvent;
});

let targetControl;  // listens to targets; set when EventTarget is built
defineLazyGlobal('EventTarget', () => {
  lazyGlobal('Event');
  class EventTarget {
    #listeners = new NativeMap();  // type → array of listeners, in the order they were added

    addEventListener(type, callback, options) {
      if (callback === null || callback === undefined) return;
      if (!isObject(callback)) {
        throw new NativeTypeError('The listener must be a function or object');
      }
      const o = isObject(options) ? options : { __proto__: null, capture: !!options };
      const capture = !!o.capture;
      const once = !!o.once;
      const passive = !!o.passive;
      const signal = o.signal;
      if (signal !== undefined && !abortControl?.isSignal(signal)) {
        throw new NativeTypeError('The signal option must be an AbortSignal');
      }
      if (signal !== undefined && abortControl.aborted(signal)) return;
      type = `${type}`;
      let list = mapGet(this.#listeners, type);
      if (list === undefined) mapSet(this.#listeners, type, list = []);
      for (let i = 0; i < list.length; i++) {
        if (list[i].callback === callback && list[i].capture === capture) return;
      }
      const listener = { callback, capture, once, passive, removed: false, unlisten: undefined };
      append(list, listener);
      if (signal !== undefined) {
        listener.unlisten =
            abortControl.onAbort(signal, () => this.#remove(type, callback, capture));
      }
      abortControl?.listened(this, type, list.length);
    }
    removeEventListener(type, callback, options) {
      this.#remove(`${type}`, callback, !!(isObject(options) ? options.capture : options));
    }
    #remove(type, callback, capture) {
      const list = mapGet(this.#listeners, type);
      if (list === undefined) return;
      const rest = [];
      for (let i = 0; i < list.length; i++) {
        if (list[i].callback === callback && list[i].capture === capture) {
          list[i].removed = true;
          list[i].unlisten?.();
        } else {
          append(rest, list[i]);
        }
      }
      mapSet(this.#listeners, type, rest);
      abortControl?.listened(this, type, rest.length);
    }
    dispatchEvent(event) {
      if (!eventControl.isEvent(event)) throw new NativeTypeError('The argument must be an Event');
      eventControl.begin(event, this);
      const type = eventControl.type(event);
      const list = mapGet(this.#listeners, type);
      const count = list === undefined ? 0 : list.length;
      for (let i = 0; i < count && !eventControl.stopped(event); i++) {
        const listener = list[i];
        if (listener.removed) continue;
        if (listener.once) this.#remove(type, listener.callback, listener.capture);
        eventControl.setPassive(event, listener.passive);
        try {
          const { callback } = listener;
          if (typeof callback === 'function') apply(callback, this, [event]);
          else callback.handleEvent(event);
        } catch (error) {
          logUncaught('Uncaught exception in an event listener:', error);
        }
        eventControl.setPassive(event, false);
      }
      eventControl.end(event);
      return !eventControl.canceled(event);
    }
    static control = {
      add: uncurry(EventTarget.prototype.addEventListener),
      remove: uncurry(EventTarget.prototype.removeEventListener),
      dispatch: uncurry(EventTarget.prototype.dispatchEvent),
    };
  }
  targetControl = EventTarget.control;
  deleteProperty(EventTarget, 'control');
  tag(EventTarget.prototype, 'EventTarget');
  return EventTarget;
});

// ---- abort --------------------------------------------------------------------------------------
let abortControl;  // reaches into signals; set when AbortSignal is built
const signal_key = {};  // only we can construct an AbortSignal
let aborts = 0;         // signals aborted so far: which of two was the first

defineLazyGlobal('AbortSignal', () => {
  class AbortSignal extends lazyGlobal('EventTarget') {
    #aborted = 0;  // its number among the aborted ones
    #reason;
    #algorithms = new NativeMap();  // in the order in which they were added
    #handler = null;
    #listening = false;             // somebody listens to its event
    // Of one that AbortSignal.any made: the signals it depends on, none of which depends on others.
    // They know of it only while somebody waits for it: task.signal lives as long as the run.
    #sources;
    #unlisten;                      // from the sources, one function each
    constructor(key) {
      if (key !== signal_key) throw new NativeTypeError('Illegal constructor');
      super();
    }
    get aborted() { return AbortSignal.#first(this) !== undefined; }
    get reason() { return AbortSignal.#first(this)?.#reason; }
    get onabort() { return this.#handler; }
    set onabort(handler) {
      const old = this.#handler;
      if (old !== null) targetControl.remove(this, 'abort', old);
      this.#handler = isObject(handler) ? handler : null;
      if (this.#handler !== null) targetControl.add(this, 'abort', handler);
    }
    throwIfAborted() {
      const first = AbortSignal.#first(this);
      if (first !== undefined) throw first.#reason;
    }
    static abort(reason) {
      const signal = new AbortSignal(signal_key);
      AbortSignal.#signal(signal, reason);
      return signal;
    }
    static timeout(ms) {
      if (typeof ms !== 'number' || !(ms >= 0)) {
        throw new NativeTypeError('AbortSignal.timeout takes a number of milliseconds');
      }
      const signal = new AbortSignal(signal_key);
      addTimer(() => AbortSignal.#signal(
          signal, domException('The operation was aborted due to timeout', 'TimeoutError')),
               ms, [], false, AbortSignal.timeout);
      return signal;
    }
    static any(signals) {
      const signal = new AbortSignal(signal_key);
      const given = listOf(signals);
      const sources = [];
      for (let i = 0; i < given.length; i++) {
        if (!(isObject(given[i]) && #aborted in given[i])) {
          throw new NativeTypeError('AbortSignal.any takes AbortSignals');
        }
      }
      for (let i = 0; i < given.length; i++) {
        const first = AbortSignal.#first(given[i]);
        if (first !== undefined) {
          signal.#settle(first);
          return signal;
        }
        const deeper = given[i].#sources ?? [given[i]];
        for (let k = 0; k < deeper.length; k++) append(sources, deeper[k]);
      }
      signal.#sources = sources;
      return signal;
    }
    // Which signal's reason it has: its own or that of the source that was first. undefined: it is
    // not aborted.
    static #first(signal) {
      if (signal.#aborted !== 0) return signal;
      const sources = signal.#sources;
      let first;
      for (let i = 0; sources !== undefined && i < sources.length; i++) {
        const source = sources[i];
        if (source.#aborted !== 0 && (first === undefined || source.#aborted < first.#aborted)) {
          first = source;
        }
      }
      return first;
    }
    // Aborted by `first` while nobody waited for it.
    #settle(first) {
      this.#aborted = ++aborts;
      this.#reason = first.#reason;
      this.#sources = undefined;
    }
    // Listens to its sources while somebody waits for it.
    static #attend(signal) {
      const sources = signal.#sources;
      if (sources === undefined) return;
      const first = signal.#unlisten === undefined ? AbortSignal.#first(signal) : undefined;
      if (first !== undefined) {
        signal.#settle(first);
        return;
      }
      const wanted = signal.#listening || mapSize(signal.#algorithms) > 0;
      if (wanted === (signal.#unlisten !== undefined)) return;
      const unlisten = signal.#unlisten ?? [];
      signal.#unlisten = wanted ? unlisten : undefined;
      for (let i = 0; i < sources.length; i++) {
        const source = sources[i];
        if (!wanted) unlisten[i]();
        else {
          append(unlisten, AbortSignal.#onAbort(
              source, () => AbortSignal.#signal(signal, source.#reason)));
        }
      }
    }
    static #signal(signal, reason) {
      if (signal.#aborted !== 0) return;
      signal.#aborted = ++aborts;
      signal.#reason = reason === undefined
          ? domException('This operation was aborted', 'AbortError') : reason;
      const unlisten = signal.#unlisten;
      signal.#sources = signal.#unlisten = undefined;
      for (let i = 0; unlisten !== undefined && i < unlisten.length; i++) unlisten[i]();
      const algorithms = signal.#algorithms;
      signal.#algorithms = new NativeMap();
      mapForEach(algorithms, (algorithm) => algorithm());
      const Event = lazyGlobal('Event');
      const event = new Event('abort');
      eventControl.trust(event);
      targetControl.dispatch(signal, event);
    }
    static #onAbort(signal, algorithm) {
      const key = {};
      mapSet(signal.#algorithms, key, algorithm);
      AbortSignal.#attend(signal);
      return () => {
        if (mapDelete(signal.#algorithms, key)) AbortSignal.#attend(signal);
      };
    }
    static control = {
      make: () => new AbortSignal(signal_key),
      abort: (signal, reason) => AbortSignal.#signal(signal, reason),
      isSignal: (value) => isObject(value) && #aborted in value,
      aborted: (signal) => AbortSignal.#first(signal) !== undefined,
      reason: (signal) => AbortSignal.#first(signal)?.#reason,
      // Answers a function that forgets it again.
      onAbort: (signal, algorithm) => AbortSignal.#onAbort(signal, algorithm),
      // So many listen to the target's event of that type now.
      listened(target, type, count) {
        if (type !== 'abort' || !(#aborted in target)) return;
        target.#listening = count > 0;
        AbortSignal.#attend(target);
      },
    };
  }
  abortControl = AbortSignal.control;
  deleteProperty(AbortSignal, 'control');
  tag(AbortSignal.prototype, 'AbortSignal');
  return AbortSignal;
});

defineLazyGlobal('AbortController', () => {
  lazyGlobal('AbortSignal');
  class AbortController {
    #signal = abortControl.make();
    get signal() { return this.#signal; }
    abort(reason) { abortControl.abort(this.#signal, reason); }
  }
  tag(AbortController.prototype, 'AbortController');
  return AbortController;
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
  }
  return urlClasses[name];
}
let urlHref;
let searchParamsText;
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
