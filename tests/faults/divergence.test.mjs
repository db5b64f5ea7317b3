// F39: a run keeps to the code it began with; a replay that does not repeat the journal stops before any new effect.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { quoteSql } from "../support/js/database.mjs";
import { crashSettings, Server } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const version = (text) => sinkTask(`
  await sink("first");
  await sink("held");
  await sink("${text}");
  return "${text}";`);

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

describe("F39 changed code", () => {
  for (const evict of [false, true]) {
    it(`republished mid-run${evict ? ", resumed by replay" : ""}: the old run uses the old code`, { timeout: 60_000 }, () =>
      withSink({ "engine.evict_always": evict }, async (server, sink) => {
        const held = gate();
        sink.behave = (entry) => (entry.label === "held" && entry.key.startsWith("1:") ? held.passed : undefined);
        await server.start();
        assert.equal((await server.publish("changing", version("old"))).version, 1);
        const id = await server.submit("changing", { url: sink.url });
        await until("the held call", () => sink.count("held") === 1);
        const published = await server.publish("changing", version("new"));
        assert.deepEqual([published.version, published.created], [2, true]);
        const again = await server.publish("changing", version("new"));
        assert.deepEqual([again.version, again.created], [2, false], "identical code is no new version");
        const fresh = await server.complete("changing", { url: sink.url });
        assert.deepEqual([fresh.result, fresh.version], ["new", 2]);
        const pinned = await server.complete("changing", { url: sink.url }, { options: { version: 1 } });
        assert.deepEqual([pinned.result, pinned.version], ["old", 1]);
        held.open();
        const run = await server.ended(id);
        assert.deepEqual([run.result, run.version], ["old", 1]);
        await server.check({ sink });
      }));
  }

  it("republished and restarted mid-run: the old run uses the old code", { timeout: 60_000 }, () => withSink({}, async (server, sink) => {
    sink.behave = (entry) => (entry.label === "held" && entry.arrival === 1 ? "hang" : undefined);
    await server.start();
    await server.publish("changing", version("old"));
    const id = await server.submit("changing", { url: sink.url });
    await until("the held call", () => sink.count("held") === 1);
    await server.publish("changing", version("new"));
    await server.kill9();
    await server.start();
    assert.equal((await server.ended(id)).result, "old");
    await server.check({ sink, arrivalsMax: 2 });
  }));

  const forged = {
    "another argument": ['await sink("first");', 'await sink("forged");'],
    "another service": ['await sink("first");', 'await __callHostTool__("echo", "echo", ["x"]);'],
    "another method": ['await sink("first");', 'await __callHostTool__("http", "get", []);'],
    "a call more before": ['await sink("first");', 'await sink("forged"); await sink("first");'],
    "the call left out": ['await sink("first");', ""],
    "an end before the recorded calls": ['await sink("first");', 'if (1) return "early";'],
    "a throw before the recorded calls": ['await sink("first");', 'if (1) throw new Error("early");'],
  };
  for (const [what, [from, to]] of Object.entries(forged)) {
    it(`forced mismatch, ${what}: paused divergent with the first difference, and no call is made`, { timeout: 60_000 }, () =>
      withSink({}, async (server, sink) => {
        sink.behave = (entry) => (entry.label === "held" && entry.arrival === 1 ? "hang" : undefined);
        await server.start();
        await server.publish("changing", version("old"));
        const id = await server.submit("changing", { url: sink.url });
        await until("the held call", () => sink.count("held") === 1);
        await server.kill9();
        const code = version("old").replace(from, to);
        assert.notEqual(code, version("old"));
        server.alter(`UPDATE task_functions SET code = ${quoteSql(code)} WHERE name = 'changing'`);
        await server.start();
        const run = await server.ended(id);
        assert.equal(run.status, "paused", JSON.stringify(run));
        assert.equal(run.pause_reason, "divergent");
        const detail = run.pause_detail;
        assert.equal(detail.seq, 1, JSON.stringify(detail));
        assert.deepEqual([detail.recorded?.service, detail.recorded?.method], ["http", "fetch"]);
        if (what.includes("another") || what.includes("more")) {
          assert.ok(detail.replayed?.service, "what the replay did instead is shown");
        }
        // The held call was under way, so it was made again; nothing else was.
        assert.deepEqual([sink.count("first"), sink.count("held"), sink.count("old"), sink.count("forged")], [1, 2, 0, 0]);

        // With the code as it was, an operator can resume it, and nothing was lost.
        await server.stop();
        server.alter(`UPDATE task_functions SET code = ${quoteSql(version("old"))} WHERE name = 'changing'`);
        await server.start();
        const resumed = await server.request("POST", `/runs/${id}/resume`);
        assert.equal(resumed.status, 200, resumed.text);
        const healed = await server.ended(id);
        assert.equal(healed.result, "old", JSON.stringify(healed));
        assert.deepEqual([sink.count("first"), sink.count("held"), sink.count("old")], [1, 2, 1]);
        await server.check({ sink, arrivalsMax: 2 });
      }));
  }

  it("branches on Date, Math.random and randomUUID repeat themselves", { timeout: 60_000 }, () =>
    withSink({ "engine.evict_always": true }, async (server, sink) => {
      await server.start();
      await server.publish("branching", sinkTask(`
        const path = [];
        for (let i = 0; i < 25; i++) {
          const pick = [Date.now() % 3, Math.floor(Math.random() * 3), parseInt(crypto.randomUUID()[0], 16) % 3, Math.floor(performance.now()) % 3];
          path.push(pick.join(""));
          if (pick[1] === 0) await sink("zero-" + pick.join(""));
          else if (pick[1] === 1) await Promise.all([sink("one-" + Math.random()), sink("two-" + crypto.randomUUID())]);
          else await sleep(1 + Math.floor(Math.random() * 5));
        }
        return path;`));
      const ids = [];
      for (let i = 0; i < 4; i++) ids.push(await server.submit("branching", { url: sink.url }));
      const paths = [];
      for (const id of ids) {
        const run = await server.ended(id);
        assert.equal(run.status, "completed", JSON.stringify(run));
        paths.push(run.result.join());
      }
      assert.equal(new Set(paths).size, 4, "every run has randomness of its own");
      await server.check({ sink });
    }));
});
