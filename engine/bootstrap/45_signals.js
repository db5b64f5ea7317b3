// Part 6c: signals and webhooks. Waiting for one is a host call that ends when somebody sends it.

const signal_name = /^(?!\.)[A-Za-z0-9._-]{1,128}$/;
const run_id = /^[1-9][0-9]{0,15}$/;

function checkedSignalName(name) {
  if (typeof name === 'string' && regExpExec(signal_name, name) !== null) return name;
  throw new NativeTypeError('the name of a signal must be 1 to 128 of A-Z a-z 0-9 . _ - '
      + 'and not begin with a dot');
}

const wait_options = freeze({ __proto__: null, timeout: true, signal: true });
// The arguments of a wait: {timeout} is a number of milliseconds, a Date, or none. `latest`: a time
// at which it ends in any case.
function waitText(name, options, latest, what) {
  if (options !== undefined && !isObject(options)) {
    throw new NativeTypeError('the options must be an object, {timeout, signal}');
  }
  if (options !== undefined) checkOptionNames(options, wait_options, what);
  const timeout = options === undefined ? undefined : options.timeout;
  let until = latest;
  let limit = '';
  if (isObject(timeout) && $.kind(timeout) === kindDate && isFiniteNumber(dateGetTime(timeout))) {
    until = min(latest, max(0, dateGetTime(timeout)));
  } else if (typeof timeout === 'number' && timeout === timeout) {
    if (timeout !== Infinity) limit = `"timeoutMs":${max(0, floor(timeout))}`;
  } else if (timeout !== undefined) {
    throw new NativeTypeError('timeout must be a number of milliseconds or a valid Date');
  }
  if (until !== Infinity) limit = `${limit}${limit === '' ? '' : ','}"until":${until}`;
  return limit === '' ? `["${name}"]` : `["${name}",{${limit}}]`;
}

function waitFor(name, options, latest, what, hide) {
  let text;
  let signal;
  try {
    text = waitText(name, options, latest, what);
    signal = signalOf(options);
  } catch (error) {
    return rejected(error);
  }
  if (signal !== undefined && abortControl.aborted(signal)) {
    return rejected(abortControl.reason(signal));
  }
  return issue('signal', 'wait', text, '', hide, plain_hooks, signal);
}

define(globalObject, 'waitForSignal', {
  waitForSignal(name, options) {
    try {
      checkedSignalName(name);
    } catch (error) {
      return rejected(error);
    }
    return waitFor(name, options, Infinity, 'waitForSignal', globalWaitForSignal);
  },
}.waitForSignal);
const globalWaitForSignal = globalObject.waitForSignal;

function sendText(run, name, payload) {
  const id = typeof run === 'number' ? numberToString(run) : run;
  if (typeof id !== 'string' || regExpExec(run_id, id) === null) {
    throw new NativeTypeError("a signal goes to a run's id, a positive whole number");
  }
  checkedSignalName(name);
  let text;
  try {
    text = payload === undefined ? 'null' : stringify(payload);
  } catch (error) {
    throw notJson(() => "the signal's payload", error);
  }
  if (typeof text !== 'string') throw new NativeTypeError("the signal's payload must be JSON");
  return `[${id},"${name}",${text}]`;
}
function send(run, name, payload, hide) {
  let text;
  try {
    text = sendText(run, name, payload);
  } catch (error) {
    return rejected(error);
  }
  return issue('signal', 'send', text, '', hide, plain_hooks);
}
const sendFunctions = {
  sendSignal(run, name, payload) { return send(run, name, payload, sendFunctions.sendSignal); },
  signal(run, name, payload) { return send(run, name, payload, sendFunctions.signal); },
};
define(globalObject, 'sendSignal', sendFunctions.sendSignal);
define(globalObject, 'signal', sendFunctions.signal);

// ---- webhooks -----------------------------------------------------------------------------------
function methodsText(options) {
  let methods = options.methods === undefined ? options.method : options.methods;
  if (methods === undefined) return '';
  if (!isArray(methods)) methods = [methods];
  let text = '';
  for (let i = 0; i < methods.length && i < 8; i++) {
    const method = methods[i];
    const upper = typeof method === 'string' ? stringToUpperCase(method) : '';
    if (upper !== 'GET' && upper !== 'POST') {
      throw new NativeTypeError('the methods of a webhook are "GET" and "POST"');
    }
    if (stringIndexOf(text, upper) < 0) text = `${text}${text === '' ? '' : ','}"${upper}"`;
  }
  if (text === '') throw new NativeTypeError('a webhook takes at least one method');
  return `"methods":[${text}]`;
}
const webhook_options = freeze({
  __proto__: null, methods: true, method: true, expires: true, page: true,
});
function webhookText(options) {
  if (options === undefined) return '[{}]';
  if (!isObject(options)) throw new NativeTypeError('the options of a webhook must be an object');
  checkOptionNames(options, webhook_options, 'createWebhook');
  let text = methodsText(options);
  const { expires, page } = options;
  if (expires !== undefined) {
    const until = isObject(expires) && $.kind(expires) === kindDate;
    const ms = until ? dateGetTime(expires) - now : expires;
    if (typeof ms !== 'number' || !isFiniteNumber(ms)) {
      throw new NativeTypeError('expires must be a number of milliseconds or a valid Date');
    }
    text = `${text}${text === '' ? '' : ','}"expiresMs":${max(0, floor(ms))}`;
  }
  if (page !== undefined) {
    let pageText;
    try {
      pageText = stringify(page);
    } catch (error) {
      throw notJson(() => 'the page of a webhook', error);
    }
    if (typeof pageText !== 'string') throw new NativeTypeError('page must be an object');
    text = `${text}${text === '' ? '' : ','}"page":${pageText}`;
  }
  return `[{${text}}]`;
}

// An answer is for everyone who waits, at once or later; in vain until the webhook expires.
function makeWebhook(made) {
  const name = own(made, 'name');
  const expires = now + own(made, 'expiresMs');
  let received;
  const hook = { url: own(made, 'url'), token: own(made, 'token') };
  defineGetter(hook, 'expires', () => new NativeDate(expires));
  const { wait } = {
    wait(options) { return waitFor(name, options, expires, 'wait', wait); },
  };
  define(hook, 'wait', wait);
  // Not enumerable: whoever writes or copies the webhook does not wait for it.
  defineProperty(hook, 'received', {
    __proto__: null,
    get() {
      if (received === undefined) received = wait();
      return received;
    },
    set: undefined, enumerable: false, configurable: true,
  });
  return hook;
}
const webhook_hooks = freeze({
  __proto__: null, convert: makeWebhook, convertFailure: undefined, timer: undefined,
});
define(globalObject, 'createWebhook', {
  createWebhook(options) {
    let text;
    try {
      text = webhookText(options);
    } catch (error) {
      return rejected(error);
    }
    return issue('signal', 'webhook', text, '', globalCreateWebhook, webhook_hooks);
  },
}.createWebhook);
const globalCreateWebhook = globalObject.createWebhook;
