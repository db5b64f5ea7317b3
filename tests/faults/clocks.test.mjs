// F32: clocks that are wrong, by libfaketime: of nodes by two hours, of the database by one, of nodes ten minutes apart. Timers,
// retries and leases go by the store's clock alone, so none is early and nothing is claimed twice; chain requests signed by a
// skewed clock are refused and told of, and the sweep does their work. Only the time of day is faked: a node's own waiting goes
// by the monotonic clock, which no administrator sets.
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { openChainProxy, signHint } from "../support/js/proxy.mjs";
import { Cluster } from "../support/js/postgres.mjs";
import { binary, crashSettings, Server, STORE } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { tempDir } from "../support/js/temp.mjs";
import { until } from "../support/js/wait.mjs";

const MINUTES = 60_000;
const HOURS = 60 * MINUTES;
const SLEEP_MS = 1_500;
const BACKOFF_MS = 1_000;
const BACKOFF_LEAST_MS = BACKOFF_MS / 2;  // what jitter leaves of it
const ROUNDING_MS = 2;  // the store keeps whole milliseconds
// Leases that do not end by themselves however busy the machine is: what is taken from somebody was taken for the clocks' sake.
const SETTINGS = { "store.upkeep_ms": 200, "store.sweep_ms": 200, "store.lease_ms": 20_000 };

// A sleep, a call that has to be made twice, and what the task's own clock says of it.
const TIMED = sinkTask(`
  const began = Date.now();
  await sink(input.name + "-1");
  await sleep(${SLEEP_MS});
  await sink(input.name + "-2", { idempotent: true, retry: { attempts: 5, backoffMs: ${BACKOFF_MS}, maxBackoffMs: ${BACKOFF_MS} } });
  await sink(input.name + "-3");
  return { began, took: Date.now() - began };`);

function libfaketime() {
  const paths = readdirSync("/usr/lib").map((name) => join("/usr/lib", name, "faketime", "libfaketimeMT.so.1"));
  const found = paths.find((path) => existsSync(path));
  assert.ok(found, "libfaketime is needed: scripts/setup.sh --test installs it");
  return found;
}

/** A program that runs `real` with its time of day read from `clock.file`, and a clock that can be set. */
function withClock(dir, name, real, offsetMs) {
  const file = join(dir, `${name}.clock`);
  const set = (ms) => writeFileSync(file, `${ms < 0 ? "-" : "+"}${Math.abs(ms) / 1_000}\n`);
  set(offsetMs);
  const path = join(dir, name);
  const setting = `LD_PRELOAD=${libfaketime()} FAKETIME_TIMESTAMP_FILE=${file} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1`;
  writeFileSync(path, `#!/bin/sh\nexec env ${setting} ${real} "$@"\n`);
  chmodSync(path, 0o755);
  chmodSync(file, 0o644);
  return { path, set };
}

/** Starts it as that program. Nothing else is started meanwhile. */
async function startAs(server, program, options) {
  const before = process.env.SEQUENTIAL_BIN;
  process.env.SEQUENTIAL_BIN = program.path;
  try {
    await server.start(options);
  } finally {
    process.env.SEQUENTIAL_BIN = before;
  }
}

const clusters = new Map();
/** A cluster whose server has a clock of its own, kept for the next test: {cluster, clock}. */
async function clusterWithClock(offsetMs) {
  if (!clusters.has("one")) {
    const cluster = new Cluster();
    const bin = join(cluster.dir, "bin");
    mkdirSync(bin);
    for (const name of readdirSync(cluster.bin)) if (name !== "postgres") symlinkSync(join(cluster.bin, name), join(bin, name));
    const clock = withClock(cluster.dir, "postgres-faked", join(cluster.bin, "postgres"), offsetMs);
    symlinkSync(clock.path, join(bin, "postgres"));
    chmodSync(cluster.dir, 0o755);
    cluster.bin = bin;
    clusters.set("one", { cluster: await cluster.start(), clock });
  }
  const one = clusters.get("one");
  one.clock.set(offsetMs);
  return one;
}

/**
 * Nodes with clocks of their own on one store: `use(nodes, sink, {clocks, database})`. Answers how often a stack run was taken
 * from a holder that was not heard of. `jumps`: the store's clock will be set.
 */
