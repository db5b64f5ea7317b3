// The corpus: tasks that are suspended in the middle of every shape that JavaScript code takes. `play` runs all of them at once
// on a server; what it answers must not depend on what happened to the server meanwhile.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { crashSettings, Server } from "../support/js/server.mjs";
import { openSink } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";
import { LITERALS } from "./literals.mjs";
import { ruleSink, runInNode, withHelpers } from "./world.mjs";

/** Nothing is kept of a run at any suspension, in the engine or beside it. */
export const EVICTED = { "engine.evict_always": true, "engine.warm_runs_max": 0 };

const TASKS = new URL("tasks/", import.meta.url);
const LIVES_MAX = 10;  // of the server: one more than the longest chain of calls in a task
const ROUND_MS = 30_000;
const CALM = { "store.lease_ms": 60_000, "store.sweep_ms": 2_000 };  // nothing is taken for lost on a slow machine
const SETTINGS = { "services.http.connections_per_host_max": 256 };  // all calls of all shapes wait for the sink at once
const OVER = new Set(["completed", "failed", "cancelled", "paused"]);

export const SHAPES = readdirSync(TASKS).filter((file) => file.endsWith(".js")).sort()
  .map((file) => ({ name: file.slice(0, -3), code: readFileSync(new URL(file, TASKS), "utf8") }));

/** What a shape must answer and log: as in Node, or by the letter where the product is not like Node on purpose. */
export async function expectationOf(shape) {
  return LITERALS[shape.name] ?? runInNode(shape);
}

/**
 * All shapes on one server. `killed`: it is killed with every call under way and started again, until all runs are over.
 * Answers {runs: Map name → what the run did, engine: its statistics, kills: when, calls: what the outside world saw}.
 */
export async function play({ settings = {}, killed = false } = {}) {
  const sink = await openSink();
  const world = ruleSink(sink);
  const server = new Server({ settings: crashSettings(sink, { ...SETTINGS, ...killed ? {} : CALM, ...settings }) });
  try {
    await server.start();
    if (killed) world.hold();
    await Promise.all(SHAPES.map(({ name, code }) => server.publish(name, withHelpers(code, sink.url))));
    const ids = new Map(await Promise.all(SHAPES.map(async ({ name }) => [name, await server.submit(name, {})])));
    if (killed) await killAtEveryCall(server, world, new Set(ids.values()));
    const runs = new Map();
    for (const [name, id] of ids) {
      await server.ended(id);
      runs.set(name, await whatItDid(server, id, sink, world));
    }
    const { engine } = await server.get("/stats");
    assert.deepEqual(world.unequal, [], "calls that were made again with another body");
    await server.check({ sink, arrivalsMax: world.life });
    return { runs, engine, kills: world.kills, calls: world.calls };
  } finally {
    await server.destroy();
    await sink.close();
  }
}

async function killAtEveryCall(server, world, ids) {
  for (;;) {
    let unfinished;
    await until("every run that is not over to have made a call in this life", async () => {
      const caught = world.caught();
      const { runs } = await server.get("/runs?limit=200");
      unfinished = runs.filter((run) => ids.has(run.id) && !OVER.has(run.status)).map((run) => run.id);
      return unfinished.every((id) => caught.has(id));
    }, ROUND_MS).catch(async (error) => {
      throw new Error(`${error.message}\n${await server.describe(unfinished?.find((id) => !world.caught().has(id)))}`);
    });
    const over = unfinished.length === 0;
    assert.ok(over || world.life < LIVES_MAX, `runs ${unfinished} are not over after ${world.life} lives of the server`);
    await server.kill9();
    world.died();
    await server.start();
    if (over) return;
  }
}

/** Result and logs, the journal's calls, and beside it what is allowed to differ. */
async function whatItDid(server, id, sink, world) {
  const answer = await server.request("GET", `/runs/${id}`);
  const run = answer.json();
  // The result's own bytes, unless it holds what differs from run to run.
  let result = /"result":(.*),"error":/s.exec(answer.text)?.[1];
  const noise = run.result?.noise;
  const noted = [...world.calls.values()].filter((call) => call.run === id && call.noise !== undefined).map((call) => call.noise);
  if (noise !== undefined) result = JSON.stringify({ ...run.result, noise: undefined });
  const [root, ...rows] = await server.stack(id);
  const logs = (await server.logs(id)).map(({ n, level, message }) => [n, level, message]);
  const calls = rows.map(({ seq, service, method, args, options, delivery, source_line, status, error }) =>
    [seq, service, method, args.map(withoutNoise), options, delivery, source_line, status, error?.code]);
  return {
    id, ended: Date.parse(run.ended_at), rows, root, noise: noise ?? [], noted,
    seen: JSON.parse(JSON.stringify({ status: run.status, error: run.error, result, logs, calls }).replaceAll(sink.host, "sink")),
  };
}

function withoutNoise(argument) {
  if (typeof argument?.body !== "string") return argument;
  return { ...argument, body: JSON.stringify({ ...JSON.parse(argument.body), noise: undefined }) };
}

/** The run completed with the result and the log lines that are expected. */
export function assertExpected({ seen, noise, noted }, { result, logs }) {
  assert.equal(seen.status, "completed", JSON.stringify(seen).slice(0, 4_000));
  assert.deepEqual(JSON.parse(seen.result), JSON.parse(result));
  assert.equal(seen.result, result);
  assert.deepEqual(seen.logs, logs.map(([level, message], i) => [i + 1, level, message]));
  assert.deepEqual(noise, noted, "what the task remembers is not what its calls said before the suspension");
}

/** A run did the same, disturbed or not. */
export function assertSame(disturbed, undisturbed) {
  assert.deepEqual(disturbed.seen, undisturbed.seen);
}
