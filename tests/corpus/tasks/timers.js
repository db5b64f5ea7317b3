// setTimeout, setInterval and sleep around calls: arguments, clearing, timers that set timers, an interval that makes calls.
const wait = (ms, ...values) => new Promise((resolve) => setTimeout((...given) => resolve(given), ms, ...values));
module.exports = async function () {
  const order = [];
  const cancelled = setTimeout(() => order.push("never"), 600_000);
  const nap = sleep(700).then(() => "woke");  // longer than a restart
  order.push(await call("before"));
  clearTimeout(cancelled);
  order.push(...await wait(20, "a", { b: 1 }));
  await new Promise((resolve) => {
    let ticks = 0;
    const interval = setInterval(async () => {
      ticks += 1;
      if (ticks === 3) clearInterval(interval);
      const tick = ticks;
      order.push(`tick ${tick}`);
      if (tick === 2) await call("in a tick");
      if (tick === 3) resolve();
    }, 40);
  });
  await call("between");
  await new Promise((resolve) => setTimeout(() => setTimeout(() => setTimeout(resolve, 5), 5), 5));
  order.push(await nap, await call("after"));
  return { order };
};
