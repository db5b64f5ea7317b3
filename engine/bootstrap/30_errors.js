// Part 5: the errors of host calls, and how an error becomes the run's recorded failure.

// A constructor that is not written out would pass its arguments on through the iterator of arrays,
// which the task can replace.
class HostCallError extends NativeError {
  constructor(message, options) { super(message, options); }
}
class TimeoutError extends HostCallError {
  constructor(message, options) { super(message, options); }
}
class OutcomeUnknownError extends HostCallError {
  constructor(message, options) { super(message, options); }
}
class CancelledError extends HostCallError {
  constructor(message, options) { super(message, options); }
}

const error_text_max = 65536;    // characters of a recorded message or stack
const error_causes_max = 8;

function setUpErrorClass(Class, name) {
  define(Class.prototype, 'name', name);
  define(globalObject, name, Class);
}
setUpErrorClass(HostCallError, 'HostCallError');
setUpErrorClass(TimeoutError, 'TimeoutError');
setUpErrorClass(OutcomeUnknownError, 'OutcomeUnknownError');
setUpErrorClass(CancelledError, 'CancelledError');

function hostErrorClass(name, code) {
  if (name === 'TimeoutError' || code === 'timeout') return TimeoutError;
  if (name === 'OutcomeUnknownError' || code === 'outcome_unknown') return OutcomeUnknownError;
  if (name === 'CancelledError' || code === 'cancelled') return CancelledError;
  return HostCallError;
}

// The stack lines of the place where the call was made, without the header line.
function siteFrames(site) {
  let text;
  try {
    text = site.stack;  // calls the task's Error.prepareStackTrace, if it has set one
  } catch {
    return '';
  }
  if (typeof text !== 'string') return '';
  const at = stringIndexOf(text, '\n    at ');
  return at < 0 ? '' : stringSlice(text, at);
}

function isCode(code) {
  return typeof code === 'string' || typeof code === 'number';
}

// `payload` is what JSON.parse made of the recorded error.
function hostError(payload, call) {
  const code = own(payload, 'code');
  const name = own(payload, 'name');
  const message = own(payload, 'message');
  const Class = hostErrorClass(name, code);
  const error = new Class(typeof message === 'string' ? message : 'the host call failed');
  // Google's codes are numbers, ours are texts.
  define(error, 'code', isCode(code) ? code : 'service_error');
  define(error, 'status', own(payload, 'status'));
  define(error, 'service', call.service);
  define(error, 'method', call.method);
  define(error, 'errors', own(payload, 'errors'));
  const frames = call.site === undefined ? '' : siteFrames(call.site);
  setStack(error, `${errorHeader(error)}${frames}`);
  return error;
}
// Deleted first: to redefine it, V8 would format the old one, through the task's own hook.
function setStack(error, text) {
  deleteProperty(error, 'stack');
  define(error, 'stack', text);
}

// Of errors of ours only: their name is on our own prototypes unless the task changed it there.
function errorHeader(error) {
  let name = 'HostCallError';
  try {
    name = `${error.name}`;
  } catch {
    // The task put an unprintable name there.
  }
  return error.message === '' ? name : `${name}: ${error.message}`;
}

// Without the lines of this runtime: an author looks for his own.
const runtime_frame = '(sequential:';
const runtime_frame_bare = 'at sequential:';
const frame_start = '\n    at ';
const builtin_frame = ' (<anonymous>)';
function stripRuntimeFrames(stack) {
  if (stringIndexOf(stack, 'sequential:') < 0) return stack;
  let out = '';
  let held = '';  // a built-in's line: it goes with the line below it, whose function called it
  let from = 0;
  while (from < stack.length) {
    const at = stringIndexOf(stack, '\n', from + 1);
    const line = stringSlice(stack, from, at < 0 ? stack.length : at);
    if (isRuntimeFrame(line)) {
      held = '';
    } else if (stringStartsWith(line, frame_start) && stringIndexOf(line, builtin_frame) >= 0) {
      held = `${held}${line}`;
    } else {
      out = `${out}${held}${line}`;
      held = '';
    }
    from = at < 0 ? stack.length : at;
  }
  return `${out}${held}`;
}
function isRuntimeFrame(line) {
  return stringIndexOf(line, runtime_frame) >= 0 || stringIndexOf(line, runtime_frame_bare) >= 0;
}
// The same for an error that the task is about to get, if its stack begins in this runtime.
function hideRuntimeFrames(error) {
  if (!isObject(error) || $.kind(error) === kindProxy) return error;
  try {
    const stack = error.stack;  // calls the task's Error.prepareStackTrace, if it has set one
    const at = typeof stack === 'string' ? stringIndexOf(stack, frame_start) : -1;
    if (at < 0) return error;
    const end = stringIndexOf(stack, '\n', at + 1);
    if (!isRuntimeFrame(stringSlice(stack, at, end < 0 ? stack.length : end))) return error;
    setStack(error, stripRuntimeFrames(stack));
  } catch {
    // An error of the task's own making that does not let itself be read or changed.
  }
  return error;
}

// What JSON.stringify threw of itself (a cycle, a BigInt), as an error that says what could not be
// written; `what` tells. What a toJSON, a getter or a trap of the task threw stays the task's own.
function notJson(what, error) {
  const stack = textMember(error, 'stack') ?? '';
  const at = stringIndexOf(stack, frame_start);
  const frame = at < 0 ? '' : stringSlice(stack, at + frame_start.length);
  const native = stringStartsWith(frame, 'stringify (') ||
      stringStartsWith(frame, 'JSON.stringify (');
  if (!native) return error;
  return new NativeTypeError(`${what()} cannot be written as JSON: ${textMember(error, 'message')}`);
}

function clip(text) {
  return text.length <= error_text_max ? text : `${stringSlice(text, 0, error_text_max)}…`;
}
// A member of any thrown value as a string, or undefined; getters of the task may run and throw.
function textMember(value, key) {
  try {
    const text = value[key];
    return typeof text === 'string' ? clip(text) : undefined;
  } catch {
    return undefined;
  }
}
function codeMember(value) {
  try {
    const code = value.code;
    return typeof code === 'number' && isFiniteNumber(code) ? code : textMember(value, 'code');
  } catch {
    return undefined;
  }
}
function printable(value) {
  try {
    return clip(typeof value === 'string' ? value : inspectOne(value));
  } catch {
    return 'an unprintable value';
  }
}

// Plain data about a thrown value, as it is recorded: {name, message, code, stack, …}.
function describeError(value, depth) {
  if (!isObject(value) || typeof value === 'function' || $.kind(value) === kindProxy) {
    return {
      __proto__: null, name: 'Error', message: printable(value), code: 'task_error', stack: '',
    };
  }
  const message = textMember(value, 'message');
  const code = codeMember(value);
  const described = {
    __proto__: null,
    name: textMember(value, 'name') ?? 'Error',
    message: message ?? printable(value),
    code: code ?? 'task_error',
    stack: stripRuntimeFrames(textMember(value, 'stack') ?? ''),
  };
  let isHostError = false;
  try {
    isHostError = value instanceof HostCallError;
  } catch {
    // A Proxy in the prototype chain.
  }
  if (isHostError) {
    described.service = textMember(value, 'service');
    described.method = textMember(value, 'method');
    const status = getDescriptor(value, 'status')?.value;
    if (typeof status === 'number') described.status = status;
  }
  let cause;
  try {
    cause = value.cause;
  } catch {
    cause = undefined;
  }
  if (isObject(cause) && depth < error_causes_max) {
    described.cause = describeError(cause, depth + 1);
  }
  return described;
}
