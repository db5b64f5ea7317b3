// Runs of many calls: 20,000 in one run, the same result when every resume is a replay, and a thousand runs at once.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { STORE, withServer } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";
import { endpointCode } from "../support/js/workspace.mjs";

const CALLS = STORE === "postgres" ? 6_000 : 20_000;
const sum = (n) => (n * (n + 1)) / 2;

describe("many calls", () => {
  it(`${CALLS} sequential calls complete, resumed from memory every time`, { timeout: 290_000 }, () =>
    withServer({ settings: { "engine.processes": 1 } }, async (server) => {
      await server.publish("many-calls", endpointCode("many-calls"));
      const began = Date.now();
      const run = await server.complete("many-calls", { calls: CALLS }, { ms: 280_000 });
      assert.deepEqual(run.result, { calls: CALLS, sum: sum(CALLS) });
      assert.deepEqual([run.calls, run.outcomes], [CALLS, CALLS]);
      const { engine } = await server.get("/stats");
      assert.equal(engine.replays, 0, "it stayed warm");
      console.log(`${CALLS} calls in ${Date.now() - began} ms`);
      await server.check();
    }));

  it("evicted after every slice: the same result", { timeout: 290_000 }, () =>
    withServer({ settings: { "engine.processes": 1, "engine.evict_always": true } }, async (server) => {
      await server.publish("many-calls", endpointCode("many-calls"));
      const calls = Number(process.env.SEQUENTIAL_TEST_EVICTED_CALLS ?? 1_500);
      const began = Date.now();
      const run = await server.complete("many-calls", { calls }, { ms: 280_000 });
      console.log(`${calls} calls, each resumed by a replay, in ${Date.now() - began} ms`);
      assert.deepEqual(run.result, { calls, sum: sum(calls) });
      const { engine } = await server.get("/stats");
      assert.ok(engine.replays >= calls - 1, JSON.stringify(engine));
      await server.check();
    }));

  it("killed after 5,000 calls: the journal is read page by page, and the run goes on", { timeout: 290_000 }, () =>
    withServer({ settings: { "engine.processes": 1 } }, async (server) => {
      await server.publish("many-calls", endpointCode("many-calls"));
      const calls = 6_000;
      const id = await server.submit("many-calls", { calls });
      await until("5,000 outcomes", async () => (await server.run(id)).outcomes >= 5_000, 280_000);
      await server.kill9();
      await server.start();
      const run = await server.ended(id, 280_000);
      assert.deepEqual(run.result, { calls, sum: sum(calls) });
      await server.check();
    }));

  it("1,000 runs of 10 calls at once", { timeout: 290_000 }, () =>
    withServer({ settings: {} }, async (server) => {
      await server.publish("many-calls", endpointCode("many-calls"));
      const began = Date.now();
      const ids = [];
      let begun = 0;
      const client = async () => {
        while (begun < 1_000) {
          begun += 1;
          ids.push(await server.submit("many-calls", { calls: 10 }));
        }
      };
      await Promise.all(Array.from({ length: 16 }, client));
      for (const id of ids) assert.equal((await server.ended(id)).result.sum, 55);
      console.log(`${ids.length} runs of 10 calls in ${Date.now() - began} ms`);
      await server.check();
    }));
});
