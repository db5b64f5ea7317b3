// Date stands still between two suspensions, never goes back, and a replay sees what was seen before.
module.exports = async function () {
  const seen = [];
  const look = () => {
    const now = Date.now();
    let spent = 0;
    for (let i = 0; i < 100_000; i++) spent += i % 7;
    const still = now === Date.now() && now === new Date().getTime() && performance.now() === now - performance.timeOrigin;
    seen.push(now);
    return still && spent > 0 && Date() === new Date(now).toString();
  };
  const still = [look()];
  await call("first", 0, { noise: seen.at(-1) });
  still.push(look());
  await sleep(30);
  still.push(look());
  await call("second", 0, { noise: seen.at(-1) });
  const when = new Date(Date.UTC(2024, 0, 31, 12));
  when.setUTCMonth(1);
  still.push(look());
  await call("third", 0, { noise: seen.at(-1) });
  when.setUTCDate(when.getUTCDate() - 1);
  const [began, , woke] = seen;
  return {
    still, forward: seen.every((now, i) => i === 0 || now >= seen[i - 1]), slept: woke - seen[1] >= 30, started: began === task.started,
    when: [when.toISOString(), when.getTimezoneOffset(), Date.parse("2024-02-29") === Date.UTC(2024, 1, 29), new Date(NaN).getTime()],
    type: [new Date() instanceof Date, Object.prototype.toString.call(when), Date.length, when.constructor === Date],
    noise: [seen[0], seen[2], seen[3]],
  };
};
