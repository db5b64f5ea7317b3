// Promises of one's own class, promises kept unresolved in a table, resolvers that leave their executor, states seen by a race.
class Tracked extends Promise {
  static made = 0;
  constructor(executor) { super(executor); Tracked.made += 1; }
  static defer() {
    let parts;
    const promise = new this((resolve, reject) => { parts = { resolve, reject }; });
    return { promise, ...parts };
  }
}
const turns = (n) => (n === 0 ? Promise.resolve("pending") : Promise.resolve(n - 1).then(turns));
const state = async (promise) => Promise.race([promise.then(() => "fulfilled", () => "rejected"), turns(3)]);
module.exports = async function () {
  const table = new Map(["a", "b", "c"].map((name) => [name, Tracked.defer()]));
  const settled = [];
  for (const [name, { promise }] of table) {
    const note = (value) => settled.push(`${name} ${value}`);
    promise.then(note, note);
  }
  const before = await state(table.get("a").promise);
  const ofA = call("of a", "answered");
  table.get("a").resolve(ofA);
  await ofA;
  table.get("b").reject(await call("of b", "refused"));
  await call("of nobody");
  const between = [await state(table.get("a").promise), await state(table.get("b").promise), await state(table.get("c").promise)];
  table.get("a").resolve("too late");
  table.get("c").resolve(table.get("a").promise);
  const all = await Tracked.allSettled([...table.values()].map((one) => one.promise));
  const plain = call("plain");
  const kinds = [table.get("a").promise.then(() => {}), Tracked.resolve(1).finally(() => {}), plain].map((one) => one instanceof Tracked);
  await plain;
  const tag = String(Tracked.defer().promise);
  return { before, between, settled, all: all.map((one) => one.value ?? one.reason), kinds, made: Tracked.made > 3, tag };
};
