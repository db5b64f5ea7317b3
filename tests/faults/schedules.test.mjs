// kill -9 around ticks: before a tick's commit, after it, and at any moment. With catch_up all no tick is lost and none is
// started twice.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Server, STORE } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";

const SETTINGS = { "engine.processes": 1, "store.sweep_ms": 1_000, "store.lease_ms": 2_000 };
const SCHEDULE = { task: "echo", cron: "* * * * * *", overlap: "allow", catch_up: "all" };

async function ticksOf(node) {
  const { runs } = await node.get("/runs?limit=1000");
  return runs.filter(({ tags }) => tags?.schedule === "s").map(({ tags }) => Date.parse(tags.tick)).sort((a, b) => a - b);
}
async function make(node) {
  await node.publish("echo", "module.exports = async (input) => input;");
  const answer = await node.request("PUT", "/schedules/s", { json: SCHEDULE });
  assert.equal(answer.status, 201, answer.text);
}
/** Every tick up to now, once; and all their runs end. */
async function assertAll(node, first) {
  const now = Date.now();
  await until("the ticks of the downtime", async () => (await ticksOf(node)).at(-1) > now);
  assert.equal((await node.request("POST", "/schedules/s/pause")).status, 200);
  const ticks = await ticksOf(node);
  assert.equal(ticks[0], first);
  assert.deepEqual(ticks, Array.from(ticks, (_, i) => first + 1_000 * i));
  const schedule = await node.get("/schedules/s");
  assert.deepEqual([schedule.started, schedule.skipped, schedule.missed], [ticks.length, 0, 0]);
  const { runs } = await node.get("/runs?limit=1000");
  for (const { id } of runs) assert.equal((await node.ended(id)).status, "completed");
}

describe(`kill -9 around ticks on ${STORE}`, () => {
  for (const point of ["schedule.before_commit", "schedule.after_commit"]) {
    it(`at ${point}`, { timeout: 60_000 }, async () => {
      const node = new Server({ settings: SETTINGS });
      try {
        await node.start({ faults: `${point}=kill9@2` });
        await make(node);
        const first = Date.parse((await node.get("/schedules/s")).next_tick);
        await node.crashed();
        await node.start();
        await assertAll(node, first);
      } finally {
        await node.destroy();
      }
    });
  }

  it("at any moment, again and again", { timeout: 90_000 }, async () => {
    const node = new Server({ settings: SETTINGS });
    try {
      await node.start();
      await make(node);
      const first = Date.parse((await node.get("/schedules/s")).next_tick);
      let seen = 0;
      for (let round = 0; round < 4; round++) {
        seen = await until("another tick", async () => {
          const { length } = await ticksOf(node);
          return length > seen && length;
        });
        const at = 950 + 25 * round;  // around the next second's tick
        await until("the moment", () => Date.now() % 1_000 >= at % 1_000 && Date.now() % 1_000 < at % 1_000 + 60);
        await node.kill9();
        await node.start();
      }
      await assertAll(node, first);
    } finally {
      await node.destroy();
    }
  });

  if (STORE === "postgres") {
    it("of one of two nodes, in turn", { timeout: 90_000 }, async () => {
      const nodes = [new Server({ settings: SETTINGS })];
      nodes.push(new Server({ beside: nodes[0], settings: SETTINGS }));
      try {
        for (const node of nodes) await node.start();
        await make(nodes[0]);
        const first = Date.parse((await nodes[0].get("/schedules/s")).next_tick);
        let seen = 0;
        for (let round = 0; round < 4; round++) {
          const [victim, other] = round % 2 ? [...nodes].reverse() : nodes;
          await victim.kill9();
          seen = await until("a tick at the other node", async () => {
            const { length } = await ticksOf(other);
            return length > seen && length;
          });
          await victim.start();
        }
        await assertAll(nodes[0], first);
      } finally {
        for (const node of nodes.reverse()) await node.destroy();
      }
    });
  }
});
