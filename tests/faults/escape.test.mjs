// F37: no probe gets a capability it was not given, none changes what the server does, and every run has a realm of its own.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server } from "../support/js/server.mjs";
import { PROBES, STAIN, UNSTAINED } from "./escape_probes.mjs";

describe("F37 escape probes", () => {
  let server;
  before(async () => {
    server = new Server({ settings: { "engine.processes": 1, "limits.cpu_ms": 5_000 } });
    await server.start();
    const put = await server.request("PUT", "/keystore/default/GAPI_KEY", { json: { value: "canary-5f1c" } });
    assert.equal(put.status, 204, put.text);
  });
  after(() => server.destroy());

  for (const { name, code, expect } of PROBES) {
    it(name, { timeout: 30_000 }, async () => {
      const task = `probe-${PROBES.findIndex((probe) => probe.name === name)}`;
      await server.publish(task, `module.exports = async function (input) { ${code} };`);
      const run = await server.ended(await server.submit(task, {}));
      if (typeof expect === "function") return expect(run);
      assert.equal(run.status, "completed", JSON.stringify(run).slice(0, 2000));
      assert.deepEqual(run.result, expect);
    });
  }

  it("the next run sees nothing of the one before", { timeout: 30_000 }, async () => {
    await server.publish("stain", `const shared = {}; module.exports = async function () { ${STAIN} };`);
    for (let i = 0; i < 3; i++) assert.deepEqual((await server.complete("stain", {})).result, UNSTAINED);
    const at_once = await Promise.all(Array.from({ length: 5 }, () => server.submit("stain", {})));
    for (const id of at_once) assert.deepEqual((await server.ended(id)).result, UNSTAINED);
  });

  it("no engine died of it, the secret is nowhere, and the journal is sound", { timeout: 30_000 }, async () => {
    const { engine } = await server.get("/stats");
    assert.equal(engine.deaths, 0);
    assert.ok(!server.stderr.includes("canary-5f1c"));
    await server.check();
    const holding = (table, columns) => server.query((query) => query.holding(table, columns, "canary-5f1c"));
    assert.equal(holding("task_runs", ["result", "error"]), 0);
    assert.equal(holding("stack_runs", ["args", "result", "error"]), 0);
  });
});
