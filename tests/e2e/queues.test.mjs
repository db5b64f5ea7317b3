// Queues: one run of a key at a time and in order, limits and rates changed live, fairness, two nodes.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cli } from "../support/js/cli.mjs";
import { QUEUED_TASK, assertNoSlotLeaked, judgeKeys, steps } from "../support/js/queues.mjs";
import { STORE, Server } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const TOGETHER = sinkTask(`await sink("at-work:" + input.n); return input.n;`);
const NO_SWEEP_MS = 600_000;  // nothing but the end of a run can have begun the next
const AGAIN = sinkTask(`return (await sink("try:" + input.n, { retry: { attempts: 1 } })).arrival;`);

describe("queues", () => {
  let server;
  let sink;
  const settings = () => ({ "engine.processes": 1, "services.http.allow_hosts": [sink.host] });
  const queue = (task) => server.get(`/queues/${task}`);
  const limit = async (task, limits) => {
    const answer = await server.request("PUT", `/queues/${task}`, { json: limits });
    assert.equal(answer.status, 200, answer.text);
    return answer.json();
  };
  const ended = async (ids, on = server) => {
    for (const id of ids) assert.equal((await on.ended(id)).status, "completed");
  };
  const empty = (task, on = server) => until(`the queue of ${task} to be empty`, async () => {
    const { running, waiting } = await on.get(`/queues/${task}`);
    return running === 0 && waiting === 0;
  });

  before(async () => {
    sink = await openSink();
    server = new Server({ settings: settings() });
    await server.start();
    for (const name of ["keyed", "fair", "live", "slow", "stop"]) await server.publish(name, QUEUED_TASK);
    await server.publish("together", TOGETHER);
    await server.publish("quick", "module.exports = async (input) => input.n;");
  });
  after(async () => {
    await server.destroy();
    await sink.close();
  });

  it("a hundred runs of ten keys: never two of a key at once, each key in order", async () => {
    const ids = [];
    for (let n = 0; n < 100; n++) {
      const key = `k${n % 10}`;
      ids.push(await server.submit("keyed", { url: sink.url, key, n }, { options: { queue_key: key } }));
    }
    await ended(ids);
    judgeKeys(sink);
    assert.equal(steps(sink).length, 200);
    await empty("keyed");
  });

  it("a key with many runs waiting does not hold up another", async () => {
    await limit("fair", { concurrency: 1 });
    const held = gate();
    sink.behave = ({ label }) => (label === "begin:big:0" ? held.passed : undefined);
    const ids = [];
    const submit = async (key, n) => ids.push(await server.submit("fair", { url: sink.url, key, n }, { options: { queue_key: key } }));
    for (let n = 0; n < 30; n++) await submit("big", n);
    for (let n = 0; n < 3; n++) await submit("small", n);
    held.open();
    await ended(ids);
    const order = steps(sink).filter(({ what, key }) => what === "begin" && (key === "big" || key === "small")).map(({ key }) => key);
    assert.ok(order.lastIndexOf("small") <= 6, order.join(" "));
  });

  it("limits change live: fewer begin, then more", async () => {
    const open = gate();
    sink.behave = ({ label }) => (label.startsWith("at-work:") ? open.passed : undefined);
    await limit("together", { concurrency: 2 });
    const ids = [];
    for (let n = 0; n < 10; n++) ids.push(await server.submit("together", { url: sink.url, n }));
    const atWork = () => new Set(sink.entries.filter(({ label }) => label.startsWith("at-work:")).map(({ label }) => label)).size;
    await until("two to be at work", () => atWork() === 2);
    const waits = await server.get(`/runs/${ids[9]}`);
    assert.deepEqual([waits.status, waits.waiting_for], ["queued", "queue"]);
    const listed = (await server.get("/runs?task=together&status=queued")).runs;
    assert.ok(listed.length === 8 && listed.every((run) => run.waiting_for === "queue"));
    const now = await queue("together");
    assert.deepEqual([now.running, now.waiting, now.limits.concurrency], [2, 8, 2]);
    assert.ok(now.oldest_wait_ms >= 0);
    assert.equal(atWork(), 2);
    await limit("together", { concurrency: 5 });
    await until("five to be at work", () => atWork() === 5);
    await limit("together", { concurrency: null });
    await until("all to be at work", () => atWork() === 10);
    open.open();
    await ended(ids);
  });

  it("a rate: as many starts as it says, and no more in any window", async () => {
    await limit("quick", { rate: { starts: 3, per_ms: 400 } });
    const ids = [];
    for (let n = 0; n < 10; n++) ids.push(await server.submit("quick", { n }));
    await ended(ids);
    const starts = (await Promise.all(ids.map((id) => server.get(`/runs/${id}`)))).map((run) => Date.parse(run.started_at)).sort((a, b) => a - b);
    for (let i = 3; i < starts.length; i++) assert.ok(starts[i] - starts[i - 3] >= 400, starts.join(" "));
    await server.request("DELETE", "/queues/quick");
  });

  it("cancelling, pausing and resuming keep slots right; a delayed run queues at its time", async () => {
    const open = gate();
    sink.behave = ({ label }) => (label === "begin:s:0" ? open.passed : undefined);
    const submit = (n, options = {}) => server.submit("stop", { url: sink.url, key: "s", n }, { options: { queue_key: "s", ...options } });
    const ids = [await submit(0), await submit(1), await submit(2), await submit(3, { delay_ms: 100 })];
    await until("the first to be at work", () => sink.count("begin:s:0") === 1);
    await server.request("POST", `/runs/${ids[1]}/cancel`);
    await server.request("POST", `/runs/${ids[2]}/pause`);
    await server.request("POST", `/runs/${ids[2]}/resume`);
    assert.equal((await server.get(`/runs/${ids[2]}`)).status, "queued");
    await server.request("POST", `/runs/${ids[0]}/cancel`);
    await ended([ids[2], ids[3]]);
    open.open();
    assert.equal(sink.count("begin:s:1"), 0);
    await empty("stop");
  });

  it("retried and forked runs wait for their turn, and make no call before it", async () => {
    const held = gate();
    const tries = (n) => sink.count(`try:${n}`);
    sink.behave = ({ label, arrival }) => {
      if (label === "try:held") return held.passed;
      return label.startsWith("try:") && arrival === 1 ? "drop" : undefined;
    };
    await server.publish("again", AGAIN);
    const submit = (n) => server.submit("again", { url: sink.url, n }, { options: { queue_key: "a" } });
    const ids = [await submit(0), await submit(1), await submit(2)];
    for (const id of ids) assert.equal((await server.ended(id)).status, "failed");
    await empty("again");
    ids.push(await submit("held"));
    await until("the one that is held to be at work", () => tries("held") === 1);
    const waits = async (answer, status) => {
      assert.equal(answer.status, status, answer.text);
      const run = answer.json();
      assert.deepEqual([run.status, run.waiting_for, run.started_at], ["queued", "queue", null]);
      return run.id;
    };
    await waits(await server.request("POST", `/runs/${ids[0]}/retry`), 200);
    ids.push(await waits(await server.request("POST", `/runs/${ids[0]}/fork`, { json: { at: { call: 1 } } }), 201));
    const filter = { task: "again", status: "failed" };
    const many = await server.request("POST", "/runs/bulk", { json: { action: "retry", filter } });
    assert.deepEqual([many.status, many.json().done], [200, 2], many.text);
    assert.equal((await queue("again")).waiting, 4);
    assert.deepEqual([tries(0), tries(1), tries(2)], [1, 1, 1]);
    await server.request("POST", `/runs/${ids[2]}/cancel`);
    assert.equal((await server.ended(ids[2])).status, "cancelled");
    await server.request("POST", `/runs/${ids[2]}/retry`);
    held.open();
    await server.ended(ids[3]);
    for (const n of [0, 1, 2]) assert.equal((await server.ended(ids[n])).status, "completed");
    await server.ended(ids[4]);  // its call is another than the source's: the first try of it is dropped
    sink.behave = undefined;
    const runs = await Promise.all(ids.map((id) => server.get(`/runs/${id}`)));
    const spans = runs.map((run) => [Date.parse(run.started_at), Date.parse(run.ended_at)]).sort(([a], [b]) => a - b);
    for (let i = 1; i < spans.length; i++) assert.ok(spans[i][0] >= spans[i - 1][1], JSON.stringify(spans));
    await empty("again");
  });

  it("keys in pages; the list; what is wrong is said", async () => {
    const open = gate();
    sink.behave = () => open.passed;
    const ids = [];
    for (let n = 0; n < 6; n++) {
      ids.push(await server.submit("slow", { url: sink.url, key: `p${n % 3}`, n }, { options: { queueKey: `p${n % 3}` } }));
    }
    const seen = [];
    for (let path = "/queues/slow/keys?limit=2"; path;) {
      const page = await server.get(path);
      seen.push(...page.keys);
      path = page.next_cursor && `/queues/slow/keys?limit=2&cursor=${page.next_cursor}`;
    }
    assert.deepEqual(seen, ["p0", "p1", "p2"].map((key) => ({ key, running: 1, waiting: 1 })));
    assert.ok((await server.get("/queues")).queues.some(({ task, waiting }) => task === "slow" && waiting === 3));
    open.open();
    await ended(ids);
    for (const [body, field] of [
      [{ concurrency: -1 }, "concurrency"], [{ concurrency: 1.5 }, "concurrency"], [{ key_concurrency: 0 }, "key_concurrency"],
      [{ rate: 5 }, "rate"], [{ rate: { starts: 0, per_ms: 5 } }, "rate.starts"], [{ key_rate: { starts: 1, per_ms: 0 } }, "key_rate.per_ms"],
      [{ speed: 1 }, "speed"],
    ]) {
      const answer = await server.request("PUT", "/queues/slow", { json: body });
      assert.deepEqual([answer.status, answer.json().code, answer.json().field], [422, "invalid_field", field], answer.text);
    }
    assert.equal((await server.request("GET", "/queues/nobody")).json().code, "task_not_found");
    const refused = await server.execute("slow", {}, { options: { queue_key: "" } });
    assert.deepEqual([refused.status, refused.json().field], [422, "options.queue_key"]);
  });

  it("the command line sets, shows and lists", async () => {
    const run = async (...args) => {
      const done = await cli(server, args);
      assert.equal(done.code, 0, done.stderr);
      return done.stdout;
    };
    await run("queues", "set", "live", "--concurrency", "5", "--key-concurrency", "2", "--rate", "10/1s", "--key-rate", "3/500ms");
    const { limits } = await queue("live");
    assert.deepEqual(limits, { concurrency: 5, key_concurrency: 2, rate: { starts: 10, per_ms: 1000 }, key_rate: { starts: 3, per_ms: 500 } });
    assert.match(await run("queues"), /live +5 +2 +10\/1s +3\/500ms/);
    assert.match(await run("queues", "show", "live"), /concurrency +5/);
    await run("queues", "set", "live", "--concurrency", "none", "--rate", "none");
    assert.deepEqual((await queue("live")).limits, { ...limits, concurrency: null, rate: null });
    await run("queues", "reset", "live");
    assert.equal((await queue("live")).limits.key_concurrency, 1);
    const wrong = await cli(server, ["queues", "set", "live", "--rate", "fast"]);
    assert.equal(wrong.code, 2);
    assert.match(await run("run", "quick", "--input", '{"n":7}', "--queue-key", "c", "--wait"), /7/);
  });

  if (STORE === "postgres") {
    it("two nodes: one of a key at a time, the task's limit is exact", async () => {
      const other = new Server({ settings: settings(), beside: server });
      await other.start();
      try {
        sink.behave = undefined;
        const from = sink.entries.length;
        await server.publish("both", QUEUED_TASK);
        await limit("both", { concurrency: 3 });
        const ids = [];
        for (let n = 0; n < 60; n++) {
          const key = `b${n % 6}`;
          ids.push(await [server, other][n % 2].submit("both", { url: sink.url, key, n }, { options: { queue_key: key } }));
        }
        await ended(ids);
        const here = { entries: sink.entries.slice(from) };
        assert.ok(judgeKeys(here) <= 3);
        assert.equal(steps(here).length, 120);
        await empty("both", other);
      } finally {
        await other.destroy();
      }
    });
  }

  it("the end of a run admits the next at once, whatever ended it and whatever its node knew", async () => {
    const rare = () => ({ ...settings(), "store.sweep_ms": NO_SWEEP_MS, "store.lease_ms": NO_SWEEP_MS });
    const node = new Server({ settings: rare() });
    await node.start();
    const other = STORE === "postgres" ? new Server({ settings: rare(), beside: node }) : node;
    const open = [gate(), gate(), gate(), gate()];
    sink.behave = ({ label }) => open[label.split(":")[1]]?.passed;
    const from = sink.entries.length;
    const begun = (n) => sink.entries.slice(from).some(({ label }) => label === `at-work:${n}`);
    try {
      if (other !== node) await other.start();
      await node.publish("together", TOGETHER);
      await node.request("PUT", "/queues/together", { json: { concurrency: 1 } });
      const ids = [];
      for (let n = 0; n < 4; n++) {
        ids.push(await [node, other][n % 2].submit("together", { url: sink.url, n }, { options: { tags: { n } } }));
        if (n === 0) await until("the first to be at work", () => begun(0));
      }
      open[0].open();  // ends by itself, where nobody knew that another waits
      await until("the second to begin", () => begun(1));
      const filter = { task: "together", tag: "n:1" };
      const cancelled = await node.request("POST", "/runs/bulk", { json: { action: "cancel", filter } });
      assert.equal(cancelled.json().done, 1, cancelled.text);
      await until("the third to begin", () => begun(2));
      await other.request("POST", `/runs/${ids[2]}/cancel`, { json: { force: true } });
      await until("the fourth to begin", () => begun(3));
      open[3].open();
      assert.equal((await node.ended(ids[3])).status, "completed");
    } finally {
      sink.behave = undefined;
      if (other !== node) await other.destroy();
      await node.destroy();
    }
  });

  it("at the end no slot is left", async () => {
    await server.stop();
    server.query(assertNoSlotLeaked);
  });
});
