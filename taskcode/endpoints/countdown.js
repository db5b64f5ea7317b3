/**
 * Counts down with a pause before every number. The pauses are durable: a task that sleeps holds no thread and no memory,
 * and wakes up on time even if the server was stopped in between. Try `{"from": 5, "seconds": 60}` and restart the server.
 *
 * @param {Object} [input]
 * @param {number} [input.from=3] The first number, 1 to 1000000.
 * @param {number} [input.seconds=1] The pause between two numbers, in seconds; 0 is allowed.
 * @returns {Promise<{counted: number, startedAt: string, endedAt: string}>} How far it counted, and when.
 */
module.exports = async function countdown(input) {
  const { from = 3, seconds = 1 } = input || {};
  if (!Number.isInteger(from) || from < 1 || from > 1000000) {
    throw new TypeError(`Input "from" must be a whole number from 1 to 1000000, not ${JSON.stringify(from)}`);
  }
  if (typeof seconds !== "number" || !(seconds >= 0)) {
    throw new TypeError(`Input "seconds" must be a number of at least 0, not ${JSON.stringify(seconds)}`);
  }
  const startedAt = new Date().toISOString();
  for (let left = from; left > 0; left--) {
    console.log(`${left}...`);
    await sleep(seconds * 1000);
  }
  console.log("Done.");
  return { counted: from, startedAt, endedAt: new Date().toISOString() };
};
