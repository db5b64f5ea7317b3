// Part 9a: events and signals of the web's kind.

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
