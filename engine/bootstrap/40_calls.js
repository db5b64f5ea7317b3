// Part 6: host calls and the life of a run. A call is a pending promise whose resolvers live here,
// in the heap; C++ keeps numbers only.

// ---- state of the run ---------------------------------------------------------------------------
let calls = 0;               // highest call number issued
let phase = 0;               // 0: loading the code, 1: running, 2: ended
let calls_in_flight_max = 10000;
const pending = new NativeMap();  // call number → call
const dropped = new NativeMap();  // numbers of calls nobody waits for; an outcome is ignored
let cancellation;            // what the run was told when it was asked to end, as JSON.parse made it

const issued_ok = 0;         // what $.call answers
const issued_too_large = 1;
const issued_too_deep = 2;

// Resolves to a rejected promise without touching anything the task can replace.
function rejected(error) {
  hideRuntimeFrames(error);
  return new NativePromise((resolve, reject) => reject(error));
}

function notIssued(answer, service, method) {
  if (answer === issued_too_large) {
    const error = new NativeTypeError(
        `the arguments of ${service}.${method} exceed limits.payload_bytes`);
    define(error, 'code', 'payload_too_large');
    return error;
  }
  return new NativeTypeError(answer === issued_too_deep
      ? `the arguments of ${service}.${method} are nested too deep`
      : 'the name of a service or method is too long');
}

// What differs between kinds of calls; every member is always there.
//   convert         parsed result → what the task gets
//   convertFailure  HostCallError, the call, the recorded error → what the task gets
//   timer           the timer that waits for it, instead of a promise
const plain_hooks = freeze({
  __proto__: null, convert: undefined, convertFailure: undefined, timer: undefined,
});

// `hide`: the outermost function of ours on the stack; traces begin at its caller. `signal`: an
// AbortSignal that is not aborted, or undefined.
function issue(service, method, argsText, optionsText, hide, hooks, signal) {
  if (phase === 0) {
    return rejected(new NativeTypeError(
        'host calls can be made only inside the task function, not while its code is loaded'));
  }
  if (mapSize(pending) >= calls_in_flight_max) {
    $.limit('calls_limit');
    return rejected(new NativeError('too many calls in flight'));
  }
  const seq = calls + 1;
  const site = { __proto__: null, stack: undefined };
  captureStackTrace(site, hide);
  const answer = $.call(seq, service, method, argsText, optionsText, site);
  if (answer !== issued_ok) return rejected(notIssued(answer, service, method));
  calls = seq;
  let call;
  const promise = new NativePromise((resolve, reject) => {
    call = { service, method, site, resolve, reject, hooks, unlisten: undefined };
  });
  mapSet(pending, seq, call);
  if (hooks.timer !== undefined) hooks.timer.seq = seq;
  if (signal !== undefined) {
    call.unlisten = abortControl.onAbort(signal, () => {
      if (drop(seq, call)) call.reject(abortControl.reason(signal));
    });
  }
  return promise;
}

// Nobody waits for the call any more. False if it has ended.
function drop(seq, call) {
  if (!mapDelete(pending, seq)) return false;
  mapSet(dropped, seq, true);
  call.unlisten?.();
  $.drop(seq);
  return true;
}

// The `signal` of an object of options that the task made, if it has one.
function signalOf(options) {
  if (!isObject(options)) return undefined;
  const signal = options.signal ?? undefined;
  if (signal !== undefined && !abortControl?.isSignal(signal)) {
    throw new NativeTypeError('The signal option must be an AbortSignal');
  }
  return signal;
}
function withoutSignal(options) {
  if (!isObject(options) || isArray(options) || !('signal' in options)) return options;
  const { signal, ...rest } = options;
  return rest;
}

// Reads the elements of an array that the task made, once.
function joinPath(path) {
  const length = path.length;
  if (!(length > 0 && length <= 64)) {
    throw new NativeTypeError('a method path has 1 to 64 parts');
  }
  let text = '';
  for (let i = 0; i < length; i++) {
    const part = path[i];
    if (typeof part !== 'string' || part === '') {
      throw new NativeTypeError('the parts of a method path must be non-empty strings');
    }
    text = i === 0 ? part : `${text}.${part}`;
  }
  return text;
}

const argument_mark = 91;  // [
const object_mark = 123;   // {

