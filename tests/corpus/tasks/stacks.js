// Stacks name the task's own lines, also of frames that were suspended, of errors made before, and through asynchronous callers.
const places = (error) => error.stack.split("\n").slice(1).filter((line) => /\(?stacks\.js:/.test(line))
  .map((line) => line.trim().replace(/^at (async )?(?:(?:\w+\.)?(\S+) )?\(?stacks\.js:(\d+):(\d+)\)?$/, "$1$2 $3:$4"));

function thrower(message) {
  throw new TypeError(message);
}
async function afterCall(label) {
  await call(label);
  thrower("after a call");
}
async function passes(label) {
  return await afterCall(label);
}
class Thing {
  #broken() { return new RangeError("from a private method"); }
  async act(label) { await call(label); return this.#broken(); }
}
module.exports = async function main() {
  const early = new Error("made early");
  const seen = {};
  try {
    await passes("first");
  } catch (error) {
    seen.late = [error.message, ...places(error)];
  }
  await call("second");
  seen.early = places(early);
  seen.method = places(await new Thing().act("third"));
  try {
    null.missing;
  } catch (error) {
    seen.engine = places(error);
  }
  seen.callback = [1].map(() => places(new Error("in a callback")))[0];
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 1;
  const short = () => places((() => new Error("short"))()).length;
  seen.limits = [short(), await call("limited", 0), Error.stackTraceLimit, short()];
  Error.stackTraceLimit = limit;
  const capture = () => { const holder = {}; Error.captureStackTrace(holder, capture); return places(holder); };
  seen.captured = (() => capture())();
  Error.prepareStackTrace = (error, sites) => [error.message, ...sites.map((site) => site.getFunctionName() ?? "-")].slice(0, 2);
  const structured = new Error("structured");
  await call("another format");
  seen.structured = [structured.stack, (() => new Error("within"))().stack];
  delete Error.prepareStackTrace;
  return seen;
};
