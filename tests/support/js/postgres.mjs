// A PostgreSQL of the test process's own: a temporary cluster on a socket in a temporary directory, run as an ordinary user,
// with flushes on. Started when first needed, gone with the process.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { startChild } from "./children.mjs";
import { tempDir } from "./temp.mjs";
import { until, within } from "./wait.mjs";

const OUTPUT_BYTES_MAX = 1 << 30;
const START_MS = 60_000;
const ROOT = "/usr/lib/postgresql";

function programs() {
  const versions = existsSync(ROOT) ? readdirSync(ROOT).filter((name) => existsSync(join(ROOT, name, "bin", "postgres"))) : [];
  versions.sort((a, b) => Number(b) - Number(a));
  assert.ok(versions.length > 0, "PostgreSQL's server programs are needed: scripts/setup.sh --test installs them");
  return join(ROOT, versions[0], "bin");
}

/** PostgreSQL refuses to run as root. */
function asUser(command, args) {
  return process.getuid() === 0
    ? ["setpriv", ["--reuid=postgres", "--regid=postgres", "--clear-groups", "--", command, ...args]]
    : [command, args];
}

function runSync(command, args, options = {}) {
  const ran = spawnSync(command, args, { encoding: "utf8", maxBuffer: OUTPUT_BYTES_MAX, ...options });
  if (ran.error) throw new Error(`${command}: ${ran.error.message}`);
  if (ran.status !== 0) throw new Error(`${command}: ${ran.stderr || ran.stdout}`);
  return ran.stdout;
}

export class Cluster {
  constructor() {
    this.bin = programs();
    this.dir = tempDir("sequential-pg");
    this.data = join(this.dir, "data");
    mkdirSync(join(this.dir, "socket"));
    this.socket = join(this.dir, "socket");
    this.databases = 0;
    if (process.getuid() === 0) runSync("chown", ["-R", "postgres:postgres", this.dir]);
    runSync(...asUser(join(this.bin, "initdb"), ["-D", this.data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]),
      { cwd: this.dir });
  }

  /** @param {{settings?: object, port?: number}} options `port` also listens on 127.0.0.1 */
  async start({ settings = {}, port } = {}) {
    const all = {
      unix_socket_directories: this.socket, listen_addresses: port ? "127.0.0.1" : "", port: port ?? 5432,
      max_connections: 200, shared_buffers: "64MB", fsync: "on", log_min_messages: "warning", ...settings,
    };
    const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    this.port = all.port;
    this.child = startChild(...asUser(join(this.bin, "postgres"), ["-D", this.data, ...flags]),
      { cwd: this.dir, stdio: ["ignore", "ignore", "pipe"] });
    this.log = "";
    this.child.stderr.setEncoding("utf8").on("data", (text) => { this.log = (this.log + text).slice(-65_536); });
    // A test process ends when its tests have; the cluster goes with it.
    this.child.unref();
    this.child.stderr.unref();
    let gone;
    this.child.exited.then((how) => { gone = how; });
    await until("PostgreSQL to accept connections", () => {
      if (gone) throw new Error(`PostgreSQL ended at its start: ${JSON.stringify(gone)}\n${this.log}`);
      return spawnSync(join(this.bin, "pg_isready"), ["-q", "-h", this.socket, "-p", String(this.port)]).status === 0;
    }, START_MS);
    return this;
  }

  get pid() { return Number(readFileSync(join(this.data, "postmaster.pid"), "utf8").split("\n")[0]); }

  /** `how`: fast (clients are sent away), immediate (as if it had crashed). */
  async stop(how = "fast") {
    this.child.kill(how === "fast" ? "SIGINT" : "SIGQUIT");
    await within("PostgreSQL to stop", 30_000, this.child.exited);
  }

  /** A new empty database; its name. */
  createDatabase() {
    const name = `test_${process.pid}_${++this.databases}`;
    this.psql("postgres", `CREATE DATABASE ${name}`);
    return name;
  }

  url(database) {
    return `postgresql://postgres@/${database}?host=${encodeURIComponent(this.socket)}&port=${this.port}`;
  }

  /** Runs SQL; what it prints, unaligned. */
  psql(database, sql) {
    return runSync(join(this.bin, "psql"), ["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", this.socket, "-p", String(this.port), "-U", "postgres", "-d", database],
      { input: sql });
  }

  /** The rows of a SELECT as objects; byte strings as \x and hexadecimal digits. */
  rows(database, sql, schema = "sequential") {
    const text = this.psql(database, `SET search_path TO ${schema}; SELECT coalesce(json_agg(t), '[]') FROM (${sql}) t;`);
    return JSON.parse(text);
  }
}

let shared;
/** The cluster of this test process, started once. */
export function sharedCluster() {
  shared ??= new Cluster().start();
  return shared;
}
