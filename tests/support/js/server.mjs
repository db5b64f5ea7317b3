// A server under test: the real binary on a data directory of its own, started, killed and restarted at will, and a client
// for its API that keeps what was acknowledged.
import assert from "node:assert/strict";
import http from "node:http";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { childrenOf, residentBytes, startChild, startTimeOf } from "./children.mjs";
import { alterDatabase, postgresQuery, withDatabase } from "./database.mjs";
import { exchange } from "./http.mjs";
import { checkJournal, sampleJournal } from "./invariants.mjs";
import { sharedCluster } from "./postgres.mjs";
import { removeDir, tempDir } from "./temp.mjs";
import { until, within } from "./wait.mjs";

const START_MS = 30_000;
const STOP_MS = 20_000;
const STDERR_MAX = 64 * 1024;
const OVER = new Set(["completed", "failed", "cancelled", "paused"]);

export function binary() {
  const path = process.env.SEQUENTIAL_BIN;
  assert.ok(path && existsSync(path), `SEQUENTIAL_BIN must name the sequential-runner to test; it is ${path}`);
  return path;
}

/** The environment without settings of ours, so that a developer's own cannot change a test. */
export function cleanEnv(more = {}) {
  const entries = Object.entries(process.env).filter(([name]) => !name.startsWith("SEQUENTIAL_"));
  return { ...Object.fromEntries(entries), ...more };
}

/** The store that servers under test get: SEQUENTIAL_TEST_STORE, sqlite or postgres. */
export const STORE = process.env.SEQUENTIAL_TEST_STORE ?? "sqlite";

export class Server {
  /**
   * @param {{settings?: object, store?: string, beside?: Server}} options settings by name; `services.http.allow_hosts` may
   *   be a list. `beside`: another node on the same PostgreSQL database, with the same keys.
   */
  constructor({ settings = {}, store = STORE, beside } = {}) {
    this.dir = tempDir("sequential-server");
    this.store = store;
    this.beside = beside;
    this.databasePath = join(this.dir, "sequential.db");
    this.settings = { "server.port": 0, "store.path": this.databasePath, "server.drain_ms": 5_000, ...settings };
    this.acknowledged = new Map();  // run id → status at the last look
    this.samples = [];
    this.stderr = "";
  }

  /** Starts and waits until it listens. `faults` is SEQUENTIAL_FAULTS of this start only, `settings` changes for good. */
  async start({ faults, settings = {} } = {}) {
    await this.#openDatabase();
    Object.assign(this.settings, settings);
    const flags = Object.entries(this.settings).flatMap(([name, value]) => ["--set", `${name}=${[value].flat().join(",")}`]);
    const env = cleanEnv(faults ? { SEQUENTIAL_FAULTS: faults } : {});
    this.child = startChild(binary(), ["serve", ...flags], { cwd: this.dir, env, stdio: ["ignore", "pipe", "pipe"] });
    this.exited = this.child.exited;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
    let stdout = "";
    this.child.stdout.setEncoding("utf8").on("data", (text) => { stdout += text; });
    this.child.stderr.setEncoding("utf8").on("data", (text) => {
      this.stderr = (this.stderr + text).slice(-STDERR_MAX);
      if (process.env.SEQUENTIAL_TEST_VERBOSE) process.stderr.write(text);
    });
    let gone;
    this.exited.then((how) => { gone = how; });
    await until("the server to listen", () => {
      this.url = /listening on (http:\/\/\S+)/.exec(stdout)?.[1];
      // Work that an earlier life left may run into the crash point before anybody can see that it listens.
      if (this.url || (faults && gone?.signal === "SIGKILL")) return true;
      if (gone) throw new Error(`the server ended at its start: ${JSON.stringify(gone)}\n${this.stderr}`);
      return false;
    }, START_MS);
    return this;
  }

