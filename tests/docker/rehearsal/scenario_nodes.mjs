// docker-compose.yml at work: PostgreSQL, two nodes, nginx; the node that runs a task is killed, the other completes it, and
// the client that waits behind nginx gets the result.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { Hopeless, say, until } from "./shell.mjs";
import { checkHardening, play, SLOW_TASK, World } from "./world.mjs";

const STEPS = 60;
const PAUSE_MS = 100;
const RUN_SUM = (STEPS * (STEPS - 1)) / 2;
const SPREAD = 20;
// store.sweep_ms as it is unless set, and what a busy machine may add.
const SWEEP_MS = 5_000;
const SLACK_MS = 15_000;

/** The node whose engines take the slices of the only run at work. */
async function workingNode(world, nodes) {
  const slices = async () => Promise.all(nodes.map(async (node) => (await world.stats(node)).engine.slices));
  const before = await slices();
  return until("a node at work", async () => {
    const more = (await slices()).map((count, index) => count - before[index]);
    const index = more.findIndex((count) => count >= 6);
    return index >= 0 ? nodes[index] : undefined;
  }, 30_000);
}

async function checkNothingElseIsPublished(world) {
  for (const port of [5432, 8765]) {
    const refused = await new Promise((resolve) => {
      const socket = net.connect(port, "127.0.0.1");
      socket.on("connect", () => { socket.destroy(); resolve(false); });
      socket.on("error", () => resolve(true));
    });
    assert.ok(refused, `port ${port} is published too`);
  }
  assert.equal((await world.request("GET", "/readyz", { token: "" })).status, 401);
  assert.equal((await world.request("GET", "/readyz")).status, 200);
}

/** Short tasks through nginx: both nodes take some. One that was dead gets few at first, until nginx has seen it answer. */
async function checkSpread(world, nodes) {
  const slices = () => Promise.all(nodes.map(async (node) => (await world.stats(node)).engine.slices));
  const before = await slices();
  const taken = await until("both nodes to take runs", async () => {
    const answers = await Promise.all(Array.from({ length: SPREAD }, (_, i) => world.execute("hello-world", { name: `n${i}` }, { Prefer: "wait=30" })));
    for (const { body } of answers) if (body.data?.status !== "completed") throw new Hopeless(JSON.stringify(body));
    const more = (await slices()).map((count, index) => count - before[index]);
    return more.every((count) => count > 0) && more;
  }, 20_000);
  say(`runs of hello-world through nginx completed; slices by node: ${taken.join(", ")}`);
}

/** kill -9 of the node that has the run and the client's connection. */
async function checkTakeover(world, nodes) {
  await world.publish("slow", SLOW_TASK);
  const key = { "Idempotency-Key": "rehearsal-1" };
  const waiting = world.execute("slow", { steps: STEPS, pauseMs: PAUSE_MS }, { ...key, Prefer: "wait=110" });
  waiting.catch(() => undefined);  // awaited below; a failure before that must not end the process
  const victim = await workingNode(world, nodes);
  const survivor = nodes.find((node) => node !== victim);
  await victim.kill();
  const killed = Date.now();
  say(`killed ${victim.name} in the middle of the run`);
  const answer = await waiting;
  const took = Date.now() - killed;
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  assert.equal(answer.body.data.status, "completed", JSON.stringify(answer.body));
  assert.deepEqual(answer.body.data.result, { sum: RUN_SUM });
  await world.checkCalls(answer.body.data.taskRunId, STEPS);
  const allowed = Number(victim.env.SEQUENTIAL_STORE_LEASE_MS) + SWEEP_MS + STEPS * PAUSE_MS + SLACK_MS;
  assert.ok(took <= allowed, `it took ${took} ms from the kill to the result; ${allowed} ms are allowed`);
  const again = await world.execute("slow", { steps: STEPS, pauseMs: PAUSE_MS }, key);
  assert.equal(again.body.data.taskRunId, answer.body.data.taskRunId, "the key names the same run");
  say(`${survivor.name} completed it and the waiting client had the result ${(took / 1000).toFixed(1)} s after the kill; every call recorded once`);

  await victim.start();
  await world.healthy(victim);
  await checkSpread(world, nodes);
}

play(async (statePath) => {
  const world = await World.open(statePath);
  await world.up();
  const nodes = [world.get("node-1"), world.get("node-2")];
  for (const node of nodes) await checkHardening(node);
  await checkNothingElseIsPublished(world);
  await nodes[0].exec(["sh", "-c", "sequential-runner publish /usr/local/share/sequential-runner/taskcode/endpoints/*.js"]);
  await checkSpread(world, nodes);
  await checkTakeover(world, nodes);
  await world.down();
  for (const node of nodes) {
    const log = readFileSync(join(world.state.work, `logs/${node.name}.log`), "utf8");
    assert.doesNotMatch(log, /"level":"error"/, `${node.name}'s log has errors`);
  }
});
