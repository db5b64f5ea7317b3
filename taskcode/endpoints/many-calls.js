/**
 * Makes many calls one after the other and adds up what they answer. The benchmarks use it: the task itself does next to
 * nothing, so what is measured is the cost of suspending and resuming.
 *
 * @param {Object} [input]
 * @param {number} [input.calls=100] How many calls to make; 0 is allowed.
 * @returns {Promise<{calls: number, sum: number}>} The number of calls, and the sum of 1 to that number.
 */
module.exports = async function manyCalls(input) {
  const { calls = 100 } = input || {};
  if (!Number.isSafeInteger(calls) || calls < 0) {
    throw new TypeError(`Input "calls" must be a whole number of at least 0, not ${JSON.stringify(calls)}`);
  }
  let sum = 0;
  for (let i = 1; i <= calls; i++) {
    const answer = await __callHostTool__("echo", "echo", [{ i }]);
    sum += answer.i;
  }
  return { calls, sum };
};