  async #openDatabase() {
    if (this.store !== "postgres" || this.database) return;
    this.cluster = this.beside?.cluster ?? await sharedCluster();
    this.database = this.beside?.database ?? this.cluster.createDatabase();
    const keys = this.beside?.dir ?? this.dir;
    this.settings = {
      "store.kind": "postgres", "store.url": this.cluster.url(this.database), "store.postgres.connections": 4,
      "keystore.key_file": join(keys, "keystore.key"), "chain.key_file": join(keys, "chain.key"), ...this.settings,
    };
  }

  get pid() { return this.child.pid; }
  residentBytes() { return residentBytes(this.pid); }
  engines() { return childrenOf(this.pid); }

  /** kill -9, now. */
  async kill9() {
    const engines = this.#remember();
    this.child.kill("SIGKILL");
    await this.#ended(engines);
  }

  /** Waits for a fault point to kill it. */
  async crashed(ms = 20_000) {
    const engines = this.#remember();
    let how;
    try {
      how = await within("the fault point to kill the server", ms, this.exited);
    } catch (error) {
      throw new Error(`${error.message}: the crash point was not reached\n${await this.describe()}`);
    }
    assert.equal(how.signal, "SIGKILL", `the server ended otherwise: ${JSON.stringify(how)}\n${this.stderr}`);
    await this.#ended(engines);
  }

  /** SIGTERM: finishes or gives back what is under way, exit 0. */
  async stop() {
    const engines = this.#remember();
    this.child.kill("SIGTERM");
    const how = await within("the server to stop after SIGTERM", STOP_MS, this.exited);
    await this.#ended(engines);
    assert.deepEqual({ code: how.code, signal: how.signal }, { code: 0, signal: null }, this.stderr);
  }

  async restart(options) {
    await this.stop();
    return this.start(options);
  }

  #remember() {
    return this.engines().map((pid) => ({ pid, started: startTimeOf(pid) }));
  }

  async #ended(engines) {
    await within("the server's end", STOP_MS, this.exited);
    this.agent.destroy();
    const alive = ({ pid, started }) => started !== null && startTimeOf(pid) === started;
    await until("the engine processes to end with their server", () => !engines.some(alive), 10_000);
    this.samples.push(this.query(sampleJournal));
  }

  /** Ends it however it is, and removes its directory. For `after` hooks, so it does not complain. */
  async destroy() {
    if (this.child) {
      this.child.kill("SIGKILL");
      await this.exited;
      this.agent.destroy();
    }
    removeDir(this.dir);
  }

  /** Reads the stopped server's database: `look(query)`. */
  query(look) {
    if (this.database) return look(postgresQuery(this.cluster, this.database));
    return existsSync(this.databasePath) ? withDatabase(this.databasePath, look) : undefined;
  }
  alter(sql) {
    if (this.database) this.cluster.psql(this.database, `SET search_path TO sequential; ${sql}`);
    else alterDatabase(this.databasePath, sql);
  }

  /** Stops it and checks the invariants of the whole history (invariants.mjs); answers the journal. */
  async check(options = {}) {
    await this.stop();
    return this.query((query) => checkJournal(query, { acknowledged: [...this.acknowledged.keys()], samples: this.samples, ...options }));
  }

  // --- the API ------------------------------------------------------------------------------------------------------

  request(method, path, { json, body, headers = {}, timeoutMs } = {}) {
    const type = json === undefined ? {} : { "content-type": "application/json" };
    return exchange({
      url: this.url + path, method, agent: this.agent, timeoutMs,
      body: json === undefined ? body : JSON.stringify(json), headers: { ...type, ...headers },
    });
  }
  async get(path) {
    const answer = await this.request("GET", path);
    assert.equal(answer.status, 200, `GET ${path}: ${answer.status} ${answer.text}`);
    return answer.json();
  }

  async publish(name, code) {
    const answer = await this.request("PUT", `/tasks/${name}`, { json: { code } });
    assert.ok(answer.status === 200 || answer.status === 201, `publishing ${name}: ${answer.status} ${answer.text}`);
    return answer.json();
  }

  /** Submits and answers the whole answer; a 2xx is remembered as acknowledged. */
  async execute(task, input, { options, headers, waitS, raw } = {}) {
    const body = raw ?? JSON.stringify({ task, input, options });
    const prefer = waitS === undefined ? {} : { prefer: `wait=${waitS}` };
    const answer = await this.request("POST", "/tasks/execute", {
      body, headers: { "content-type": "application/json", ...prefer, ...headers }, timeoutMs: 30_000 + (waitS ?? 0) * 1000,
    });
    if (answer.status >= 200 && answer.status < 300) this.acknowledged.set(answer.json().data.taskRunId, true);
    return answer;
  }
  /** Submits and answers the run's id. */
  async submit(task, input, options) {
    const answer = await this.execute(task, input, options);
    assert.ok([200, 202].includes(answer.status), `submitting ${task}: ${answer.status} ${answer.text}`);
    return answer.json().data.taskRunId;
  }

  run(id) { return this.get(`/runs/${id}`); }

  /** Waits until the run is over (or paused) and answers it. */
  async ended(id, ms = 30_000) {
    const deadline = Date.now() + ms;
    for (;;) {
      const run = await this.get(`/runs/${id}?wait=1`);
      if (OVER.has(run.status)) return run;
      if (Date.now() > deadline) throw new Error(`run ${id} is not over after ${ms} ms\n${await this.describe(id)}`);
    }
  }
  /** Submits, waits, and answers the run, which must have completed. */
  async complete(task, input, { ms, ...options } = {}) {
    const run = await this.ended(await this.submit(task, input, options), ms);
    assert.equal(run.status, "completed", JSON.stringify(run).slice(0, 4000));
    return run;
  }

  async stack(id) {
    const rows = [];
    for (let from = 0; from !== null;) {
      const page = await this.get(`/runs/${id}/stack?from=${from}&limit=1000`);
      rows.push(...page.stack);
      from = page.next_from;
    }
    return rows;
  }
  async logs(id) {
    const entries = [];
    for (let after = 0; ;) {
      const page = await this.get(`/runs/${id}/logs?after=${after}&limit=1000`);
      if (page.logs.length === 0) return entries;
      entries.push(...page.logs);
      after = page.next_after;
    }
  }

  /** What a person needs to see when something is stuck. */
  async describe(id) {
    const parts = [];
    const add = async (what, look) => {
      try {
        parts.push(`${what}: ${JSON.stringify(await look()).slice(0, 3000)}`);
      } catch (error) {
        parts.push(`${what}: ${error.message}`);
      }
    };
    await add("stats", () => this.get("/stats"));
    await add("database", () => this.get("/db/status"));
    if (id) await add("run", () => this.run(id));
    if (id) await add("stack", async () => (await this.stack(id)).slice(-5));
    return `${parts.join("\n")}\nstderr: ${this.stderr.slice(-4000)}`;
  }
}

/** Settings for tests with crashes: a short lease and a quick sweep, and the sink reachable. */
export function crashSettings(sink, more = {}) {
  return {
    "store.lease_ms": 2_000, "store.sweep_ms": 200, "engine.processes": 1,
    ...(sink ? { "services.http.allow_hosts": [sink.host] } : {}), ...more,
  };
}
/** lease + sweep + 1 s: how long abandoned or unfired work may lie. */
export const BOUND_MS = 2_000 + 200 + 1_000;

/** Opens a server, and closes it whatever happens. */
export async function withServer(options, use) {
  const server = new Server(options);
  try {
    await server.start(options.start);
    return await use(server);
  } finally {
    await server.destroy();
  }
}
