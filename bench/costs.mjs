// What calls cost, read from outside: /proc for processor time and memory, PostgreSQL's own counts.
import { readFileSync } from "node:fs";
import { childrenOf } from "../tests/support/js/children.mjs";

const TICK_US = 10_000;
const PAGE_BYTES = 4096;

/** The fields of /proc/PID/stat after the name, or none if it is gone. */
function statOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

/** CPU time in us of a process and all below it, those that have ended included. */
export function cpuOf(pid) {
  const fields = statOf(pid);
  if (!fields) return 0;
  const own = fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);  // and of children it has waited for
  return own * TICK_US + childrenOf(pid).reduce((sum, child) => sum + cpuOf(child), 0);
}

/** Resident bytes of a process and all below it; pages they share are counted for each. */
export function residentOf(pid) {
  const fields = statOf(pid);
  if (!fields) return 0;
  return Number(fields[21]) * PAGE_BYTES + childrenOf(pid).reduce((sum, child) => sum + residentOf(child), 0);
}

/** What was spent so far: the difference of two is what happened between. */
export function costs(nodes) {
  const nodes_us = nodes.reduce((sum, node) => sum + cpuOf(node.pid), 0);
  const { cluster, database } = nodes[0];
  if (!database) return { nodes_us };
  const [row] = cluster.rows(database, `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS wal, xact_commit AS commits,
    tup_inserted + tup_updated + tup_deleted AS rows FROM pg_stat_database WHERE datname = current_database()`, "public");
  return { ...row, database_us: cpuOf(cluster.pid), nodes_us };
}