const arguments_named_max = 64;

// "argument 2 of echo.echo": the first that cannot be written by itself.
function argumentAtFault(list, service, method) {
  for (let i = 0; i < arguments_named_max; i++) {
    try {
      if (i >= list.length) break;
      stringify(list[i]);
    } catch {
      return `argument ${i + 1} of ${service}.${method}`;
    }
  }
  return `the arguments of ${service}.${method}`;
}
function argsToText(args, service, method) {
  const list = args === undefined ? [] : isArray(args) ? args : [args];
  let text;
  try {
    text = stringify(list);
  } catch (error) {
    throw notJson(() => argumentAtFault(list, service, method), error);
  }
  // A toJSON of the task can turn an array into anything.
  if (typeof text !== 'string' || charCodeAt(text, 0) !== argument_mark) {
    throw new NativeTypeError('the arguments of a host call must serialise to a JSON array');
  }
  return text;
}
// Of one request of ours, which has no prototype; the list around it is not a value of its own, so
// that no toJSON is asked how to write it.
function requestText(request, what) {
  try {
    return `[${stringify(request)}]`;
  } catch (error) {
    throw notJson(() => what, error);
  }
}
function optionsToText(options) {
  if (options === undefined || options === null) return '';
  if (typeof options !== 'object') throw new NativeTypeError('the call options must be an object');
  let text;
  try {
    text = stringify(options);
  } catch (error) {
    throw notJson(() => 'the call options', error);
  }
  if (typeof text !== 'string' || charCodeAt(text, 0) !== object_mark) {
    throw new NativeTypeError('the call options must serialise to a JSON object');
  }
  return text;
}

function callHost(service, method, args, options, hide, hooks) {
  let argsText;
  let optionsText;
  let signal;
  try {
    if (typeof service !== 'string' || service === '') {
      throw new NativeTypeError('the service of a host call must be a non-empty string');
    }
    if (isArray(method)) {
      method = joinPath(method);
    } else if (typeof method !== 'string' || method === '') {
      throw new NativeTypeError(
          'the method of a host call must be a non-empty string or an array of strings');
    }
    argsText = argsToText(args, service, method);
    signal = signalOf(options);
    optionsText = optionsToText(withoutSignal(options));
  } catch (error) {
    return rejected(error);
  }
  if (signal !== undefined && abortControl.aborted(signal)) {
    return rejected(abortControl.reason(signal));
  }
  return issue(service, method, argsText, optionsText, hide, hooks, signal);
}

define(globalObject, '__callHostTool__', {
  __callHostTool__(service, method, args, options) {
    return callHost(service, method, args, options, callHostToolFunction, plain_hooks);
  },
}.__callHostTool__);
const callHostToolFunction = globalObject.__callHostTool__;

// ---- services.gapi.gmail.users.messages.list(a, b) ----------------------------------------------
const inert_members = freeze({
  __proto__: null, then: true, catch: true, finally: true, toJSON: true, constructor: true,
  prototype: true, $$typeof: true, asymmetricMatch: true, nodeType: true,
});

function serviceProxy(service, path) {
  const name = path === '' ? `services.${service}` : `services.${service}.${path}`;
  const target = setName(() => undefined, name);
  const handler = {
    __proto__: null,
    get(_, key) {
      if (typeof key === 'symbol' || inert_members[key]) return undefined;
      if (key === 'toString' || key === 'valueOf') return () => name;
      return serviceProxy(service, path === '' ? key : `${path}.${key}`);
    },
    set() { return false; },
    deleteProperty() { return false; },
    defineProperty() { return false; },
    getPrototypeOf() { return null; },
    setPrototypeOf() { return false; },
    has() { return false; },
    ownKeys() { return ['length', 'name', 'prototype']; },
    apply(_, self, args) {
      if (path === '') {
        return rejected(new NativeTypeError(
            `${name} is a service, not a method: name one of its methods`));
      }
      return callHost(service, path, args, undefined, handler.apply, plain_hooks);
    },
    construct() { throw new NativeTypeError(`${name} is not a constructor`); },
  };
  return new NativeProxy(target, handler);
}
define(globalObject, 'services', new NativeProxy(freeze({ __proto__: null }), {
  __proto__: null,
  get(_, key) {
    return typeof key === 'symbol' || inert_members[key] ? undefined
        : key === 'toString' || key === 'valueOf' ? () => 'services' : serviceProxy(key, '');
  },
  set() { return false; },
  has(_, key) { return typeof key === 'string'; },
}));

