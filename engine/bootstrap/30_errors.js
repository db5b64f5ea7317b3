// Part 5: the errors of host calls, and how an error becomes the run's recorded failure.

class HostCallError extends NativeError {}
class TimeoutError extends HostCallError {}
class OutcomeUnknownError extends HostCallError {}
class CancelledError extends HostCallError {}

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
  const text = site.stack;
  if (typeof text !== 'string') return '';
  const at = stringIndexOf(text, '\n    at ');
  return at < 0 ? '' : stringSlice(text, at);
}

// `payload` is what JSON.parse made of the recorded error.
function hostError(payload, call) {
  const code = own(payload, 'code');
  const name = own(payload, 'name');
  const message = own(payload, 'message');
  const Class = hostErrorClass(name, code);
  const error = new Class(typeof message === 'string' ? message : 'the host call failed');
  define(error, 'code', typeof code === 'string' ? code : 'service_error');
  define(error, 'status', own(payload, 'status'));
  define(error, 'service', call.service);
  define(error, 'method', call.method);
  define(error, 'errors', own(payload, 'errors'));
  define(error, 'stack', `${errorHeader(error)}${siteFrames(call.site)}`);
  return error;
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
  const code = textMember(value, 'code');
  const described = {
    __proto__: null,
    name: textMember(value, 'name') ?? 'Error',
    message: message ?? printable(value),
    code: code ?? 'task_error',
    stack: textMember(value, 'stack') ?? '',
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
  if (isObject(cause) && depth < error_causes_max) described.cause = describeError(cause, depth + 1);
  return described;
}