async function withClocks({ offsets, databaseMs, balanced = false, jumps = false, arrivalsMax = 2 }, use) {
  const sink = await openSink();
  const proxy = balanced ? await openChainProxy() : undefined;
  const dir = tempDir("sequential-clocks");
  const nodes = [];
  let beside;
  let database;
  if (databaseMs !== undefined) {
    const { cluster, clock } = await clusterWithClock(databaseMs);
    database = clock;
    beside = { cluster, database: cluster.createDatabase(), dir: tempDir("sequential-keys") };
  }
  try {
    const clocks = offsets.map((offset, i) => withClock(dir, `node-${i}`, binary(), offset));
    for (const clock of clocks) {
      const chain = proxy ? { "chain.url": proxy.url } : {};
      const node = new Server({ beside: beside ?? nodes[0], settings: crashSettings(sink, { ...SETTINGS, ...chain }) });
      nodes.push(node);
      await startAs(node, clock);
      node.keyFile = node.settings["chain.key_file"] ?? join(node.dir, "chain.key");
    }
    let turn = 0;
    if (proxy) {
      proxy.treat = (hint, forward) => {
        proxy.target = nodes[turn++ % nodes.length].url;
        return forward(hint);
      };
    }
    await nodes[0].publish("timed", TIMED);
    // The second call of each run has to be made again.
    sink.behave = ({ label, arrival }) => (label.endsWith("-2") && arrival === 1 ? "drop" : undefined);
    await use(nodes, sink, { clocks, database });
    for (const node of nodes.slice(1)) await node.stop();
    // The sink's clock is right; the store's times are by its own.
    const storeAt = ({ at }) => (jumps ? 0 : at + (databaseMs ?? offsets[0]));
    const ledger = { entries: sink.entries.map((entry) => ({ ...entry, at: storeAt(entry) })) };
    const acknowledged = nodes.flatMap((node) => [...node.acknowledged.keys()]);
    await nodes[0].check({ sink: ledger, arrivalsMax, acknowledged, samples: nodes.flatMap((node) => node.samples) });
    return nodes[0].query((query) => query("SELECT count(*) AS n FROM attempts WHERE outcome = 'lost'")[0].n);
  } finally {
    for (const node of nodes.reverse()) await node.destroy();
    await proxy?.close();
    await sink.close();
  }
}

/** Runs some of them at once at all nodes, and checks that nothing was early and nothing done twice. */
async function expectOnTime(nodes, sink, count = 12) {
  const runs = [];
  for (let i = 0; i < count; i++) {
    const node = nodes[i % nodes.length];
    const delayMs = i % 3 === 0 ? 700 : 0;
    const asked = Date.now();
    const id = await node.submit("timed", { url: sink.url, name: `t${i}` }, { options: { delayMs } });
    runs.push({ name: `t${i}`, asked, delayMs, id });
  }
  for (const { name, id, asked, delayMs } of runs) {
    const run = await nodes[0].ended(id, 30_000);
    assert.equal(run.status, "completed", JSON.stringify(run));
    const [first, second, third] = ["-1", "-2", "-3"].map((end) => sink.of(name + end));
    assert.deepEqual([first.length, second.length, third.length], [1, 2, 1], `${name}: calls made`);
    const early = (what, passed, least) =>
      assert.ok(passed >= least - ROUNDING_MS, `${name}: ${what} after ${passed} ms instead of ${least}`);
    early("the first call", first[0].at - asked, delayMs);
    early("the end of the sleep", second[0].at - first[0].at, SLEEP_MS);
    early("the second try", second[1].at - second[0].at, BACKOFF_LEAST_MS);
    early("by the task's clock, the end", run.result.took, SLEEP_MS + BACKOFF_LEAST_MS);
    assert.ok(run.result.took < 60_000, `${name}: by the task's clock it took ${run.result.took} ms`);
  }
  return runs;
}

const about = (actual, expected) => assert.ok(Math.abs(actual - expected) < 10_000, `${actual} ms instead of about ${expected}`);
const warnings = (node, what) => node.stderr.split("\n").filter((line) => line.includes(what));
const REFUSED = "chain requests are refused because the clock";
const DIFFERS = "this node's clock differs from the database's";

