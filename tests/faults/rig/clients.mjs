// The rig's clients: they submit random programs under idempotency keys, again and again until they are answered, wait for
// the end, and now and then pause, resume or cancel. Some have no key and submit once: without an answer they do not know what
// became of it. An auditor reads outcomes meanwhile. What a client was told once must stay true.
import { setTimeout as pause } from "node:timers/promises";
import { makeProgram } from "../random_programs.mjs";
import { hashOf, insist } from "./base.mjs";

const TERMINAL = new Set(["completed", "failed", "cancelled"]);
const WAIT_S = 2;
const AUDIT_EVERY_MS = 100;
const AUDIT_PAGE = 200;
const THINK_MS = 120;
const GIVE_UP_MAX_MS = 40;  // a client that hangs up does so this soon after sending
const SUBMIT_MS = 4_000;    // until a client thinks that there will be no answer
const KEYLESS_SHARE = 0.1;

export class Clients {
  /** @param {{world, random, count: number, tag: string}} options */
  constructor({ world, random, count, tag }) {
    Object.assign(this, { world, random, count, tag });
    this.open = new Map();    // run id → entry, until a client has seen its end
    this.period = new Map();  // run id → entry, since the last check
    this.audited = new Map(); // "run:seq" → hash of what a client read of an outcome
    this.keyless = new Map(); // tag → entry, of all that were sent without a key; once it is checked, only its id is kept
    this.numbers = { submitted: 0, ended: 0, lostAnswers: 0, refused: 0, resubmitted: 0, keyless: 0, unanswered: 0, audits: 0 };
    this.paused = false;
    this.busy = 0;
    this.serial = 0;
  }

