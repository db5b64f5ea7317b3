/**
 * Shows what a run sees when it is cancelled: the call it waits for rejects with CancelledError, `finally` blocks run, and
 * calls made there work. Start it, then `sequential-runner runs cancel ID`: the lock is given back, and the run ends as
 * cancelled.
 *
 * @param {Object} [input]
 * @param {number} [input.steps=60] How many steps the work has.
 * @param {number} [input.seconds=1] How long each takes.
 * @returns {Promise<{done: number}>} How many steps were made, if nobody cancelled it.
 */
module.exports = async function gracefulCancel(input) {
  const { steps = 60, seconds = 1 } = input || {};
  const lock = await __callHostTool__("echo", "echo", [{ lock: "demo" }]);
  let done = 0;
  try {
    while (done < steps) {
      await sleep(seconds * 1000);
      done += 1;
    }
    return { done };
  } catch (error) {
    if (error instanceof CancelledError) console.log(`Cancelled after ${done} of ${steps} steps`);
    throw error; // the run ends as cancelled; a value returned here would make it completed
  } finally {
    await __callHostTool__("echo", "echo", [{ unlock: lock.lock }]);
    console.log("The lock was given back");
  }
};
