// kill -9 at every crash point that F01-F10 do not name, under one task that does a bit of everything. Whatever the point,
// the run ends with what an undisturbed run ends with, and no call is made more often than the crash explains.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crashSettings, Server } from "../support/js/server.mjs";
import { openSink, sinkTask } from "../support/js/sink.mjs";
import { until, within } from "../support/js/wait.mjs";

const MIXED = sinkTask(`
  const order = [];
  const pair = await Promise.all([sink("left"), sink("right")]);
  order.push(...pair.map((answer) => answer.label));
  try {
    await __callHostTool__("echo", "fail", [{ code: "expected", message: "on purpose" }]);
  } catch (error) {
    order.push(error.code);
  } finally {
    order.push((await sink("finally")).label);
  }
  await sleep(900);
  order.push((await sink("last")).label);
  console.log("done");
  return order;`);
const RESULT = ["left", "right", "expected", "finally", "last"];

// The second in which what is under way is given back, and the time that ending processes takes on a busy machine.
const STOP_AFTER_GRACE_MS = 5_000;

async function withMixed(settings, use) {
  const sink = await openSink();
  const server = new Server({ settings: crashSettings(sink, settings) });
  try {
    await use(server, sink);
  } finally {
    await server.destroy();
    await sink.close();
  }
}
async function checkMixed(server, sink, id) {
  const run = await server.ended(id);
  assert.deepEqual(run.result, RESULT, JSON.stringify(run));
  assert.deepEqual((await server.logs(id)).map((entry) => entry.message), ["done"]);
  await server.check({ sink, arrivalsMax: 2 });
}

