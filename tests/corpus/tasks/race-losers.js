// Promise.race: the losers keep running to their end and can still be awaited; a loser's failure after the race troubles nobody.
module.exports = async function () {
  const log = [];
  const work = async (name, more) => {
    const value = await call(name, name, more);
    log.push(`${name} answered`);
    return value;
  };
  const slow = work("slow", { after: "both races are over" });
  const winner = await Promise.race([slow, work("fast"), new Promise(() => {})]);
  log.push(`${winner} won`);
  const failing = call("fails late", 0, { broken: true, after: "both races are over" });
  const second = await Promise.race([failing, call("quick", "quick")]);
  log.push(`${second} won`);
  await call("both races are over");
  await slow;
  const failure = await failing.catch((error) => error.code);
  const ready = await Promise.race([Promise.reject(new Error("already rejected")), slow]).catch((error) => error.message);
  return { winner, second, failure, ready, log };
};
