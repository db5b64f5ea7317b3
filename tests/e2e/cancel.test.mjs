// Cancelling runs with grace, and calls that a task stops waiting for.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const WAITS = {
  cleaner: sinkTask(`
    try {
      await sink("work-" + input.n);
      await sleep(60_000);
    } finally {
      await sink("cleanup-" + input.n);
      await sleep(1);
      await sink("cleaned-" + input.n);
    }`),
  swallower: sinkTask(`
    try { await sleep(60_000); } catch (error) { return { name: error.name, code: error.code, message: error.message, own: error instanceof CancelledError }; }`),
  thrower: "module.exports = async () => { try { await sleep(60_000); } catch { throw new RangeError('instead'); } };",
  stubborn: "module.exports = async () => { for (;;) { try { await sleep(60_000); } catch { console.log('no'); } } };",
  timers: "module.exports = async () => { await new Promise((resolve) => setTimeout(resolve, 60_000)); return 'woke'; };",
  several: `module.exports = async () => {
  const order = [];
  task.signal.addEventListener("abort", () => order.push("signal: " + task.signal.reason.code));
  setTimeout(() => order.push("a timer fired"), 60_000);
  const calls = [
    sleep(60_000).catch((error) => order.push("first: " + error.stack.split("\\n")[1].trim())),
    services.timer.sleep(60_000).catch((error) => order.push("second: " + error.stack.split("\\n")[1].trim())),
    __callHostTool__("timer", "sleep", [60_000]).catch((error) => order.push("third: " + [error.service, error.method])),
  ];
  const settled = await Promise.allSettled(calls);
  await sleep(60);
  return { order, settled: settled.map((one) => one.status), aborted: task.signal.aborted, at: Date.now() > task.started };
};`,
  aborts: sinkTask(`
    const own = new AbortController();
    const seen = [];
    const note = (what) => (error) => seen.push(what + ": " + error.name);
    const loser = __callHostTool__("timer", "sleep", [60_000], { signal: own.signal }).catch(note("call"));
    const fetched = fetch(input.url + "/never", { signal: own.signal }).catch(note("fetch"));
    await sleep(60_000, { signal: AbortSignal.any([own.signal, AbortSignal.timeout(30)]) }).catch(note("sleep"));
    own.abort();
    await Promise.all([loser, fetched]);
    await sleep(1, { signal: own.signal }).catch(note("late"));
    await __callHostTool__("echo", "echo", [1], { signal: "x" }).catch(note("wrong"));
    return seen;`),
  race: `module.exports = async () => {
  const winner = await Promise.race([sleep(1).then(() => "short"), sleep(400).then(() => "long")]);
  await services.echo.echo(1);
  return winner;
};`,
};

