// The rig's eyes in the database. Queries run in processes of their own, beside the running nodes, so that neither the nodes nor
// the rig's own proxies and sink wait for them. One interface for both stores:
//   rows(sql)            rows as objects; `text(column)` writes what turns stored text into text
//   hash(sql)            a digest of a query's rows
//   dump(range, open)    all rows of all tables, of those with a run those of the range's runs; open(table) → chunk => …
//   damage(whole)        what the database itself finds wrong (whole: reads everything)
//   watch(), unwatch()   installs, removes triggers that write down every change that must never be made
import { spawn } from "node:child_process";
import { join } from "node:path";

const OUTPUT_BYTES_MAX = 1 << 30;

// Tables that grow with the runs, and their rows of some of them; of the others all rows are few.
const ROWS_OF = {
  task_runs: (within) => within("id"), stack_runs: (within) => within("task_run_id"), task_logs: (within) => within("task_run_id"),
  attempts: (within) => `stack_run_id IN (SELECT id FROM stack_runs WHERE ${within("task_run_id")})`,
};
function selectRows(table, { after, through }) {
  const where = ROWS_OF[table.split(".").at(-1)]?.((column) => `${column} > ${after} AND ${column} <= ${through}`);
  return `SELECT * FROM ${table}${where ? ` WHERE ${where}` : ""}`;
}

// What must not be done to a row, whoever does it: [invariant, table, event, condition, columns that tell].
const FORBIDDEN = [
  ["I4 an epoch fell", "stack_runs", "UPDATE", "NEW.epoch < OLD.epoch"],
  ["I2 a recorded outcome changed", "stack_runs", "UPDATE",
    "OLD.seq > 0 AND OLD.delivered_as > 0 AND " +
    "(DIFFERS(delivered_as) OR DIFFERS(status) OR DIFFERS(result) OR DIFFERS(error) OR DIFFERS(ended_at))"],
  ["I5 a run that was over changed", "task_runs", "UPDATE",
    "OLD.status IN ('completed', 'failed', 'cancelled') AND (DIFFERS(status) OR DIFFERS(result) OR DIFFERS(error) OR DIFFERS(ended_at))"],
  ["I2 a stack run was deleted", "stack_runs", "DELETE", "true"],
  ["I1 a run was deleted", "task_runs", "DELETE", "true"],
];
const forbidden = (different) => FORBIDDEN.map(([what, table, event, condition], index) => ({
  what, table, event, name: `rig_${index}`, condition: condition.replaceAll(/DIFFERS\((\w+)\)/g, (_, column) => different(column)),
}));

/** Rows that belong to nothing, which the stores' transitions must not leave (PostgreSQL has no foreign keys). */
const ORPHANS = [
  ["a stack run without a task run", "SELECT s.id FROM stack_runs s LEFT JOIN task_runs t ON t.id = s.task_run_id WHERE t.id IS NULL"],
  ["a task run without a root", `SELECT t.id FROM task_runs t LEFT JOIN stack_runs r ON r.id = t.root_stack_run_id AND r.task_run_id = t.id
    AND r.seq = 0 WHERE r.id IS NULL`],
  ["a call without a root", `SELECT c.id FROM stack_runs c LEFT JOIN stack_runs r ON r.id = c.parent_stack_run_id
    AND r.task_run_id = c.task_run_id AND r.seq = 0 WHERE c.seq > 0 AND r.id IS NULL`],
  ["an attempt without a stack run",
    "SELECT a.stack_run_id FROM attempts a LEFT JOIN stack_runs s ON s.id = a.stack_run_id WHERE s.id IS NULL"],
  ["a log line without a task run",
    "SELECT l.task_run_id FROM task_logs l LEFT JOIN task_runs t ON t.id = l.task_run_id WHERE t.id IS NULL"],
  ["an end without a status that says so, or the other way round",
    "SELECT id FROM stack_runs WHERE (ended_at IS NOT NULL) <> (status IN ('completed', 'failed', 'cancelled'))"],
];

