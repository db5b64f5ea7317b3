// What tests of queues share: a task that is at work between two calls of the sink, and judges of who was when.
import assert from "node:assert/strict";
import { sinkTask } from "./sink.mjs";

/** At work from `begin:<key>:<n>` to `end:<key>:<n>`. */
export const QUEUED_TASK = sinkTask(`
  await sink("begin:" + input.key + ":" + input.n);
  await sink("end:" + input.key + ":" + input.n);
  return input.n;
`);

/** The sink's requests without those that a retry repeated: {what, key, n}. */
export function steps(sink) {
  const seen = new Set();
  return sink.entries.filter(({ label }) => !seen.has(label) && seen.add(label)).map(({ label }) => {
    const [what, key, n] = label.split(":");
    return { what, key, n: Number(n) };
  });
}

/** No two runs of a key were at work at once, and each key's began in order. Answers the most of all keys at once. */
export function judgeKeys(sink, { perKey = 1 } = {}) {
  const open = new Map();
  const last = new Map();
  let all = 0;
  let most = 0;
  for (const { what, key, n } of steps(sink)) {
    const runs = open.get(key) ?? new Set();
    open.set(key, runs);
    if (what === "end") {
      assert.ok(runs.delete(n), `run ${n} of ${key} ended before it began`);
      all--;
      continue;
    }
    runs.add(n);
    assert.ok(runs.size <= perKey, `runs ${[...runs]} of ${key} at once`);
    assert.ok(perKey > 1 || n > (last.get(key) ?? -1), `run ${n} of ${key} after run ${last.get(key)}`);
    last.set(key, n);
    most = Math.max(most, ++all);
  }
  return most;
}

/** What is left in the queues of a stopped server: [[state, count]] of runs, and keys with wrong counts. */
export function leftInQueues(query) {
  return {
    runs: query("SELECT count(*) AS n FROM queue_runs q JOIN task_runs t ON t.id = q.run WHERE q.state < 3 OR t.ended_at IS NULL"),
    lost: query(`SELECT count(*) AS n FROM task_runs t WHERE t.queue_key IS NOT NULL AND t.ended_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM queue_runs q WHERE q.run = t.id)`),
    counts: query(`SELECT count(*) AS n FROM queues a
      WHERE a.running <> (SELECT count(*) FROM queue_runs q WHERE q.task = a.task AND q.state IN (2, 5))
      OR a.waiting <> (SELECT count(*) FROM queue_runs q WHERE q.task = a.task AND q.state IN (1, 4))`),
  };
}

export function assertNoSlotLeaked(query) {
  for (const [what, rows] of Object.entries(leftInQueues(query))) {
    assert.equal(Number(rows[0].n ?? Object.values(rows[0])[0]), 0, what);
  }
}
