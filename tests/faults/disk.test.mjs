// F25: the disk is full, under SQLite and under PostgreSQL (its tables, then its write-ahead log). What is submitted is refused
// with 503 and a stable code, what was acknowledged stays, what is running waits, and all goes on when there is room again.
//
// The disks are small tmpfs mounts in a mount namespace of this test's own: as root by `unshare -m`, as an ordinary user by a
// user namespace. Where neither may be made, the test fails and says so.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, closeSync, cpSync, fsyncSync, openSync, rmSync, statfsSync, symlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Cluster } from "../support/js/postgres.mjs";
import { crashSettings, Server, STORE } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { tempDir } from "../support/js/temp.mjs";
import { until, within } from "../support/js/wait.mjs";

const MiB = 1 << 20;
// One disk per test, so that none meets what another left.
const DISKS = STORE === "postgres"
  ? { "tables-data": 96, "tables-log": 96, "log-data": 96, "log-log": 64 }
  : { short: 4, long: 4, restart: 4 };
const LEASE_MS = 2_000;
const ANSWER_MS = 3_000;
const HELD = 12;  // runs that wait for an answer when the disk becomes full
const PADDING = 64 * 1024;  // bytes of an input that cannot be compressed: so few are needed to use up what is left

/** Runs this file again in a namespace with the disks mounted, and ends with it; returns where they are already. */
function mountDisks() {
  if (process.env.DISK_TEST_MOUNTS) return process.env.DISK_TEST_MOUNTS;
  const dir = tempDir("sequential-disks");
  const mounts = Object.entries(DISKS).map(([name, size]) =>
    `mkdir ${dir}/${name} && mount -t tmpfs -o size=${size}m,mode=1777 tmpfs ${dir}/${name} && `).join("");
  const [uid, gid] = [process.getuid(), process.getgid()];
  const [namespaces, back] = uid === 0 ? ["-m", ""] : ["-Urm", `unshare -U --map-user=${uid} --map-group=${gid} `];
  const script = `${mounts}exec ${back}"$@"`;
  const self = [process.execPath, ...process.execArgv, fileURLToPath(import.meta.url)];
  const args = ["--fork", "--kill-child", namespaces, "sh", "-c", script, "sh", ...self];
  chmodSync(dir, 0o755);
  const ran = spawnSync("unshare", args, { stdio: "inherit", env: { ...process.env, DISK_TEST_MOUNTS: dir } });
  if (ran.error) throw new Error(`unshare is needed (util-linux): ${ran.error.message}`);
  assert.equal(ran.signal, null);
  process.exit(ran.status);
}
const mounted = mountDisks();
if (!DISKS[Object.keys(DISKS)[0]] || statfsSync(join(mounted, Object.keys(DISKS)[0])).type !== 0x01021994) {
  throw new Error("this test needs small disks of its own, hence a mount namespace: root may have one, others where user " +
    "namespaces are allowed (kernel.unprivileged_userns_clone)");
}