// I4, where nodes share a database: who ends a claim must be the node that made it. A node is known by its application_name,
// its lives by the lease_owner that they write.
const OWNERS = `
  CREATE TABLE rig.lives (owner text PRIMARY KEY, node text NOT NULL);
  CREATE FUNCTION rig.claimed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM rig.lives WHERE owner = NEW.lease_owner) THEN
      INSERT INTO rig.lives VALUES (NEW.lease_owner, current_setting('application_name')) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL; END $$;
  CREATE FUNCTION rig.ended() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO rig.violations SELECT 'I4 a claim was ended by a node that had lost it', OLD.id FROM rig.lives
     WHERE owner = OLD.lease_owner AND node <> current_setting('application_name');
    RETURN NULL; END $$;
  CREATE TRIGGER rig_claimed AFTER UPDATE ON stack_runs FOR EACH ROW
    WHEN (NEW.status = 'processing' AND NEW.lease_owner IS DISTINCT FROM OLD.lease_owner) EXECUTE FUNCTION rig.claimed();
  CREATE TRIGGER rig_claimed_new AFTER INSERT ON stack_runs FOR EACH ROW WHEN (NEW.status = 'processing') EXECUTE FUNCTION rig.claimed();
  CREATE TRIGGER rig_ended AFTER UPDATE ON stack_runs FOR EACH ROW
    WHEN (OLD.status = 'processing' AND NEW.status <> 'processing' AND NEW.epoch = OLD.epoch) EXECUTE FUNCTION rig.ended();`;
export const APPLICATION = "rig-";  // application_name of node n: rig-noden

/** Answers what it prints, or hands it on chunk by chunk. */
function run(command, args, input, take) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    const out = [];
    let size = 0;
    let errors = "";
    child.stdout.on("data", (chunk) => {
      size += take ? 0 : chunk.length;
      try {
        if (size > OUTPUT_BYTES_MAX) child.kill("SIGKILL");
        else if (take) take(chunk);
        else out.push(chunk);
      } catch (error) {
        child.kill("SIGKILL");
        reject(error);
      }
    });
    child.stderr.setEncoding("utf8").on("data", (text) => { errors = (errors + text).slice(-8_192); });
    child.stdin.on("error", () => {});
    child.on("error", (error) => reject(new Error(`${command} is needed: ${error.message}`)));
    child.on("close", (code, signal) => {
      if (code === 0) resolve(Buffer.concat(out).toString("utf8"));
      else reject(new Error(`${command}: ${signal ?? code} ${errors}\n${String(input).slice(0, 500)}`));
    });
    child.stdin.end(input);
  });
}

async function orphans(database) {
  const found = [];
  for (const [what, sql] of ORPHANS) found.push(...(await database.rows(`${sql} LIMIT 5`)).map((row) => ({ what, ...row })));
  return found;
}

export class SqliteEyes {
  constructor(path) {
    this.path = path;
  }
  text(column) { return column; }
  async rows(sql) {
    // Read-only: the write-ahead log stays as it is, also if this is the only reader.
    return JSON.parse(await run("sqlite3", ["-readonly", "-json", "-cmd", ".timeout 10000", this.path], `${sql};`) || "[]");
  }
  async hash(sql) {
    const [row] = await this.rows(`SELECT hex(sha3_query('${sql.replaceAll("'", "''")}')) AS hash`);
    return row.hash;
  }
  /** Byte strings once in hexadecimal, once as text. */
  async dump(range, open) {
    const tables = await this.rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'");
    for (const { name } of tables) {
      for (const mode of ["quote", "list"]) {
        const args = ["-readonly", "-cmd", ".timeout 10000", "-cmd", `.mode ${mode}`, this.path];
        await run("sqlite3", args, `${selectRows(name, range)};`, open(name));
      }
    }
  }
  async change(sql) {
    await run("sqlite3", ["-cmd", ".timeout 10000", this.path], sql);
  }
  async damage(whole) {
    const checks = whole ? ["integrity_check", "foreign_key_check"] : [];
    const found = [];
    for (const check of checks) found.push(...(await this.rows(`PRAGMA ${check}`)).filter((row) => row.integrity_check !== "ok"));
    return whole ? [...found, ...await orphans(this)] : found;
  }
  /** While no node runs. */
  async watch() {
    const triggers = forbidden((column) => `NEW.${column} IS NOT OLD.${column}`).map(({ what, table, event, name, condition }) => `
      CREATE TRIGGER IF NOT EXISTS ${name} AFTER ${event} ON ${table} WHEN ${condition} BEGIN
        INSERT INTO rig_violations (what, row_id) VALUES ('${what}', OLD.id); END;`);
    await this.change(`CREATE TABLE IF NOT EXISTS rig_violations (what TEXT, row_id INTEGER); ${triggers.join("")}`);
  }
  unwatch() {
    return this.change(forbidden(String).map(({ name }) => `DROP TRIGGER ${name};`).join(""));
  }
  violations() {
    return this.rows("SELECT * FROM rig_violations LIMIT 20");
  }
  async connections() { return undefined; }
}

