// F26: the file of the embedded store. A killed server's log is cut anywhere in its last frame; a second server is pointed at the
// file; many clients, a backup and a reader are at it at once. (That each byte of the last frame may be missing is also tested
// where no server is needed: tests/unit/storage/torn_wal_test.cpp.)
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { childrenOf, startChild } from "../support/js/children.mjs";
import { withDatabase } from "../support/js/database.mjs";
import { binary, cleanEnv, crashSettings, Server } from "../support/js/server.mjs";
import { tempDir } from "../support/js/temp.mjs";
import { until, within } from "../support/js/wait.mjs";

const ECHO = `module.exports = async (input) => {
  for (let i = 0; i < input.calls; i++) await __callHostTool__("echo", "echo", [i]);
  return input.calls;
};`;

async function withServer(settings, use) {
  const server = new Server({ store: "sqlite", settings: crashSettings(undefined, settings) });
  try {
    await server.start();
    await server.publish("echo", ECHO);
    await use(server);
  } finally {
    await server.destroy();
  }
}

// --- the log -------------------------------------------------------------------------------------------------------------

const LOG_HEADER = 32;
const FRAME = 24 + 4_096;

/** Length of the log up to its last frame: behind it there is room reserved, or frames of an earlier round. */
function endOfLog(path) {
  const log = readFileSync(path);
  let end = LOG_HEADER;
  while (end + FRAME <= log.length && log.compare(log, 16, 24, end + 8, end + 16) === 0) end += FRAME;
  return end;
}

/** Nothing happens by itself, so that the last commit is the one that was acknowledged last. */
const SILENT = { "chain.enabled": false, "store.sweep_ms": 0, "store.lease_ms": 600_000 };

describe("F26 a killed server's log, cut within its last frame", () => {
  it("keeps all that was acknowledged but the commit that was cut, and a server goes on from it", { timeout: 60_000 }, async () => {
    const dir = tempDir("sequential-torn");
    const [database, log] = [join(dir, "kept.db"), join(dir, "kept.db-wal")];
    const keys = ["keystore.key", "chain.key"];
    let ids;
    await withServer(SILENT, async (server) => {
      for (let i = 0; i < 8; i++) await server.submit("echo", { calls: 3 });
      await server.kill9();
      ids = [...server.acknowledged.keys()];
      copyFileSync(server.databasePath, database);
      copyFileSync(`${server.databasePath}-wal`, log);
      for (const name of keys) copyFileSync(join(server.dir, name), join(dir, name));
    });
    const end = endOfLog(log);
    assert.ok(end > LOG_HEADER + FRAME);
    const all = "SELECT id FROM task_runs ORDER BY id";
    const look = (path) => withDatabase(path, (query) => ({ runs: query(all).map((row) => row.id), damage: query.damage() }));
    assert.deepEqual(look(database), { runs: ids, damage: [] }, "uncut");
    // The first and last bytes of frame header and page, and some between.
    const cuts = [1, 2, 3, 511, 512, 513, 1_024, 2_048, 3_000, 4_095, 4_096, 4_097, 4_104, 4_112, 4_119, FRAME];
    for (const cut of cuts) {
      truncateSync(log, end - cut);
      assert.deepEqual(look(database), { runs: ids.slice(0, -1), damage: [] }, `${cut} bytes cut`);
    }
    for (const cut of [1, 2_048, FRAME - 12]) {
      const server = new Server({ store: "sqlite", settings: crashSettings() });
      try {
        copyFileSync(database, server.databasePath);
        writeFileSync(`${server.databasePath}-wal`, readFileSync(log).subarray(0, end - FRAME));
        writeFileSync(`${server.databasePath}-wal`, Buffer.alloc(FRAME - cut, 0x5a), { flag: "a" });
        for (const name of keys) copyFileSync(join(dir, name), join(server.dir, name));
        await server.start();
        for (const id of ids.slice(0, -1)) assert.equal((await server.ended(id)).result, 3);
        assert.equal((await server.request("GET", `/runs/${ids.at(-1)}`)).status, 404);
        await server.complete("echo", { calls: 1 });
        await server.check();
      } finally {
        await server.destroy();
      }
    }
  });
});

// --- a second server -------------------------------------------------------------------------------------------------------

