// Releases of the program side by side: the next one is the one under test with more migrations, which test builds take from
// a folder (storage/src/migrations_extra.h). And the rules for migrations that such a pair must keep (migrations/README.md).
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { binary } from "./server.mjs";
import { tempDir } from "./temp.mjs";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../../..");
/** The migrations of the first release: there is none before it that could work beside it. */
export const FIRST_RELEASE = { sqlite: 1, postgres: 6 };

const number = (version) => String(version).padStart(4, "0");

/** The files of a store, in order: {version, name, sql}. */
export function migrationFiles(store) {
  const dir = join(ROOT, "migrations", store);
  return readdirSync(dir).filter((name) => name.endsWith(".sql")).sort()
    .map((name) => ({ version: Number(name.slice(0, 4)), name, sql: readFileSync(join(dir, name), "utf8") }));
}

/**
 * A program that is the one under test with `migrations` ([name, sql]) after its own: its path. `sql` may be a function of
 * the level of the release before, for "-- contract, compatible from NNNN". `env`: more of its environment.
 */
export function makeRelease(store, migrations, env = {}) {
  const dir = tempDir("sequential-release");
  const extra = join(dir, "migrations");
  mkdirSync(extra);
  const first = migrationFiles(store).length + 1;
  migrations.forEach(([name, sql], index) => {
    const text = typeof sql === "function" ? sql(number(first + index - 1)) : sql;
    writeFileSync(join(extra, `${number(first + index)}_${name}.sql`), text);
  });
  const program = join(dir, "sequential-runner");
  const variables = Object.entries({ SEQUENTIAL_EXTRA_MIGRATIONS: extra, ...env }).map(([key, value]) => `${key}='${value}'`);
  writeFileSync(program, `#!/bin/sh\n${variables.join(" ")} exec '${binary()}' "$@"\n`);
  chmodSync(program, 0o755);
  return program;
}

/** Starts a node (server.mjs) as this release: it looks for its program when it starts. */
export async function startAs(program, node, options) {
  const own = process.env.SEQUENTIAL_BIN;
  process.env.SEQUENTIAL_BIN = program;
  try {
    return await node.start(options);
  } finally {
    process.env.SEQUENTIAL_BIN = own;
  }
}

// --- what a next release may do at most --------------------------------------------------------------------------------

