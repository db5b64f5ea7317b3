// Looks into a stopped server's database. Of SQLite's what is read is a copy, so that looking changes nothing that a restart
// will find: opening the original would already fold its write-ahead log.
//
// A query is a function from SQL (of both dialects) to rows, and beside it what the dialects say differently:
//   tables()                  names of the tables that are there
//   damage()                  what the database itself finds wrong, one object each
//   holding(table, columns, text)   how many rows have the text in one of these columns
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
    const query = (sql) => JSON.parse(sqlite(["-json", copy], sql) || "[]");
    query.tables = () => query("SELECT name FROM sqlite_master WHERE type = 'table'").map((row) => row.name);
    query.damage = () => [
      ...query("PRAGMA integrity_check").filter((row) => row.integrity_check !== "ok"),
      ...query("PRAGMA foreign_key_check"),
    ];
    query.holding = (table, columns, text) => query(`SELECT count(*) AS n FROM ${table}
      WHERE ${columns.map((column) => `instr(${column}, ${quoteSql(text)}) > 0`).join(" OR ")}`)[0].n;
    return look(query);
  } finally {
    removeDir(dir);
  }
}

/** Changes a stopped server's database itself: what an operator's mistake or a forger would do. */
export function alterDatabase(path, sql) {
  sqlite([path], sql);
}

/** The same of a database of a PostgreSQL cluster (postgres.mjs). */
export function postgresQuery(cluster, database, schema = "sequential") {
  const query = (sql) => cluster.rows(database, sql, schema);
  query.tables = () => query(`SELECT tablename FROM pg_tables WHERE schemaname = ${quoteSql(schema)}`).map((row) => row.tablename);
  query.damage = () => [];  // its checksums are verified by every read
  query.holding = (table, columns, text) => query(`SELECT count(*) AS n FROM ${table} WHERE ${columns.map((column) =>
    `position(${quoteSql(text)}::bytea IN ${column}::bytea) > 0`).join(" OR ")}`)[0].n;
  return query;
}

export const quoteSql = (text) => `'${String(text).replaceAll("'", "''")}'`;
