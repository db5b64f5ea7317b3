// 50 asynchronous calls deep, each with variables of its own and a finally block; the call is made at the bottom.
const DEPTH = 50;
const unwound = [];
async function down(level, trail) {
  const mine = { level, double: level * 2 };
  try {
    if (level === DEPTH) return [await call("at the bottom", level), trail.length];
    const below = await down(level + 1, [...trail, mine.double]);
    if (level === 25) below.push(await call("half way up", mine));
    return [...below, trail.length - level];
  } finally {
    unwound.push(mine.level);
  }
}
async function fails(level) {
  if (level === DEPTH) throw new RangeError(await call("why", "the bottom fell out"));
  try {
    return await fails(level + 1);
  } catch (error) {
    if (level % 10 === 0) throw new Error(`level ${level}`, { cause: error });
    throw error;
  }
}
module.exports = async function () {
  const result = await down(1, []);
  const error = await fails(1).catch((one) => one);
  await call("the error waits");
  const causes = [];
  for (let one = error; one; one = one.cause) causes.push(one.message);
  let long = call("a chain of thens", 1);
  for (let i = 0; i < DEPTH; i++) long = long.then((sum) => sum + i);
  return { result, causes, unwound: [unwound.length, unwound[0], unwound.at(-1)], chain: await long };
};
