// Looks into a stopped server's database. What is read is a copy, so that looking changes nothing that a restart will find:
// opening the original would already fold its write-ahead log.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { removeDir, tempDir } from "./temp.mjs";

const OUTPUT_BYTES_MAX = 1 << 30;

function sqlite(args, input) {
  const ran = spawnSync("sqlite3", args, { input, encoding: "utf8", maxBuffer: OUTPUT_BYTES_MAX });
  if (ran.error) throw new Error(`the sqlite3 command is needed: ${ran.error.message}`);
  if (ran.status !== 0) throw new Error(`sqlite3: ${ran.stderr}`);
  return ran.stdout;
}

/** Calls `look(query)` with a function that answers rows as objects, on a copy of the database at `path`. */
export function withDatabase(path, look) {
  const dir = tempDir("sequential-db");
  try {
    const copy = join(dir, "copy.db");
    copyFileSync(path, copy);
    if (existsSync(`${path}-wal`)) copyFileSync(`${path}-wal`, `${copy}-wal`);
    return look((sql) => JSON.parse(sqlite(["-json", copy], sql) || "[]"));
  } finally {
    removeDir(dir);
  }
}

/** Changes a stopped server's database itself: what an operator's mistake or a forger would do. */
export function alterDatabase(path, sql) {
  sqlite([path], sql);
}

export const quoteSql = (text) => `'${String(text).replaceAll("'", "''")}'`;
