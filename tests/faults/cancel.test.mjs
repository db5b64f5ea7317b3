// A request to end is durable, and so is its deadline: kill -9 around it, and between it and what the task's code still does,
// changes nothing about how the run ends.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crashSettings, Server } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const CLEANER = sinkTask(`
  try {
    await sink("work");
    await sleep(600_000);
  } finally {
    await Promise.all([sink("cleanup-1"), sink("cleanup-2")]);
    await sink("cleanup-3");
  }`);
const STUBBORN = "module.exports = async () => { for (;;) { try { await sleep(600_000); } catch { /* goes on */ } } };";
const DROPPER = sinkTask(`
  const own = new AbortController();
  const loser = sleep(600_000, { signal: own.signal }).catch((error) => error.name);
  await sink("before");
  own.abort();
  const name = await loser;
  await sink("after");
  return name;`);

async function withSink(use) {
  const sink = await openSink();
  const server = new Server({ settings: crashSettings(sink) });
  try {
    await server.start();
    await use(server, sink);
  } finally {
    await server.destroy();
    await sink.close();
  }
}
const waits = (server, id, calls) => until("the run to wait", async () => {
  const run = await server.run(id);
  return run.status === "suspended_waiting_child" && run.calls === calls;
});

describe("a run that is asked to end", () => {
  it("kill -9 between the request and what finally does: it is done, and the run ends as cancelled", { timeout: 60_000 }, async () => {
    await withSink(async (server, sink) => {
      const hold = gate();
      sink.behave = (entry) => (entry.label.startsWith("cleanup-") && entry.arrival === 1 ? hold.passed : undefined);
      await server.publish("cleaner", CLEANER);
      const id = await server.submit("cleaner", { url: sink.url });
      await waits(server, id, 2);
      assert.equal((await server.request("POST", `/runs/${id}/cancel`, { json: { grace_ms: 60_000 } })).status, 200);
      await until("the cleanup", () => sink.count("cleanup-1") + sink.count("cleanup-2") > 0);
      await server.kill9();
      hold.open();
      await server.start();
      const run = await server.ended(id);
      assert.deepEqual([run.status, run.error.code], ["cancelled", "cancelled"]);
      assert.ok(sink.count("cleanup-3") >= 1);
      assert.equal(sink.count("work"), 1);
      await server.check({ sink, arrivalsMax: 2 });
    });
  });
  for (const point of ["cancel.before_commit", "cancel.after_commit"]) {
    it(`kill -9 at ${point}: asked again, it ends as cancelled`, { timeout: 60_000 }, async () => {
      await withSink(async (server, sink) => {
        await server.publish("cleaner", CLEANER);
        const id = await server.submit("cleaner", { url: sink.url });
        await waits(server, id, 2);
        await server.restart({ faults: `${point}=kill9` });
        await server.request("POST", `/runs/${id}/cancel`).catch(() => undefined);
        await server.crashed();
        await server.start();
        const again = await server.request("POST", `/runs/${id}/cancel`);
        assert.ok([200, 409].includes(again.status), again.text);
        assert.equal((await server.ended(id)).status, "cancelled");
        assert.equal(sink.count("cleanup-3"), 1);
        await server.check({ sink, arrivalsMax: 2 });
      });
    });
  }
  it("kill -9 before its deadline: it is cancelled when that has passed", { timeout: 60_000 }, async () => {
    await withSink(async (server) => {
      await server.publish("stubborn", STUBBORN);
      const id = await server.submit("stubborn", {});
      await waits(server, id, 1);
      assert.equal((await server.request("POST", `/runs/${id}/cancel`, { json: { grace_ms: 1_500 } })).status, 200);
      await waits(server, id, 2);
      await server.kill9();
      await server.start();
      const run = await server.ended(id);
      assert.deepEqual([run.status, run.error.forced], ["cancelled", true]);
      await server.check();
    });
  });
});

describe("a call that nobody waits for", () => {
  it("kill -9 after its slice was stored: the run gives what it would have", { timeout: 60_000 }, async () => {
    await withSink(async (server, sink) => {
      await server.publish("dropper", DROPPER);
      const hold = gate();
      sink.behave = (entry) => (entry.label === "after" && entry.arrival === 1 ? hold.passed : undefined);
      const id = await server.submit("dropper", { url: sink.url });
      await until("the call after it", () => sink.count("after") === 1);
      await server.kill9();
      hold.open();
      await server.start();
      assert.equal((await server.ended(id)).result, "AbortError");
      await until("the sleep to be cancelled", async () => (await server.stack(id))[1].status === "cancelled");
      await server.check({ sink, arrivalsMax: 2 });
    });
  });
});
