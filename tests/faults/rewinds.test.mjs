// kill -9 around rewinds: a retry is made once or not at all, and no call of the kept past is made again.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { quoteSql } from "../support/js/database.mjs";
import { crashSettings, Server } from "../support/js/server.mjs";
import { openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const TASK = sinkTask(`
  const answers = [(await sink("first")).nonce];
  answers.push((await sink("second", { retry: { attempts: 1 } })).nonce);
  answers.push((await sink("third")).nonce);
  return answers;`);

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

/** A run whose second call has failed. */
async function failedRun(server, sink) {
  sink.behave = (entry) => (entry.label === "second" && entry.arrival === 1 ? "drop" : undefined);
  await server.publish("retried", TASK);
  const id = await server.submit("retried", { url: sink.url });
  const run = await server.ended(id);
  assert.equal(run.status, "failed", JSON.stringify(run));
  return id;
}
const retry = (server, id) => server.request("POST", `/runs/${id}/retry`);

async function completes(server, sink, id, thirds = 1) {
  const run = await server.ended(id);
  assert.equal(run.status, "completed", JSON.stringify(run));
  assert.equal(run.rewinds, 1);
  assert.deepEqual(["first", "second", "third"].map((label) => sink.count(label)), [1, 2, thirds]);
  assert.equal(run.result[0], sink.of("first")[0].nonce, "the first result is the recorded one");
  // Samples of the run as it had failed do not hold any more: that is what a retry is for.
  await server.check({ sink, arrivalsMax: 2, samples: [] });
}

describe("rewinds and kill -9", () => {
  it("killed before a retry is stored: nothing has changed, and it can be asked for again", { timeout: 60_000 }, () => withSink(async (server, sink) => {
    const id = await failedRun(server, sink);
    await server.restart({ faults: "rewind.before_commit=kill9" });
    await assert.rejects(retry(server, id));
    await server.crashed();
    await server.start();
    const run = await server.run(id);
    assert.deepEqual([run.status, run.rewinds, sink.count("second")], ["failed", undefined, 1]);
    assert.equal((await retry(server, id)).status, 200);
    await completes(server, sink, id);
  }));

  it("killed after a retry is stored, before its answer: it goes on by itself, and is not retried twice", { timeout: 60_000 }, () => withSink(async (server, sink) => {
    const id = await failedRun(server, sink);
    await server.restart({ faults: "rewind.after_commit=kill9" });
    await assert.rejects(retry(server, id));
    await server.crashed();
    await server.start();
    assert.equal((await retry(server, id)).status, 409);
    await completes(server, sink, id);
  }));

  it("killed in the middle of a retried run: it goes on, and the past is not made again", { timeout: 60_000 }, () => withSink(async (server, sink) => {
    const id = await failedRun(server, sink);
    sink.behave = (entry) => (entry.label === "third" && entry.arrival === 1 ? "hang" : undefined);
    assert.equal((await retry(server, id)).status, 200);
    await until("the third call", () => sink.count("third") === 1);
    await server.kill9();
    await server.start();
    await completes(server, sink, id, 2);
  }));

  it("a divergent run goes on with a version that repeats what it did", { timeout: 60_000 }, () => withSink(async (server, sink) => {
    const version = (first, end) => sinkTask(`await sink("${first}"); await sink("held"); return "${end}";`);
    sink.behave = (entry) => (entry.label === "held" && entry.arrival === 1 ? "hang" : undefined);
    await server.publish("changing", version("first", "old"));
    const id = await server.submit("changing", { url: sink.url });
    await until("the held call", () => sink.count("held") === 1);
    await server.kill9();
    server.alter(`UPDATE task_functions SET code = ${quoteSql(version("forged", "forged"))} WHERE name = 'changing'`);
    await server.start();
    assert.equal((await server.ended(id)).pause_reason, "divergent");
    const own = await server.get(`/runs/${id}/replay?version=1`);
    assert.deepEqual([own.same, own.difference.seq], [false, 1]);
    assert.match(own.difference.replayed.args, /forged/);
    await server.publish("changing", version("first", "fixed"));
    assert.equal((await server.get(`/runs/${id}/replay`)).same, true);
    const resumed = await server.request("POST", `/runs/${id}/resume`, { json: { version: 2 } });
    assert.equal(resumed.status, 200, resumed.text);
    const run = await server.ended(id);
    assert.deepEqual([run.result, run.version], ["fixed", 2]);
    assert.deepEqual(["first", "held", "forged"].map((label) => sink.count(label)), [1, 2, 0]);
  }));
});
