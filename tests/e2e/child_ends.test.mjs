// Children whose parent is asked to end, cancelled, or retried from before their call.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cli } from "../support/js/cli.mjs";
import { Server, STORE } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const TASKS = {
  // Works until it is cancelled, then cleans up; at the bottom of `levels` of itself.
  worker: sinkTask(`
    try {
      if (input.levels > 0) return await callTask("worker", { ...input, levels: input.levels - 1 });
      return (await sink("work-" + input.name)).label;
    } finally {
      await sink("cleanup-" + input.name + "-" + input.levels);
    }`),
  stubborn: sinkTask(`
    await sink("stubborn-" + input.name);
    for (;;) {
      try { await sleep(60_000); } catch { console.log("no"); }
    }`),
  parent: `module.exports = async ({ task, input }) => callTask(task, input);`,
  // Fails while a child is at work that it has started after that call.
  fails: sinkTask(`
    const one = sink("first-" + input.name, { retry: { attempts: 1 } }).catch(async (error) => {
      callTask("worker", { ...input, levels: 0 });
      await sink("failing-" + input.name);
      throw error;
    });
    await one;
    return await callTask("worker", { ...input, levels: 0 });`),
};

describe(`ends of child tasks on ${STORE}`, () => {
  let server;
  let sink;
  before(async () => {
    sink = await openSink();
    server = new Server({
      settings: { "engine.processes": 1, "store.sweep_ms": 1_000, "services.http.allow_hosts": [sink.host] },
    });
    await server.start();
    for (const [name, code] of Object.entries(TASKS)) await server.publish(name, code);
  });
  after(async () => {
    await server.destroy();
    await sink.close();
  });

  const childrenOf = async (id) => (await server.get(`/runs?parent=${id}&limit=1000`)).runs;
  const post = async (path, json) => {
    const answer = await server.request("POST", path, json === undefined ? {} : { json });
    assert.equal(answer.status, 200, answer.text);
    return answer.json();
  };
  const arrived = (label, count = 1) => until(`${label} at the sink`, () => sink.count(label) >= count);
  /** Holds back the answers of all labels that match; answers how to let them go. */
  const hold = (matches) => {
    const held = gate();
    sink.behave = ({ label }) => (matches.test(label) ? held.passed : undefined);
    return held;
  };

  it("what is asked to end asks its children, down the tree: each cleans up", async () => {
    const held = hold(/^work-a/);
    const id = await server.submit("parent", { task: "worker", input: { url: sink.url, name: "a", levels: 2 } });
    await arrived("work-a");
    await post(`/runs/${id}/cancel`, { reason: "wrong month" });
    for (let run = { id }, level = 3; run; [run] = await childrenOf(run.id), level -= 1) {
      const ended = await server.ended(run.id);
      assert.deepEqual([ended.status, ended.error.code, ended.error.forced], ["cancelled", "cancelled", undefined], `level ${level}`);
    }
    for (const level of [0, 1, 2]) assert.equal(sink.count(`cleanup-a-${level}`), 1, `level ${level}`);
    held.open();
  });

  it("by force nothing of them runs any more", async () => {
    const held = hold(/^work-b/);
    const id = await server.submit("parent", { task: "worker", input: { url: sink.url, name: "b", levels: 1 } });
    await arrived("work-b");
    const [child] = await childrenOf(id);
    const [grandchild] = await childrenOf(child.id);
    await post(`/runs/${id}/cancel`, { force: true });
    for (const run of [child, grandchild]) assert.equal((await server.ended(run.id)).status, "cancelled");
    assert.deepEqual([sink.count("cleanup-b-0"), sink.count("cleanup-b-1")], [0, 0]);
    held.open();
  });

  it("a child that does not end is cancelled when its parent's time is over", async () => {
    const id = await server.submit("parent", { task: "stubborn", input: { url: sink.url, name: "c" } });
    await arrived("stubborn-c");
    const [child] = await childrenOf(id);
    const { cancel_at: at } = await post(`/runs/${id}/cancel`, { grace_ms: 1_500 });
    await until("the child to be asked", async () => (await server.run(child.id)).cancelling);
    assert.equal((await server.run(child.id)).cancel_at, at);
    const ended = await server.ended(child.id);
    assert.deepEqual([ended.status, ended.error.forced], ["cancelled", true]);
    assert.equal((await server.ended(id)).error.forced, undefined, "the parent ended by itself");
  });

  it("a retry asks the children of calls that it removes to end, and the run begins others", async () => {
    const held = hold(/^work-d/);
    let answers = 0;
    const behave = sink.behave;
    sink.behave = (entry) => (entry.label === "first-d" && answers++ === 0 ? "drop" : behave(entry));
    const id = await server.submit("fails", { url: sink.url, name: "d" });
    await arrived("work-d");
    assert.equal((await server.ended(id)).status, "failed");
    const [former] = await childrenOf(id);
    assert.ok((await server.run(former.id)).status !== "cancelled", "it goes on while nobody retries its parent");
    await post(`/runs/${id}/retry`);
    const ended = await server.ended(former.id);
    assert.deepEqual([ended.status, ended.error.code], ["cancelled", "cancelled"]);
    assert.equal(sink.count("cleanup-d-0"), 1);
    assert.equal(ended.parent_run_id, id);
    assert.equal(ended.parent_seq, undefined);
    await arrived("work-d", 2);
    held.open();
    assert.equal((await server.ended(id)).result, "work-d");
    const children = await childrenOf(id);
    assert.deepEqual(children.map(({ status }) => status), ["completed", "cancelled"]);
    assert.equal((await server.run(children[0].id)).parent_seq, 2);
    const shown = await cli(server, ["runs", "show", String(former.id)]);
    assert.match(shown.stdout, new RegExp(`parent\\s+run ${id}\\n`));
  });

  it("a cancelled parent that is retried while its child cleans up begins another", async () => {
    const held = hold(/^(work|cleanup)-e/);
    const id = await server.submit("parent", { task: "worker", input: { url: sink.url, name: "e", levels: 0 } });
    await arrived("work-e");
    await post(`/runs/${id}/cancel`);
    assert.equal((await server.ended(id)).status, "cancelled");
    await arrived("cleanup-e-0");
    await post(`/runs/${id}/retry`);
    await arrived("work-e", 2);
    held.open();
    assert.equal((await server.ended(id)).result, "work-e");
    const children = await childrenOf(id);
    assert.deepEqual(children.map(({ status }) => status).sort(), ["cancelled", "completed"]);
    assert.equal((await server.run(id)).rewinds, 1);
  });

  it("the history is sound", async () => {
    await server.check();  // a retry has removed calls, so the sink knows more
  });
});
