// What is read before a suspension and what after it: compound assignments, operands, arguments, keys, targets, getters.
module.exports = async function () {
  const log = [];
  const ask = async (label, value) => { log.push(label); return call(label, value); };
  let x = 1;
  const change = async (label, by) => { const given = await ask(label, by); x += 10; return given; };
  const results = [];
  x += await change("compound", 1);        // x is read before the call
  results.push(x);
  x = await change("plain", 1) + x;        // x is read after the call
  results.push(x);
  results.push(x + await change("left operand first", 100) + x);
  const object = {
    hidden: [1, 2],
    get list() { log.push("getter"); return this.hidden; },
    set total(value) { log.push(`setter ${value}`); this.hiddenTotal = value; },
  };
  const replaced = object.hidden;
  const later = (async () => { object.list[log.push("key") && 0] = await ask("assigned", "value"); })();
  object.hidden = ["another"];             // too late: the target was evaluated before the call
  await later;
  const f = (...values) => values.join();
  let g = f;
  const called = (async () => g(x, await ask("argument", "arg"), x))();
  g = () => "never";
  x = -1;
  results.push(await called);
  object.total = (log.push("before the value"), await ask("last", 5));
  const odd = [(1, 2), typeof undeclared, void 0 === undefined];
  return { results, x, replaced, hidden: object.hidden, total: object.hiddenTotal, log, odd };
};
