// Functions across calls: bind, call and apply, `this` in its kinds, default parameters, currying, names and lengths, hoisting.
"use strict";
const counter = { n: 0, async add(label, amount = this.n + 1) { this.n += await call(label, amount); return this; } };
function Legacy(name) {
  if (!new.target) return new Legacy(name);
  this.name = name;
}
Legacy.prototype.hello = async function (label, ...rest) { return [this.name, await call(label), ...rest, typeof this]; };
module.exports = async function () {
  const bound = counter.add.bind(counter, "bound");
  await bound();
  await bound(10);
  const other = { n: 100 };
  await counter.add.call(other, "called");
  const legacy = Legacy("old");
  const hello = Legacy.prototype.hello.bind(legacy, "hello", 1).bind("ignored", 2);
  const greeted = await hello(3);
  const strict = await (async function () { await call("strict"); return this === undefined; })();
  const primitive = await (async function () { return typeof this; }).call(5);
  const curry = (f, ...given) => (given.length >= f.length ? f(...given) : (...more) => curry(f, ...given, ...more));
  const curried = curry(async (a, b, c) => [a, b, c, await call("curried")])(1)(2, 3);
  const compose = (...fs) => (value) => fs.reduceRight((promise, f) => promise.then(f), Promise.resolve(value));
  const arrow = function () { return (() => this.n)(); };
  const named = { ["computed " + 1]: async () => {}, get x() { return 1; }, async *gen() {} };
  const getter = Object.getOwnPropertyDescriptor(named, "x").get;
  const names = [bound, named["computed 1"], getter, named.gen, () => {}, Legacy.prototype.hello];
  return {
    n: [counter.n, other.n], greeted, legacy: [legacy instanceof Legacy, Object.keys(legacy)], strict, primitive, curried: await curried,
    composed: await compose((s) => `${s}!`, async (n) => n * 2, (n) => n + 1)(20), arrow: arrow.call({ n: 7 }),
    names: names.map(({ name }) => name), lengths: [hello.length, counter.add.length, curry.length],
    text: String(function  spaced ( a,b ) { return a }),
  };
};
