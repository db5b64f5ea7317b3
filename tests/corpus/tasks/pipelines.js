// Pipelines of asynchronous iterables: batching, flattening, merging with a buffer, back pressure, an error that goes through.
const batch = async function* (source, size) {
  let items = [];
  for await (const item of source) {
    items.push(item);
    if (items.length === size) { yield items; items = []; }
  }
  if (items.length > 0) yield items;
};
const map = async function* (source, f) { for await (const item of source) yield f(item); };
const flatten = async function* (source) { for await (const items of source) yield* items; };
async function* numbers(to, log) {
  for (let n = 1; n <= to; n++) {
    log.push(`made ${n}`);
    yield n;
  }
}
async function* observe(emit) {
  const values = [];
  let wake;
  const done = emit((value) => { values.push(value); wake?.(); }).then(() => "done");
  for (;;) {
    while (values.length > 0) yield values.shift();
    const how = await Promise.race([done, new Promise((resolve) => { wake = resolve; })]);
    if (how === "done" && values.length === 0) return;
  }
}
module.exports = async function () {
  const log = [];
  const results = [];
  const stages = flatten(map(batch(numbers(5, log), 2), async (items) => {
    log.push(`asked ${items}`);
    return call(`batch ${items}`, items.map((n) => n * n));
  }));
  for await (const square of stages) {
    log.push(`got ${square}`);
    results.push(square);
  }
  const observed = [];
  for await (const value of observe(async (next) => { next(1); next(await call("emitted", 2)); next(3); })) observed.push(value);
  let failure;
  const failsAtTwo = async (n) => {
    if (n === 2) throw new Error(`at ${await call("failing", n)}`);
    return n;
  };
  try {
    for await (const item of map(numbers(3, []), failsAtTwo)) observed.push(item * 10);
  } catch (error) {
    failure = error.message;
  }
  return { results, log, observed, failure };
};
