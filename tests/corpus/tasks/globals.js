// What a task hangs on globalThis and on built-in prototypes, and what it puts in the place of built-ins, is there after a call.
globalThis.loaded = (globalThis.loaded ?? 0) + 1;
module.exports = async function () {
  const { random } = Math;
  const { then } = Promise.prototype;
  const { stringify } = JSON;
  let state = 42;
  Math.random = () => (state = (state * 16807) % 2147483647) / 2147483647;
  Object.defineProperty(Array.prototype, "lastOne", { configurable: true, get() { return this[this.length - 1]; } });
  globalThis.shared = { log: [] };
  const drawn = [Math.random()];
  await call("patched", [1, 2, 3].lastOne);
  drawn.push(Math.random());
  let thens = 0;
  Promise.prototype.then = function (...handlers) { thens += 1; return Reflect.apply(then, this, handlers); };
  JSON.stringify = (...values) => stringify(...values).toUpperCase();
  const upper = JSON.stringify({ a: "patched" });
  JSON.stringify = stringify;
  shared.log.push(await call("then is ours", 7).then((n) => n * 2));
  Promise.prototype.then = then;
  class Clock extends Date { constructor(...values) { super(...(values.length > 0 ? values : [0])); } }
  const clock = new Clock();
  await call("a clock of our own");
  const result = {
    loaded, drawn: drawn.map((n) => Math.round(n * 1e9)), last: ["x", "y"].lastOne, log: globalThis.shared.log, counted: thens > 0, upper,
    clock: [clock.toISOString(), clock instanceof Date, new Clock(5).getTime()],
    names: [typeof globalThis, globalThis === (0, function () { return this; })()],
  };
  Math.random = random;
  delete Array.prototype.lastOne;
  delete globalThis.shared;
  delete globalThis.loaded;
  return result;
};
