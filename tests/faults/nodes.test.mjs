// Several nodes on one PostgreSQL: F14, F18, F19, F20, F50, and what a cluster owes its clients. Every claim of work is a row
// under a lease; a node may be killed, frozen or sent away at any moment.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openChainProxy } from "../support/js/proxy.mjs";
import { BOUND_MS, crashSettings, Server } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until, within } from "../support/js/wait.mjs";

const SERIAL = sinkTask(`
  const labels = [];
  for (let i = 1; i <= input.calls; i++) labels.push((await sink(input.name + "-" + i)).label);
  return labels;`);
const PARALLEL = sinkTask(`
  const names = Array.from({ length: input.calls }, (_, i) => input.name + "-" + (i + 1));
  return (await Promise.all(names.map((name) => sink(name)))).map((answer) => answer.label);`);
const CRASHES = 20;  // of the database
const labels = (name, calls) => Array.from({ length: calls }, (_, i) => `${name}-${i + 1}`);

/** Starts `count` nodes with tasks "serial" and "parallel", and checks the invariants of what they leave. */
async function withNodes(count, { settings = {}, arrivalsMax = 1, chain } = {}, use) {
  const sink = await openSink();
  const proxy = chain === "balanced" ? await openChainProxy() : undefined;
  const nodes = [];
  try {
    for (let i = 0; i < count; i++) {
      const more = proxy ? { "chain.url": proxy.url } : {};
      nodes.push(new Server({ store: "postgres", beside: nodes[0], settings: crashSettings(sink, { ...settings, ...more }) }));
      await nodes[i].start();
    }
    if (proxy) {
      let turn = 0;
      proxy.treat = (hint, forward) => {
        proxy.target = nodes[turn++ % nodes.length].url;
        return forward(hint);
      };
    }
    await nodes[0].publish("serial", SERIAL);
    await nodes[0].publish("parallel", PARALLEL);
    await use(nodes, sink);
    const alive = nodes.filter((node) => node.child.exitCode === null && node.child.signalCode === null);
    const acknowledged = nodes.flatMap((node) => [...node.acknowledged.keys()]);
    const samples = nodes.flatMap((node) => node.samples);
    for (const node of alive.slice(1)) await node.stop();
    await alive[0].check({ sink, arrivalsMax, acknowledged, samples });
  } finally {
    for (const node of nodes.reverse()) await node.destroy();
    await proxy?.close();
    await sink.close();
  }
}

describe("a cluster", () => {
  it("knows at every node what was published and submitted at another", { timeout: 60_000 }, () => withNodes(2, {}, async ([a, b], sink) => {
    const options = { idempotencyKey: "one" };
    const first = await a.execute("serial", { url: sink.url, name: "s", calls: 2 }, { options });
    const again = await b.execute("serial", { url: sink.url, name: "s", calls: 2 }, { options });
    assert.equal(again.json().data.taskRunId, first.json().data.taskRunId);
    assert.deepEqual((await b.ended(first.json().data.taskRunId)).result, labels("s", 2));
    await b.publish("serial", "module.exports = async () => 'new';");
    assert.equal((await a.complete("serial", {})).result, "new");
  }));

  it("answers a waiting client when the run ends at another node", { timeout: 60_000 }, () => withNodes(2, {}, async ([a, b], sink) => {
    const held = gate();
    sink.behave = () => held.passed.then(() => undefined);
    const id = await a.submit("serial", { url: sink.url, name: "s", calls: 1 });
    await until("the call to arrive", () => sink.count("s-1") === 1);
    const waiting = b.get(`/runs/${id}?wait=20`);
    held.open();
    assert.equal((await waiting).status, "completed");
  }));

  it("F19: spreads calls over the nodes and delivers each answer once, in program order", { timeout: 60_000 }, () =>
    withNodes(2, { chain: "balanced", settings: { "store.lease_ms": 20_000 } }, async ([a, b], sink) => {
      const calls = 50;
      const gates = new Map();
      sink.behave = ({ label }) => {
        gates.set(label, gate());
        return gates.get(label).passed.then(() => undefined);
      };
      const id = await a.submit("parallel", { url: sink.url, name: "p", calls });
      await until("all calls to arrive", () => gates.size === calls);
      for (const label of labels("p", calls).reverse()) gates.get(label).open();
      assert.deepEqual((await b.ended(id)).result, labels("p", calls));
      const processed = await Promise.all([a, b].map(async (node) => (await node.get("/stats")).chain.sent));
      assert.ok(processed.every((sent) => sent > 0), `hints sent: ${processed}`);
    }));
});

