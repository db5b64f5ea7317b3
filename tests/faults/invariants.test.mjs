// The checker is checked: each invariant is broken in a copy of a sound history, and must be found broken.
import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { alterDatabase, withDatabase } from "../support/js/database.mjs";
import { checkJournal, sampleJournal } from "../support/js/invariants.mjs";
import { crashSettings, Server } from "../support/js/server.mjs";
import { openSink, sinkTask } from "../support/js/sink.mjs";

const BROKEN = {
  "an acknowledged run is gone (I1)": ["", { acknowledged: [1, 99] }],
  "a run is not over (I1)": ["UPDATE task_runs SET status = 'running' WHERE id = 1; UPDATE stack_runs SET status = 'pending' WHERE id = (SELECT root_stack_run_id FROM task_runs WHERE id = 1)"],
  "a paused run without a reason (I1)": ["UPDATE task_runs SET status = 'paused' WHERE id = 1"],
  "a recorded result changed (I2)": ["UPDATE stack_runs SET result = '1' WHERE seq = 2"],
  "two outcomes at one position (I2)": ["UPDATE stack_runs SET delivered_as = 1 WHERE seq = 2"],
  "an epoch fell (I4)": ["UPDATE stack_runs SET epoch = 0 WHERE seq = 0"],
  "a run that was over changed (I5)": ["UPDATE task_runs SET result = '1' WHERE id = 1"],
  "a parent sleeps over an outcome (I6)": ["UPDATE task_runs SET status = 'running' WHERE id = 1; UPDATE stack_runs SET status = 'suspended_waiting_child', delivered_through = 1 WHERE seq = 0", { acknowledged: [] }],
  "a claim outlives the stop (I6)": ["UPDATE stack_runs SET status = 'processing' WHERE seq = 3", { samples: [] }],
  "a call is missing (I7)": ["DELETE FROM stack_runs WHERE seq = 2", { samples: [] }],
  "a later call of an earlier slice (I7)": ["UPDATE stack_runs SET slice = 0 WHERE seq = 3"],
  "a log line is missing (I7)": ["DELETE FROM task_logs WHERE n = 1"],
  "a row without its run (I12)": ["UPDATE stack_runs SET task_run_id = 77 WHERE seq = 3", { samples: [] }],
};

describe("the invariants' checker", () => {
  let sink;
  let server;
  let sample;
  before(async () => {
    sink = await openSink();
    server = new Server({ settings: crashSettings(sink), store: "sqlite" });
    await server.start();
    await server.publish("three", sinkTask(`for (const label of ["a", "b", "c"]) { console.log(label); await sink(label); } return "done";`));
    await server.complete("three", { url: sink.url });
    await server.check({ sink });
    sample = server.query(sampleJournal);
  });
  after(async () => {
    await server.destroy();
    await sink.close();
  });

  const check = (path, options) => withDatabase(path, (query) => checkJournal(query, { acknowledged: [1], samples: [sample], sink, ...options }));

  it("finds nothing in a sound history", () => check(server.databasePath));
  Object.entries(BROKEN).forEach(([what, [sql, options]], index) => {
    it(`finds: ${what}`, () => {
      const path = join(server.dir, `broken-${index}.db`);
      copyFileSync(server.databasePath, path);
      if (sql) alterDatabase(path, sql);
      const invariant = /\((I\d+)\)/.exec(what)[1];
      assert.throws(() => check(path, options), (error) => error.message.includes(invariant) || assert.fail(`found otherwise: ${error.message}`));
    });
  });
  it("finds: the sink saw a call too often, or after its outcome, or one that nobody made (I3)", () => {
    const [first] = sink.entries;
    for (const entry of [{ ...first }, { ...first, at: first.at + 100_000 }, { ...first, key: "1:9" }]) {
      const doubtful = { entries: entry.at === first.at && entry.key === first.key ? [...sink.entries, entry] : [entry, ...sink.entries.slice(1)] };
      assert.throws(() => check(server.databasePath, { sink: doubtful }), /I3/);
    }
  });
});
