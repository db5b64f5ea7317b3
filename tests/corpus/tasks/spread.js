// Spread of what calls answered: into arguments, arrays, objects, constructors; getters, holes, strings, iterables, in program order.
module.exports = async function () {
  const order = [];
  const ask = async (label, value) => { order.push(label); return call(label, value); };
  const f = (...values) => values.length;
  const count = f(...await ask("list", [1, 2, 3]), 4, ...await ask("text", "h😀"), ...new Set(await ask("set", [5, 5])));
  const source = { a: 1, get b() { order.push("getter"); return 2; }, [Symbol.for("hidden")]: 3 };
  Object.defineProperty(source, "invisible", { value: 4, enumerable: false });
  const merged = { first: 0, ...source, ...await ask("object", { a: 9, c: [1] }), ...null, ...undefined, ..."xy", ...[7], ...false };
  class Point { constructor(x, y, ...more) { Object.assign(this, { x, y, more }); } }
  const point = new Point(...await ask("point", [1, 2, 3, 4]));
  const holes = [...[1, , 3]];
  const max = Math.max(...Array.from({ length: 10_000 }, (_, i) => i % 4999));
  const keep = { ...point, more: [...point.more, ...holes] };
  return {
    count, order, merged, symbols: Object.getOwnPropertySymbols({ ...source }).length,
    writable: Object.getOwnPropertyDescriptor(merged, "b").writable,
    point, holes: [1 in holes, holes.length], max, keep, rest: (({ a, ...others }) => others)({ a: 1, b: 2, c: 3 }),
  };
};
