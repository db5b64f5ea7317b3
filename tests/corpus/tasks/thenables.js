// Thenables: awaited, returned, nested; one that answers twice, one that throws late, one whose answer is a call, a lazy query.
class Query {
  #parts = [];
  constructor(table) { this.table = table; }
  where(part) { this.#parts.push(part); return this; }
  then(resolve, reject) { return call(`query ${this.table}`, { table: this.table, parts: this.#parts }).then(resolve, reject); }
}
module.exports = async function () {
  const log = [];
  const twice = { then(resolve, reject) { resolve("first"); resolve("second"); reject(new Error("third")); } };
  const throws = { then(resolve) { resolve("before"); throw new Error("after"); } };
  const rejects = { then(_, reject) { log.push("asked"); reject(new RangeError("by a thenable")); } };
  const late = { then: (resolve) => void call("late", "answered").then((value) => resolve({ then: (again) => again(`${value} twice`) })) };
  const query = new Query("users").where("a").where("b");
  log.push(await twice, await throws, await late);
  const rows = await query;
  const again = await Promise.all([query.where("c"), Promise.resolve(rejects).catch((error) => error.name)]);
  const getter = { get then() { log.push("then was read"); return undefined; } };
  log.push(await getter === getter);
  const adopted = new Promise((resolve) => resolve(late));
  const chained = await adopted.then((value) => new Query(value));
  const self = await (async () => { const p = Promise.resolve().then(() => p); return p; })().catch((error) => error.name);
  return { log, rows, again, chained, self };
};
