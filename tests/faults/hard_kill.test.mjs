// F34: builtins that V8 cannot interrupt. The engine process is killed at the hard limit, the run ends `paused: poison` after
// three kills, and no other run is affected.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server } from "../support/js/server.mjs";

const HUGE = "{ length: 2 ** 53 - 1 }";
const UNINTERRUPTIBLE = {
  "indexOf": `Array.prototype.indexOf.call(${HUGE}, 1)`,
  "lastIndexOf": `Array.prototype.lastIndexOf.call(${HUGE}, 1)`,
  "includes": `Array.prototype.includes.call(${HUGE}, 1)`,
  "reverse": `Array.prototype.reverse.call(${HUGE})`,
  "copyWithin": `Array.prototype.copyWithin.call(${HUGE}, 1, 0)`,
  "fill": `Array.prototype.fill.call(${HUGE}, 0)`,
  "splice": `Array.prototype.splice.call(${HUGE}, 0, 0, 1)`,
  "join": `Array.prototype.join.call(${HUGE})`,
  "String.raw": "String.raw({ raw: { length: 2 ** 53 - 1 } })",
};

describe("F34 builtins that cannot be interrupted", () => {
  let server;
  before(async () => {
    server = new Server({
      settings: { "limits.cpu_ms": 150, "limits.wall_ms": 1_000, "limits.hard_kill_ms": 200, "engine.processes": 2 },
    });
    await server.start();
  });
  after(() => server.destroy());

  it("three kills each, then paused: poison; other runs end as they should", { timeout: 85_000 }, async () => {
    await server.publish("steady", `module.exports = async function (input) {
      let sum = 0;
      for (let i = 1; i <= 40; i++) { sum += await __callHostTool__("echo", "echo", [i]); await sleep(50); }
      return sum;
    };`);
    const steady = [];
    for (let i = 0; i < 10; i++) steady.push(await server.submit("steady", {}));
    const ids = new Map();
    for (const [name, code] of Object.entries(UNINTERRUPTIBLE)) {
      await server.publish(`builtin-${name}`, `module.exports = async function () { return ${code}; };`);
      ids.set(name, await server.submit(`builtin-${name}`, {}));
    }
    const wrong = [];
    for (const [name, id] of ids) {
      const run = await server.ended(id, 70_000);
      // A V8 that can stop one of these may: then it is the soft limit's case.
      const soft = run.status === "failed" && (["cpu_limit", "memory_limit"].includes(run.error.code) || /Invalid (array|string) length/.test(run.error.message));
      const poison = run.status === "paused" && run.pause_reason === "poison" && run.crashes === 3;
      if (!soft && !poison) wrong.push(`${name}: ${run.status} ${run.pause_reason ?? ""} crashes ${run.crashes} ${JSON.stringify(run.error)}`);
      if (poison) assert.ok(run.pause_detail, `${name}: a person is told why`);
    }
    assert.deepEqual(wrong, []);
    for (const id of steady) {
      const run = await server.ended(id);
      assert.equal(run.status, "completed", JSON.stringify(run));
      assert.equal(run.result, 820);
    }
    const { engine } = await server.get("/stats");
    console.log(`engines killed: ${engine.deaths}`);
    assert.ok(engine.deaths >= 3 * (ids.size - wrong.length) / 2, `engine deaths: ${engine.deaths}`);
    const { runs } = await server.check();
    assert.equal(runs.filter((run) => run.status === "paused").length + runs.filter((run) => run.status === "failed").length, ids.size);
  });
});
