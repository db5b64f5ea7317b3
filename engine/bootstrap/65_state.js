// Part 8a: setStatus and progress, which watchers of the run see. They have no number: the last of a
// slice counts, and what a replay sets on its way is what was stored then.

const show_status = 0;
const show_progress = 1;

function showState(which, what, text) {
  const answer = $.show(which, text);
  if (answer === issued_too_large) {
    throw new NativeRangeError(`${what} has more bytes of JSON than limits.status_bytes (GET /limits)`);
  }
  if (answer === issued_too_deep) throw new NativeTypeError(`${what} is nested too deeply`);
}
function isAmount(value) {
  return typeof value === 'number' && value >= 0 && value < Infinity;
}

const stateFunctions = {
  setStatus(value) {
    let text;
    try {
      text = value === undefined ? 'null' : stringify(value);
    } catch (error) {
      throw notJson(() => 'the status', error);
    }
    if (text === undefined) throw new NativeTypeError('the status has no JSON text');
    showState(show_status, 'the status', text);
  },
  progress(done, total = undefined, message = undefined) {
    const shown = { __proto__: null };
    if (!isAmount(done)) throw new NativeTypeError('progress(done): done must be a number from 0 on');
    shown.done = done;
    if (total !== undefined && total !== null) {
      if (!isAmount(total)) {
        throw new NativeTypeError('progress(done, total): total must be a number from 0 on');
      }
      shown.total = total;
    }
    if (message !== undefined && message !== null) {
      if (typeof message !== 'string') {
        throw new NativeTypeError('progress(done, total, message): message must be a string');
      }
      shown.message = message;
    }
    showState(show_progress, 'the progress', stringify(shown));
  },
};
define(globalObject, 'setStatus', stateFunctions.setStatus);
define(globalObject, 'progress', stateFunctions.progress);
