#!/usr/bin/env node
// Measures several nodes on one PostgreSQL behind HAProxy, and proves that no call was lost or made twice. See bench/README.md.
//   bench/nodes.mjs --json FILE [--nodes 1,2,4] [--runs 200] [--calls 10] [--concurrency 32] [--build DIR]
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openBalancer } from "../tests/support/js/balancer.mjs";
import { childrenOf } from "../tests/support/js/children.mjs";
import { openSink, sinkTask } from "../tests/support/js/sink.mjs";
import { until } from "../tests/support/js/wait.mjs";

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

const TICK_US = 10_000;
/** CPU time in us of a process and all below it. */
function cpuOf(pid) {
  let stat;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return 0;
  }
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_US + childrenOf(pid).reduce((sum, child) => sum + cpuOf(child), 0);
}

/** What one call costs, so far: the difference of two is what happened between. */
function costs(nodes) {
  const { cluster, database } = nodes[0];
  const [row] = cluster.rows(database, `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS wal, xact_commit AS commits,
    tup_inserted + tup_updated + tup_deleted AS rows FROM pg_stat_database WHERE datname = current_database()`, "public");
  return { ...row, database_us: cpuOf(cluster.pid), nodes_us: nodes.reduce((sum, node) => sum + cpuOf(node.pid), 0) };
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

const results = [];
for (const count of values.nodes.split(",").map(Number)) {
  for (const chain of count === 1 ? ["own"] : ["own", "balanced"]) {
    const result = await measure(count, chain);
    console.error(`${count} nodes, chain ${chain}: ${result.fleet_calls_per_s} echo calls/s, ${result.fetch_calls_per_s} fetch calls/s, none lost or doubled`);
    results.push(result);
  }
}
writeFileSync(values.json, `${JSON.stringify({ runs, calls, concurrency, results }, null, 1)}\n`);
process.exit(0);
