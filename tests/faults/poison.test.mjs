// F36: a run that kills its engine every time is paused as poison after three claims; 100 other runs are not affected, and an
// operator can resume it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Server } from "../support/js/server.mjs";
import { openSink, sinkTask } from "../support/js/sink.mjs";

const OTHERS = 100;

describe("F36 poison", () => {
  it("three claims, then paused: poison; 100 other runs unaffected", { timeout: 80_000 }, async () => {
    const sink = await openSink();
    const server = new Server({
      settings: {
        "limits.cpu_ms": 150, "limits.hard_kill_ms": 150, "engine.processes": 2, "services.http.allow_hosts": [sink.host],
      },
    });
    try {
      await server.start();
      await server.publish("poison", sinkTask(`
        await sink("poison-1");
        return Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1);`));
      await server.publish("honest", sinkTask(`
        const first = await sink("honest-" + input.n + "-1");
        await sleep(300 + input.n * 10);
        const second = await sink("honest-" + input.n + "-2");
        await sleep(300);
        return [first.label, second.label, Math.random(), Date.now()].slice(0, 2);`));
      const ids = [];
      for (let n = 0; n < OTHERS / 2; n++) ids.push(await server.submit("honest", { url: sink.url, n }));
      const poison = await server.submit("poison", { url: sink.url });
      for (let n = OTHERS / 2; n < OTHERS; n++) ids.push(await server.submit("honest", { url: sink.url, n }));

      const run = await server.ended(poison, 40_000);
      assert.equal(run.status, "paused", JSON.stringify(run));
      assert.equal(run.pause_reason, "poison");
      assert.equal(run.crashes, 3);
      for (let n = 0; n < OTHERS; n++) {
        const other = await server.ended(ids[n]);
        assert.equal(other.status, "completed", JSON.stringify(other));
        assert.deepEqual(other.result, [`honest-${n}-1`, `honest-${n}-2`]);
      }
      assert.equal(sink.count("poison-1"), 1);

      const resumed = await server.request("POST", `/runs/${poison}/resume`);
      assert.equal(resumed.status, 200, resumed.text);
      const again = await server.ended(poison, 40_000);
      assert.equal(again.pause_reason, "poison", "resumed by an operator, it is paused again");
      const cancelled = await server.request("POST", `/runs/${poison}/cancel`);
      assert.equal(cancelled.json().status, "cancelled");
      assert.equal(sink.count("poison-1"), 1);
      await server.check({ sink });
    } finally {
      await server.destroy();
      await sink.close();
    }
  });
});