export class PostgresEyes {
  constructor(cluster, database, schema = "sequential") {
    Object.assign(this, { cluster, database, schema });
  }
  text(column) { return `convert_from(${column}, 'UTF8')`; }
  #where() {
    return ["-h", this.cluster.socket, "-p", String(this.cluster.port), "-U", "postgres", "-d", this.database];
  }
  #psql(sql, take) {
    const statements = `SET search_path TO ${this.schema}; ${sql};`;
    return run(join(this.cluster.bin, "psql"), ["-XqAt", "-v", "ON_ERROR_STOP=1", ...this.#where()], statements, take);
  }
  async rows(sql) {
    return JSON.parse(await this.#psql(`SELECT coalesce(json_agg(t), '[]') FROM (${sql}) t`));
  }
  async hash(sql) {
    const [row] = await this.rows(`SELECT md5(string_agg(md5(x::text), '')) AS hash FROM (${sql}) x`);
    return row.hash;
  }
  /** Byte strings once as text, once in hexadecimal. */
  async dump(range, open) {
    const tables = await this.rows(`SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
      WHERE schemaname IN ('${this.schema}', 'rig')`);
    for (const { name } of tables) {
      for (const form of ["escape", "hex"]) {
        await this.#psql(`SET bytea_output = ${form}; COPY (${selectRows(name, range)}) TO STDOUT`, open(name));
      }
    }
  }
  async change(sql) {
    await this.#psql(sql);
  }
  async damage(whole) {
    if (!whole) return [];
    const check = run(join(this.cluster.bin, "pg_amcheck"), ["--heapallindexed", "--install-missing", ...this.#where()]);
    const found = await check.then(() => [], (error) => [{ pg_amcheck: error.message }]);
    return [...found, ...await orphans(this)];
  }
  async watch() {
    const rules = forbidden((column) => `NEW.${column} IS DISTINCT FROM OLD.${column}`);
    const triggers = rules.map(({ what, table, event, name, condition }) => `
      CREATE TRIGGER ${name} AFTER ${event} ON ${table} FOR EACH ROW WHEN (${condition}) EXECUTE FUNCTION rig.note('${what}');`);
    await this.change(`CREATE SCHEMA rig; CREATE TABLE rig.violations (what text, row_id bigint);
      CREATE FUNCTION rig.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        INSERT INTO rig.violations VALUES (TG_ARGV[0], OLD.id); RETURN NULL; END $$; ${triggers.join("")} ${OWNERS}`);
  }
  unwatch() {
    return this.change(forbidden(String).map(({ name, table }) => `DROP TRIGGER ${name} ON ${table};`).join(""));
  }
  violations() {
    return this.rows("SELECT * FROM rig.violations LIMIT 20");
  }
  /** Connections of nodes (psql of our own not counted), by state. */
  async connections() {
    const [row] = await this.rows(`SELECT count(*) AS n FROM pg_stat_activity WHERE datname = '${this.database}'
      AND application_name LIKE '${APPLICATION}%'`);
    return row.n;
  }
}
