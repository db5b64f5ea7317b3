// The invariants of docs and design (I1-I8, I12) on a stopped server's database. Each function takes `query`, which answers
// the rows of a statement as objects.
import assert from "node:assert/strict";

const TERMINAL = ["completed", "failed", "cancelled"];

/**
 * The statements that look at the history, by name: of all runs, or of those with an id above `after` and up to `through`.
 * Whoever cannot wait for a query (a rig that is also the world its server talks to) runs them and calls judgeJournal.
 */
export function journalStatements({ after = 0, through = Number.MAX_SAFE_INTEGER } = {}) {
  const within = (column) => `${column} > ${after} AND ${column} <= ${through}`;
  return {
    runs: `SELECT t.id, t.status, t.pause_reason, t.result, t.error, r.status AS root_status, r.journal_length,
      r.delivered_through, r.call_count, r.log_count, r.open_calls
      FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id WHERE ${within("t.id")}`,
    held: `SELECT id, task_run_id, seq, lease_owner FROM stack_runs WHERE status = 'processing' AND ${within("task_run_id")}`,
    gaps: `SELECT r.task_run_id, r.call_count, count(c.id) AS calls, max(c.seq) AS last FROM stack_runs r
      JOIN stack_runs c ON c.task_run_id = r.task_run_id AND c.seq > 0 WHERE r.seq = 0 AND ${within("r.task_run_id")}
      GROUP BY r.task_run_id, r.call_count HAVING count(c.id) <> max(c.seq) OR r.call_count <> max(c.seq)`,
    slices: `SELECT a.task_run_id, a.seq FROM stack_runs a JOIN stack_runs b ON b.task_run_id = a.task_run_id AND b.seq = a.seq + 1
      WHERE a.seq > 0 AND b.slice < a.slice AND ${within("a.task_run_id")}`,
    journal: `SELECT r.task_run_id, r.journal_length, count(c.id) AS outcomes, count(DISTINCT c.delivered_as) AS positions,
      coalesce(max(c.delivered_as), 0) AS last FROM stack_runs r LEFT JOIN stack_runs c ON c.task_run_id = r.task_run_id
      AND c.delivered_as > 0 WHERE r.seq = 0 AND ${within("r.task_run_id")} GROUP BY r.task_run_id, r.journal_length
      HAVING count(c.id) <> coalesce(max(c.delivered_as), 0) OR count(DISTINCT c.delivered_as) <> count(c.id)
      OR r.journal_length <> coalesce(max(c.delivered_as), 0)`,
    logs: `SELECT r.task_run_id, r.log_count, count(l.n) AS lines FROM stack_runs r LEFT JOIN task_logs l
      ON l.task_run_id = r.task_run_id WHERE r.seq = 0 AND ${within("r.task_run_id")} GROUP BY r.task_run_id, r.log_count
      HAVING count(l.n) <> r.log_count OR coalesce(max(l.n), 0) <> r.log_count`,
    calls: `SELECT task_run_id, seq, status, delivery, delivered_as, attempt, epoch, ended_at FROM stack_runs
      WHERE seq > 0 AND ${within("task_run_id")}`,
  };
}

/** What must never change again: recorded outcomes, and runs that are over. */
export function sampleJournal(query) {
  if (!query.tables().includes("stack_runs")) return undefined;  // killed before the schema was there
  return {
    outcomes: query(`SELECT task_run_id, seq, delivered_as, service_name, method_name, args, status, result, error
                       FROM stack_runs WHERE seq > 0 AND delivered_as > 0`),
    ended: query(`SELECT id, status, result, error, ended_at FROM task_runs WHERE status IN ('completed','failed','cancelled')`),
    epochs: query("SELECT id, epoch FROM stack_runs"),
  };
}

