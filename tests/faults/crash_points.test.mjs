// F01-F10: kill -9 of the server at each named crash point, then a restart. What must hold is in tests/faults/README.md.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BOUND_MS, crashSettings, Server } from "../support/js/server.mjs";
import { openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const PURE = "module.exports = async function (input) { return { doubled: input.n * 2 }; };";
const ONE_CALL = sinkTask(`
  console.log("before");
  let answer;
  try {
    answer = await sink("only", input.options);
  } catch (error) {
    return { caught: { name: error.name, code: error.code } };
  }
  console.log("after");
  return { answer };`);
const THREE_CALLS = sinkTask(`
  const answers = [];
  for (const label of ["a", "b", "c"]) {
    console.log("call " + label);
    answers.push(await sink(label));
  }
  return answers;`);
const AMO = { delivery: "at_most_once" };

let sink;
let server;

/** A fresh server with a crash armed, and the tasks published. */
async function open(faults, settings = {}) {
  sink = await openSink();
  server = new Server({ settings: crashSettings(sink, settings) });
  await server.start({ faults });
  await server.publish("pure", PURE);
  await server.publish("one", ONE_CALL);
  await server.publish("three", THREE_CALLS);
}
async function close() {
  await server.destroy();
  await sink.close();
}
/** A test around a server that crashes at `faults`. */
function crashTest(name, faults, body, settings) {
  it(name, { timeout: 60_000 }, async () => {
    try {
      await open(faults, settings);
      await body();
    } finally {
      await close();
    }
  });
}

/** Submits while the server may die before it answers; null: no answer came, so the outcome is unknown. */
async function submitUnknown(task, input, options) {
  try {
    return await server.execute(task, input, { options });
  } catch {
    return null;
  }
}
const runIds = async () => (await server.get("/runs")).runs.map((run) => run.id);

describe("F01 submit.before_commit", () => {
  crashTest("a retry with the key makes exactly one run", "submit.before_commit=kill9", async () => {
    const options = { idempotency_key: "order-1" };
    assert.equal(await submitUnknown("pure", { n: 4 }, options), null);
    await server.crashed();
    await server.start();
    assert.deepEqual(await runIds(), []);
    const retry = await server.execute("pure", { n: 4 }, { options });
    assert.equal(retry.status, 202);
    assert.equal(retry.json().data.existing, false);
    const run = await server.ended(retry.json().data.taskRunId);
    assert.deepEqual(run.result, { doubled: 8 });
    assert.deepEqual(await runIds(), [run.id]);
    await server.check();
  });
});

describe("F02 submit.after_commit", () => {
  crashTest("a retry with the key answers the run that is there", "submit.after_commit=kill9", async () => {
    const options = { idempotency_key: "order-2" };
    assert.equal(await submitUnknown("pure", { n: 4 }, options), null);
    await server.crashed();
    await server.start();
    const there = await runIds();
    assert.equal(there.length, 1);
    const retry = await server.execute("pure", { n: 4 }, { options });
    assert.equal(retry.status, 200);
    assert.equal(retry.json().data.existing, true);
    assert.equal(retry.json().data.taskRunId, there[0]);
    const run = await server.ended(there[0]);
    assert.deepEqual(run.result, { doubled: 8 });
    assert.deepEqual(await runIds(), there);
    await server.check();
  });
});

describe("F03 claim.after_commit", () => {
  crashTest("another claim has epoch 2, and there is one result", "claim.after_commit=kill9", async () => {
    // A delayed run is not handed over with its submit: its timer fires a hint, and the hint claims.
    const id = await server.submit("pure", { n: 5 }, { options: { delay_ms: 20 } });
    await server.crashed();
    const [claimed] = server.query((query) => query("SELECT epoch, status FROM stack_runs WHERE seq = 0"));
    assert.deepEqual(claimed, { epoch: 1, status: "processing" });
    await server.start();
    const run = await server.ended(id);
    assert.deepEqual(run.result, { doubled: 10 });
    const root = await server.get(`/stack/${run.root_stack_run_id}`);
    assert.equal(root.epoch, 2);
    assert.deepEqual(root.attempts.map(({ epoch, outcome }) => ({ epoch, outcome })), [{ epoch: 1, outcome: "lost" }]);
    await server.check();
  });
});

describe("F04 suspend.before_commit", () => {
  for (const nth of [1, 2, 3]) {
    crashTest(`at suspension ${nth}: the slice replays and its call has exactly one row`, `suspend.before_commit=kill9@${nth}`, async () => {
      const id = await server.submit("three", { url: sink.url });
      await server.crashed();
      const rows = server.query((query) => query("SELECT seq FROM stack_runs WHERE seq > 0 ORDER BY seq"));
      assert.deepEqual(rows.map((row) => row.seq), [1, 2].slice(0, nth - 1));
      assert.equal(sink.entries.length, nth - 1);
      await server.start();
      const run = await server.ended(id);
      assert.deepEqual(run.result.map((answer) => [answer.label, answer.arrival]), [["a", 1], ["b", 1], ["c", 1]]);
      assert.deepEqual((await server.logs(id)).map((entry) => entry.message), ["call a", "call b", "call c"]);
      await server.check({ sink });
    });
  }
});

describe("F05 suspend.after_commit with the chain off", () => {
  crashTest("the call starts within the bound", "suspend.after_commit=kill9", async () => {
    const id = await server.submit("one", { url: sink.url });
    await server.crashed();
    assert.equal(sink.entries.length, 0);
    await server.start();
    const listening = Date.now();
    const run = await server.ended(id);
    assert.equal(sink.count("only"), 1);
    assert.ok(sink.entries[0].at - listening <= BOUND_MS, `the call started ${sink.entries[0].at - listening} ms after the restart`);
    assert.equal(run.result.answer.arrival, 1);
    await server.check({ sink });
  }, { "chain.enabled": false });
});

describe("F06 call.after_started", () => {
  crashTest("at least once: sent once, as attempt 2", "call.after_started=kill9", async () => {
    const id = await server.submit("one", { url: sink.url });
    await server.crashed();
    assert.equal(sink.entries.length, 0);
    await server.start();
    const run = await server.ended(id);
    assert.equal(run.result.answer.arrival, 1);
    assert.equal(sink.count("only"), 1);
    const [, call] = await server.stack(id);
    assert.equal(call.attempt, 2);
    assert.equal(call.attempts[0].outcome, "lost");
    await server.check({ sink });
  });
  crashTest("at most once: never sent, and the task catches outcome_unknown", "call.after_started=kill9", async () => {
    const id = await server.submit("one", { url: sink.url, options: AMO });
    await server.crashed();
    await server.start();
    const run = await server.ended(id);
    assert.deepEqual(run.result, { caught: { name: "OutcomeUnknownError", code: "outcome_unknown" } });
    assert.equal(sink.count("only"), 0);
    await server.check({ sink });
  });
});

describe("F07 a call was sent and its outcome not recorded", () => {
  for (const point of ["call.after_send", "call.before_record"]) {
    crashTest(`${point}, at least once: sent twice under one key`, `${point}=kill9`, async () => {
      const id = await server.submit("one", { url: sink.url });
      await server.crashed();
      assert.equal(sink.count("only"), 1);
      await server.start();
      const run = await server.ended(id);
      assert.equal(sink.count("only"), 2);
      assert.deepEqual(sink.entries.map((entry) => entry.key), [`${id}:1`, `${id}:1`]);
      assert.deepEqual(run.result.answer, { label: "only", arrival: 2, nonce: 2 });
      await server.check({ sink, arrivalsMax: 2 });
    });
    crashTest(`${point}, at most once: sent once, outcome_unknown`, `${point}=kill9`, async () => {
      const id = await server.submit("one", { url: sink.url, options: AMO });
      await server.crashed();
      assert.equal(sink.count("only"), 1);
      await server.start();
      const run = await server.ended(id);
      assert.deepEqual(run.result, { caught: { name: "OutcomeUnknownError", code: "outcome_unknown" } });
      assert.equal(sink.count("only"), 1);
      await server.check({ sink });
    });
  }
});

describe("F08 call.after_record", () => {
  for (const chain of [true, false]) {
    crashTest(`chain ${chain ? "on" : "off"}: not sent again, and the parent goes on within the bound`, "call.after_record=kill9", async () => {
      const id = await server.submit("one", { url: sink.url });
      await server.crashed();
      assert.equal(sink.count("only"), 1);
      await server.start();
      const listening = Date.now();
      const run = await server.ended(id);
      assert.ok(Date.now() - listening <= BOUND_MS, `the run ended ${Date.now() - listening} ms after the restart`);
      assert.deepEqual(run.result.answer, { label: "only", arrival: 1, nonce: 1 });
      assert.equal(sink.count("only"), 1);
      await server.check({ sink });
    }, { "chain.enabled": chain });
  }
});

describe("F09 replay.midway of 20 calls", () => {
  crashTest("recorded calls stay quiet and the output is what was recorded", undefined, async () => {
    await server.publish("twenty", sinkTask(`
      const answers = [];
      for (let i = 1; i <= 21; i++) {
        console.log("call " + i);
        answers.push((await sink("call" + i)).nonce);
      }
      return answers;`));
    sink.behave = (entry) => (entry.label === "call21" && entry.arrival === 1 ? "hang" : undefined);
    const id = await server.submit("twenty", { url: sink.url });
    await until("the sink to see call 21", () => sink.count("call21") > 0);
    await server.kill9();
    // The open call is made again, and its outcome resumes the run by a replay, which is cut short: once when the journal
    // has been read, once when it has been sent to the engine.
    for (const faults of ["replay.midway=kill9", "replay.midway=kill9@2"]) {
      await server.start({ faults });
      await server.crashed();
    }
    await server.start();
    const run = await server.ended(id);
    const nonces = [];
    for (let i = 1; i <= 20; i++) {
      assert.equal(sink.count(`call${i}`), 1, `call${i}`);
      nonces.push(sink.of(`call${i}`)[0].nonce);
    }
    assert.equal(sink.count("call21"), 2);
    nonces.push(sink.of("call21")[1].nonce);
    assert.equal(JSON.stringify(run.result), JSON.stringify(nonces));
    assert.deepEqual((await server.logs(id)).map((entry) => entry.message), nonces.map((_, i) => `call ${i + 1}`));
    await server.check({ sink, arrivalsMax: 2 });
  });
});

describe("F10 complete", () => {
  for (const point of ["complete.before_commit", "complete.after_commit"]) {
    crashTest(`${point}: one terminal row, readable by polling`, `${point}=kill9`, async () => {
      const id = await server.submit("three", { url: sink.url });
      await server.crashed();
      const [row] = server.query((query) => query("SELECT status FROM task_runs"));
      assert.equal(row.status, point.includes("before") ? "running" : "completed");
      await server.start();
      const run = await server.ended(id);
      assert.equal(run.status, "completed");
      assert.deepEqual(run.result.map((answer) => [answer.label, answer.arrival]), [["a", 1], ["b", 1], ["c", 1]]);
      assert.deepEqual(await runIds(), [id]);
      await server.check({ sink });
    });
  }
  crashTest("a run that fails: the same", "complete.before_commit=kill9", async () => {
    await server.publish("fails", "module.exports = async function () { throw new RangeError('on purpose'); };");
    const id = await server.submit("fails", {});
    await server.crashed();
    await server.start();
    const run = await server.ended(id);
    assert.equal(run.status, "failed");
    assert.equal(run.error.name, "RangeError");
    await server.check();
  });
});
