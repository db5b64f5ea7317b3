// Resources without `using`: released in reverse order by calls, also when something fails, also when releasing fails.
class Stack {
  #releases = [];
  use(name, release) { this.#releases.push([name, release]); return name; }
  async dispose(error, failed) {
    for (const [name, release] of this.#releases.reverse()) {
      try {
        await release(name);
      } catch (another) {
        error = failed ? Object.assign(new Error("suppressed"), { error: another, suppressed: error }) : another;
        failed = true;
      }
    }
    if (failed) throw error;
  }
}
async function withStack(body) {
  const stack = new Stack();
  let result;
  try {
    result = await body(stack);
  } catch (error) {
    await stack.dispose(error, true);
  }
  await stack.dispose();
  return result;
}
module.exports = async function () {
  const log = [];
  const open = async (stack, name, breaks) => stack.use(await call(`open ${name}`, name), async () => {
    log.push(`release ${name}`);
    if (breaks) throw new RangeError(`release of ${name}`);
    log.push(await call(`close ${name}`, `closed ${name}`));
  });
  const good = await withStack(async (stack) => {
    const [file, lock] = [await open(stack, "file"), await open(stack, "lock")];
    return `${file} and ${lock}`;
  });
  const bad = await withStack(async (stack) => {
    await open(stack, "broken", true);
    stack.use("also broken", () => { throw new TypeError("at once"); });
    throw new Error("of the body");
  }).catch((error) => error);
  await call("the errors wait");
  const { suppressed } = bad;
  return { log, good, bad: [bad.message, bad.error.name, suppressed.message, suppressed.error.name, suppressed.suppressed.message] };
};