describe("other crash points", () => {
  const points = [
    "resume.after_commit=kill9", "resume.after_commit=kill9@2", "claim.after_commit=kill9",
    // A third of the 1 s lease: renewed while the task sleeps and while a call is under way.
    "lease.before_renew=kill9",
    "call.before_record=kill9@3", "call.after_record=kill9@4", "suspend.after_commit=kill9@3", "suspend.before_commit=kill9@4",
  ];
  for (const faults of points) {
    it(faults, { timeout: 60_000 }, () => withMixed({ "store.lease_ms": 1_000 }, async (server, sink) => {
      sink.behave = (entry) => (entry.label === "left" ? { delayMs: 700 } : undefined);
      await server.start({ faults });
      await server.publish("mixed", MIXED);
      const id = await server.submit("mixed", { url: sink.url });
      await server.crashed();
      await server.start();
      await checkMixed(server, sink, id);
    }));
  }

  it("drain.before_release: killed while it stops in order", { timeout: 60_000 }, () => withMixed({}, async (server, sink) => {
    await server.start({ faults: "drain.before_release=kill9" });
    await server.publish("mixed", MIXED);
    const id = await server.submit("mixed", { url: sink.url });
    await until("the finally block", () => sink.count("finally") > 0);
    server.child.kill("SIGTERM");
    await server.crashed();
    await server.start();
    await checkMixed(server, sink, id);
  }));

  it("migrate.midway: the next start finishes the migration", { timeout: 60_000 }, () => withMixed({}, async (server, sink) => {
    await server.start({ faults: "migrate.midway=kill9" });
    await server.crashed();
    await server.start();
    await server.publish("mixed", MIXED);
    await checkMixed(server, sink, await server.submit("mixed", { url: sink.url }));
  }));

  it("a crash on every start until the run is done: it still ends", { timeout: 80_000 }, () => withMixed({}, async (server, sink) => {
    await server.start({ faults: "suspend.after_commit=kill9" });
    await server.publish("mixed", MIXED);
    const id = await server.submit("mixed", { url: sink.url });
    await server.crashed();
    // Each life gets one step further: the third suspension, the second recorded outcome, and so on.
    for (const faults of ["call.before_record=kill9", "call.after_record=kill9@2", "resume.after_commit=kill9", "replay.midway=kill9", "complete.before_commit=kill9"]) {
      await server.start({ faults });
      await server.crashed();
    }
    await server.start();
    const run = await server.ended(id);
    assert.deepEqual(run.result, RESULT);
    await server.check({ sink, arrivalsMax: 3 });
  }));

  it("an engine that dies with the run costs a replay", { timeout: 60_000 }, () => withMixed({}, async (server, sink) => {
    const held = [];
    sink.behave = (entry) => (entry.label === "last" ? new Promise((resolve) => held.push(resolve)) : undefined);
    await server.start();
    await server.publish("mixed", MIXED);
    const id = await server.submit("mixed", { url: sink.url });
    await until("the last call", () => held.length > 0);
    const engines = server.engines();
    assert.equal(engines.length, 1, "the server has one engine process");
    process.kill(engines[0], "SIGKILL");
    held[0]();
    await checkMixed(server, sink, id);
    assert.equal(sink.count("last"), 1);
  }));

  it("SIGTERM in the middle of a call: exit 0 in time, and the run goes on after the restart", { timeout: 60_000 }, () =>
    withMixed({ "server.drain_ms": 500 }, async (server, sink) => {
      sink.behave = (entry) => (entry.label === "last" && entry.arrival === 1 ? "hang" : undefined);
      await server.start();
      await server.publish("mixed", MIXED);
      const id = await server.submit("mixed", { url: sink.url });
      await until("the last call", () => sink.count("last") > 0);
      await within("the stop", 500 + STOP_AFTER_GRACE_MS, server.stop());
      // It was given back: nobody waits for a lease.
      const [call] = server.query((query) => query(`SELECT status FROM stack_runs WHERE task_run_id = ${id} AND seq = 6`));
      assert.equal(call.status, "pending");
      await server.start();
      await checkMixed(server, sink, id);
    }));

  it("a second SIGTERM ends the grace", { timeout: 60_000 }, () => withMixed({ "server.drain_ms": 600_000 }, async (server, sink) => {
    sink.behave = (entry) => (entry.label === "last" && entry.arrival === 1 ? "hang" : undefined);
    await server.start();
    await server.publish("mixed", MIXED);
    const id = await server.submit("mixed", { url: sink.url });
    await until("the last call", () => sink.count("last") > 0);
    const stopped = server.stop();
    await until("the stop to have begun", () => server.stderr.includes("finishing what is under way"));
    assert.equal(server.child.exitCode, null, "it waits for the call");
    server.child.kill("SIGTERM");
    await within("the stop", STOP_AFTER_GRACE_MS, stopped);
    await server.start();
    await checkMixed(server, sink, id);
  }));

  it("SIGTERM in the middle of a slice: given back, and it costs the run nothing", { timeout: 60_000 }, () =>
    withMixed({ "server.drain_ms": 100, "limits.cpu_ms": 1_500 }, async (server) => {
      await server.start();
      await server.publish("spin", "module.exports = async () => { for (;;); };");
      const id = await server.submit("spin", {});
      await until("the slice", async () => (await server.get("/stats")).in_flight > 0);
      await within("the stop", 100 + STOP_AFTER_GRACE_MS, server.stop());
      const [root] = server.query((query) => query(`SELECT status FROM stack_runs WHERE task_run_id = ${id}`));
      assert.equal(root.status, "pending");
      await server.start();
      assert.equal((await server.ended(id)).error.code, "cpu_limit");
      await server.check();
    }));

  it("SIGTERM in the middle of a call that may be made once: its outcome is unknown at once", { timeout: 60_000 }, () =>
    withMixed({ "server.drain_ms": 100 }, async (server, sink) => {
      sink.behave = () => "hang";
      await server.start();
      await server.publish("once", sinkTask(`
        try { await sink("once", { delivery: "at_most_once" }); } catch (error) { return error.code; }`));
      const id = await server.submit("once", { url: sink.url });
      await until("the call", () => sink.count("once") > 0);
      await within("the stop", 100 + STOP_AFTER_GRACE_MS, server.stop());
      await server.start();
      assert.equal((await server.ended(id)).result, "outcome_unknown");
      assert.equal(sink.count("once"), 1);
      await server.check({ sink });
    }));
});
