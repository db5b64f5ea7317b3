// docker-compose.sqlite.yml at work: a task, a kill -9 in the middle of another, the same volume again.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { say, until } from "./shell.mjs";
import { checkHardening, play, SLOW_TASK, World } from "./world.mjs";

const STEPS = 30;
const PAUSE_MS = 100;

play(async (statePath) => {
  const world = await World.open(statePath);
  await world.up();
  const server = world.get("server");
  await checkHardening(server);
  assert.equal((await world.request("GET", "/readyz", { token: "" })).status, 401);
  assert.equal((await world.request("GET", "/readyz")).status, 200);

  // The command line inside, as the documentation says: task code of the image, token from the secret.
  const tasks = "/usr/local/share/sequential-runner/taskcode/endpoints";
  await server.exec(["sh", "-c", `sequential-runner publish ${tasks}/*.js`]);
  const hello = await world.execute("hello-world", { name: "Ada" }, { Prefer: "wait=10" });
  assert.equal(hello.body.data.status, "completed", JSON.stringify(hello.body));
  say(`hello-world: ${JSON.stringify(hello.body.data.result).slice(0, 100)}`);

  await world.publish("slow", SLOW_TASK);
  const { body } = await world.execute("slow", { steps: STEPS, pauseMs: PAUSE_MS });
  const run = body.data.taskRunId;
  await until("the run to be at work", async () => (await world.request("GET", `/runs/${run}/stack?limit=500`)).body.stack.length > 10, 20_000);
  await server.kill();
  say(`killed the container in the middle of run ${run}`);
  await server.start();
  await world.healthy(server);
  const done = await world.request("GET", `/runs/${run}?wait=60`);
  assert.equal(done.body.status, "completed", JSON.stringify(done.body));
  assert.deepEqual(done.body.result, { sum: (STEPS * (STEPS - 1)) / 2 });
  await world.checkCalls(run, STEPS);
  say(`run ${run} went on from the volume and completed, every call recorded once`);
  await world.down();
  const log = readFileSync(join(world.state.work, "logs/server.log"), "utf8");
  assert.doesNotMatch(log, /"level":"error"/, "the server's log has errors");
});
