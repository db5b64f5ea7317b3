// Queues when nodes die: never two runs of a key at once, no slot leaked, none given twice, and all of it finishes.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { QUEUED_TASK, assertNoSlotLeaked, judgeKeys, steps } from "../support/js/queues.mjs";
import { STORE, Server, crashSettings, withServer } from "../support/js/server.mjs";
import { gate, openSink } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const RUNS = 24;
const KEYS = 4;

async function submitAll(server, sink) {
  const ids = [];
  for (let n = 0; n < RUNS; n++) {
    const key = `k${n % KEYS}`;
    ids.push(await server.submit("queued", { url: sink.url, key, n }, { options: { queue_key: key } }));
  }
  return ids;
}

const emptied = (server) => until("the queue to be empty", async () => {
  const { running, waiting } = await server.get("/queues/queued");
  return running === 0 && waiting === 0;
});

async function finish(server, sink, ids, most) {
  for (const id of ids) assert.equal((await server.ended(id)).status, "completed");
  assert.ok(judgeKeys(sink) <= most);
  assert.equal(steps(sink).length, 2 * RUNS);
  await emptied(server);
}

const limit = (server, concurrency) => server.request("PUT", "/queues/queued", { json: { concurrency } });

describe("queues when a server is killed", () => {
  it("three times in the middle", async () => {
    const sink = await openSink();
    try {
      await withServer({ settings: crashSettings(sink) }, async (server) => {
        await server.publish("queued", QUEUED_TASK);
        await limit(server, 3);
        const ids = await submitAll(server, sink);
        for (const reached of [6, 18, 30]) {
          await until(`${reached} steps`, () => steps(sink).length >= reached);
          await server.kill9();
          await server.start();
        }
        await finish(server, sink, ids, 3);
        await server.stop();
        server.query(assertNoSlotLeaked);
      });
    } finally {
      await sink.close();
    }
  });

  for (const point of ["queue.before_admit", "queue.after_admit", "complete.before_commit", "complete.after_commit"]) {
    it(`at ${point}`, async () => {
      const sink = await openSink();
      try {
        await withServer({ settings: crashSettings(sink), start: { faults: `${point}=kill9@3` } }, async (server) => {
          await server.publish("queued", QUEUED_TASK);
          await limit(server, 2);
          const ids = [];
          const submitting = (async () => {
            for (let n = 0; n < RUNS; n++) {
              const key = `k${n % KEYS}`;
              ids.push(await server.submit("queued", { url: sink.url, key, n }, { options: { queue_key: key } }));
            }
          })().catch(() => {});  // the server dies somewhere in between
          await server.crashed();
          await submitting;
          await server.start();
          for (const id of ids) assert.equal((await server.ended(id)).status, "completed");
          await emptied(server);  // runs whose submit was not answered, too
          judgeKeys(sink);
          await server.stop();
          server.query(assertNoSlotLeaked);
        });
      } finally {
        await sink.close();
      }
    });
  }

  for (const point of ["rewind.before_commit", "rewind.after_commit"]) {
    it(`a retry that has to wait, at ${point}: it waits, or was not made`, async () => {
      const sink = await openSink();
      try {
        await withServer({ settings: crashSettings(sink) }, async (server) => {
          await server.publish("queued", QUEUED_TASK);
          const held = gate();
          sink.behave = ({ label }) => (label === "begin:k:1" ? held.passed : undefined);
          const submit = (n) => server.submit("queued", { url: sink.url, key: "k", n }, { options: { queue_key: "k" } });
          const first = await submit(0);
          await server.request("POST", `/runs/${first}/cancel`, { json: { force: true } });
          await server.ended(first);
          const second = await submit(1);
          await until("the second to be at work", () => sink.count("begin:k:1") > 0);
          await server.restart({ faults: `${point}=kill9` });
          await assert.rejects(server.request("POST", `/runs/${first}/retry`));
          await server.crashed();
          await server.start();
          const stored = point === "rewind.after_commit";
          const run = await server.get(`/runs/${first}`);
          assert.deepEqual([run.status, run.waiting_for], stored ? ["queued", "queue"] : ["cancelled", undefined]);
          if (!stored) assert.equal((await server.request("POST", `/runs/${first}/retry`)).status, 200);
          assert.equal(sink.count("end:k:0"), 0);
          held.open();
          for (const id of [second, first]) assert.equal((await server.ended(id)).status, "completed");
          const [ended, began] = [await server.get(`/runs/${second}`), await server.get(`/runs/${first}`)];
          assert.ok(Date.parse(began.started_at) >= Date.parse(ended.ended_at), "two of a key at once");
          await emptied(server);
          await server.stop();
          server.query(assertNoSlotLeaked);
        });
      } finally {
        await sink.close();
      }
    });
  }

  if (STORE === "postgres") {
    it("one of two nodes: the other goes on, and nothing is at work twice", async () => {
      const sink = await openSink();
      const settings = crashSettings(sink);
      const server = new Server({ settings });
      const other = new Server({ settings, beside: server });
      try {
        await server.start();
        await other.start();
        await server.publish("queued", QUEUED_TASK);
        await limit(server, 3);
        const ids = await submitAll(server, sink);
        await until("10 steps", () => steps(sink).length >= 10);
        await server.kill9();
        await finish(other, sink, ids, 3);
        await other.stop();
        other.query(assertNoSlotLeaked);
      } finally {
        await other.destroy();
        await server.destroy();
        await sink.close();
      }
    });
  }
});