// ---- time ---------------------------------------------------------------------------------------
const sleep_hooks = freeze({
  __proto__: null, convert: () => undefined, convertFailure: undefined, timer: undefined,
});

define(globalObject, 'sleep', {
  sleep(duration, options) {
    let until = false;
    let ms;
    let signal;
    try {
      signal = signalOf(options);
    } catch (error) {
      return rejected(error);
    }
    if (isObject(duration) && $.kind(duration) === kindDate) {
      until = true;
      ms = dateGetTime(duration);
    } else {
      ms = duration;
    }
    if (typeof ms !== 'number' || !isFiniteNumber(ms)) {
      return rejected(new NativeTypeError('sleep takes a number of milliseconds or a valid Date'));
    }
    const text = `[${until ? floor(ms) : max(0, floor(ms))}]`;
    if (signal !== undefined && abortControl.aborted(signal)) {
      return rejected(abortControl.reason(signal));
    }
    return issue('timer', until ? 'until' : 'sleep', text, '', globalSleep, sleep_hooks, signal);
  },
}.sleep);
const globalSleep = globalObject.sleep;

// Timers are calls too, so they survive everything a call survives. Nobody waits for the call of a
// timer that was cleared.
const timer_ms_max = 2 ** 53;
let timers = 0;                         // highest timer number
const activeTimers = new NativeMap();   // timer number → timer

function armTimer(timer) {
  issue('timer', 'sleep', `[${timer.ms}]`, '', timer.hide,
        { __proto__: null, convert: undefined, convertFailure: undefined, timer }, undefined);
}
function addTimer(callback, delay, args, repeat, hide) {
  if (typeof callback !== 'function') {
    throw hideRuntimeFrames(new NativeTypeError('the callback of a timer must be a function'));
  }
  if (phase === 0) {
    throw hideRuntimeFrames(new NativeTypeError('timers can be set only inside the task function'));
  }
  let ms = floor(+delay);
  if (!(ms > 0)) ms = repeat ? 1 : 0;
  if (ms > timer_ms_max) ms = timer_ms_max;
  const timer = { id: ++timers, callback, args, ms, repeat, hide, active: true, seq: 0 };
  mapSet(activeTimers, timer.id, timer);
  armTimer(timer);
  return timer.id;
}
function fireTimer(timer) {
  if (!timer.active) return;
  if (!timer.repeat) clearTimer(timer.id);
  try {
    apply(timer.callback, undefined, timer.args);
  } catch (error) {
    logUncaught('Uncaught exception in a timer:', error);
  }
  if (timer.active) armTimer(timer);
}
function clearTimer(id) {
  const timer = mapGet(activeTimers, id);
  if (timer === undefined) return;
  timer.active = false;
  mapDelete(activeTimers, id);
  const call = mapGet(pending, timer.seq);
  if (call !== undefined) drop(timer.seq, call);
}
const timerFunctions = {
  setTimeout(callback, delay, ...args) {
    return addTimer(callback, delay, args, false, timerFunctions.setTimeout);
  },
  setInterval(callback, delay, ...args) {
    return addTimer(callback, delay, args, true, timerFunctions.setInterval);
  },
  clearTimeout(id) { clearTimer(id); },
  clearInterval(id) { clearTimer(id); },
};
define(globalObject, 'setTimeout', timerFunctions.setTimeout);
define(globalObject, 'setInterval', timerFunctions.setInterval);
define(globalObject, 'clearTimeout', timerFunctions.clearTimeout);
define(globalObject, 'clearInterval', timerFunctions.clearInterval);

