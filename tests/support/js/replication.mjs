// A standby of a test's PostgreSQL, which replicates through a fault proxy: replication can be frozen, and the standby promoted.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openFaultProxy } from "./fault_proxy.mjs";
import { Cluster } from "./postgres.mjs";
import { tempDir } from "./temp.mjs";
import { until } from "./wait.mjs";

export const STANDBY = "standby";  // what a primary's synchronous_standby_names may name

function run(command, args) {
  const asRoot = process.getuid() === 0;
  const ran = spawnSync(asRoot ? "setpriv" : command,
    asRoot ? ["--reuid=postgres", "--regid=postgres", "--clear-groups", "--", command, ...args] : args, { encoding: "utf8" });
  if (ran.status !== 0) throw new Error(`${command}: ${ran.error?.message ?? ran.stderr}`);
}

/** A cluster whose data are a copy of another's. */
function emptyCluster(of) {
  const cluster = Object.assign(Object.create(Cluster.prototype), { bin: of.bin, dir: tempDir("sequential-standby"), databases: 0 });
  cluster.data = join(cluster.dir, "data");
  cluster.socket = join(cluster.dir, "socket");
  mkdirSync(cluster.socket);
  if (process.getuid() === 0) spawnSync("chown", ["-R", "postgres:postgres", cluster.dir]);
  return cluster;
}

/** Starts a standby of `primary`. `standby.replication` is the fault proxy that it replicates through. */
export async function startStandby(primary) {
  const standby = emptyCluster(primary);
  run(join(primary.bin, "pg_basebackup"),
    ["-D", standby.data, "-h", primary.socket, "-p", String(primary.port), "-U", "postgres", "-X", "stream", "-c", "fast", "--no-sync", "-R"]);
  standby.replication = await openFaultProxy(primary);
  const { port } = standby.replication.listener.address();
  await standby.start({ settings: {
    primary_conninfo: `host=127.0.0.1 port=${port} user=postgres application_name=${STANDBY} sslmode=disable gssencmode=disable`,
    wal_receiver_timeout: "60s",
  } });
  await caughtUp(primary);
  return standby;
}

/** Waits until the standby has, on disk, all that the primary has written. */
export async function caughtUp(primary) {
  const behind = "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= pg_current_wal_flush_lsn()";
  await until("the standby to catch up", () => primary.psql("postgres", behind).trim() === "1");
}

/** The standby becomes a primary. */
export async function promote(standby) {
  standby.psql("postgres", "SELECT pg_promote(false)");
  await until("the standby to be promoted", () => standby.psql("postgres", "SELECT pg_is_in_recovery()").trim() === "f");
}

/** A copy of a stopped cluster's files, and those files put back as they were. */
export function saveFiles(cluster) {
  cpSync(cluster.data, `${cluster.data}-saved`, { recursive: true, preserveTimestamps: true });
  if (process.getuid() === 0) spawnSync("chown", ["-R", "postgres:postgres", `${cluster.data}-saved`]);
}
export function restoreFiles(cluster) {
  rmSync(cluster.data, { recursive: true });
  renameSync(`${cluster.data}-saved`, cluster.data);
}
