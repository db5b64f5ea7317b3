// F29 and F30: the chain is a hint. Without it everything ends, only slower; doubled, late, reordered or replayed hints cause
// no further call; hints that are not signed as they should be are refused.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openChainProxy, signHint } from "../support/js/proxy.mjs";
import { createRandom, testSeed } from "../support/js/random.mjs";
import { BOUND_MS, crashSettings, Server } from "../support/js/server.mjs";
import { openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const SERIAL = sinkTask(`
  const labels = [];
  for (let i = 1; i <= input.calls; i++) labels.push((await sink(input.name + "-" + i)).label);
  return labels;`);
const PARALLEL = sinkTask(`
  const names = Array.from({ length: input.calls }, (_, i) => input.name + "-" + (i + 1));
  return (await Promise.all(names.map((name) => sink(name)))).map((answer) => answer.label);`);

const labels = (name, calls) => Array.from({ length: calls }, (_, i) => `${name}-${i + 1}`);
const MANY = "module.exports = async function (input) { for (let i = 0; i < input.calls; i++) await __callHostTool__('echo', 'echo', [i]); return input.calls; };";

async function withSink(settings, use) {
  const sink = await openSink();
  const server = new Server({ settings: crashSettings(sink, settings) });
  try {
    await use(server, sink);
  } finally {
    await server.destroy();
    await sink.close();
  }
}
async function timeMany(server, calls) {
  const began = Date.now();
  const run = await server.complete("many", { calls }, { ms: 60_000 });
  assert.equal(run.result, calls);
  return Date.now() - began;
}

describe("F29 no chain", () => {
  it("every run ends, each step within the bound", { timeout: 80_000 }, () => withSink({ "chain.enabled": false }, async (server, sink) => {
    await server.start();
    await server.publish("serial", SERIAL);
    await server.publish("parallel", PARALLEL);
    const one = await server.submit("serial", { url: sink.url, name: "s", calls: 4 });
    const two = await server.submit("parallel", { url: sink.url, name: "p", calls: 20 });
    assert.deepEqual((await server.ended(one, 60_000)).result, labels("s", 4));
    assert.deepEqual((await server.ended(two, 60_000)).result, labels("p", 20));
    const arrivals = labels("s", 4).map((label) => sink.of(label)[0].at);
    for (let i = 1; i < arrivals.length; i++) {
      assert.ok(arrivals[i] - arrivals[i - 1] <= 2 * BOUND_MS, `call ${i + 1} began ${arrivals[i] - arrivals[i - 1]} ms after call ${i}`);
    }
    const { chain } = await server.get("/stats");
    assert.equal(chain.sent, 0);
    await server.check({ sink });
  }));

  it("no sweep: as fast as ever", { timeout: 80_000 }, async () => {
    const calls = 300;
    const times = [];
    for (const sweep of [2_000, 0]) {
      await withSink({ "store.sweep_ms": sweep }, async (server) => {
        await server.start();
        await server.publish("many", MANY);
        await timeMany(server, 50);
        times.push(await timeMany(server, calls));
        await server.check();
      });
    }
    const [withSweep, without] = times;
    console.log(`${calls} calls: ${withSweep} ms with the sweep, ${without} ms without`);
    assert.ok(without <= Math.max(withSweep * 3, 3_000), `${calls} calls took ${without} ms without the sweep, ${withSweep} ms with it`);
  });

  it("hints that go nowhere: the chain's target is away, the sweep does it all", { timeout: 80_000 }, async () => {
    const proxy = await openChainProxy();
    proxy.treat = async () => {};
    try {
      await withSink({ "chain.url": proxy.url }, async (server, sink) => {
        await server.start();
        await server.publish("serial", SERIAL);
        const run = await server.complete("serial", { url: sink.url, name: "s", calls: 3 }, { ms: 60_000 });
        assert.deepEqual(run.result, labels("s", 3));
        assert.ok(proxy.captured.length > 0, "the node sent its hints to chain.url");
        await server.check({ sink });
      });
    } finally {
      await proxy.close();
    }
  });
});

describe("F30 hints doubled, reordered, late, replayed", () => {
  const random = createRandom(testSeed());
  const treatments = {
    "as they are": (hint, forward) => forward(hint),
    "doubled ten times": (hint, forward) => Promise.all(Array.from({ length: 10 }, () => forward(hint))),
    "ten times under signatures of their own": (hint, forward, sign) =>
      Promise.all(Array.from({ length: 10 }, () => forward({ ...hint, headers: { ...hint.headers, "x-chain": sign(hint.body) } }))),
    // No call's hint before 20 to 150 ms have passed, in any order.
    "late and reordered": async (hint, forward) => {
      await new Promise((resolve) => setTimeout(resolve, random.between(20, 150)));
      return forward(hint);
    },
    "half of them lost": (hint, forward) => (random.chance(0.5) ? forward(hint) : undefined),
  };
  for (const [name, treat] of Object.entries(treatments)) {
    it(name, { timeout: 80_000 }, async () => {
      const proxy = await openChainProxy();
      const statuses = [];
      try {
        await withSink({ "chain.url": proxy.url }, async (server, sink) => {
          await server.start();
          proxy.target = server.url;
          const keyFile = join(server.dir, "chain.key");
          const forwardAndNote = (forward) => async (hint) => {
            const answer = await forward(hint);
            statuses.push(answer.status);
            return answer;
          };
          proxy.treat = (hint, forward) => treat(hint, forwardAndNote(forward), (body) => signHint(keyFile, body));
          await server.publish("serial", SERIAL);
          await server.publish("parallel", PARALLEL);
          const ids = [];
          for (let i = 0; i < 3; i++) ids.push(await server.submit("serial", { url: sink.url, name: `s${i}`, calls: 3 }));
          ids.push(await server.submit("parallel", { url: sink.url, name: "p", calls: 30 }));
          for (let i = 0; i < 3; i++) assert.deepEqual((await server.ended(ids[i], 60_000)).result, labels(`s${i}`, 3));
          assert.deepEqual((await server.ended(ids[3], 60_000)).result, labels("p", 30));
          for (const hint of proxy.captured) {
            assert.equal(hint.url, "/stack/process");
            assert.match(hint.body, /^\{("stackRunId":\d+)?\}$/, "a hint carries an id and nothing else");
          }
          if (name === "doubled ten times") {
            assert.ok(statuses.filter((status) => status === 401).length >= statuses.length * 0.8, "a nonce is taken once");
          } else {
            assert.ok(statuses.every((status) => status === 202), `answers to hints: ${[...new Set(statuses)]}`);
          }
          await server.check({ sink, arrivalsMax: 1 });
        });
      } finally {
        await proxy.close();
      }
    });
  }

  it("an old capture, and hints signed wrongly, are refused and cause nothing", { timeout: 60_000 }, async () => {
    const proxy = await openChainProxy();
    try {
      await withSink({ "chain.url": proxy.url }, async (server, sink) => {
        await server.start();
        proxy.target = server.url;
        await server.publish("serial", SERIAL);
        const run = await server.complete("serial", { url: sink.url, name: "s", calls: 2 });
        const keyFile = join(server.dir, "chain.key");
        const send = (signature, body = '{"stackRunId":1}') => server.request("POST", "/stack/process", {
          body, headers: { "content-type": "application/json", prefer: "respond-async", ...(signature === null ? {} : { "x-chain": signature }) },
        });
        const body = '{"stackRunId":1}';
        assert.equal((await send(signHint(keyFile, body))).status, 202, "a hint signed as documented is taken");

        const capture = proxy.captured[0];
        const refused = {
          "a capture again": [capture.headers["x-chain"], capture.body],
          "a capture with another body": [signHint(keyFile, '{"stackRunId":2}'), body],
          "61 s old": [signHint(keyFile, body, { ts: Date.now() - 61_000 })],
          "from yesterday": [signHint(keyFile, body, { ts: Date.now() - 86_400_000 })],
          "61 s ahead": [signHint(keyFile, body, { ts: Date.now() + 61_000 })],
          "an old signature under a new time": [signHint(keyFile, body, { ts: Date.now() - 86_400_000, claimedTs: Date.now() })],
          "another key": [signHint(keyFile, body, { secret: Buffer.alloc(32, 7) })],
          "another key's id": [signHint(keyFile, body, { kid: "00000000" })],
          "another version": [signHint(keyFile, body, { version: "v2" })],
          "a wrong mac": [signHint(keyFile, body, { mac: "0".repeat(64) })],
          "an empty mac": [signHint(keyFile, body, { mac: "" })],
          "a long nonce": [signHint(keyFile, body, { nonce: "n".repeat(65) })],
          "no time": [signHint(keyFile, body, { ts: "" })],
          "a time that is no number": [signHint(keyFile, body, { ts: "now" })],
          "a time over 2^63": [signHint(keyFile, body, { ts: "99999999999999999999" })],
          "no parts": ["v1"],
          "too many parts": [`${signHint(keyFile, body)},x`],
        };
        const before = await server.get("/db/status");
        for (const [what, [signature, ofBody]] of Object.entries(refused)) {
          const answer = await send(signature, ofBody);
          assert.equal(answer.status, 401, what);
          assert.equal(answer.json().code, "unauthorized", what);
        }
        assert.equal(sink.entries.length, 2);
        assert.deepEqual((await server.get("/db/status")).stack_runs, before.stack_runs);
        assert.equal((await server.run(run.id)).status, "completed");

        // What is not refused: hints for what is done, for what does not exist, for anything.
        for (const harmless of [body, '{"stackRunId":999999}', "{}"]) {
          for (let i = 0; i < 10; i++) assert.equal((await send(signHint(keyFile, harmless), harmless)).status, 202);
        }
        await until("the hints to be worked off", async () => (await server.get("/stats")).in_flight === 0);
        assert.equal(sink.entries.length, 2);
        await server.check({ sink });
      });
    } finally {
      await proxy.close();
    }
  });
});
