// F27: somebody holds an old snapshot (a long transaction, a backup) while many runs pass. What the runs leave cannot be cleaned
// up meanwhile; work is found as quickly as before, and the server tells of it. SNAPSHOT_TEST_CALLS=200000 is the long form; a
// quick look at the numbers is among its output.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { startChild } from "../support/js/children.mjs";
import { crashSettings, Server, STORE } from "../support/js/server.mjs";
import { until, within } from "../support/js/wait.mjs";

const CALLS = Number(process.env.SNAPSHOT_TEST_CALLS ?? 3_000);
const CALLS_PER_RUN = 3;
const LONG_MS = 40_000 + CALLS * 30;
const CLIENTS = 16;
const PROBES = 200;
// Five times the baseline is the bound for runs; below this floor nothing is told from a busy machine's noise.
const FLOORS = { runs: { p50: 500, p99: 2_000 } };
const ECHO = `module.exports = async (input) => {
  for (let i = 0; i < input.calls; i++) await __callHostTool__("echo", "echo", [i]);
  return input.calls;
};`;

const quantile = (times, q) => [...times].sort((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * q))];

/** A shell on the database that stays: `ask(sql)` answers what it prints. */
function openShell(server) {
  const [command, args] = server.database
    ? [join(server.cluster.bin, "psql"), ["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", server.cluster.url(server.database)]]
    : ["sqlite3", [server.databasePath]];
  const child = startChild(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    said += text;
  });
  let n = 0;
  return {
    async ask(sql) {
      const end = `answered ${++n}`;
      child.stdin.write(server.database ? `${sql}\n\\echo ${end}\n` : `${sql}\n.print ${end}\n`);
      while (!said.includes(`${end}\n`)) {
        await within("the database's answer", 60_000, new Promise((resolve) => child.stdout.once("data", resolve)));
      }
      const answer = said.slice(0, said.indexOf(end));
      said = said.slice(said.indexOf(end) + end.length + 1);
      return answer;
    },
    async close() {
      child.stdin.end();
      await within("the shell to end", 10_000, child.exited);
    },
  };
}

/** Passes `calls` calls through the server; the runs' times. */
async function load(server, calls) {
  const times = [];
  let left = Math.ceil(calls / CALLS_PER_RUN);
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (left-- > 0) {
      const began = performance.now();
      const answer = await server.execute("echo", { calls: CALLS_PER_RUN }, { waitS: 30 });
      assert.equal(answer.status, 200, answer.text);
      times.push(performance.now() - began);
    }
  }));
  return times;
}

