// Several nodes on one PostgreSQL behind HAProxy, which spreads the clients' requests and the chain's (chain.url is the
// balancer): whoever a hint reaches does the work. What must hold is that no call is lost or made twice, that all nodes work,
// and that nodes may come and go. How fast it is, bench/nodes.mjs measures; nginx is docker/rehearse's.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openBalancer } from "../support/js/balancer.mjs";
import { exchange } from "../support/js/http.mjs";
import { crashSettings, Server } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until, within } from "../support/js/wait.mjs";

const TASKS = {
  serial: sinkTask(`
    const labels = [];
    for (let i = 1; i <= input.calls; i++) labels.push((await sink(input.name + "-" + i)).label);
    return labels;`),
  parallel: sinkTask(`
    const names = Array.from({ length: input.calls }, (_, i) => input.name + "-" + (i + 1));
    return (await Promise.all(names.map((name) => sink(name)))).map((answer) => answer.label);`),
};
const labels = (name, calls) => Array.from({ length: calls }, (_, i) => `${name}-${i + 1}`);

/** `count` nodes behind a balancer; afterwards what they left is checked (invariants.mjs). */
async function withBalanced(count, { settings = {}, arrivalsMax = 1 }, use) {
  const sink = await openSink();
  const balancer = await openBalancer(Array(count).fill(undefined));
  const nodes = [];
  try {
    for (let i = 0; i < count; i++) {
      const all = crashSettings(sink, { "chain.url": balancer.url, ...settings });
      nodes.push(new Server({ store: "postgres", beside: nodes[0], settings: all }));
      await nodes[i].start();
      await balancer.place(i, nodes[i].url);
    }
    for (const [name, code] of Object.entries(TASKS)) await nodes[0].publish(name, code);
    const acknowledged = [];
    await use({ nodes, balancer, sink, acknowledged });
    const alive = nodes.filter((node) => node.child.exitCode === null && node.child.signalCode === null);
    for (const node of alive.slice(1)) await node.stop();
    await alive[0].check({ sink, arrivalsMax, acknowledged, samples: nodes.flatMap((node) => node.samples) });
  } finally {
    for (const node of nodes.reverse()) await node.destroy();
    await balancer.close();
    await sink.close();
  }
}

/** Submits through the balancer and waits for the result, with one retry; it must be the right one. */
async function runOne({ balancer, sink, acknowledged }, name, calls, retries = 1) {
  const task = calls % 2 === 0 ? "parallel" : "serial";
  const once = () => exchange({
    url: `${balancer.url}/tasks/execute`, method: "POST", timeoutMs: 60_000,
    body: JSON.stringify({ task, input: { url: sink.url, name, calls } }),
    headers: { "content-type": "application/json", "idempotency-key": name, prefer: "wait=45" },
  }).catch((error) => ({ status: 0, text: error.message }));
  let answer = await once();
  for (let retry = 0; answer.status !== 200 && retry < retries; retry++) answer = await once();
  assert.equal(answer.status, 200, `${name}: ${answer.status} ${answer.text}`);
  const { taskRunId, status, result } = answer.json().data;
  assert.equal(status, "completed", answer.text);
  assert.deepEqual(result, labels(name, calls));
  acknowledged.push(taskRunId);
}

/** Runs of 3 calls in a row and of 6 at once, by `clients` clients. Answers how many calls that was. */
async function load(system, { runs, clients = 12, name = "r" }) {
  let number = 0;
  let calls = 0;
  await Promise.all(Array.from({ length: clients }, async () => {
    for (let n = ++number; n <= runs; n = ++number) {
      const count = n % 2 === 0 ? 6 : 3;
      calls += count;
      await runOne(system, `${name}${n}`, count);
    }
  }));
  return calls;
}

/** How many calls each node made, by its own name. */
function callsByNode(node) {
  return node.cluster.rows(node.database, `SELECT lease_owner AS name, count(*) AS calls FROM stack_runs
    WHERE seq > 0 AND lease_owner IS NOT NULL GROUP BY lease_owner ORDER BY lease_owner`);
}
/** The place of the node that has the most in hand. */
async function busiest(nodes) {
  const held = await Promise.all(nodes.map(async (node) => (await node.get("/stats")).held));
  return held.indexOf(Math.max(...held));
}

/** For what is waited for later: until then its failure is nobody's. */
function later(promise) {
  promise.catch(() => {});
  return promise;
}