// ---- delivery of an outcome ---------------------------------------------------------------------
// Returns false if no call of that number is in flight. Number 0: the run is asked to end.
function settle(seq, failed, value, at) {
  if (at > now) now = at;
  startTurn();
  if (seq === 0) {
    cancelRun(value);
    return true;
  }
  const call = mapGet(pending, seq);
  if (call === undefined) return mapDelete(dropped, seq);
  mapDelete(pending, seq);
  call.unlisten?.();
  const { convert, convertFailure, timer } = call.hooks;
  if (timer !== undefined) {
    if (!failed) {
      fireTimer(timer);
    } else {
      if (timer.active) logUncaught('A timer could not be set:', hostError(value, call));
      clearTimer(timer.id);
    }
    return true;
  }
  const convertThis = failed ? convertFailure : convert;
  const end = failed ? call.reject : call.resolve;
  let result = failed ? hostError(value, call) : value;
  if (convertThis !== undefined) {
    try {
      result = convertThis(result, call, value);
    } catch (error) {
      call.reject(error);
      return true;
    }
  }
  end(result);
  return true;
}

// ---- cancellation -------------------------------------------------------------------------------
let taskSignal;              // task.signal; built on first use
let cancelReason;            // its reason; likewise

function reasonOfCancel() {
  if (cancelReason === undefined) {
    const call = { __proto__: null, service: undefined, method: undefined, site: undefined };
    cancelReason = hostError(cancellation, call);
  }
  return cancelReason;
}
function signalOfTask() {
  if (taskSignal === undefined) {
    lazyGlobal('AbortSignal');
    taskSignal = abortControl.make();
    if (cancellation !== undefined) abortControl.abort(taskSignal, reasonOfCancel());
  }
  return taskSignal;
}

// Whoever waits for a call learns of it, in the order of the calls; timers never fire. Calls made
// from now on are like any others.
function cancelRun(payload) {
  cancellation = payload;
  const open = [];
  mapForEach(pending, (call, seq) => append(open, { seq, call }));
  for (let i = 0; i < open.length; i++) {
    const { seq, call } = open[i];
    if (!drop(seq, call)) continue;
    const { timer } = call.hooks;
    if (timer === undefined) call.reject(hostError(payload, call));
    else clearTimer(timer.id);
  }
  if (taskSignal !== undefined) abortControl.abort(taskSignal, reasonOfCancel());
}

// Whether the run ends as cancelled if it throws this.
function endsAsCancelled(error) {
  if (cancellation === undefined || !isObject(error) || $.kind(error) === kindProxy) return false;
  try {
    return error instanceof CancelledError && getDescriptor(error, 'code')?.value === 'cancelled';
  } catch {
    return false;  // a Proxy in the prototype chain
  }
}

// Nothing is in flight any more. A run that was asked to end has, then.
function endCancelled() {
  if (cancellation === undefined) return false;
  fail(reasonOfCancel());
  return true;
}

// ---- start and end of the run -------------------------------------------------------------------
function finish(value) {
  phase = 2;
  let text;
  try {
    text = value === undefined ? 'null' : stringify(value);
  } catch (error) {
    throw notJson(() => 'the result', error);
  }
  // A function or symbol, or a toJSON that returned one, has no JSON text.
  $.done(true, text === undefined ? 'null' : text, false);
}
function fail(error) {
  phase = 2;
  $.done(false, stringify(describeError(error, 0)), endsAsCancelled(error));
}
// Everything a task can do to its result happens inside; nothing is awaited but what it returned.
async function execute(taskFunction, input) {
  let value;
  try {
    value = await apply(taskFunction, undefined, [input]);
  } catch (error) {
    fail(error);
    return;
  }
  try {
    finish(value);
  } catch (error) {
    fail(error);
  }
}
function start(taskFunction, input) {
  phase = 1;
  execute(taskFunction, input);
}

// Everything of the run that is known before its code is loaded.
function begin(
    a, b, c, d, startedMs, id, name, version, callsMax, logEntriesMax, logMessageBytesMax, attributesMax,
    attributeCharsMax, attributesCharsMax) {
  seedRandom(a, b, c, d);
  now = startedMs;
  timeOrigin = startedMs;
  calls_in_flight_max = callsMax;
  log_entries_max = logEntriesMax;
  log_message_bytes_max = logMessageBytesMax;
  attributes_max = attributesMax;
  attribute_chars_max = attributeCharsMax;
  attributes_chars_max = attributesCharsMax;
  const task = { id, name, version, started: startedMs };
  defineProperty(task, 'signal', {
    __proto__: null, get: signalOfTask, set: undefined, enumerable: false, configurable: false,
  });
  define(globalObject, 'task', freeze(task));
  startTurn();
}