describe("a node that goes away", () => {
  it("F18: killed, its run goes on at the other within the bound, and at itself when it is reborn alone", { timeout: 90_000 }, () =>
    withNodes(2, { arrivalsMax: 3 }, async ([a, b], sink) => {
      let victim = a;
      const seen = [];
      sink.behave = async ({ label, arrival }) => {
        if (arrival > 1 || !["s-3", "s-6"].includes(label)) return undefined;
        seen.push(Date.now());
        await victim.kill9();
        if (victim === b) await a.start();
        victim = b;
        return undefined;
      };
      const id = await a.submit("serial", { url: sink.url, name: "s", calls: 8 });
      await until("the first node's end", () => seen.length === 1);
      await until("its call to be made again", () => sink.count("s-3") === 2, 2 * BOUND_MS);
      await until("the second node's end", () => seen.length === 2, 2 * BOUND_MS);
      await until("its call to be made again", () => sink.count("s-6") === 2, 2 * BOUND_MS + 5_000);
      assert.deepEqual((await a.ended(id)).result, labels("s", 8));
      for (const label of labels("s", 8)) assert.equal(sink.count(label), ["s-3", "s-6"].includes(label) ? 2 : 1, label);
    }));

  it("F18: killed and started again in its folder, it goes on with its work at once, not when its leases end", { timeout: 60_000 }, () =>
    withNodes(2, { arrivalsMax: 2, settings: { "store.lease_ms": 60_000 } }, async ([a, b], sink) => {
      const held = gate();
      sink.behave = ({ label, arrival }) => (label === "s-3" && arrival === 1 ? held.passed.then(() => undefined) : undefined);
      const id = await a.submit("serial", { url: sink.url, name: "s", calls: 5 });
      await until("the third call", () => sink.count("s-3") === 1);
      await a.kill9();
      held.open();
      await a.start();
      // A lease is longer than this test.
      assert.deepEqual((await b.ended(id)).result, labels("s", 5));
      assert.equal(sink.count("s-3"), 2);
    }));

  for (const [how, other] of [["is over at the other node", "over"], ["is still running at the other node", "running"]]) {
    it(`F14: frozen past its lease, it drops its work that ${how}`, { timeout: 90_000 }, () =>
      withNodes(2, { arrivalsMax: 2 }, async ([a, b], sink) => {
        const first = gate();
        const second = gate();
        sink.behave = ({ label, arrival }) => {
          if (label === "s-2") return (arrival === 1 ? first : second).passed.then(() => undefined);
          return undefined;
        };
        const id = await a.submit("serial", { url: sink.url, name: "s", calls: 4 });
        await until("the second call", () => sink.count("s-2") === 1);
        a.child.kill("SIGSTOP");
        await until("the other node to take over", () => sink.count("s-2") === 2, 2 * BOUND_MS);
        if (other === "over") {
          second.open();
          assert.deepEqual((await b.ended(id)).result, labels("s", 4));
        }
        first.open();
        a.child.kill("SIGCONT");
        // It answers again, so it has had its chance to write.
        await until("the frozen node to be back", async () => (await a.get("/livez")).status === "alive");
        await until("its claims to be dropped", async () => (await a.get("/stats")).held === 0);
        second.open();
        const run = await b.ended(id);
        assert.deepEqual(run.result, labels("s", 4));
        for (const label of labels("s", 4)) assert.equal(sink.count(label), label === "s-2" ? 2 : 1, label);
      }));
  }

  it("F50: sent away in the middle of a call that does not end, another makes it at once", { timeout: 60_000 }, () =>
    withNodes(2, { arrivalsMax: 2, settings: { "store.lease_ms": 60_000, "server.drain_ms": 200 } }, async ([a, b], sink) => {
      sink.behave = ({ label, arrival }) => (label === "s-2" && arrival === 1 ? "hang" : undefined);
      const id = await a.submit("serial", { url: sink.url, name: "s", calls: 3 });
      await until("the second call", () => sink.count("s-2") === 1);
      await a.stop();
      assert.deepEqual((await b.ended(id)).result, labels("s", 3));  // a lease is longer than this test
      assert.equal(sink.count("s-2"), 2);
      await a.start();
    }));

  it("F50: a signal that comes to a node while it stops wakes its run at another, at once", { timeout: 60_000 }, () =>
    withNodes(2, { settings: { "store.lease_ms": 60_000, "server.drain_ms": 60_000 } }, async ([a, b], sink) => {
      const held = gate();
      sink.behave = ({ label }) => (label === "s-1" ? held.passed.then(() => undefined) : undefined);
      await a.publish("waits", "module.exports = async () => await waitForSignal('go');");
      const busy = await a.submit("serial", { url: sink.url, name: "s", calls: 1 });
      await until("its call", () => sink.count("s-1") === 1);
      const waiting = await a.submit("waits", {});
      await until("the run to wait", async () => (await a.run(waiting)).status === "suspended_waiting_child");
      a.child.kill("SIGTERM");
      await until("it to stop", async () => (await a.request("GET", "/readyz")).status === 503);
      assert.equal((await a.request("POST", `/runs/${waiting}/signals/go`, { json: 5 })).status, 202);
      assert.equal((await b.ended(waiting)).result, 5);  // a lease, and the drain, are longer than this test
      assert.equal(a.child.exitCode, null, "it waits for its call");
      held.open();
      assert.equal((await within("the node to stop", 30_000, a.exited)).code, 0);
      assert.deepEqual((await b.ended(busy)).result, labels("s", 1));
      await a.start();
    }));

  it("F50: sent away, it hands its work over at once; a rolling restart fails no client", { timeout: 120_000 }, () =>
    withNodes(2, { settings: { "store.lease_ms": 30_000, "store.sweep_ms": 200 } }, async (nodes, sink) => {
      const runs = [];
      let restarting = true;
      let turn = 0;
      const client = async () => {
        for (let n = 0; restarting && n < 500; n++) {
          const idempotencyKey = `r-${runs.length}`;
          const entry = { name: idempotencyKey };
          runs.push(entry);
          // One retry, at the other node: what a client or a load balancer does.
          for (const node of [nodes[turn % 2], nodes[(turn + 1) % 2]]) {
            const answer = await node.execute("serial", { url: sink.url, name: entry.name, calls: 3 }, { options: { idempotencyKey } })
              .catch(() => undefined);
            if (answer && answer.status < 300) {
              entry.id = answer.json().data.taskRunId;
              break;
            }
          }
          turn += 1;
          assert.ok(entry.id, `neither node took ${entry.name}`);
        }
      };
      const clients = Promise.all([client(), client()]);
      const roll = async () => {
        for (const node of nodes) {
          await node.restart();
          // The next one goes when this one is seen to work, as with every balancer.
          const acknowledged = node.acknowledged.size;
          await until("the new node to take work", () => node.acknowledged.size > acknowledged);
        }
        restarting = false;
      };
      await Promise.all([clients, roll()]);
      // Their leases would last 30 s: only handed-back work can be over by then.
      const deadline = Date.now() + 15_000;
      for (const { id, name } of runs) assert.deepEqual((await nodes[0].ended(id, deadline - Date.now())).result, labels(name, 3));
    }));
});

describe("F20 a database that crashes", () => {
  it("loses nothing acknowledged, and no node exits", { timeout: 180_000 }, () => withNodes(2, { arrivalsMax: 8 }, async (nodes, sink) => {
    const ids = [];
    let crashing = true;
    const client = async (node, name) => {
      for (let n = 0; crashing && n < 1_000; n++) {
        const answer = await node.execute("serial", { url: sink.url, name: `${name}${n}`, calls: 3 }).catch(() => undefined);
        if (answer && answer.status < 300) ids.push([answer.json().data.taskRunId, `${name}${n}`]);
        else if (answer) assert.equal(answer.status, 503, answer.text);
      }
    };
    const clients = [client(nodes[0], "a"), client(nodes[1], "b")];
    for (let crash = 1; crash <= CRASHES; crash++) {
      const before = ids.length;
      await until("work to be acknowledged", () => ids.length > before + 5);
      await nodes[0].cluster.stop("immediate");
      await nodes[0].cluster.start();
    }
    crashing = false;
    await Promise.all(clients);
    for (const [id, name] of ids) assert.deepEqual((await nodes[0].ended(id, 60_000)).result, labels(name, 3));
    for (const node of nodes) assert.equal(node.child.exitCode, null);
  }));
});