/** The newest definition of every function, as statements that replace it. */
export function functionsOf(sql) {
  const found = [...sql.matchAll(/^CREATE (?:OR REPLACE )?(FUNCTION (\w+)\([\s\S]*?\$\$[\s\S]*?\$\$[^;]*;)/gm)];
  return [...new Map(found.map(([, definition, name]) => [name, `CREATE OR REPLACE ${definition}`])).values()];
}

/** PostgreSQL: columns more in every table, a table and a function more, and every function replaced by itself. */
export function greatExpand() {
  const files = migrationFiles("postgres").map(({ sql }) => sql);
  const tables = files.flatMap((sql) => [...sql.matchAll(/^CREATE TABLE ([a-z_]+) \(/gm)].map((match) => match[1]));
  assert.ok(tables.includes("stack_runs"));
  return ["-- expand",
    ...tables.map((table) => `ALTER TABLE ${table} ADD COLUMN later bytea, ADD COLUMN later_too integer NOT NULL DEFAULT 7;`),
    "CREATE TABLE later_things (id bigint PRIMARY KEY);",
    "CREATE FUNCTION later_v1(p_id bigint) RETURNS bigint LANGUAGE sql SET search_path FROM CURRENT AS $$ SELECT p_id $$;",
    ...functionsOf(files.join("\n")),
  ].join("\n");
}

// --- the rules -----------------------------------------------------------------------------------------------------------

/** The statements of a migration, without comments and bodies of functions, each in one line. */
export function statementsOf(sql) {
  return sql.replace(/\$(\w*)\$[\s\S]*?\$\1\$/g, "$$$$").replace(/--.*$/gm, "").replace(/'(?:[^']|'')*'/g, "''")
    .split(";").map((statement) => statement.replace(/\s+/g, " ").trim()).filter(Boolean);
}

/** What is wrong with a migration file that came after the first release. */
export function complaintsAbout({ version, sql }, store) {
  const [line] = sql.split("\n");
  if (line === "-- expand") return statementsOf(sql).flatMap((statement) => complaintsAboutExpand(statement, sql, store));
  const from = /^-- contract, compatible from (\d{4})$/.exec(line)?.[1];
  if (!from) return [`its first line must be "-- expand" or "-- contract, compatible from NNNN": ${line}`];
  return Number(from) > 0 && Number(from) < version ? [] : [`it must spare the release before: compatible from ${from}`];
}

function complaintsAboutExpand(statement, sql, store) {
  const isNew = (table) => new RegExp(`^CREATE TABLE ${table} \\(`, "m").test(sql);
  if (/^CREATE (TABLE|TYPE|SEQUENCE|(OR REPLACE )?(FUNCTION|VIEW)) /.test(statement) || /^COMMENT ON /.test(statement)) return [];
  const [, unique, table] = /^CREATE (UNIQUE )?INDEX \S+ ON (\w+)/.exec(statement) ?? [];
  if (table && isNew(table)) return [];
  if (table && unique) return [`refuses rows that older nodes write: ${statement}`];
  if (table && store === "postgres") return [`keeps writers waiting while it is built: ${statement}`];
  if (table) return [];
  const [, filled] = /^INSERT INTO (\w+)/.exec(statement) ?? [];
  if (filled && isNew(filled)) return [];
  const [, added] = /^ALTER TABLE \w+ (.*)$/.exec(statement) ?? [];
  if (added === undefined) return [`may only add: ${statement}`];
  return added.split(/,(?![^(]*\))/).flatMap((part) => {
    if (/^SET \(/.test(part.trim())) return [];
    if (!/^ADD COLUMN /.test(part.trim())) return [`may only add: ${statement}`];
    if (/\bNOT NULL\b/.test(part) && !/\bDEFAULT\b/.test(part)) return [`older nodes do not fill it: ${statement}`];
    if (/\b(UNIQUE|REFERENCES|CHECK|PRIMARY KEY)\b/.test(part)) return [`refuses rows that older nodes write: ${statement}`];
    if (/\bDEFAULT [^,]*\(|\bGENERATED\b/.test(part)) return [`rewrites every row: ${statement}`];
    return [];
  });
}

const SCHEMA = "n.nspname = 'sequential'";
const RELATIONS = `pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND ${SCHEMA}`;
const FUNCTIONS = `pg_proc p JOIN pg_namespace n ON n.oid = pronamespace AND ${SCHEMA}`;
const CATALOG = {
  // What older nodes use, one text each. Functions with their settings: CREATE OR REPLACE drops those that it does not repeat.
  relies: `SELECT format('relation %s of kind %s', relname, relkind) AS text FROM ${RELATIONS} AND relkind IN ('r', 'v', 'S')
    UNION ALL SELECT format('column %s.%s %s, default %s', relname, attname, format_type(atttypid, atttypmod), pg_get_expr(adbin, adrelid))
      FROM ${RELATIONS} AND relkind IN ('r', 'v', 'c') JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped
      LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = attnum
    UNION ALL SELECT format('function %s(%s) -> %s, %s', proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
      array_to_string(proconfig, '; ')) FROM ${FUNCTIONS}
    UNION ALL SELECT 'index ' || pg_get_indexdef(c.oid) FROM ${RELATIONS} AND relkind = 'i'`,
  // What would refuse rows that they write, or calls that they make.
  narrows: `SELECT format('constraint of %s: %s', conrelid::regclass, pg_get_constraintdef(k.oid)) AS text
      FROM pg_constraint k JOIN pg_namespace n ON n.oid = connamespace AND ${SCHEMA} WHERE conrelid <> 0
    UNION ALL SELECT format('column of %s must be filled: %s', c.relname, attname) FROM ${RELATIONS} AND relkind = 'r'
      JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attnotnull AND NOT atthasdef
    UNION ALL SELECT format('index of %s: %s', c.relname, pg_get_indexdef(indexrelid)) FROM ${RELATIONS}
      JOIN pg_index ON c.oid = indrelid AND indisunique
    UNION ALL SELECT format('trigger of %s: %s', c.relname, tgname) FROM ${RELATIONS} JOIN pg_trigger t ON tgrelid = c.oid
    UNION ALL SELECT format('attribute of %s: %s', c.relname, attname) FROM ${RELATIONS} AND relkind = 'c'
      JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0
    UNION ALL SELECT format('function of %s: a second one', proname) FROM ${FUNCTIONS} GROUP BY proname HAVING count(*) > 1`,
  names: `SELECT relname AS text FROM ${RELATIONS} AND relkind IN ('r', 'c') UNION ALL SELECT proname FROM ${FUNCTIONS}`,
  called: `SELECT proname || coalesce(' ' || array_to_string(proconfig, ' '), '') AS text FROM ${FUNCTIONS} AND proname ~ '_v[0-9]+$'`,
};

/** What there is in a PostgreSQL schema once `sql` has been executed, which is undone unless `keep`. */
export function catalogAfter(cluster, database, sql, { keep = false } = {}) {
  const parts = Object.entries(CATALOG).map(([name, texts]) => `'${name}', (SELECT coalesce(json_agg(text), '[]') FROM (${texts}) t)`);
  return JSON.parse(cluster.psql(database, `BEGIN; SET LOCAL search_path = sequential; SET LOCAL client_min_messages = warning; ${sql}
    ; SELECT json_build_object(${parts.join(", ")}); ${keep ? "COMMIT" : "ROLLBACK"};`));
}

/** What a migration took from older nodes: `before` and `after` are catalogs. */
export function takenAway(before, after) {
  const of = (text) => /^\w+ of (?:sequential\.)?(\w+)/.exec(text)[1];
  return [
    ...before.relies.filter((text) => !after.relies.includes(text)).map((text) => `gone or changed: ${text}`),
    ...after.narrows.filter((text) => !before.narrows.includes(text) && before.names.includes(of(text))).map((text) => `new: ${text}`),
    ...after.called.filter((text) => !text.includes("search_path=")).map((text) => `does not say SET search_path FROM CURRENT: ${text}`),
  ];
}

/** Names of the functions that this release's nodes call (storage/src/postgres/transitions.cpp). */
export function calledByNodes() {
  const source = readFileSync(join(ROOT, "storage/src/postgres/transitions.cpp"), "utf8");
  return [...source.matchAll(/\bcall\("(\w+)"/g)].map((match) => match[1]);
}