describe("cancellation", () => {
  let server;
  let sink;
  before(async () => {
    sink = await openSink();
    server = new Server({ settings: { "engine.processes": 1, "store.sweep_ms": 1_000, "services.http.allow_hosts": [sink.host] } });
    await server.start();
    for (const [name, code] of Object.entries(WAITS)) await server.publish(name, code);
  });
  after(async () => {
    await server.destroy();
    await sink.close();
  });

  const waiting = (id, calls = 1) => until("the run to wait", async () => {
    const run = await server.run(id);
    return run.status === "suspended_waiting_child" && run.calls >= calls;
  });
  const submitted = async (task, calls) => {
    const id = await server.submit(task, { url: sink.url });
    await waiting(id, calls);
    return id;
  };
  const cancel = async (id, json) => {
    const answer = await server.request("POST", `/runs/${id}/cancel`, { json });
    assert.equal(answer.status, 200, answer.text);
    return answer.json();
  };

  for (const how of ["warm", "evicted"]) {
    it(`finally blocks run and make calls, then the run is cancelled (${how})`, async () => {
      const n = how;
      const hold = gate();
      sink.behave = (entry) => (entry.label === `cleanup-${n}` ? hold.passed : undefined);
      const id = await server.submit("cleaner", { url: sink.url, n });
      await waiting(id, 2);
      if (how === "evicted") await server.restart();
      const asked = await cancel(id, { reason: "not needed" });
      assert.equal(asked.cancelling, true);
      assert.ok(Date.parse(asked.cancel_at) > Date.now());
      await until("the cleanup", () => sink.count(`cleanup-${n}`) === 1);
      const run = await server.run(id);
      assert.deepEqual([run.cancelling, run.cancel_at], [true, asked.cancel_at]);
      hold.open();
      const ended = await server.ended(id);
      assert.equal(ended.status, "cancelled");
      assert.equal(ended.error.message, "the run was cancelled by an operator: not needed");
      assert.deepEqual([ended.error.name, ended.error.code, ended.error.method], ["CancelledError", "cancelled", "sleep"]);
      assert.match(ended.error.stack, /cleaner\.js:\d+/);
      assert.equal(ended.cancelling, undefined);
      assert.equal(sink.count(`cleaned-${n}`), 1);
      const stack = await server.stack(id);
      assert.deepEqual(stack.map((row) => row.status), ["cancelled", "completed", "cancelled", "completed", "completed", "completed"]);
    });
    it(`every call rejects in its order and at its line, timers are silent, task.signal aborts (${how})`, async () => {
      const id = await submitted("several", 4);
      if (how === "evicted") await server.restart();
      await cancel(id);
      const run = await server.ended(id);
      assert.equal(run.status, "completed", JSON.stringify(run));
      const [signal, ...rest] = run.result.order;
      assert.equal(signal, "signal: cancelled");
      assert.match(rest[0], /^first: at .*several\.js:6:/);
      assert.match(rest[1], /^second: at .*several\.js:7:/);
      assert.equal(rest[2], "third: timer,sleep");
      assert.equal(rest.length, 3);
      assert.deepEqual([run.result.aborted, run.result.at], [true, true]);
      assert.deepEqual((await server.stack(id)).map((row) => row.status).slice(1), ["cancelled", "cancelled", "cancelled", "cancelled", "completed"]);
    });
  }

  it("a value makes the run completed, another error failed", async () => {
    const swallower = await submitted("swallower");
    await cancel(swallower);
    const { status, result } = await server.ended(swallower);
    assert.equal(status, "completed");
    assert.deepEqual(result, { name: "CancelledError", code: "cancelled", message: "the run was cancelled by an operator", own: true });
    const thrower = await submitted("thrower");
    await cancel(thrower);
    const failed = await server.ended(thrower);
    assert.deepEqual([failed.status, failed.error.name], ["failed", "RangeError"]);
  });
  it("a run that does not end is cancelled when its time is over", async () => {
    const id = await submitted("stubborn");
    assert.equal((await cancel(id, { grace_ms: 400 })).cancelling, true);
    const run = await server.ended(id);
    assert.deepEqual([run.status, run.error.code, run.error.forced], ["cancelled", "cancelled", true]);
    assert.deepEqual((await server.logs(id)).map((entry) => entry.message), ["no"]);
  });
  it("asked again the time only gets shorter, and force ends it", async () => {
    const id = await submitted("stubborn");
    const first = await cancel(id, { grace_ms: 60_000 });
    assert.equal((await cancel(id, { grace_ms: 70_000 })).cancel_at, first.cancel_at);
    assert.ok((await cancel(id, { grace_ms: 30_000 })).cancel_at < first.cancel_at);
    assert.equal((await cancel(id, { force: true })).status, "cancelled");
    assert.equal((await server.request("POST", `/runs/${id}/cancel`)).status, 409);
  });
  it("a run whose timers were all it waited for is cancelled", async () => {
    const id = await submitted("timers");
    await cancel(id);
    const run = await server.ended(id);
    assert.deepEqual([run.status, run.error.code], ["cancelled", "cancelled"]);
  });
  it("runs that wait for their time or are paused are cancelled at once", async () => {
    const later = await server.submit("timers", {}, { options: { delay_ms: 60_000 } });
    assert.equal((await cancel(later)).status, "cancelled");
    const paused = await submitted("timers");
    await server.request("POST", `/runs/${paused}/pause`);
    assert.equal((await cancel(paused)).status, "cancelled");
    const at_once = await submitted("timers");
    assert.equal((await cancel(at_once, { grace_ms: 0 })).status, "cancelled");
  });
  it("requests that are wrong say what is wrong and change nothing", async () => {
    const id = await submitted("timers");
    for (const [json, field] of [[{ grace_ms: -1 }, "grace_ms"], [{ grace_ms: "1" }, "grace_ms"], [{ grace_ms: 1e12 }, "grace_ms"],
      [{ force: 1 }, "force"], [{ reason: 5 }, "reason"], [{ reason: "x".repeat(1001) }, "reason"], [{ now: true }, "now"]]) {
      const answer = await server.request("POST", `/runs/${id}/cancel`, { json });
      assert.deepEqual([answer.status, answer.json().code, answer.json().field], [422, "invalid_field", field], answer.text);
    }
    assert.equal((await server.run(id)).cancelling, undefined);
    await cancel(id, { force: true });
  });

  it("an aborted call rejects with the reason where it is aborted, and is cancelled", async () => {
    sink.behave = (entry) => (entry.label === "never" ? "hang" : undefined);
    const run = await server.complete("aborts", { url: sink.url });
    assert.deepEqual(run.result, ["sleep: TimeoutError", "call: AbortError", "fetch: AbortError", "late: AbortError", "wrong: TypeError"]);
    const ends = async () => (await server.stack(run.id)).slice(1).map((call) => `${call.service}.${call.method} ${call.status}`);
    const expected = ["timer.sleep cancelled", "http.fetch cancelled", "timer.sleep completed", "timer.sleep cancelled"];
    await until("the calls to be cancelled", async () => (await ends()).join() === expected.join(), 5_000)
      .catch(async () => assert.deepEqual(await ends(), expected));
  });
  it("a race's loser runs to its recorded end", async () => {
    const run = await server.complete("race", {});
    assert.equal(run.result, "short");
    await until("the loser's end", async () => (await server.stack(run.id))[2].status === "completed");
  });

  it("the history is sound", async () => {
    sink.behave = undefined;
    await server.check();
  });
});
