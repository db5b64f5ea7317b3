// The world under test: nodes, their database, the proxies between them, the chain and the sink. It can be hurt (faults.mjs)
// and healed.
import { spawnSync } from "node:child_process";
import { createWriteStream, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { openFaultProxy } from "../../support/js/fault_proxy.mjs";
import { Cluster } from "../../support/js/postgres.mjs";
import { tempDir } from "../../support/js/temp.mjs";
import { RANDOM_TASK } from "../random_programs.mjs";
import { Counts, Durations, eventually, fork, insist, Violation } from "./base.mjs";
import { openRigChain } from "./chain.mjs";
import { APPLICATION, PostgresEyes, SqliteEyes } from "./database.mjs";
import { drawPoint, drawSettings, LEASE_MS, SWEEP_MS, thawLater } from "./faults.mjs";
import { openGoogle } from "./google.mjs";
import { RigNode } from "./node.mjs";
import { keepSecret, Secrets } from "./secrets.mjs";
import { openRigSink } from "./sink.mjs";

const READY_MS = 20_000;   // from healing to all nodes saying that they are ready
const REVIVE_MS = [0, 900];
const START_WITHIN_MS = 60_000;  // of a node whose database is being hurt

/** Raised in whoever goes on when the world has ended. */
export class Ended extends Error {}

export class World {
  /** @param {{binary, store, nodes: number, seed: number, clock, cluster?: Cluster}} options `cluster`: one that goes on afterwards */
  constructor({ binary, store, nodes, seed, clock, cluster }) {
    Object.assign(this, { binary, store, seed, clock, given: cluster });
    this.nodeCount = store === "sqlite" ? 1 : nodes;
    this.dir = tempDir("sequential-rig");
    this.secrets = new Secrets();
    this.token = this.secrets.make("api_token");
    this.secretFiles = new Set(["keystore.key", "chain.key"].map((name) => join(this.dir, name)));
    this.random = fork(seed, "world");
    this.counts = { faults: new Counts(), points: new Counts(), branches: new Counts() };
    this.recovery = new Durations();
    this.expected = [];   // recoveries under way
    this.thaws = [];      // when frozen nodes went on, since the last check
    this.crashes = [];    // when the database crashed, since the last check
    this.tasks = new Set();
    this.nodes = [];
    this.healing = true;  // nothing is hurt yet
    this.waiters = new Set();
    this.events = createWriteStream(join(this.dir, "events.jsonl"));
    this.failed = new Promise((_, reject) => { this.broken = (error) => this.#broken(error, reject); });
    this.failed.catch(() => {});
  }

  #broken(error, reject) {
    if (error instanceof Ended || (this.ended && !(error instanceof Violation))) return;
    this.trace({ broken: error.message });
    reject(error);
  }

  /** Work in the background, whose failure ends the run. */
  spawn(promise) {
    const task = promise.catch((error) => this.broken(error)).finally(() => this.tasks.delete(task));
    this.tasks.add(task);
  }
  goOn() {
    if (this.ended) throw new Ended("the world has ended");
  }
  trace(event) {
    if (!this.events.writableEnded) this.events.write(`${JSON.stringify({ at: Date.now(), ...event })}\n`);
  }
  branch(name, n = 1) { this.counts.branches.add(name, n); }

  // --- opening and closing ------------------------------------------------------------------------------------------

  async open() {
    const account = this.account = await this.secrets.makeAccount();
    const google = openGoogle({
      random: fork(this.seed, "google"), publicKey: account.publicKey, makeToken: () => this.secrets.make("access_token"),
      onBranch: (name) => this.branch(name), misbehaves: () => this.sink.misbehaves,
    });
    const onRequest = (text) => this.insistNoSecretIn(text, "a request to the sink");
    this.sink = await openRigSink(fork(this.seed, "sink"), { google, onRequest });
    this.chain = await openRigChain(this, fork(this.seed, "chain"));
    if (this.store === "postgres") await this.#openCluster();
    for (let index = 0; index < this.nodeCount; index++) this.nodes.push(await this.#makeNode(index));
    this.eyes = this.store === "postgres" ? new PostgresEyes(this.cluster, this.database)
      : new SqliteEyes(this.nodes[0].base["store.path"]);
    await this.#firstStart();
  }

  /** The nodes' own role owns the database and needs a password; the rig itself is the cluster's owner. */
  async #openCluster() {
    const cluster = this.cluster = this.given ?? await new Cluster().start();
    const database = this.database = cluster.createDatabase();
    this.password = this.secrets.make("password");
    cluster.psql("postgres", `CREATE ROLE ${database} LOGIN PASSWORD '${this.password}'; ALTER DATABASE ${database} OWNER TO ${database}`);
    const rules = join(cluster.data, "pg_hba.conf");
    writeFileSync(rules, `local ${database} ${database} scram-sha-256\n${readFileSync(rules, "utf8")}`);
    cluster.psql("postgres", "SELECT pg_reload_conf()");
    const where = ["-h", cluster.socket, "-p", String(cluster.port), "-U", database, "-d", database];
    const env = { ...process.env, PGPASSWORD: "guess" };
    const isRefused = () => spawnSync(join(cluster.bin, "psql"), ["-Xc", "", ...where], { env }).status !== 0;
    insist(await eventually(this.clock, READY_MS, isRefused), "I11", "PostgreSQL lets the nodes' role in without its password");
  }

  #keep(name, text) {
    const path = keepSecret(join(this.dir, name), text);
    this.secretFiles.add(path);
    return path;
  }

  async #makeNode(index) {
    const base = {
      "server.port": 0, "store.lease_ms": LEASE_MS, "store.sweep_ms": SWEEP_MS, "engine.processes": 1,
      "keystore.key_file": join(this.dir, "keystore.key"), "chain.key_file": join(this.dir, "chain.key"),
      "services.http.allow_hosts": [this.sink.host], "server.threads": 2, "services.gapi.endpoint": `${this.sink.url}/{host}`,
      "server.api_token_file": this.#keep("api.token", this.token),
    };
    let proxy;
    if (this.store === "postgres") {
      proxy = await openFaultProxy(this.cluster);
      const url = proxy.url(this.database).replace("postgres@", `${this.database}:${this.password}@`);
      const file = this.#keep(`node${index + 1}.url`, `${url}&application_name=${APPLICATION}node${index + 1}`);
      Object.assign(base, { "store.kind": "postgres", "store.url_file": file, "store.postgres.connections": 4 });
    } else {
      base["store.path"] = join(this.dir, "sequential.db");
    }
    const node = new RigNode({
      index, dir: this.dir, binary: this.binary, clock: this.clock, base, token: this.token,
      onDeath: (one, how) => this.#died(one, how), onHit: (one, name) => this.#hit(one, name), onBranch: (name) => this.branch(name),
      onAnswer: (one, what, answer) =>
        this.insistNoSecretIn(JSON.stringify(answer.headers) + answer.text, `the answer of ${one.name} to ${what}`),
    });
    return Object.assign(node, { proxy });
  }

  async #firstStart() {
    const [first] = this.nodes;
    first.starting = true;  // its end is awaited here
    const how = await first.start({ faults: "migrate.midway=kill9" });
    first.starting = false;
    insist(how === "crashed", "I13", `migrate.midway did not end the first start: ${how}`);
    await this.bring(first, {});
    this.secrets.hideKeys(this.dir);
    await this.#publish(first);
    this.#printConfig(first);
    if (this.store === "sqlite") await first.stop();
    await this.eyes.watch();
    for (const node of this.nodes) {
      if (!node.alive) await this.bring(node, {});
    }
  }

  async #publish(node) {
    const answer = await node.request("PUT", "/tasks/random", { json: { code: RANDOM_TASK } });
    insist(answer.status === 201 || answer.status === 200, "P1", `publishing: ${answer.status} ${answer.text}`);
    for (const [where, value] of [["default/GAPI_KEY", this.account.document], ["rig/CANARY", this.secrets.make("keystore")]]) {
      const put = await node.request("PUT", `/keystore/${where}`, { json: { value } });
      insist(put.status === 204, "P1", `keeping the secret ${where}: ${put.status} ${put.text}`);
    }
  }

  /** Also with the password in a setting of its own, as some will have it. */
  #printConfig(node) {
    const secret = { "store.url_file": "", "store.url": `postgresql://rig:${this.secrets.make("password")}@127.0.0.1/rig`,
      "services.http.proxy": `http://rig:${this.secrets.make("proxy_password")}@127.0.0.1:9` };
    for (const more of [{}, secret]) this.insistNoSecretIn(node.printConfig(more), "what serve --print-config says");
  }

  /** For what comes and goes: ends the run if one is there. */
  insistNoSecretIn(text, where) {
    try {
      this.secrets.insistNotIn(text, where);
    } catch (error) {
      this.broken(error);
    }
  }

  async close() {
    this.ended = true;
    this.healing = true;
    this.#wake();
    for (const node of this.nodes) {
      node.doomed = true;
      if (node.child && node.child.exitCode === null && node.child.signalCode === null) node.child.kill("SIGKILL");
      await node.child?.exited;
      await node.proxy?.close();
      node.log.end();
      node.out.end();
    }
    await this.chain?.close();
    await this.sink?.close();
    if (this.cluster?.child && !this.given) await this.cluster.stop("fast").catch(() => {});
    await new Promise((resolve) => this.events.end(resolve));
  }

  // --- time ---------------------------------------------------------------------------------------------------------

  /** Waits, but not longer than until the world is to be healed. */
  async idle(ms) {
    if (this.healing) return;
    await new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.waiters.add(done);
    });
  }
  #wake() {
    for (const done of [...this.waiters]) done();
  }

  // --- lives and deaths ---------------------------------------------------------------------------------------------

  /** Starts the node with settings of that moment, until it listens. `arm`: with a crash point. */
  async bring(node, { arm = false } = {}) {
    if (node.alive || node.starting) return;
    node.starting = true;
    try {
      const deadline = this.clock.now() + START_WITHIN_MS;
      for (let tries = 1; ; tries++) {
        this.goOn();
        const armed = arm && !this.healing && tries <= 3;
        const troubled = this.store === "postgres" && (!this.healing || this.databaseDown);
        const settings = drawSettings(this.random, { postgres: this.store === "postgres", chainUrl: this.chain.url });
        const how = await node.start({ settings, faults: armed ? drawPoint(this.random, this.counts.points) : "" });
        if (how === "up") return;
        if (how === "crashed" && armed) {
          this.counts.faults.add("crash point");
        } else {
          const excused = how === "refused" && troubled && this.clock.now() < deadline;
          insist(excused, "P12", `${node.name} ended by itself at its start (${how}); its log: ${node.logPath}`);
          this.branch("a start without a database");
          await pause(200);
        }
        await node.enginesEnded();
      }
    } finally {
      node.starting = false;
    }
  }

  #died(node, how) {
    this.trace({ died: node.name, ...how, at: Date.now(), point: how.at });
    if (how.asked || node.starting || this.ended) return;
    if (node.armed && how.at && (how.signal === "SIGKILL" || how.signal === "SIGABRT")) {
      this.counts.faults.add("crash point");
      this.expectProgress("crash point", [node]);
      this.spawn(this.#revive(node));
      return;
    }
    this.broken(new Violation("P12", `${node.name} ended by itself: ${JSON.stringify(how)}; its log: ${node.logPath}`));
  }

  async #revive(node) {
    node.reviving = true;
    try {
      await node.enginesEnded();
      await this.idle(this.random.between(...REVIVE_MS));
      // A fault may have it in its hands; then that one starts it.
      if (!node.alive && !node.starting) await this.bring(node, { arm: this.random.chance(0.75) });
    } finally {
      node.reviving = false;
    }
  }

  #hit(node, name) {
    if (node.lastCounted !== `${node.lives}${name}`) this.counts.points.add(name);
    node.lastCounted = `${node.lives}${name}`;
    this.trace({ point: name, node: node.name });
    if (node.armed.includes(`${name}=stop`)) {
      node.state = node.state === "up" ? "frozen" : node.state;
      this.expectProgress("SIGSTOP at a crash point", [node]);
      this.counts.faults.add("stopped at a crash point");
      this.spawn(thawLater(this, this.random, node));
    }
  }

  isStopped(node) {
    try {
      return /^State:\s+T/m.test(readFileSync(`/proc/${node.pid}/status`, "utf8"));
    } catch {
      return false;
    }
  }
  thawed(node) {
    this.thaws.push(Date.now());
    node.thaw();
  }
  signal(pid, signal) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (error.code !== "ESRCH") throw error;
    }
  }

  async withDatabaseDown(act) {
    if (this.databaseDown) return false;
    this.databaseDown = true;
    try {
      await act();
    } finally {
      this.databaseDown = false;
    }
    return true;
  }

  // --- recovery times -----------------------------------------------------------------------------------------------

  /** From now on until a run that these nodes accepted, and that is not over, ends. */
  expectProgress(kind, nodes) {
    const runs = new Set();
    for (const entry of this.clients?.open.values() ?? []) {
      if (!entry.node || nodes.includes(entry.node)) runs.add(entry.id);
    }
    if (runs.size > 0) this.expected.push({ kind, began: this.clock.now(), runs });
  }
  progress(run) {
    const now = this.clock.now();
    this.expected = this.expected.filter(({ kind, began, runs }) => {
      if (!runs.has(run)) return true;
      this.recovery.add(kind, now - began);
      return false;
    });
  }

  // --- healing ------------------------------------------------------------------------------------------------------

  hurt() {
    this.healing = false;
    this.sink.misbehaves = true;
  }

  /** Everything works again when this is done: no fault is active or armed. */
  async heal(faultsOver) {
    this.healing = true;
    this.#wake();
    this.sink.heal();
    this.chain.heal();
    for (const node of this.nodes) node.proxy?.heal();
    await faultsOver;
    for (const node of this.nodes) node.proxy?.heal();
    for (const node of this.nodes) await this.#mend(node);
    this.expected = [];
  }

  /** Up, and with nothing armed. */
  async #mend(node) {
    for (;;) {
      this.goOn();
      const settled = await eventually(this.clock, READY_MS, () => !node.starting && !node.reviving && !this.isStopped(node));
      insist(settled, "I9", `${node.name} is still ${node.state} ${READY_MS} ms after healing`);
      if (node.state === "up" && !node.armed) break;
      if (node.alive) await node.stop();
      if (!node.starting && !node.reviving && !node.alive) await this.bring(node, {});
    }
    let said;
    const ready = await eventually(this.clock, READY_MS, async () => {
      const answer = await node.request("GET", "/readyz", { timeoutMs: 3_000 }).catch((error) => ({ text: error.message }));
      said = answer.text;
      return answer.status === 200;
    });
    if (!ready) await this.insistNothingForbidden();  // then that is why
    insist(ready, "I9", `${node.name} is not ready ${READY_MS} ms after healing, but: ${said}; its log: ${node.logPath}`);
  }

  /** What the database's triggers wrote down. */
  async insistNothingForbidden() {
    const forbidden = await this.eyes.violations();
    insist(forbidden.length === 0, forbidden[0]?.what.slice(0, 2), `written down by the database's triggers: ${JSON.stringify(forbidden)}`);
  }
}
