// Symbol.asyncIterator by hand, whose `return` makes a call; for await over promises, over a synchronous iterator, over a failure.
class Range {
  constructor(label, to) { Object.assign(this, { label, to, log: [] }); }
  [Symbol.asyncIterator]() {
    let n = 0;
    return {
      next: async () => {
        if (n === this.to) return { value: "end", done: true };
        return { value: n === 1 ? await call(`${this.label}-1`, 100) : n, done: !++n };
      },
      return: async (value) => {
        this.log.push(await call(`${this.label} returned`));
        return { value, done: true };
      },
    };
  }
}
module.exports = async function () {
  const seen = [];
  const range = new Range("range", 9);
  for await (const n of range) {
    seen.push(n);
    if (seen.length === 3) break;
  }
  for await (const value of [call("p1", 1), 2, call("p3", 3), Promise.resolve(4)]) seen.push(value);
  const failing = new Range("failing", 9);
  try {
    for await (const n of failing) if (n === 100) throw new Error(await call("thrown in the body"));
  } catch (error) {
    seen.push(error.message);
  }
  try {
    for await (const value of [1, Promise.reject(new RangeError("rejected element"))]) seen.push(value);
  } catch (error) {
    seen.push(error.name);
  }
  return { seen, logs: [range.log, failing.log] };
};
