#!/usr/bin/env node
// Whether the throughput stays what it is: one node under a steady load for half an hour, a line per minute. See bench/README.md.
//   bench/flat.mjs --json FILE [--store postgres|sqlite] [--minutes 30] [--calls 10] [--concurrency 32] [--build DIR]
import assert from "node:assert/strict";
import { existsSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { costs, residentOf } from "./costs.mjs";

const USAGE = "bench/flat.mjs --json FILE [--store postgres|sqlite] [--minutes 30] [--calls 10] [--concurrency 32] [--build DIR]";
const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const { values } = parseArgs({
  options: {
    json: { type: "string" }, store: { type: "string", default: "postgres" }, minutes: { type: "string", default: "30" },
    calls: { type: "string", default: "10" }, concurrency: { type: "string", default: "32" },
    build: { type: "string", default: join(root, "build/release") }, help: { type: "boolean", short: "h" },
  },
});
if (values.help || !values.json) {
  console.error(USAGE);
  process.exit(values.help ? 0 : 2);
}
const [minutes, calls, concurrency] = [values.minutes, values.calls, values.concurrency].map(Number);
process.env.SEQUENTIAL_BIN ??= join(values.build, "bin/sequential-runner");
assert.ok(existsSync(process.env.SEQUENTIAL_BIN), `there is no ${process.env.SEQUENTIAL_BIN}; build the release first`);
const { Server } = await import("../tests/support/js/server.mjs");

const ECHO = "module.exports = async function (input) { let sum = 0; for (let i = 1; i <= input.calls; i++) sum += await services.echo.echo(i); return sum; };";
const MINUTE_MS = 60_000;
const WARM_MS = 5_000;

const middle = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** Keeps `concurrency` runs going until `until` is over; answers what they took, in ms. */
async function load(server, until) {
  const took = [];
  await Promise.all(Array.from({ length: concurrency }, async () => {
    while (performance.now() < until) {
      const began = performance.now();
      const answer = await server.execute("echo", { calls }, { waitS: 120 });
      assert.equal(answer.json().data.result, (calls * (calls + 1)) / 2, answer.text.slice(0, 500));
      took.push(performance.now() - began);
    }
  }));
  return took;
}

function sizeOf(server) {
  if (!server.database) return statSync(server.databasePath).size;
  return Number(server.cluster.rows(server.database, "SELECT pg_database_size(current_database()) AS bytes", "public")[0].bytes);
}

async function minute(server, n) {
  const before = costs([server]);
  const began = performance.now();
  const took = await load(server, began + MINUTE_MS);
  const seconds = (performance.now() - began) / 1000;
  const after = costs([server]);
  const made = took.length * calls;
  const perCall = (name) => (name in after ? Math.round((after[name] - before[name]) / made) : undefined);
  const line = {
    minute: n, calls_per_s: Math.round(made / seconds), run_p50_ms: Math.round(middle(took) * 10) / 10,
    database_us: perCall("database_us"), nodes_us: perCall("nodes_us"),
    stored_mb: Math.round(sizeOf(server) / 1e6), resident_mb: Math.round(residentOf(server.pid) / 1e6),
  };
  console.error(Object.entries(line).filter(([, value]) => value !== undefined).map(([name, value]) => `${name} ${value}`).join("  "));
  return line;
}

const server = await new Server({ store: values.store }).start();
try {
  await server.publish("echo", ECHO);
  await load(server, performance.now() + WARM_MS);
  const lines = [];
  for (let n = 1; n <= minutes; n++) lines.push(await minute(server, n));
  const third = Math.max(1, Math.floor(lines.length / 3));
  const [first, last] = [lines.slice(0, third), lines.slice(-third)].map((part) => middle(part.map((line) => line.calls_per_s)));
  console.error(`median of the first third ${first} calls/s, of the last ${last}: ${(last / first).toFixed(2)}`);
  writeFileSync(values.json, `${JSON.stringify({ store: values.store, calls, concurrency, first, last, ratio: last / first, lines }, null, 1)}\n`);
} finally {
  await server.destroy();
}
process.exit(0);