function checkLedger(sink, calls) {
  assert.equal(sink.entries.length, calls, "calls were lost or made twice");
  assert.equal(new Set(sink.entries.map(({ key }) => key)).size, calls);
}

describe("nodes behind a balancer", () => {
  for (const [count, runs] of [[2, 200], [4, 120]]) {
    it(`${count} of them share ${runs} runs, and make every call once`, { timeout: 120_000 }, () =>
      withBalanced(count, { settings: { "store.lease_ms": 20_000 } }, async (system) => {
        const calls = await load(system, { runs });
        checkLedger(system.sink, calls);
        const shares = callsByNode(system.nodes[0]);
        assert.equal(shares.length, count, JSON.stringify(shares));
        for (const share of shares) assert.ok(share.calls > calls / count / 4, `too little for one: ${JSON.stringify(shares)}`);
        for (const node of system.nodes) {
          const { engine, chain } = await node.get("/stats");
          assert.ok(engine.slices > 0 && chain.sent > 0, JSON.stringify({ engine, chain }));
        }
      }));
  }

  it("one of 4 is killed in the middle: nothing is lost, and only what it had in hand is done again", { timeout: 120_000 }, () =>
    withBalanced(4, { settings: { "store.lease_ms": 5_000 }, arrivalsMax: 2 }, async (system) => {
      const { nodes, sink } = system;
      const loading = later(load(system, { runs: 100 }));
      await Promise.race([loading, until("a third of the work", () => system.acknowledged.length >= 40, 60_000)]);
      // With calls in hand whose answers it will not hear.
      const held = gate();
      sink.behave = ({ label }) => (label.startsWith("held-") ? held.passed.then(() => undefined) : undefined);
      const more = later(runOne(system, "held", 24));
      await until("calls in hand", () => labels("held", 24).every((label) => sink.count(label) === 1), 30_000);
      await nodes[await busiest(nodes)].kill9();
      held.open();
      const calls = await loading + 24;
      await more;
      const again = sink.entries.filter(({ arrival }) => arrival > 1).map(({ key }) => key);
      const lost = nodes[0].cluster.rows(nodes[0].database, `SELECT s.task_run_id || ':' || s.seq AS key, a.node FROM attempts a
        JOIN stack_runs s ON s.id = a.stack_run_id WHERE a.outcome = 'lost'`);
      assert.equal(new Set(lost.map((row) => row.node)).size, 1, `only the killed node lost anything: ${JSON.stringify(lost)}`);
      assert.deepEqual(again.filter((key) => !lost.some((row) => row.key === key)), [], "calls made twice that it did not have");
      assert.ok(again.length > 0, "it had calls in hand");
      assert.equal(new Set(sink.entries.map(({ key }) => key)).size, calls, "calls were lost");
    }));

  it("one that drains is left out at once, ends what it has, and is given work again when it is back", { timeout: 90_000 }, () =>
    withBalanced(2, { settings: { "store.lease_ms": 20_000, "server.drain_ms": 30_000 } }, async (system) => {
      const { nodes, balancer, sink } = system;
      const held = gate();
      sink.behave = ({ label }) => (label.startsWith("held-") ? held.passed.then(() => undefined) : undefined);
      const waiting = later(runOne(system, "held", 20));
      await until("its calls", () => labels("held", 20).every((label) => sink.count(label) === 1), 30_000);
      const place = await busiest(nodes);
      const leaving = nodes[place];
      leaving.child.kill("SIGTERM");
      await balancer.without(place);
      const { requests } = (await balancer.places())[place];
      // Not even a retry is needed any more.
      for (let n = 1; n <= 20; n++) await runOne(system, `meanwhile${n}`, 3, 0);
      assert.equal((await balancer.places())[place].requests, requests, "requests to the node that leaves");
      assert.equal(leaving.child.exitCode, null, "it waits for its calls");
      held.open();
      await waiting;
      const how = await within("the node to stop", 30_000, leaving.exited);
      assert.equal(how.code, 0, leaving.stderr);
      await leaving.start();
      await balancer.place(place, leaving.url);
      const calls = await load(system, { runs: 30, name: "again" });
      assert.ok((await leaving.get("/stats")).engine.slices > 0, "it works again");
      checkLedger(sink, 20 + 20 * 3 + calls);
    }));
});