/** A server that is not expected to start: {code, stderr}. */
async function startSecond(path) {
  const child = startChild(binary(), ["serve", "--set", "server.port=0", "--set", `store.path=${path}`],
    { env: cleanEnv(), stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  try {
    const { code } = await within("the second server to give up", 15_000, child.exited);
    return { code, stderr };
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

describe("F26 a second server on the same file", () => {
  it("refuses to start and says who has it, whatever name the file is given; the first goes on", { timeout: 60_000 }, () =>
    withServer({}, async (server) => {
      const folder = join(server.dir, "elsewhere");
      mkdirSync(folder);
      symlinkSync(server.databasePath, join(folder, "link.db"));
      symlinkSync("link.db", join(folder, "again.db"));
      symlinkSync(server.dir, join(folder, "folder"));
      linkSync(server.databasePath, join(folder, "hard.db"));
      const other = ["link.db", "again.db", "folder/sequential.db"].map((name) => join(folder, name));
      for (const path of [server.databasePath, join(server.dir, "elsewhere", "..", "sequential.db"), ...other]) {
        const running = server.complete("echo", { calls: 20 });
        const { code, stderr } = await startSecond(path);
        assert.equal(code, 6, `${path}: ${stderr}`);
        assert.match(stderr, new RegExp(`served by process ${server.pid} already`), path);
        assert.match(stderr, /sequential\.db/, path);
        await running;
      }
      const hard = await startSecond(join(folder, "hard.db"));
      assert.equal(hard.code, 6, hard.stderr);
      assert.match(hard.stderr, /another process already, under another name/);
      await server.complete("echo", { calls: 3 });
      await server.check();
    }));

  it("starts when the first has been killed", { timeout: 60_000 }, () => withServer({}, async (server) => {
    const id = await server.submit("echo", { calls: 30 });
    await server.kill9();
    await server.start();
    assert.equal((await server.ended(id)).result, 30);
    await server.check();
  }));
});

// --- many at once ----------------------------------------------------------------------------------------------------------

/** Runs the sqlite3 command; `first` is what it says when it has got so far. */
function shell(path, sql, first) {
  const child = startChild("sqlite3", [path], { stdio: ["pipe", "pipe", "pipe"] });
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => {
    said.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    said.err += text;
  });
  child.stdin.write(sql);
  return {
    said,
    began: until(`sqlite3 to say ${first}`, () => said.out.includes(first) || said.err),
    end: (last = "") => {
      child.stdin.end(last);
      return within("sqlite3 to end", 20_000, child.exited);
    },
  };
}

describe("F26 32 clients that write", () => {
  it("beside a reader, backups, and another process that writes: none is told that the file is busy", { timeout: 60_000 }, () =>
    withServer({ "store.sqlite.wal_checkpoint_pages": 200 }, async (server) => {
      const reader = shell(server.databasePath, "BEGIN; SELECT 'reading', count(*) FROM task_runs;\n", "reading");
      await reader.began;
      let going = true;
      const answers = [];
      const clients = Promise.all(Array.from({ length: 32 }, async () => {
        while (going) answers.push(await server.execute("echo", { calls: 2 }));
      }));
      let backups = 0;
      const copying = (async () => {
        for (; going; backups++) {
          const copy = join(server.dir, `backup-${backups}.db`);
          const backup = shell(server.databasePath, `.backup ${copy}\nSELECT 'done';\n`, "done");
          await backup.began;
          await backup.end();
          assert.equal(backup.said.err, "", "a backup while the server writes");
          assert.deepEqual(withDatabase(copy, (query) => query.damage()), []);
          rmSync(copy);
        }
      })();
      await until("some work to be done", () => answers.length > 500 && backups > 1);
      // Somebody with a shell holds the file's write lock for a while: everybody waits, nobody is refused.
      const writer = shell(server.databasePath, ".timeout 20000\nBEGIN IMMEDIATE;\nSELECT 'writing';\n", "writing");
      await writer.began;
      const before = answers.length;
      await assert.rejects(until("an answer while the file is locked", () => answers.length > before + 64, 1_000));
      await writer.end("COMMIT;\n");
      await until("more work to be done", () => answers.length > before + 300);
      going = false;
      await Promise.all([clients, copying]);
      await reader.end("COMMIT;\n");
      const refused = answers.filter((answer) => answer.status !== 202);
      assert.deepEqual(refused.map((answer) => answer.text), []);
      assert.doesNotMatch(server.stderr, /busy|locked/i);
      await until("all runs to be over", async () => {
        const counts = (await server.get("/db/status")).runs;
        return (counts.completed ?? 0) === answers.length;
      });
      await server.check();
    }));
});
