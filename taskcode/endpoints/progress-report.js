/**
 * Works through a list and shows how far it is: a status for each batch, and a progress for each item. Watch it with
 * `sequential-runner run progress-report --wait`, or with `curl -N` on GET /runs/{id}/events.
 *
 * @param {Object} [input]
 * @param {number} [input.items=20] How many items there are, 1 to 100000.
 * @param {number} [input.seconds=0.2] How long each of them takes, in seconds; 0 is allowed.
 * @returns {Promise<{items: number, batches: number}>} How many items were done, in how many batches.
 */
module.exports = async function progressReport(input) {
  const { items = 20, seconds = 0.2 } = input || {};
  if (!Number.isInteger(items) || items < 1 || items > 100000) {
    throw new TypeError(`Input "items" must be a whole number from 1 to 100000, not ${JSON.stringify(items)}`);
  }
  if (typeof seconds !== "number" || !(seconds >= 0)) {
    throw new TypeError(`Input "seconds" must be a number of at least 0, not ${JSON.stringify(seconds)}`);
  }
  const size = 5;
  const batches = Math.ceil(items / size);
  let done = 0;
  for (let batch = 1; batch <= batches; batch++) {
    setStatus({ phase: "working", batch, batches });
    for (let i = 0; i < size && done < items; i++) {
      progress(done, items, `item ${done + 1}`);
      await sleep(seconds * 1000);
      done++;
    }
    console.log(`batch ${batch} of ${batches} is done`);
  }
  progress(done, items);
  setStatus({ phase: "done" });
  return { items: done, batches };
};
