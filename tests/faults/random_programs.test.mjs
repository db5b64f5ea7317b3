// Random programs under kill -9 at random moments: what each ends with, logs and calls, is what the model says of its journal,
// and every recorded answer is one that the sink gave to that call.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createRandom, testSeed } from "../support/js/random.mjs";
import { crashSettings, Server } from "../support/js/server.mjs";
import { openSink } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";
import { makeProgram, model, RANDOM_TASK } from "./random_programs.mjs";

const LAST_KILL_MS = 35_000;

describe("random programs", () => {
  it("end as their model says, whenever the server is killed", { timeout: 88_000 }, async () => {
    const seed = testSeed();
    const random = createRandom(seed);
    const sink = await openSink();
    sink.behave = () => ({ delayMs: random.between(0, 12) });
    const server = new Server({ settings: crashSettings(sink, { "engine.processes": 2 }) });
    const programs = new Map();
    try {
      await server.start();
      await server.publish("random", RANDOM_TASK);
      const began = Date.now();
      let kills = 0;
      while (Date.now() - began < LAST_KILL_MS) {
        for (let i = random.between(1, 4); i > 0; i--) {
          const program = makeProgram(random, random.between(10, 60), `p${programs.size}`);
          const id = await server.submit("random", { url: sink.url, program });
          programs.set(id, program);
        }
        const moment = Date.now() + random.between(5, 700);
        await until("a random moment", () => Date.now() >= moment);
        await server.kill9();
        kills += 1;
        // Some lives are shorter still.
        await server.start(random.chance(0.2) ? { settings: { "engine.evict_always": random.chance(0.5) } } : {});
      }
      const wrong = [];
      for (const [id, program] of programs) {
        const run = await server.ended(id, 40_000);
        const stack = await server.stack(id);
        const logs = (await server.logs(id)).map((entry) => entry.message);
        const outcomes = stack.filter((row) => row.seq > 0 && row.delivered_as > 0).sort((a, b) => a.delivered_as - b.delivered_as)
          .map((row) => ({ seq: row.seq, failed: row.status === "failed", payload: JSON.stringify(row.status === "failed" ? row.error : row.result) }));
        let expected;
        try {
          expected = await model(program, outcomes);
        } catch (error) {
          expected = { result: error.message };
        }
        const got = { result: run.result ?? null, logs, calls: stack.length - 1 };
        if (run.status !== "completed" || JSON.stringify(got) !== JSON.stringify(expected)) {
          wrong.push(`run ${id} ${run.status} ${run.pause_reason ?? ""}\n got ${JSON.stringify(got).slice(0, 1500)}\n not ${JSON.stringify(expected).slice(0, 1500)}\n ${JSON.stringify(run.error ?? run.pause_detail ?? "")}`);
        }
        for (const row of stack) {
          if (row.service !== "http" || !row.result) continue;
          const answers = sink.entries.filter((entry) => entry.key === `${id}:${row.seq}`).map((entry) => entry.answered);
          assert.ok(answers.includes(row.result.body), `call ${id}:${row.seq} has ${row.result.body}, the sink answered ${answers}`);
        }
      }
      console.log(`${programs.size} programs, ${sink.entries.length} requests, ${kills} kills`);
      assert.deepEqual(wrong, [], `seed ${seed}`);
      await server.check({ sink, arrivalsMax: 1 + kills });
    } finally {
      await server.destroy();
      await sink.close();
    }
  });
});
