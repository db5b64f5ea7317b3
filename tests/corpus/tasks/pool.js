// A pool of workers over a queue, retries with growing pauses, memoised calls, batching: what is usually around calls.
const retry = async (attempts, f) => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await f(attempt);
    } catch (error) {
      if (attempt === attempts) throw new Error(`gave up after ${attempt}`, { cause: error });
      await sleep(5 * 2 ** attempt);
    }
  }
};
const memoise = (f) => {
  const cache = new Map();
  return (key) => { if (!cache.has(key)) cache.set(key, f(key)); return cache.get(key); };
};
module.exports = async function () {
  const queue = ["a", "b", "c", "d", "e"];
  const done = [];
  const worker = async (name) => {
    const mine = [];
    for (let job; (job = queue.shift()) !== undefined;) {
      mine.push(await call(`job ${job}`, job, job === "a" ? { after: "job e" } : {}));
      done.push(job);
    }
    return [name, mine];
  };
  const workers = await Promise.all([worker("one"), worker("two")]);
  const tried = [];
  const succeeded = await retry(3, async (attempt) => {
    tried.push(attempt);
    return attempt < 2 ? call(`try ${attempt}`, 0, { broken: true }) : "second time lucky";
  });
  const gaveUp = await retry(2, async () => { throw new RangeError("always"); }).catch((error) => [error.message, error.cause.name]);
  let asked = 0;
  const lookup = memoise(async (key) => { asked += 1; return call(`look up ${key}`, `${key}!`); });
  const looked = await Promise.all([lookup("x"), lookup("y"), lookup("x")]);
  looked.push(await lookup("y"));
  return { workers, done: done.slice(0, 3), tried, succeeded, looked, asked, gaveUp };
};
