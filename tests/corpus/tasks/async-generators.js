// Async generators with calls inside, left early: their finally blocks make calls before the loop goes on.
const order = [];
async function* pages(name, last) {
  try {
    for (let n = 1; n <= last; n++) yield { n, items: await call(`${name}-${n}`, [n, n * n]) };
  } finally {
    order.push(`closing ${name}`);
    order.push(await call(`closed ${name}`));
  }
}
async function* items(source) {
  for await (const page of source) yield* page.items;
}
async function* evens(source) {
  for await (const n of source) if (n % 2 === 0) yield n;
}
module.exports = async function () {
  const taken = [];
  for await (const n of evens(items(pages("long", 9)))) {
    taken.push(n);
    order.push(`took ${n}`);
    if (taken.length === 2) break;
  }
  const manual = pages("manual", 5);
  const queue = [manual.next(), manual.next(), manual.return("early"), manual.next()];  // they queue up
  const queued = await Promise.all(queue);
  const failing = (async function* () {
    try {
      yield 1;
    } catch (error) {
      yield `caught ${error.message}`;
    }
  })();
  await failing.next();
  const thrown = [await failing.throw(new Error("into it")), await failing.next()];
  return { taken, order, queued, thrown };
};