function checkSamples(samples, now) {
  const outcomes = new Map(now.outcomes.map((row) => [`${row.task_run_id}:${row.seq}`, row]));
  const ended = new Map(now.ended.map((row) => [row.id, row]));
  const epochs = new Map(now.epochs.map((row) => [row.id, row.epoch]));
  for (const sample of samples) {
    if (!sample) continue;
    for (const row of sample.outcomes) {
      assert.deepEqual(outcomes.get(`${row.task_run_id}:${row.seq}`), row, "I2: a recorded outcome changed");
    }
    for (const row of sample.ended) assert.deepEqual(ended.get(row.id), row, "I5: a run that was over changed");
    for (const { id, epoch } of sample.epochs) {
      // A row may be gone: a lazily committed slice that nothing followed may be lost with the process.
      if (epochs.has(id)) assert.ok(epochs.get(id) >= epoch, `I4: the epoch of stack run ${id} fell from ${epoch} to ${epochs.get(id)}`);
    }
  }
}

function checkSink(sink, calls, { arrivalsMax = 1 }) {
  const byKey = new Map(calls.map((row) => [`${row.task_run_id}:${row.seq}`, row]));
  const counts = new Map();
  for (const entry of sink.entries) {
    counts.set(entry.key, (counts.get(entry.key) ?? 0) + 1);
    const row = byKey.get(entry.key);
    assert.ok(row, `I3: the sink saw the key ${entry.key}, which no call has`);
    if (row.delivered_as > 0) {
      assert.ok(entry.at <= row.ended_at, `I3: ${entry.key} arrived at ${entry.at}, after its outcome was recorded at ${row.ended_at}`);
    }
  }
  for (const [key, count] of counts) {
    const most = byKey.get(key).delivery === 1 ? 1 : arrivalsMax;
    assert.ok(count <= most, `I3: the sink saw ${key} ${count} times, more than ${most}`);
  }
}

/** I1, I6 and I7, and I2's positions, on the answers of journalStatements. */
export function judgeJournal(found, { acknowledged = [], unfinished = [] } = {}) {
  const byId = new Map(found.runs.map((run) => [run.id, run]));
  for (const id of acknowledged) {
    const run = byId.get(id);
    assert.ok(run, `I1: run ${id} was acknowledged and is gone`);
    if (unfinished.includes(id)) continue;
    const over = TERMINAL.includes(run.status) || (run.status === "paused" && run.pause_reason);
    assert.ok(over, `I1: run ${id} is ${run.status} after healing`);
  }
  for (const run of found.runs) {
    if (run.root_status === "suspended_waiting_child") {
      assert.equal(run.delivered_through, run.journal_length, `I6: run ${run.id} sleeps though an outcome awaits it`);
      assert.ok(run.open_calls > 0, `I6: run ${run.id} waits for nothing`);
    }
    if (TERMINAL.includes(run.status)) assert.equal(run.root_status, run.status, `I6: root of run ${run.id}`);
    if (run.status === "completed") assert.notEqual(run.result, null, `I6: run ${run.id} completed without a result`);
    if (run.status === "failed") assert.notEqual(run.error, null, `I6: run ${run.id} failed without an error`);
  }
  assert.deepEqual(found.held, [], "I6: claims outlive the server that was stopped in order");
  assert.deepEqual(found.gaps, [], "I7: call numbers have gaps");
  assert.deepEqual(found.slices, [], "I7: a later call was issued by an earlier slice");
  assert.deepEqual(found.journal, [], "I2: the journal's positions are not 1…n");
  assert.deepEqual(found.logs, [], "I7: log lines have gaps or doubles");
}

/**
 * Checks a healed history. `acknowledged`: ids of runs that were answered 2xx. `samples`: earlier sampleJournal answers.
 * `sink`, `arrivalsMax`: its ledger, and how often it may have seen one at-least-once call (1 + faults).
 * `unfinished`: run ids that need not be over.
 */
export function checkJournal(query, { acknowledged = [], samples = [], sink, arrivalsMax, unfinished = [] } = {}) {
  assert.deepEqual(query.damage(), [], "I12");
  const found = Object.fromEntries(Object.entries(journalStatements()).map(([name, sql]) => [name, query(sql)]));
  judgeJournal(found, { acknowledged, unfinished });
  checkSamples(samples, sampleJournal(query));
  if (sink) checkSink(sink, found.calls, { arrivalsMax });
  return { runs: found.runs, calls: found.calls };
}
