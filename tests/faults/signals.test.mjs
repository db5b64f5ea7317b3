// kill -9 between sends and waits: no signal is lost, none doubled, and those of one name keep their order.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Server } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";

const TAKES = `module.exports = async function (input) {
  const got = [];
  for (let i = 0; i < input.n; i++) got.push(await waitForSignal("go"));
  return got;
};`;
const HOOK = `module.exports = async function () {
  const hook = await createWebhook();
  console.log(hook.url);
  return (await hook.wait()).body;
};`;
const SENDS = `module.exports = async function (input) {
  for (let i = 0; i < input.n; i++) await sendSignal(input.run, "go", i);
};`;
const N = 12;

async function withServer(body) {
  const server = new Server({ settings: { "engine.processes": 1, "store.lease_ms": 2000, "store.sweep_ms": 200 } });
  try {
    await server.start();
    await server.publish("takes", TAKES);
    await server.publish("sends", SENDS);
    await server.publish("hook", HOOK);
    await body(server);
  } finally {
    await server.destroy();
  }
}
const numbers = Array.from({ length: N }, (_, i) => i);

/** Sends `n` under its key until it is answered; the server may crash meanwhile and is started again. How often it did. */
async function sendSurely(server, run, n) {
  for (let crashes = 0; ; ) {
    try {
      await until("the run to wait", async () => (await server.stack(run)).some((row) => row.seq > 0 && !row.ended_at && row.status === "pending"));
      const sent = await server.request("POST", `/runs/${run}/signals/go`, { json: n, headers: { "idempotency-key": `n${n}` } });
      if (sent.status === 202) return crashes;
      assert.equal(sent.status, 503, sent.text);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      await server.crashed();
      await server.start();
      if (++crashes > 1) throw new Error("a server that has no fault armed has crashed");
    }
  }
}

describe("a crash between sends and waits", () => {
  const points = ["signal.before_commit", "signal.after_commit", "signal.before_wait", "signal.after_wait"];
  for (const point of points) {
    it(`${point}: a sender that repeats itself is heard once, in order`, async () => {
      await withServer(async (server) => {
        const run = await server.submit("takes", { n: N });
        await server.kill9();
        await server.start({ faults: `${point}=kill9@4` });
        let crashes = 0;
        for (const n of numbers) crashes += await sendSurely(server, run, n);
        const over = () => server.ended(run, 40_000);
        const { result } = await over().catch(async () => {
          await server.crashed();
          await server.start();
          crashes++;
          return over();
        });
        assert.equal(crashes, 1);
        assert.deepEqual(result, numbers);
        assert.deepEqual((await server.get(`/runs/${run}/signals`)).signals, []);
      });
    });
  }

  it("a task that sends is killed again and again: each of its signals arrives once", async () => {
    await withServer(async (server) => {
      const run = await server.submit("takes", { n: N });
      const sender = await server.submit("sends", { n: N, run });
      for (let life = 0; life < 3; life++) {
        await server.kill9();
        await server.start({ faults: `signal.${life % 2 ? "before" : "after"}_commit=kill9@2` });
        await server.crashed();
        await server.start();
      }
      await server.ended(sender, 40_000);
      assert.deepEqual((await server.ended(run, 40_000)).result, numbers);
    });
  });

  it("a webhook answered before the crash stays answered, and its run goes on", async () => {
    await withServer(async (server) => {
      const run = await server.submit("hook", {});
      const address = new URL(await until("the address", async () => (await server.logs(run))[0]?.message)).pathname;
      await server.kill9();
      await server.start({ faults: "signal.after_commit=kill9" });
      await assert.rejects(server.request("POST", address, { json: "once" }));
      await server.crashed();
      await server.start();
      assert.equal((await server.request("POST", address, { json: "twice" })).status, 410);
      assert.equal((await server.ended(run, 40_000)).result, "once");
    });
  });
});
