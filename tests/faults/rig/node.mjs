// One node under the rig: the real server, many lives in a row, each with settings and perhaps an armed crash point of its
// own. Tells apart the deaths that the rig asked for, those of crash points, and those that must not be.
import { spawnSync } from "node:child_process";
import { appendFileSync, createWriteStream, mkdirSync, readdirSync, readFileSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { childrenOf, residentBytes, startChild, startTimeOf } from "../../support/js/children.mjs";
import { exchange } from "../../support/js/http.mjs";
import { cleanEnv } from "../../support/js/server.mjs";
import { eventually, insist } from "./base.mjs";

const START_MS = 30_000;
const STOP_GRACE_MS = 12_000;  // beyond server.drain_ms: what stopping engines and the store may take under load
const ENGINES_END_MS = 10_000;
const STDOUT_MAX = 4_096;
const LAST_WORDS_MS = 2_000;
// What a node's log tells of branches that nothing else shows.
const LOG_BRANCHES = [
  ["took up a stopped process's work", "taking up work that a stopped process left"],
  ["engine lost", "engine lost"],
  ["database out of reach, and back", "the database is reached again"],
  ["a sweep without a database", "the sweep could not read the store"],
  ["leases not renewed in time", "leases could not be renewed"],
  ["a slice could not be committed", "a slice could not be committed"],
  ["an outcome could not be recorded", "an outcome could not be recorded"],
];

const flagsOf = (settings) => Object.entries(settings).flatMap(([name, value]) => ["--set", `${name}=${[value].flat().join(",")}`]);

export class RigNode {
  /**
   * @param {{index, dir, binary, clock, base: object, token: string, onDeath: Function, onHit: Function, onBranch: Function,
   *   onAnswer: Function}} options
   */
  constructor(options) {
    Object.assign(this, options);
    this.name = `node${this.index + 1}`;
    this.home = join(this.dir, this.name);
    mkdirSync(this.home, { recursive: true });
    this.logPath = join(this.home, "server.log");
    this.log = createWriteStream(this.logPath, { flags: "a" });
    this.out = createWriteStream(join(this.home, "stdout.log"), { flags: "a" });
    this.state = "down";  // up, frozen, stopping
    this.busy = false;    // a fault has it
    this.lives = 0;
    this.engines = [];
  }

  get pid() { return this.child.pid; }
  get alive() { return this.state !== "down"; }

  note(text) {
    appendFileSync(this.logPath, `--- ${new Date().toISOString()} rig: ${text}\n`);
  }

  /** Starts a life and waits until it listens. Answers "up", "crashed" (at its armed point) or "refused" (it ended by itself). */
  async start({ settings = {}, faults = "" } = {}) {
    this.lives += 1;
    this.settings = { ...this.base, ...settings };
    this.armed = faults;
    this.doomed = false;
    this.lastHit = undefined;
    this.url = undefined;
    this.note(`life ${this.lives}${faults ? `, armed with ${faults}` : ""}: ${JSON.stringify(settings)}`);
    const env = cleanEnv(faults ? { SEQUENTIAL_FAULTS: faults, SEQUENTIAL_FAULTS_FD: "3" } : {});
    const child = startChild(this.binary, ["serve", ...flagsOf(this.settings)],
      { cwd: this.home, env, stdio: ["ignore", "pipe", "pipe", "pipe"] });
    this.child = child;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 128 });
    let stdout = "";
    let gone;
    child.stdout.setEncoding("utf8").on("data", (text) => {
      this.out.write(text);
      stdout = (stdout + text).slice(-STDOUT_MAX);
    });
    child.stderr.setEncoding("utf8").on("data", (text) => this.#logged(text));
    child.stdio[3].setEncoding("utf8").on("data", (text) => {
      for (const name of text.split("\n").filter(Boolean)) {
        this.lastHit = name;
        this.onHit(this, name);
      }
    });
    // Not before its last words are read: which crash point it was is among them.
    const closed = new Promise((resolve) => child.once("close", resolve));
    this.ended = child.exited.then(async (how) => {
      await Promise.race([closed, pause(LAST_WORDS_MS, undefined, { ref: false })]);
      gone = how;
      this.#died(child, how);
      return how;
    });
    await eventually(this.clock, START_MS, () => {
      this.url = /listening on (http:\/\/\S+)/.exec(stdout)?.[1];
      return this.url || gone;
    });
    if (gone) return gone.signal === "SIGKILL" || gone.signal === "SIGABRT" ? "crashed" : "refused";
    insist(this.url, "P12", `${this.name} did not listen within ${START_MS} ms`);
    this.state = "up";
    this.engines = this.#engines();
    this.atStart = this.measure();
    return "up";
  }

  #logged(text) {
    this.log.write(text);
    for (const [branch, words] of LOG_BRANCHES) {
      if (text.includes(words)) this.onBranch(branch);
    }
  }

  #engines() {
    return childrenOf(this.pid).map((pid) => ({ pid, started: startTimeOf(pid) })).filter(({ started }) => started !== null);
  }
  /** Its engine processes; remembered, because a dead node cannot be asked. */
  lookAtEngines() {
    if (this.state === "up") this.engines = this.#engines();
    return this.engines;
  }

  #died(child, how) {
    if (this.child !== child) return;
    this.state = "down";
    this.url = undefined;
    this.agent.destroy();
    this.note(`ended: ${JSON.stringify(how)}${this.lastHit ? ` at ${this.lastHit}` : ""}`);
    const asked = this.doomed;
    this.doomed = false;
    this.onDeath(this, { ...how, asked, at: this.lastHit });
  }

  /** No engine outlives its server. */
  async enginesEnded() {
    const left = this.engines;
    const ended = await eventually(this.clock, ENGINES_END_MS, () => left.every(({ pid, started }) => startTimeOf(pid) !== started));
    insist(ended, "I10", `an engine process of ${this.name} outlives it: ${JSON.stringify(left)}`);
  }

  async kill() {
    this.lookAtEngines();
    this.doomed = true;
    this.child.kill("SIGKILL");
    await this.ended;
    await this.enginesEnded();
  }

  freeze() {
    this.child.kill("SIGSTOP");
    if (this.state === "up") this.state = "frozen";
    this.note("SIGSTOP");
  }
  thaw() {
    this.note("SIGCONT");
    this.child.kill("SIGCONT");
    if (this.state === "frozen") this.state = "up";
  }

  /** SIGTERM: P13. A crash point armed on the way out may end it otherwise. */
  async stop() {
    this.lookAtEngines();
    if (!this.alive) return;
    this.state = "stopping";
    this.doomed = true;
    const armed = this.armed;
    let how;
    this.ended.then((end) => { how = end; });
    this.note("SIGTERM");
    this.child.kill("SIGTERM");
    const limit = Number(this.settings["server.drain_ms"]) + STOP_GRACE_MS;
    await eventually(this.clock, limit, () => how);
    insist(how, "P13", `${this.name} did not stop within ${limit} ms of SIGTERM`);
    const crashed = armed && (how.signal === "SIGKILL" || how.signal === "SIGABRT") && this.lastHit;
    insist(how.code === 0 || crashed, "P13", `${this.name} ended with ${JSON.stringify(how)} after SIGTERM; its log: ${this.logPath}`);
    await this.enginesEnded();
  }

  async request(method, path, { json, headers = {}, timeoutMs = 5_000 } = {}) {
    const type = json === undefined ? {} : { "content-type": "application/json" };
    const answer = await exchange({
      url: this.url + path, method, agent: this.agent, timeoutMs, headers: { authorization: `Bearer ${this.token}`, ...type, ...headers },
      body: json === undefined ? undefined : JSON.stringify(json),
    });
    this.onAnswer(this, `${method} ${path}`, answer);
    return answer;
  }

  /** What `serve --print-config` says of its settings, and of these. */
  printConfig(more = {}) {
    const args = ["serve", "--print-config", ...flagsOf({ ...this.base, ...more })];
    const ran = spawnSync(this.binary, args, { cwd: this.home, env: cleanEnv(), encoding: "utf8", timeout: START_MS });
    insist(ran.status === 0, "P12", `serve --print-config ended with ${ran.status ?? ran.signal}: ${ran.stderr}`);
    return ran.stdout + ran.stderr;
  }

  /** What it uses, by /proc. */
  measure() {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    return {
      rss: residentBytes(this.pid),
      threads: Number(/^Threads:\s+(\d+)/m.exec(status)[1]),
      fds: readdirSync(`/proc/${this.pid}/fd`).length,
      engines: this.#engines().length,
    };
  }
}
