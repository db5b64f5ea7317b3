// The order of microtasks before, between and after calls: await, then, queueMicrotask, async returns, thenables, nested jobs.
module.exports = async function () {
  const rounds = [];
  const thenable = { then(resolve) { resolve("thenable"); } };
  const round = async (label) => {
    const order = [];
    const note = (name) => () => { order.push(name); };
    const asyncReturns = async (value) => value;
    const answered = call(label).then(note("call"));
    queueMicrotask(note("queued 1"));
    Promise.resolve().then(note("then 1")).then(note("then 2")).then(note("then 3")).then(note("then 4"));
    asyncReturns(1).then(note("async value"));
    asyncReturns(Promise.resolve(1)).then(note("async promise"));
    Promise.resolve(thenable).then(note("thenable"));
    new Promise((resolve) => { order.push("executor"); resolve(Promise.resolve()); }).then(note("resolved with a promise"));
    (async () => { await null; order.push("await 1"); await thenable; order.push("await thenable"); })();
    Promise.reject(1).catch(note("catch")).finally(note("finally"));
    queueMicrotask(() => { order.push("queued 2"); queueMicrotask(note("nested")); Promise.resolve().then(note("nested then")); });
    order.push("synchronous");
    await answered;
    order.push("after the call");
    rounds.push(order);
  };
  await round("first");
  await round("second");
  const [a, b] = [[], []];
  const pingPong = async (log, name) => { for (let i = 0; i < 3; i++) { log.push(name + i); await undefined; } };
  await Promise.all([pingPong(a, "x"), pingPong(a, "y"), call("beside").then(() => pingPong(b, "z"))]);
  return { rounds, a, b, same: rounds[0].join() === rounds[1].join() };
};