describe("F32 chain requests signed by a clock that is wrong", () => {
  for (const ahead of [2 * HOURS, -10 * MINUTES]) {
    it(`${ahead / MINUTES} minutes: refused, counted, and told of once`, { timeout: 30_000 }, () =>
      withClocks({ offsets: [0], databaseMs: STORE === "postgres" ? 0 : undefined }, async ([node]) => {
        const body = '{"stackRunId":1}';
        for (let i = 0; i < 20; i++) {
          const headers = { "content-type": "application/json", "x-chain": signHint(node.keyFile, body, { ts: Date.now() + ahead }) };
          assert.equal((await node.request("POST", "/stack/process", { body, headers })).status, 401);
        }
        const { chain } = await node.get("/stats");
        assert.equal(chain.skewed, 20);
        about(chain.last_skew_ms, ahead);
        await until("the log to tell of it", () => warnings(node, REFUSED).length > 0);
        const told = warnings(node, REFUSED);
        assert.equal(told.length, 1, "one line, not one for each");
        about(Number(/"ahead_of_us_ms":(-?\d+)/.exec(told[0])[1]), ahead);
      }));
  }
});

if (STORE === "postgres") {
  describe("F32 nodes and a database that disagree about the time", () => {
    it("nodes two hours ahead and behind: nothing early, nothing twice", { timeout: 60_000 }, async () => {
      const lost = await withClocks({ offsets: [2 * HOURS, -2 * HOURS], databaseMs: 0 }, async (nodes, sink) => {
        await expectOnTime(nodes, sink);
        for (const [i, ahead] of [[0, -2 * HOURS], [1, 2 * HOURS]]) {
          const { store } = await until("a look at the store", async () => {
            const stats = await nodes[i].get("/stats");
            return stats.store.looks > 0 && stats;
          });
          about(store.clock_ahead_ms, ahead);
          assert.deepEqual(store.warnings, ["clock_skew"]);
          assert.equal(warnings(nodes[i], DIFFERS).length, 1);
        }
      });
      assert.equal(lost, 0, "somebody's work was taken while it was held");
    });

    for (const hours of [1, -1]) {
      const where = hours > 0 ? "an hour ahead" : "an hour behind";
      it(`a database ${where}, nodes ten minutes apart that share the chain`, { timeout: 60_000 }, async () => {
        const lost = await withClocks({ offsets: [0, 10 * MINUTES], databaseMs: hours * HOURS, balanced: true }, async (nodes, sink) => {
          const runs = await expectOnTime(nodes, sink);
          for (const [i, ahead] of [[0, 10 * MINUTES], [1, -10 * MINUTES]]) {
            const { chain } = await nodes[i].get("/stats");
            assert.ok(chain.skewed > 0 && chain.sent > 0, `node ${i}: ${JSON.stringify(chain)}`);
            about(chain.last_skew_ms, ahead);
            assert.equal(warnings(nodes[i], REFUSED).length, 1);
          }
          // What tasks see is the database's time, whoever runs them.
          const { result } = await nodes[0].run(runs[0].id);
          about(result.began - Date.now(), hours * HOURS - (Date.now() - runs[0].asked));
        });
        assert.equal(lost, 0, "somebody's work was taken while it was held");
      });
    }

    it("a node whose clock is forty days ahead removes nothing that is younger than a month", { timeout: 60_000 }, async () => {
      const dir = tempDir("sequential-clocks");
      const { cluster } = await clusterWithClock(0);
      const beside = { cluster, database: cluster.createDatabase(), dir: tempDir("sequential-keys") };
      const node = new Server({ beside, settings: { "engine.processes": 1, "retention.pass_ms": 50, "retention.completed_ms": 720 * HOURS } });
      try {
        await startAs(node, withClock(dir, "node", binary(), 40 * 24 * HOURS));
        await node.publish("plain", "module.exports = async (input) => input;");
        const { id } = await node.complete("plain", 1);
        const { passes } = (await node.get("/stats")).retention;
        await until("two more passes", async () => (await node.get("/stats")).retention.passes > passes + 1);
        assert.equal((await node.run(id)).status, "completed");
        const purged = await node.request("POST", "/runs/purge", { json: { filter: {}, older_than: "30d" } });
        assert.deepEqual([purged.status, purged.json().matched], [200, 0]);
        const short = await node.request("PUT", "/tasks/plain/retention", { json: { completed: "1ms" } });
        assert.equal(short.status, 200);
        await until("what is older to be removed", async () => (await node.request("GET", `/runs/${id}`)).status === 404);
      } finally {
        await node.destroy();
      }
    });

    it("a database whose clock is set back for a while: a timer waits longer, never shorter", { timeout: 60_000 }, () =>
      withClocks({ offsets: [0], databaseMs: 0, jumps: true }, async ([node], sink, { database }) => {
        const id = await node.submit("timed", { url: sink.url, name: "back" });
        await until("the sleep to begin", async () => (await node.stack(id)).length === 3);
        database.set(-1 * HOURS);
        // Work goes on meanwhile, by the new time.
        const meanwhile = await node.submit("timed", { url: sink.url, name: "mean" });
        await until("the other run's sleep to be over", () => sink.count("mean-2") > 0);
        assert.ok(Date.now() - sink.of("back-1")[0].at >= SLEEP_MS, "the first one's time would have come");
        assert.equal(sink.count("back-2"), 0, "it woke early");
        database.set(0);
        for (const run of [id, meanwhile]) assert.equal((await node.ended(run)).status, "completed");
        for (const name of ["back", "mean"]) assert.ok(sink.of(`${name}-2`)[0].at - sink.of(`${name}-1`)[0].at >= SLEEP_MS - ROUNDING_MS);
      }));

    it("a database whose clock jumps ahead: work is taken over, and nothing is recorded twice", { timeout: 60_000 }, async () => {
      const lost = await withClocks({ offsets: [0, 0], databaseMs: 0, jumps: true, arrivalsMax: 3 }, async (nodes, sink, { database }) => {
        const held = gate();
        sink.behave = ({ label, arrival }) =>
          (/^j\d-3$/.test(label) && arrival === 1 ? held.passed.then(() => undefined) : undefined);
        const ids = [];
        for (let i = 0; i < 6; i++) ids.push(await nodes[i % 2].submit("timed", { url: sink.url, name: `j${i}` }));
        await until("all last calls to be under way", () => ids.every((_, i) => sink.count(`j${i}-3`) > 0));
        database.set(1 * HOURS);
        await nodes[1].complete("timed", { url: sink.url, name: "new" });
        held.open();
        for (const id of ids) assert.equal((await nodes[0].ended(id)).status, "completed");
      });
      assert.ok(lost > 0, "by the database's clock their leases were over");
    });
  });
} else {
  describe("F32 a server whose clock is wrong", () => {
    for (const hours of [2, -2]) {
      it(`by ${hours} hours: nothing early, nothing twice`, { timeout: 60_000 }, async () => {
        const lost = await withClocks({ offsets: [hours * HOURS] }, async (nodes, sink) => {
          await expectOnTime(nodes, sink);
          const { chain } = await nodes[0].get("/stats");
          assert.equal(chain.failed, 0, "it refused hints of its own");
        });
        assert.equal(lost, 0);
      });

      it(`that jumps by ${hours} hours under calls: none is made twice, no timer is lost`, { timeout: 60_000 }, async () => {
        const lost = await withClocks({ offsets: [0], jumps: true }, async ([node], sink, { clocks }) => {
          const held = gate();
          sink.behave = ({ label }) => (label.startsWith("j") && label.endsWith("-1") ? held.passed.then(() => undefined) : undefined);
          const ids = [];
          for (let i = 0; i < 6; i++) ids.push(await node.submit("timed", { url: sink.url, name: `j${i}` }));
          await until("all first calls to be under way", () => ids.every((_, i) => sink.count(`j${i}-1`) > 0));
          clocks[0].set(hours * HOURS);
          const done = await node.complete("timed", { url: sink.url, name: "new" });
          assert.ok(done.result.took >= SLEEP_MS);
          held.open();
          for (const id of ids) assert.equal((await node.ended(id)).status, "completed");
          for (let i = 0; i < 6; i++) {
            for (const n of [1, 2, 3]) assert.equal(sink.count(`j${i}-${n}`), 1);
            assert.ok(sink.of(`j${i}-2`)[0].at - sink.of(`j${i}-1`)[0].at >= SLEEP_MS - ROUNDING_MS);
          }
        });
        assert.equal(lost, 0);
      });
    }
  });
}
