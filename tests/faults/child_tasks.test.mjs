// F71: kill -9 in the middle of a tree of child tasks. Every child runs once, its end reaches its parent once, and what was
// cancelled stays cancelled down to the leaves.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crashSettings, Server, STORE } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

/** Three levels, three children each: 27 leaves, and every run calls the sink before it starts its children. */
const LEVELS = 3;
const WIDTH = 3;
const TREE = sinkTask(`
  await sink(input.name);
  if (input.levels === 0) return 1;
  const names = Array.from({ length: input.width }, (_, i) => input.name + "." + i);
  const below = await Promise.all(names.map((name) => callTask("tree", { ...input, levels: input.levels - 1, name })));
  return below.reduce((a, b) => a + b, 1);`);
const DETACH = sinkTask(`
  const { runId } = await startTask("tree", { ...input, levels: 0, name: "loose" });
  return runId;`);

/** Works until it is cancelled, and so do the runs below it; then each cleans up. */
const CLEANER = sinkTask(`
  try {
    const below = Array.from({ length: input.below ?? 0 }, (_, i) => callTask("cleaner", { url: input.url, name: String(i) }));
    await Promise.all([sink("work-" + input.name), ...below]);
  } finally {
    await sink("cleanup-" + input.name);
  }`);
/** Fails the first time with a child at work; the second time it needs none. */
const FAILS = sinkTask(`
  try {
    await sink("first", { retry: { attempts: 1 } });
  } catch (error) {
    callTask("cleaner", { url: input.url, name: "child" });
    await sink("failing");
    throw error;
  }
  return "done";`);

/** The name of every run of the tree. */
function names(name = "t", levels = LEVELS) {
  if (levels === 0) return [name];
  return [name, ...Array.from({ length: WIDTH }, (_, i) => names(`${name}.${i}`, levels - 1)).flat()];
}

async function withWorld(settings, body) {
  const sink = await openSink();
  const server = new Server({ settings: crashSettings(sink, settings) });
  try {
    await body({ sink, server });
  } finally {
    await server.destroy();
    await sink.close();
  }
}
async function begin({ sink, server }, faults) {
  await server.start({ faults });
  await server.publish("tree", TREE);
  await server.publish("detach", DETACH);
  const input = { url: sink.url, levels: LEVELS, width: WIDTH, name: "t" };
  try {
    return await server.submit("tree", input, { options: { idempotency_key: "tree" } });
  } catch (error) {
    if (!faults) throw error;
    return undefined;  // the crash came first
  }
}
async function again({ sink, server }) {
  const input = { url: sink.url, levels: LEVELS, width: WIDTH, name: "t" };
  return server.submit("tree", input, { options: { idempotency_key: "tree" } });
}
async function allRuns(server) {
  return (await server.get("/runs?limit=1000")).runs;
}
/** Every child exactly once; a call may have been made again by a crash, but then under the same key. */
function assertOnce(sink, expected) {
  for (const name of expected) {
    assert.equal(new Set(sink.of(name).map(({ key }) => key)).size, 1, `runs named ${name}`);
  }
  assert.deepEqual([...new Set(sink.entries.map(({ label }) => label))].sort(), [...expected].sort());
}

