// Map and Set whose iterators are half way through while they change; WeakMap, WeakSet; keys of every kind.
module.exports = async function () {
  const key = { object: true };
  const symbol = Symbol("a symbol");
  const map = new Map([["a", 1], [NaN, "not a number"], [key, "by identity"], [symbol, "symbol"], [-0, "zero"], [undefined, "undefined"]]);
  const entries = map.entries();
  const seen = [entries.next().value, entries.next().value];
  await call("half way");
  map.delete(key);
  map.set("late", await call("late"));
  map.set("a", "changed behind the iterator");
  for (const [k, v] of entries) seen.push([typeof k === "symbol" ? k.description : String(k), v]);
  const set = new Set(await call("set", [3, 1, 3, 2, 1]));
  const grown = [];
  for (const n of set) {
    if (n < 10) set.add(n + 9);
    if (n === 1) {
      await call("in the loop over the set");
      set.delete(3);
      set.add(3);
    }
    grown.push(n);
  }
  const weak = new WeakMap([[key, { kept: 1 }]]);
  const members = new WeakSet([key]);
  await call("weak");
  weak.get(key).kept += 1;
  return {
    seen, grown, set: [...set], size: map.size, weak: [weak.get(key), weak.has({}), members.has(key)],
    found: [map.get(NaN), map.get(0), map.get(symbol), map.has(key), Object.is([...map.keys()][2], 0)],
  };
};