/** A small disk that can be filled to its last byte, and have room again. */
class Disk {
  constructor(name) {
    this.dir = join(mounted, name);
    this.ballast = join(this.dir, "ballast");
  }
  fill() {
    const fd = openSync(this.ballast, "a");
    try {
      for (let size = MiB; size >= 1; size = Math.floor(size / 2)) {
        for (const piece = Buffer.alloc(size, 1); ;) {
          try {
            if (writeSync(fd, piece) < size) break;
          } catch (error) {
            assert.equal(error.code, "ENOSPC");
            break;
          }
        }
      }
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    assert.equal(statfsSync(this.dir).bavail, 0);
  }
  free() {
    rmSync(this.ballast);
  }
}

const TASK = sinkTask(`
  const first = (await sink(input.name + "-1")).label;
  const both = await Promise.all([sink(input.name + "-2"), sleep(300)]);
  return [first, both[0].label, (await sink(input.name + "-3")).label];`);
const expected = (name) => [1, 2, 3].map((n) => `${name}-${n}`);

/**
 * Fills the disk while runs wait for a call's answer, and makes room again after `fullMs`. `refused(answer)` checks an answer
 * while it is full; `mend` is what an operator does beside making room; submissions have `paddings` of input, until each size is
 * refused.
 */
async function fillAndFree(server, sink, disk, { fullMs, refused, mend = () => {}, paddings = [PADDING, 0] }) {
  const names = new Map();
  const submit = async (name, padding = 0) => {
    const json = { task: "task", input: { url: sink.url, name, padding: randomBytes(padding).toString("base64") } };
    // A submission whose commit was sent when the database crashed is not answered before its fate is known: undefined.
    const answer = await server.request("POST", "/tasks/execute", { json, timeoutMs: ANSWER_MS }).catch(() => undefined);
    if (answer && answer.status < 300) {
      const { taskRunId } = answer.json().data;
      names.set(name, taskRunId);
      server.acknowledged.set(taskRunId, true);
    }
    return answer;
  };
  await server.publish("task", TASK);
  const held = gate();
  sink.behave = ({ label }) => (/^held\d+-1$/.test(label) ? held.passed.then(() => undefined) : undefined);
  await submit("before");
  for (let i = 0; i < HELD; i++) await submit(`held${i}`);
  await until("the calls that are held", () => sink.entries.filter(({ label }) => label.startsWith("held")).length === HELD);

  disk.fill();
  let count = 0;
  for (const padding of paddings) {
    const answer = await until("a submission to be refused", async () => {
      const one = await submit(`filling-${count++}`, padding);
      return one && one.status >= 300 && one;
    }, 30_000);
    refused(answer);
  }
  // Answers arrive that cannot be recorded; others ask meanwhile.
  held.open();
  const since = Date.now();
  while (Date.now() - since < fullMs) {
    const answer = await submit(`full-${count++}`, paddings.at(-1));
    if (answer && answer.status >= 300) refused(answer);
    assert.equal((await server.request("GET", "/livez")).status, 200);
  }
  assert.equal(server.child.exitCode, null, "the server gave up");
  disk.free();
  await mend();
  await until("submissions to be taken again", async () => (await submit(`after-${count++}`))?.status < 300, 20_000);
  for (const [name, id] of names) {
    const run = await server.ended(id, 30_000);
    assert.equal(run.status, "completed", `${name}: ${JSON.stringify(run).slice(0, 2_000)}`);
    assert.deepEqual(run.result, expected(name));
  }
  const calls = `${sink.entries.length} calls made for ${3 * names.size}`;
  console.log(`# ${names.size} of ${count + 1 + HELD} submissions were acknowledged, ${calls}`);
  return names;
}

function isUnavailable(answer) {
  assert.equal(answer.status, 503, answer.text);
  assert.equal(answer.json().code, "unavailable", answer.text);
  assert.ok(Number(answer.headers["retry-after"]) > 0, "it says when to try again");
}
function isFull(answer) {
  isUnavailable(answer);
  assert.match(answer.json().detail, /full|no space left/i);
}

if (STORE === "sqlite") {
  /** A server whose database is on the disk. */
  async function onDisk(name, settings, use) {
    const disk = new Disk(name);
    const sink = await openSink();
    const server = new Server({ settings: crashSettings(sink, {
      "store.lease_ms": LEASE_MS, "store.sqlite.wal_checkpoint_pages": 100, "store.path": join(disk.dir, "sequential.db"),
      "keystore.key_file": join(disk.dir, "keystore.key"), "chain.key_file": join(disk.dir, "chain.key"), ...settings }) });
    server.databasePath = server.settings["store.path"];
    try {
      await server.start();
      await use(server, sink, disk);
    } finally {
      await server.destroy();
      await sink.close();
    }
  }

  describe("F25 SQLite on a full disk", () => {
    it("full for less than a lease: refused, nothing lost, no call made twice", { timeout: 60_000 }, () =>
      onDisk("short", { "store.lease_ms": 20_000 }, async (server, sink, disk) => {
        const names = await fillAndFree(server, sink, disk, { fullMs: 2_000, refused: isFull });
        const { runs } = await server.check({ sink, arrivalsMax: 1 });
        assert.equal(runs.length, names.size, "what was refused left nothing");
      }));

    it("full for longer than a lease: what runs waits and goes on", { timeout: 60_000 }, () =>
      onDisk("long", {}, async (server, sink, disk) => {
        await fillAndFree(server, sink, disk, { fullMs: 3 * LEASE_MS, refused: isFull });
        assert.match(server.stderr, /(an outcome could not be recorded|a slice could not be committed)/, "nothing had to wait");
        await server.check({ sink, arrivalsMax: 3 });
      }));

    it("killed while it is full: it says so at its start, and has everything when there is room", { timeout: 60_000 }, () =>
      onDisk("restart", {}, async (server, sink, disk) => {
        const mend = async () => {
          disk.fill();
          await server.kill9();
          let why;
          await server.start().then(() => server.kill9(), (error) => {
            why = error.message;
          });
          if (why) assert.match(why, /cannot serve: .*full/i, "a start that fails says why");
          disk.free();
          await server.start();
        };
        await fillAndFree(server, sink, disk, { fullMs: 200, refused: isFull, mend });
        await server.check({ sink, arrivalsMax: 3 });
      }));
  });
} else {
  /** A cluster with its tables on one small disk and its write-ahead log on another, and a server on it. */
  async function onDisks(name, use) {
    const [data, log] = [new Disk(`${name}-data`), new Disk(`${name}-log`)];
    const temp = process.env.TMPDIR;
    process.env.TMPDIR = data.dir;
    const cluster = new Cluster();
    if (temp === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = temp;
    const [from, to] = [join(cluster.data, "pg_wal"), join(log.dir, "pg_wal")];
    cpSync(from, to, { recursive: true, preserveTimestamps: true });
    rmSync(from, { recursive: true });
    symlinkSync(to, from);
    if (process.getuid() === 0) spawnSync("chown", ["-R", "postgres:postgres", to, from]);
    const start = () => cluster.start({ settings: { min_wal_size: "32MB", max_wal_size: "48MB", wal_recycle: "off", autovacuum: "off" } });
    const sink = await openSink();
    let server;
    try {
      await start();
      const beside = { cluster, database: cluster.createDatabase(), dir: tempDir("sequential-keys") };
      server = new Server({ beside, settings: crashSettings(sink, { "store.lease_ms": LEASE_MS }) });
      await server.start();
      await use({ server, sink, data, log, cluster, start });
      checkTables(cluster, server.database);
    } finally {
      await server?.destroy();
      await sink.close();
      if (cluster.child) await cluster.stop("immediate");
    }
  }

  /** I12: heap and indexes agree, by pg_amcheck. */
  function checkTables(cluster, database) {
    const args = ["-h", cluster.socket, "-p", String(cluster.port), "-U", "postgres", "--install-missing", "--heapallindexed", database];
    const ran = spawnSync(join(cluster.bin, "pg_amcheck"), args, { encoding: "utf8" });
    assert.equal(ran.status, 0, `pg_amcheck: ${ran.stdout}${ran.stderr}`);
  }

  describe("F25 PostgreSQL on a full disk", () => {
    it("no room for tables: refused, nothing lost, and it goes on", { timeout: 60_000 }, () =>
      onDisks("tables", async ({ server, sink, data }) => {
        const names = await fillAndFree(server, sink, data, { fullMs: 2 * LEASE_MS, refused: isFull });
        const { runs } = await server.check({ sink, arrivalsMax: 4 });
        assert.equal(runs.length, names.size, "what was refused left nothing");
      }));

    it("no room for its log: it crashes, is started again when there is room, and nothing acknowledged is lost", { timeout: 60_000 }, () =>
      onDisks("log", async ({ server, sink, log, cluster, start }) => {
        const mend = async () => {
          // It may have recovered by itself, or have given up.
          const gone = await within("nothing", 1_000, cluster.child.exited).catch(() => undefined);
          if (gone) await start();
        };
        await fillAndFree(server, sink, log, { fullMs: LEASE_MS, refused: isUnavailable, mend, paddings: [PADDING] });
        await server.check({ sink, arrivalsMax: 5 });
      }));
  });
}