describe(`F71 child tasks on ${STORE}`, () => {
  for (const [point, hit] of [
    ["child.before_commit", 1], ["child.before_commit", 7], ["child.after_commit", 1], ["child.after_commit", 20],
    ["complete.before_commit", 12], ["complete.after_commit", 12],
  ]) {
    it(`kill -9 at ${point}, the ${hit}th`, { timeout: 60_000 }, () => withWorld({}, async (world) => {
      const { sink, server } = world;
      await begin(world, `${point}=kill9@${hit}`);
      await server.crashed();
      await server.start();
      const run = await server.ended(await again(world));
      assert.equal(run.result, names().length, JSON.stringify(run));
      assertOnce(sink, names());
      const runs = await allRuns(server);
      assert.equal(runs.length, names().length);
      assert.ok(runs.every(({ status }) => status === "completed"));
      await server.check({ sink, arrivalsMax: 2 });
    }));
  }

  it("kill -9 three times at no point in particular", { timeout: 90_000 }, () => withWorld({}, async (world) => {
    const { sink, server } = world;
    const id = await begin(world);
    for (const count of [3, 12, 25]) {
      await until(`${count} runs at the sink`, () => new Set(sink.entries.map(({ label }) => label)).size >= count);
      await server.kill9();
      await server.start();
    }
    assert.equal((await server.ended(id)).result, names().length);
    assertOnce(sink, names());
    await server.check({ sink, arrivalsMax: 4 });
  }));

  it("kill -9 in the middle of a cancellation: the rest of the tree is cancelled too", { timeout: 60_000 }, () => withWorld({}, async (world) => {
    const { sink, server } = world;
    const leaves = gate();
    sink.behave = ({ label }) => (label.split(".").length === LEVELS + 1 ? leaves.passed : undefined);
    const id = await begin(world, "orphans.after_commit=kill9@2");
    await until("every leaf at the sink", () => new Set(sink.entries.map(({ label }) => label)).size === names().length);
    await server.request("POST", `/runs/${id}/cancel`).catch(() => {});  // it may die before it answers
    await server.crashed();
    assert.ok(server.query((query) => query("SELECT * FROM child_cancels")).length > 0, "it was not in the middle");
    await server.start();
    const runs = await until("the whole tree to be cancelled", async () => {
      const all = await allRuns(server);
      return all.every(({ status }) => status === "cancelled") && all;
    });
    assert.equal(runs.length, names().length);
    leaves.open();
    await server.check({ sink, arrivalsMax: 2 });
    assert.deepEqual(server.query((query) => query("SELECT * FROM child_cancels")), []);
  }));

  for (const faults of ["cancel.after_commit=kill9", "orphans.before_commit=kill9@2", "orphans.after_commit=kill9@1"]) {
    it(`children are asked to end with their parent, and clean up: ${faults}`, { timeout: 60_000 }, () => withWorld({}, async (world) => {
      const { sink, server } = world;
      const leaves = gate();
      sink.behave = ({ label }) => (label.startsWith("work") ? leaves.passed : undefined);
      await server.start({ faults });
      await server.publish("cleaner", CLEANER);
      const id = await server.submit("cleaner", { url: sink.url, name: "top", below: 3 });
      await until("every run at work", () => sink.entries.filter(({ label }) => label.startsWith("work")).length === 4);
      await server.request("POST", `/runs/${id}/cancel`).catch(() => {});  // it may die before it answers
      await server.crashed();
      await server.start();
      await server.request("POST", `/runs/${id}/cancel`);  // it may have died before it was stored
      const runs = await until("all to be cancelled", async () => {
        const all = await allRuns(server);
        return all.every(({ status }) => status === "cancelled") && all;
      });
      assert.equal(runs.length, 4);
      for (const run of runs) assert.equal((await server.run(run.id)).error.forced, undefined);
      for (const name of ["top", "0", "1", "2"]) assert.equal(new Set(sink.of(`cleanup-${name}`).map(({ key }) => key)).size, 1, name);
      assert.deepEqual(server.query((query) => query("SELECT * FROM child_cancels")), []);
      leaves.open();
      await server.check({ sink, arrivalsMax: 2 });
    }));
  }

  it("kill -9 after a retry that removed a child's call: it is asked to end", { timeout: 60_000 }, () => withWorld({}, async (world) => {
    const { sink, server } = world;
    const leaves = gate();
    let begun = 0;
    sink.behave = ({ label }) => (label === "first" && begun++ === 0 ? "drop" : label === "work-child" && leaves.passed);
    await server.start({ faults: "rewind.after_commit=kill9" });
    await server.publish("cleaner", CLEANER);
    await server.publish("fails", FAILS);
    const id = await server.submit("fails", { url: sink.url });
    await until("the child at work", () => sink.count("work-child") === 1);
    assert.equal((await server.ended(id)).status, "failed");
    await server.request("POST", `/runs/${id}/retry`).catch(() => {});
    await server.crashed();
    await server.start();
    const [former] = (await server.get(`/runs?parent=${id}`)).runs;
    assert.equal((await server.ended(former.id)).status, "cancelled");
    assert.equal(sink.count("cleanup-child"), 1);
    leaves.open();
    assert.equal((await server.ended(id)).result, "done");
    assert.deepEqual(server.query((query) => query("SELECT * FROM child_cancels")), []);
    await server.check();
  }));

  it("kill -9 after a detached start, before it is recorded: one run", { timeout: 60_000 }, () => withWorld({}, async (world) => {
    const { sink, server } = world;
    await server.start({ faults: "submit.after_commit=kill9@2" });
    await server.publish("tree", TREE);
    await server.publish("detach", DETACH);
    const id = await server.submit("detach", { url: sink.url, width: 0 });
    await server.crashed();
    await server.start();
    const run = await server.ended(id);
    const loose = await server.ended(run.result);
    assert.equal(loose.result, 1);
    assert.equal((await allRuns(server)).length, 2);
    assert.equal(sink.count("loose"), 1);
    await server.check({ sink });
  }));
});
