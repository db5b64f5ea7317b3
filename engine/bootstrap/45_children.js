// Part 6b: tasks that a task starts. They are calls of the service `tasks`.

// The child's error as the cause of the error that the parent gets: what it threw, as data.
function childCause(payload, depth) {
  const message = own(payload, 'message');
  const cause = new NativeError(typeof message === 'string' ? message : 'the task failed');
  const name = own(payload, 'name');
  if (typeof name === 'string') define(cause, 'name', name);
  const code = own(payload, 'code');
  if (isCode(code)) define(cause, 'code', code);
  const stack = own(payload, 'stack');
  setStack(cause, typeof stack === 'string' ? stack : '');
  const deeper = own(payload, 'cause');
  if (isObject(deeper) && depth < error_causes_max) {
    define(cause, 'cause', childCause(deeper, depth + 1));
  }
  return cause;
}

const child_hooks = freeze({
  __proto__: null,
  convert: undefined,
  // What a task threw has a stack; what kept it from being started has none.
  convertFailure(error, call, payload) {
    if (typeof own(payload, 'stack') === 'string') define(error, 'cause', childCause(payload, 1));
    return error;
  },
  timer: undefined,
});

function startRun(method, name, input, options, hide, hooks) {
  let argsText;
  try {
    if (typeof name !== 'string' || name === '') {
      throw new NativeTypeError('the name of a task must be a non-empty string');
    }
    if (options !== undefined && options !== null && typeof options !== 'object') {
      throw new NativeTypeError('the options of a task run must be an object');
    }
    const request = {
      __proto__: null, task: name, input: input === undefined ? no_options : input,
      options: options ?? undefined,
    };
    argsText = requestText(request, `argument 1 of tasks.${method}`);
  } catch (error) {
    return rejected(error);
  }
  return issue('tasks', method, argsText, '', hide, hooks);
}

const childFunctions = {
  callTask(name, input, options) {
    return startRun('run', name, input, options, childFunctions.callTask, child_hooks);
  },
  startTask(name, input, options) {
    return startRun('start', name, input, options, childFunctions.startTask, plain_hooks);
  },
};
define(globalObject, 'callTask', childFunctions.callTask);
define(globalObject, 'startTask', childFunctions.startTask);