/** How many pages of the database each of some looks reads, which says the same on a busy machine. */
async function pagesOf(shell, sql) {
  const pages = [];
  for (let i = 0; i < PROBES; i++) {
    const [{ Plan: plan }] = JSON.parse(await shell.ask(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${sql}`));
    pages.push(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]);
  }
  return pages;
}

async function withHeldSnapshot(settings, use) {
  const server = new Server({ settings: crashSettings(undefined, { "store.upkeep_ms": 200, ...settings }) });
  const shells = [];
  try {
    await server.start();
    // Every step of a run is claimed, as by whoever has a load balancer between its nodes.
    await server.restart({ settings: { "server.port": Number(new URL(server.url).port), "chain.url": server.url } });
    await server.publish("echo", ECHO);
    const open = () => {
      shells.push(openShell(server));
      return shells.at(-1);
    };
    await use(server, open);
  } finally {
    await Promise.all(shells.map((shell) => shell.close()));
    await server.destroy();
  }
}
const storeStats = async (server) => (await server.get("/stats")).store;
const told = (server, what) => server.stderr.split("\n").filter((line) => line.includes(what));
const HELD = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sequential.task_runs;";

if (STORE === "postgres") {
  describe("F27 an old snapshot under PostgreSQL", () => {
    it("work is found as quickly as before", { timeout: LONG_MS }, () => withHeldSnapshot({}, async (server, open) => {
      const probe = open();
      await probe.ask("SET search_path TO sequential; SET jit = off;");
      const claim = "SELECT o_id FROM claim_next_v1(0, 0, 1, false, 'a probe', 2000);";
      const due = "SELECT o_next FROM due_v1(0, 512);";
      await load(server, 150);
      const look = async () => ({ claims: await pagesOf(probe, claim), looks: await pagesOf(probe, due) });
      const [before, few] = [await load(server, 300), await look()];
      const reader = open();
      await reader.ask(HELD);
      await load(server, CALLS);
      const [during, many] = [await load(server, 300), await look()];
      const everything = await probe.ask(`BEGIN; SELECT pages_read() AS so_far \\gset
        SELECT set_look_marks(now_ms(0), -1, -1); SELECT 'pages', pages_read() - :so_far; COMMIT;`);
      const [, all] = /pages\|(\d+)/.exec(everything);
      const [, dead] = /(\d+)/.exec(await probe.ask("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'stack_runs';"));
      await reader.ask("COMMIT;");
      // Half a second's leavings are read past, of the seconds that were.
      for (const what of Object.keys(few)) {
        const [was, is] = [few, many].map((pages) => quantile(pages[what], 0.5));
        console.log(`# ${what}: p50 ${was} -> ${is} of ${all} pages, ${dead} dead rows`);
        assert.ok(is <= Math.max(all / 2, 300), `${what}: ${is} pages of ${all} instead of ${was}`);
      }
      for (const q of [0.5, 0.99]) {
        const [was, is] = [before, during].map((times) => quantile(times, q));
        console.log(`# runs: p${100 * q} ${was.toFixed(1)} -> ${is.toFixed(1)} ms`);
        assert.ok(is <= Math.max(5 * was, FLOORS.runs[`p${100 * q}`]), `runs, p${100 * q}: ${is} ms instead of ${was}`);
      }
      await server.check();
    }));

    it("work whose holder is gone is found, long past its time", { timeout: 60_000 }, () => withHeldSnapshot({}, async (server, open) => {
      const [probe, reader] = [open(), open()];
      await probe.ask("SET search_path TO sequential; SET jit = off;");
      await reader.ask(HELD);
      await load(server, 1_500);
      await probe.ask("SELECT o_next FROM due_v1(0, 512);");
      assert.ok(Number(await probe.ask("SELECT last_value FROM look_full_again;")) > 0, "there was not enough to read past");
      // Somebody takes a run's first step and is not heard of again; nobody has a hint for it.
      await server.restart({ settings: { "chain.enabled": false, "store.sweep_ms": 1_000 } });
      const ids = [];
      await until("one to be taken before the sweep comes", async () => {
        ids.push(await server.submit("echo", { calls: 2 }));
        return /\d/.test(await probe.ask("SELECT o_id FROM claim_next_v1(0, 0, 1, false, 'gone', 4000);"));
      });
      for (const id of ids) assert.equal((await server.ended(id, 30_000)).result, 2);
      await reader.ask("COMMIT;");
      await server.check();
    }));

    it("notes of how far there is nothing to find are not believed if another clock made them", { timeout: 60_000 }, () =>
      withHeldSnapshot({}, async (server, open) => {
        const probe = open();
        // As left by a server whose clock was an hour ahead.
        await probe.ask(`SET search_path TO sequential; SELECT setval('look_full_again', server_ms() + 3600000 + 5000),
          setval('look_ready_from', server_ms() + 3600000), setval('look_watch_from', server_ms() + 3600000);`);
        assert.equal(await probe.ask("SELECT o_ready, o_watch FROM look_from(10000);"), "-1|-1\n");
        await server.restart({ settings: { "chain.enabled": false, "store.sweep_ms": 100 } });
        assert.equal((await server.ended(await server.submit("echo", { calls: 3 }), 5_000)).result, 3);
        await server.check();
      }));

    it("the server tells how old it is and who holds it, and when it is gone", { timeout: 60_000 }, () =>
      withHeldSnapshot({ "store.postgres.xmin_age_warn": 500 }, async (server, open) => {
        await until("a look", async () => (await storeStats(server)).looks > 0);
        assert.deepEqual((await storeStats(server)).warnings, []);
        const reader = open();
        await reader.ask("SET application_name = 'a long report';");
        await reader.ask(HELD);
        const ages = [];
        while (ages.length < 4) {
          await load(server, 150);
          const { looks } = await storeStats(server);
          ages.push((await until("another look", async () => {
            const store = await storeStats(server);
            return store.looks > looks + 1 && store;
          })).oldest_xmin_age);
        }
        for (let i = 1; i < ages.length; i++) assert.ok(ages[i] > ages[i - 1], `it grows: ${ages}`);
        await until("the warning", async () => {
          await load(server, 150);
          return (await storeStats(server)).warnings.includes("old_snapshot");
        });
        const { held_by: holder } = await storeStats(server);
        assert.match(holder, /session \d+ of a long report/);
        await until("the log to tell of it", () => told(server, "an old snapshot keeps the database from cleaning up").length > 0);
        const [line] = told(server, "an old snapshot keeps the database from cleaning up");
        assert.match(line, /a long report/);
        await reader.ask("COMMIT;");
        await until("it to be over", async () => (await storeStats(server)).warnings.length === 0);
        await until("the log to say so", () => told(server, "no longer: an old snapshot").length === 1);
        assert.equal(told(server, "an old snapshot keeps the database").length, 1, "told of once");
        await server.check();
      }));
  });
} else {
  describe("F27 a reader that stays, under SQLite", () => {
    it("work is found as quickly as before; the log grows, and the server tells of it", { timeout: LONG_MS }, () =>
      withHeldSnapshot({ "store.sqlite.wal_checkpoint_pages": 200, "store.sqlite.log_bytes_warn": 3 << 20 }, async (server, open) => {
        await load(server, 300);
        const before = await load(server, 600);
        const reader = open();
        await reader.ask("BEGIN; SELECT count(*) FROM task_runs;");
        await load(server, CALLS);
        const during = await load(server, 600);
        const [p99, later] = [before, during].map((times) => quantile(times, 0.99));
        console.log(`# runs: p99 ${p99.toFixed(1)} -> ${later.toFixed(1)} ms with a log of ${(await storeStats(server)).log_bytes} bytes`);
        assert.ok(later <= Math.max(5 * p99, FLOORS.runs.p99), `p99 ${later} ms instead of ${p99}`);
        await until("the warning", async () => (await storeStats(server)).warnings.includes("long_log"));
        await until("the log to tell of it", () => told(server, "write-ahead log from being folded in").length === 1);
        await reader.ask("COMMIT;");
        await until("the log to start over", async () => {
          await load(server, 30);
          return (await storeStats(server)).warnings.length === 0;
        });
        await server.check();
      }));
  });
}
