#!/usr/bin/env node
// Measures several nodes on one PostgreSQL behind HAProxy, and proves that no call was lost or made twice. See bench/README.md.
//   bench/nodes.mjs --json FILE [--nodes 1,2,4] [--runs 200] [--calls 10] [--concurrency 32] [--build DIR]
import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openBalancer } from "../tests/support/js/balancer.mjs";
import { openSink, sinkTask } from "../tests/support/js/sink.mjs";
import { until } from "../tests/support/js/wait.mjs";
import { costs } from "./costs.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const { values } = parseArgs({
  options: {
    json: { type: "string" }, nodes: { type: "string", default: "1,2,4" }, runs: { type: "string", default: "200" },
    calls: { type: "string", default: "10" }, concurrency: { type: "string", default: "32" },
    build: { type: "string", default: join(root, "build/release") }, help: { type: "boolean", short: "h" },
  },
});
if (values.help || !values.json) {
  console.error("bench/nodes.mjs --json FILE [--nodes 1,2,4] [--runs 200] [--calls 10] [--concurrency 32] [--build DIR]");
  process.exit(values.help ? 0 : 2);
}
const [runs, calls, concurrency] = [values.runs, values.calls, values.concurrency].map(Number);
process.env.SEQUENTIAL_BIN ??= join(values.build, "bin/sequential-runner");
assert.ok(existsSync(process.env.SEQUENTIAL_BIN), `there is no ${process.env.SEQUENTIAL_BIN}; build the release first`);
const { Server } = await import("../tests/support/js/server.mjs");

const ECHO = "module.exports = async function (input) { let sum = 0; for (let i = 1; i <= input.calls; i++) sum += await services.echo.echo(i); return sum; };";
const SINK = sinkTask("for (let i = 1; i <= input.calls; i++) await sink(input.name + '-' + i); return input.calls;");

/** Submits all runs through the balancer, `concurrency` at a time, and waits for each. Answers calls/s. */
async function fleet(client, task, input) {
  let next = 0;
  const began = performance.now();
  await Promise.all(Array.from({ length: concurrency }, async () => {
    for (let n = next++; n < runs; n = next++) {
      const answer = await client.execute(task, input(n), { waitS: 120 });
      assert.equal(answer.json().data.status, "completed", answer.text.slice(0, 500));
    }
  }));
  return (runs * calls * 1000) / (performance.now() - began);
}

async function measure(count, chain) {
  const sink = await openSink();
  const nodes = [];
  let balancer;
  try {
    const settings = { "services.http.allow_hosts": [sink.host], "store.postgres.connections": Math.max(2, 8 / count), "engine.processes": count > 1 ? 1 : 0 };
    for (let i = 0; i < count; i++) nodes.push(await new Server({ store: "postgres", beside: nodes[0], settings }).start());
    balancer = await openBalancer(nodes.map((node) => node.url));
    if (chain === "balanced") for (const node of nodes) await node.restart({ settings: { "chain.url": balancer.url, "server.port": new URL(node.url).port } });
    await nodes[0].publish("echo", ECHO);
    await nodes[0].publish("sink", SINK);
    const client = Object.create(nodes[0], { url: { value: balancer.url } });
    await fleet(client, "echo", () => ({ calls }));  // warm
    const before = costs(nodes);
    const echo = await fleet(client, "echo", () => ({ calls }));
    await until("PostgreSQL's own counts", () => costs(nodes).commits > before.commits);
    const after = costs(nodes);
    const perCall = Object.fromEntries(Object.keys(after).map((name) => [name, Math.round((10 * (after[name] - before[name])) / (runs * calls)) / 10]));
    const fetched = await fleet(client, "sink", (n) => ({ calls, url: sink.url, name: `r${n}` }));
    assert.equal(sink.entries.length, runs * calls, "calls were lost or made twice");
    assert.equal(new Set(sink.entries.map((entry) => entry.key)).size, runs * calls);
    for (const node of nodes.slice(1)) await node.stop();
    await nodes[0].check({ sink });
    return { nodes: count, chain, fleet_calls_per_s: Math.round(echo), fetch_calls_per_s: Math.round(fetched), per_call: perCall };
  } finally {
    for (const node of nodes.reverse()) await node.destroy();
    await balancer?.close();
    await sink.close();
  }
}

const LEASE_MS = 2_000;

/** kill -9 of the node that works on a chain of calls: until another has recorded the next call, in ms. */
async function recovery() {
  const nodes = [];
  try {
    const settings = { "store.lease_ms": LEASE_MS, "store.sweep_ms": LEASE_MS, "engine.processes": 1 };
    for (let i = 0; i < 2; i++) nodes.push(await new Server({ store: "postgres", beside: nodes[0], settings }).start());
    await nodes[0].publish("echo", ECHO);
    const id = await nodes[0].submit("echo", { calls: 100_000 });
    const newest = () => nodes[0].cluster.rows(nodes[0].database, `SELECT count(*) AS calls, max(ended_at) AS at FROM stack_runs
      WHERE task_run_id = ${id} AND seq > 0 AND ended_at IS NOT NULL`)[0];
    await until("the chain to run", () => newest().calls > 500);
    await nodes[0].kill9();
    const last = newest();
    await until("the other node to go on", () => newest().calls > last.calls, 60_000);
    const [next] = nodes[1].cluster.rows(nodes[1].database, `SELECT min(ended_at) AS at FROM stack_runs
      WHERE task_run_id = ${id} AND seq > 0 AND ended_at > ${last.at}`);
    await nodes[1].request("POST", `/runs/${id}/cancel`, { json: { force: true } });
    return next.at - last.at;
  } finally {
    for (const node of nodes.reverse()) await node.destroy();
  }
}

const results = [];
for (const count of values.nodes.split(",").map(Number)) {
  for (const chain of count === 1 ? ["own"] : ["own", "balanced"]) {
    const result = await measure(count, chain);
    console.error(`${count} nodes, chain ${chain}: ${result.fleet_calls_per_s} echo calls/s, ${result.fetch_calls_per_s} fetch calls/s, none lost or doubled`);
    results.push(result);
  }
}
const recovered = [];
for (let i = 0; i < 5; i++) recovered.push(await recovery());
recovered.sort((a, b) => a - b);
console.error(`after kill -9 another node went on within ${recovered[2]} ms (${recovered.join(", ")}) with a lease of ${LEASE_MS} ms`);
const other_node_recovery_ms = { lease_ms: LEASE_MS, median: recovered[2], samples: recovered };
writeFileSync(values.json, `${JSON.stringify({ runs, calls, concurrency, results, other_node_recovery_ms }, null, 1)}\n`);
process.exit(0);