  start() {
    for (let i = 0; i < this.count; i++) this.world.spawn(this.#client());
    this.world.spawn(this.#auditor());
  }

  /** Holds new submissions back; what was begun goes on. */
  hold() { this.paused = true; }
  release() { this.paused = false; }

  async #client() {
    while (!this.world.ended) {
      if (this.paused) {
        await pause(20);
        continue;
      }
      this.busy += 1;
      try {
        await this.life(this.#drawEntry());
      } finally {
        this.busy -= 1;
      }
      await pause(this.random.between(0, 2 * THINK_MS));
    }
  }

  #drawEntry() {
    const { random } = this;
    const tag = `${this.tag}-${++this.serial}`;
    const key = random.chance(KEYLESS_SHARE) ? null : tag;
    const program = makeProgram(random, random.between(5, 45), `p${this.serial}`, { more: true });
    const options = key === null ? {} : { idempotency_key: key };
    if (random.chance(0.05)) options.delay_ms = random.between(1, 600);
    if (random.chance(0.1)) options.priority = random.between(-3, 3);
    const how = key === null ? random.weighted([["plain", 60], ["hang up", 40]])
      : random.weighted([["plain", 70], ["hang up", 10], ["twice at once", 10], ["again after", 6], ["another body", 4]]);
    const operate = random.weighted([["", 93], ["pause", 4], ["cancel", 3]]);
    return { tag, key, program, how, operate, body: { task: "random", input: this.input(tag, program), options } };
  }

  /** The tag comes first, where the checks look for it. */
  input(tag, program) {
    return { tag, url: this.world.sink.url, program };
  }

  /** One run from submission to its end, as its client sees it. */
  async life(entry) {
    if (entry.key !== null) await this.submit(entry);
    else if (!await this.#submitOnce(entry)) return;
    if (entry.operate) await this.#operate(entry);
    await this.#await(entry);
  }

  /** One request to any node: its answer, or undefined if there was none. */
  async send(node, method, path, options) {
    if (!node?.url) return undefined;
    return node.request(method, path, options).catch(() => undefined);
  }
  #anyNode() { return this.random.pick(this.world.nodes); }

  /** P12: what is not done is answered with a reason that may pass, and when to come back. */
  #judgeRefusal(answer, what) {
    this.numbers.refused += 1;
    const passing = answer.status === 503 || answer.status === 429;
    insist(passing, "P12", `${what} was answered ${told(answer)}`);
    insist(answer.headers["retry-after"], "P12", `${what} was answered without Retry-After: ${told(answer)}`);
    this.world.branch("refused with Retry-After");
  }

  async submit(entry, { node, once = false } = {}) {
    const { random } = this;
    if (entry.how === "hang up") await this.#hangUp(entry);
    if (entry.how === "twice at once") {
      const rival = this.send(this.#anyNode(), "POST", "/tasks/execute", { json: entry.body });
      this.world.spawn(rival.then((answer) => this.#acknowledged(entry, answer)));
    }
    for (let tries = 1; ; tries++) {
      this.world.goOn();
      const target = node ?? this.#anyNode();
      const answer = await this.send(target, "POST", "/tasks/execute", { json: entry.body, timeoutMs: SUBMIT_MS });
      if (answer && answer.status < 300) {
        entry.tries = tries;
        this.#acknowledged(entry, answer, target);
        break;
      }
      if (answer) this.#judgeRefusal(answer, "a submission");
      else this.numbers.lostAnswers += 1;
      insist(!once, "I9", `${target.name} did not take a submission after healing: ${answer ? answer.text.slice(0, 300) : "no answer"}`);
      this.numbers.resubmitted += 1;
      await pause(random.between(20, 250));
    }
    this.numbers.submitted += 1;
    if (entry.how === "again after") {
      const again = await this.send(this.#anyNode(), "POST", "/tasks/execute", { json: entry.body });
      if (again) this.#acknowledged(entry, again);
    }
    if (entry.how === "another body") await this.#anotherBody(entry);
  }

  /** Without a key, and so never again. Whether it was answered. */
  async #submitOnce(entry) {
    const node = this.#anyNode();
    if (!node.url) return false;
    this.numbers.keyless += 1;
    this.keyless.set(entry.tag, entry);
    const timeoutMs = entry.how === "hang up" ? this.random.between(1, GIVE_UP_MAX_MS) : SUBMIT_MS;
    const answer = await this.send(node, "POST", "/tasks/execute", { json: entry.body, timeoutMs });
    if (answer && answer.status < 300) {
      this.#acknowledged(entry, answer, node);
      this.numbers.submitted += 1;
      this.world.branch("a submission without a key was answered");
      return true;
    }
    this.numbers.unanswered += 1;
    entry.unanswered = true;
    if (answer) this.#judgeRefusal(answer, "a submission without a key");
    else this.numbers.lostAnswers += 1;
    return false;
  }

  /**
   * P1: what was sent without a key is there at most once; `rows` of such runs have {id, tag}. Somebody waits for their ends
   * from now on, unless they are `over`.
   */
  adopt(rows, { over = false } = {}) {
    for (const { id, tag } of rows) {
      const entry = this.keyless.get(tag);
      insist(entry, "P1", `run ${id} has no key, and nobody sent it: ${tag}`);
      const once = entry.id === undefined || entry.id === id;
      insist(once, "P1", `${tag} was sent once, without a key, and made run ${entry.id} and run ${id}`);
      // Whose client is still waiting for the answer may yet get one.
      if (entry.id === id || !entry.unanswered) continue;
      Object.assign(entry, { id, operate: "" });
      this.period.set(id, entry);
      this.world.branch("a submission without a key was not answered, and made a run");
      if (over) continue;
      this.open.set(id, entry);
      this.busy += 1;
      this.world.spawn(this.#await(entry).finally(() => { this.busy -= 1; }));
    }
  }

  /** Sends and does not wait for the answer: it may or may not have been taken. */
  async #hangUp(entry) {
    const node = this.#anyNode();
    if (!node.url) return;
    await this.send(node, "POST", "/tasks/execute", { json: entry.body, timeoutMs: this.random.between(1, GIVE_UP_MAX_MS) })
      .then((answer) => { if (answer) this.#acknowledged(entry, answer, node); });
    this.world.branch("a client hung up");
  }

  async #anotherBody(entry) {
    const other = { ...entry.body, input: this.input(entry.tag, { op: "count", name: "a", by: 1 }) };
    const answer = await this.send(this.#anyNode(), "POST", "/tasks/execute", { json: other });
    if (!answer) return;
    if (answer.status >= 500 || answer.status === 429) return void this.#judgeRefusal(answer, "another body");
    insist(answer.status === 409, "P1", `another body under the key ${entry.key} was answered ${told(answer)}`);
  }

  #acknowledged(entry, answer, node) {
    if (!answer || answer.status >= 300) return;
    const { taskRunId: id, existing } = answer.json().data;
    if (existing) this.world.branch("a repeated submission was answered with the run that is there");
    else if (entry.tries > 1) this.world.branch("a repeated submission made the run");
    if (entry.id === undefined) {
      insist(!this.period.has(id), "P1", `run ${id} was given to ${entry.tag} and to ${this.period.get(id)?.tag}`);
      entry.id = id;
      entry.node = node;
      this.period.set(id, entry);
      this.open.set(id, entry);
    }
    insist(!existing || entry.key !== null, "P1", `${entry.tag} was sent once, without a key, and answered with run ${id} that was there`);
    insist(entry.id === id, "P1", `the key ${entry.key} was answered with run ${entry.id} and with run ${id}`);
    insist(existing || entry.made === undefined, "P1", `the key ${entry.key} made a run twice: ${entry.id}`);
    if (!existing) entry.made = id;
  }

  /** Until a node answers it otherwise than 503. */
  async #insistently(method, path, json) {
    for (;;) {
      this.world.goOn();
      const answer = await this.send(this.#anyNode(), method, path, { json });
      if (answer && answer.status < 500 && answer.status !== 429) return answer;
      if (answer) this.#judgeRefusal(answer, `${method} ${path}`);
      else this.numbers.lostAnswers += 1;
      await pause(this.random.between(20, 250));
    }
  }

  async #operate(entry) {
    await pause(this.random.between(0, 150));
    const answer = await this.#insistently("POST", `/runs/${entry.id}/${entry.operate}`, entry.operate === "cancel" ? { force: true } : {});
    insist([200, 202, 409].includes(answer.status), "P1", `${entry.operate} of run ${entry.id}: ${told(answer)}`);
    if (answer.status === 409) return;
    this.world.branch(`an operator's ${entry.operate}`);
    if (entry.operate === "pause") {
      await pause(this.random.between(0, 300));
      await this.#resume(entry);
    }
  }

  async #resume(entry) {
    const answer = await this.#insistently("POST", `/runs/${entry.id}/resume`, {});
    insist([200, 202, 409].includes(answer.status), "P1", `resume of run ${entry.id}: ${told(answer)}`);
  }

  async #await(entry) {
    for (;;) {
      this.world.goOn();
      const answer = await this.send(this.#anyNode(), "GET", `/runs/${entry.id}?wait=${WAIT_S}`, { timeoutMs: WAIT_S * 1000 + 3_000 });
      if (!answer || answer.status >= 500 || answer.status === 429) {
        if (answer) this.#judgeRefusal(answer, `GET of run ${entry.id}`);
        await pause(this.random.between(10, 150));
        continue;
      }
      insist(answer.status === 200, "I1", `run ${entry.id} was acknowledged, and GET answers ${told(answer)}`);
      const run = answer.json();
      if (run.status === "paused") await this.#paused(entry, run);
      if (TERMINAL.has(run.status)) return this.#ended(entry, run);
    }
  }

  /** An operator's pause; or the run's engine was killed three times under it, which here is the rig's doing. */
  async #paused(entry, run) {
    insist(run.pause_reason !== "divergent", "P8", `run ${entry.id} is paused as divergent: ${JSON.stringify(run.pause_detail)}`);
    insist(run.pause_reason, "I1", `run ${entry.id} is paused without a reason`);
    if (run.pause_reason === "poison") this.world.branch("a poisoned run was resumed");
    await this.#resume(entry);
  }

  #ended(entry, run) {
    const cancelled = run.status === "cancelled" && entry.operate === "cancel";
    insist(run.status === "completed" || cancelled, "I8", `run ${entry.id} ended as ${run.status}: ${JSON.stringify(run.error)}`);
    entry.seen = hashOf(run.status, run.result ?? null);
    this.open.delete(entry.id);
    this.numbers.ended += 1;
    this.world.progress(entry.id);
  }

  /** Reads outcomes of a run that is under way: they are recorded, so they never change. */
  async #auditor() {
    while (!this.world.ended) {
      await pause(AUDIT_EVERY_MS);
      const ids = [...this.open.keys()];
      if (ids.length === 0) continue;
      const id = this.random.pick(ids);
      const answer = await this.send(this.#anyNode(), "GET", `/runs/${id}/stack?from=0&limit=${AUDIT_PAGE}`, { timeoutMs: 3_000 });
      if (answer && (answer.status >= 500 || answer.status === 429)) this.#judgeRefusal(answer, `the stack of run ${id}`);
      if (answer?.status !== 200) continue;
      this.numbers.audits += 1;
      for (const row of answer.json().stack) {
        if (!(row.seq > 0 && row.delivered_as > 0)) continue;  // not recorded yet
        this.remember(id, row.seq, outcomeHash(row.delivered_as, row.status, row.result, row.error), row);
      }
    }
  }

  remember(run, seq, hash, row) {
    const key = `${run}:${seq}`;
    const known = this.audited.get(key);
    insist(known === undefined || known === hash, "I2", `the recorded outcome of call ${key} changed between two looks; now it is`, row);
    this.audited.set(key, hash);
  }

  /** Once all of them are checked: nothing of them is kept. */
  forget() {
    this.period.clear();
    this.audited.clear();
    for (const [tag, entry] of this.keyless) {
      if (entry.id !== undefined) this.keyless.set(tag, { id: entry.id });
      else if (entry.unanswered) this.world.branch("a submission without a key was not answered, and made none");
    }
  }
}

const told = (answer) => `${answer.status} ${answer.text.slice(0, 400)}`;

/** Of parsed values. */
export const outcomeHash = (deliveredAs, status, result, error) => hashOf(deliveredAs, status, result ?? null, error ?? null);
