// Runs that are retried or forked, and what they were told, and told others, before.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server } from "../support/js/server.mjs";
import { openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const TASKS = {
  waits: `module.exports = async (input) => ({ got: await waitForSignal("go", { timeout: input.timeout }) });`,
  takes: `module.exports = async () => {
    await waitForSignal("go");
    await waitForSignal("go");
    throw new Error("for now");
  };`,
  hook: `module.exports = async (input) => {
    const hook = await createWebhook({ expires: 600000 });
    console.log(hook.url);
    const { body } = await hook.wait();
    if (body === "bad") throw new Error("bad answer");
    return { body, again: (await hook.wait()).body };
  };`,
  told: `module.exports = async (input) => [await waitForSignal("go"), await waitForSignal("go")];`,
  child: `module.exports = async (input) => input;`,
};

describe("signals of rewound runs", () => {
  let server;
  let sink;
  before(async () => {
    sink = await openSink();
    server = new Server({ settings: { "engine.processes": 1, "services.http.allow_hosts": [sink.host] } });
    await server.start();
    for (const [name, code] of Object.entries(TASKS)) await server.publish(name, code);
  });
  after(async () => {
    await server.destroy();
    await sink.close();
  });

  const post = async (path, json, status = 200) => {
    const answer = await server.request("POST", path, json === undefined ? {} : { json });
    assert.equal(answer.status, status, answer.text);
    return answer.json();
  };
  const send = (run, payload) => post(`/runs/${run}/signals/go`, payload, 202);
  const waiting = (run) => until(`run ${run} to wait`, async () =>
    (await server.run(run)).status === "suspended_waiting_child"
      && (await server.stack(run)).some((row) => row.method === "wait" && row.status === "pending" && row.attempt === 0));
  const pathOf = async (run, which = -1) => {
    const address = await until(`run ${run} to log its address`, async () => (await server.logs(run)).at(which)?.message);
    return new URL(address).pathname;
  };
  const answer = (path, text) => server.request("POST", path, { body: text, headers: { "content-type": "text/plain" } });

  it("a wait that was cancelled is woken after the retry", async () => {
    const run = await server.submit("waits", {});
    await waiting(run);
    await post(`/runs/${run}/cancel`);
    await server.ended(run);
    await post(`/runs/${run}/retry`);
    await waiting(run);
    assert.equal((await send(run, 5)).delivered, true);
    assert.deepEqual((await server.ended(run)).result, { got: 5 });
  });

  it("a wait that timed out waits its whole time again", async () => {
    const run = await server.submit("waits", { timeout: 5000 });
    assert.equal((await server.ended(run)).status, "failed");
    await post(`/runs/${run}/retry`);
    await waiting(run);
    assert.equal((await send(run, 6)).delivered, true);
    assert.deepEqual((await server.ended(run)).result, { got: 6 });
  });

  it("signals that removed calls had taken are taken again, in the old order", async () => {
    const run = await server.submit("takes", {});
    for (const n of [1, 2, 3]) await send(run, n);
    assert.equal((await server.ended(run)).status, "failed");
    const go = "await waitForSignal('go')";
    await server.publish("takes", `module.exports = async () => [${go}, ${go}, ${go}];`);
    await post(`/runs/${run}/retry`, { version: 2, call: 1 });
    assert.deepEqual((await server.ended(run)).result, [1, 2, 3]);
  });

  it("a webhook made again has an address of its own, and the old answer is not its", async () => {
    const run = await server.submit("hook", {});
    const old = await pathOf(run);
    assert.equal((await answer(old, "bad")).status, 200);
    assert.equal((await server.ended(run)).status, "failed");
    await post(`/runs/${run}/retry`, { call: 1 });
    await waiting(run);
    const anew = await pathOf(run);
    assert.notEqual(anew, old);
    assert.equal((await answer(old, "late")).status, 410);
    assert.equal((await answer(anew, "good")).status, 200);
    assert.deepEqual((await server.ended(run)).result, { body: "good", again: "good" });
  });

  it("one answer is for a run and its forks, also when the run is over", async () => {
    const run = await server.submit("hook", {});
    const path = await pathOf(run);
    await waiting(run);
    const one = (await post(`/runs/${run}/fork`, {}, 201)).id;
    const two = (await post(`/runs/${one}/fork`, {}, 201)).id;
    await waiting(one);
    await waiting(two);
    await post(`/runs/${run}/cancel`);
    assert.equal((await answer(path, "yes")).status, 200);
    for (const fork of [one, two]) assert.deepEqual((await server.ended(fork)).result, { body: "yes", again: "yes" });
    assert.equal((await answer(path, "no")).status, 410);
  });

  it("calls made anew send and start anew; those made again do not", async () => {
    await server.publish("sender", sinkTask(`
      const { arrival } = await sink("which");
      const { delivered } = await sendSignal(input.to, "go", arrival);
      const started = await startTask("child", { arrival });
      if (arrival < 2) throw new Error("once more");
      return { delivered, child: started.runId };`));
    const to = await server.submit("told", {});
    await waiting(to);
    const run = await server.submit("sender", { url: sink.url, to });
    assert.equal((await server.ended(run)).status, "failed");
    const first = (await server.stack(run))[3].result.runId;
    await post(`/runs/${run}/retry`, { call: 1 });
    const ended = await server.ended(run);
    assert.equal(ended.status, "completed", JSON.stringify(ended));
    assert.equal(ended.result.delivered, true);
    assert.notEqual(ended.result.child, first);
    assert.deepEqual((await server.ended(ended.result.child)).result, { arrival: 2 });
    assert.deepEqual((await server.ended(to)).result, [1, 2]);
  });
});
