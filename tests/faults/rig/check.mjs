// What is checked after each healing: the invariants I1-I12 of the design, against the database, the model, the sink's
// ledger and what clients were told. Runs are looked at in full once, when they are over; after that only a hash of their rows
// is kept, and compared: of the newest runs at each check, of all runs at every check whose number is a power of two and at the
// end, so that the work does not grow with the square of the time.
import { journalStatements, judgeJournal } from "../../support/js/invariants.mjs";
import { makeProgram, model } from "../random_programs.mjs";
import { eventually, hashOf, insist, Violation } from "./base.mjs";
import { outcomeHash } from "./clients.mjs";
import { LEASE_MS, SWEEP_MS } from "./faults.mjs";
import { Search } from "./secrets.mjs";

// P7: after healing, what was abandoned starts within lease + sweep, and one second is the machine's. What then remains to be
// done takes its own time: timers of up to 1.2 s, calls that wait for an answer lost before the healing (timeouts of up to
// 2.5 s, three attempts with pauses), and everything else that waits with it on two cores.
export const BOUND_MS = LEASE_MS + SWEEP_MS + 1_000;
export const WORK_MS = 12_000;
const TAIL_OPERATIONS = 5;
const TAIL_MS = BOUND_MS + 5_000;  // of one: started at once, and a busy machine's share
const RUNS_AT_ONCE = 200;
const INPUT_HEAD = 100;  // characters, which hold the tag
// I10: what a healed node may use beyond what it used when its life began, before it had any work.
export const MARGINS = { rss: 192 << 20, threads: 2, fds: 32 + 2 * 32 + 64 + 16 };
const MARGINS_SAY = "fds: 32 clients, 2 x 32 of the chain, 64 to the sink, 16 files";
const SETTLE_MS = 10_000;  // until connections of dead nodes and of cut connections are gone
// A frozen node may have been about to send: what it then sends when it goes on is late, and allowed so soon after.
const THAW_MS = 3_000;

export class Checker {
  constructor(world, clients, random) {
    Object.assign(this, { world, clients, random });
    this.search = new Search(world);
    this.number = 0;
    this.through = 0;     // runs up to this id were checked
    this.chunks = [];     // {after, through, hash}
    this.totals = { runs: 0, calls: 0, logs: 0, doubled: 0, late: 0, compared: 0, tail: 0 };
    this.quiet = [];      // ms from healing to the last run's end
    this.resources = [];
  }

  /** The world is healed; clients submit nothing new. Answers a line for people. */
  async check({ last = false } = {}) {
    this.number += 1;
    const { world } = this;
    const healed = world.clock.now();
    await this.#quiesce(healed);
    const quietMs = world.clock.now() - healed;
    await this.#tail();
    await this.#settle();
    await this.#resources();
    await this.search.ofNodes();
    // The other half of the checks look at the rows of nodes that are running.
    const stopped = this.random.chance(0.5);
    if (stopped) for (const node of world.nodes) await node.stop();
    const whole = last || (this.number & (this.number - 1)) === 0;
    const found = await this.#database(whole);
    if (stopped && !last) for (const node of world.nodes) await world.bring(node, {});
    this.quiet.push(quietMs);
    return `check ${this.number}: ${found.runs} runs, ${found.calls} calls, all over ${(quietMs / 1000).toFixed(1)} s after healing` +
      `${whole ? "; whole database" : ""}${stopped ? "; nodes stopped in order" : ""}`;
  }

  /** I1, I9: all that was accepted ends. */
  async #quiesce(healed) {
    const { world, clients } = this;
    await this.#adopt();
    const limit = BOUND_MS + WORK_MS;
    const over = await eventually(world.clock, limit, () => clients.busy === 0);
    if (over) return;
    const stuck = [...clients.open.values()].map((entry) => entry.id);
    const rows = await world.eyes.rows(`SELECT id, task_run_id, seq, status, epoch, attempt, available_at, lease_owner,
      lease_until, updated_at FROM stack_runs WHERE ended_at IS NULL ORDER BY task_run_id, seq LIMIT 20`);
    const nodes = await this.#unready();
    throw new Violation("I9", `after healing ${stuck.length} runs are not over within ${limit} ms` +
      ` (${Math.round(world.clock.now() - healed)} ms): ${stuck.slice(0, 10)}${nodes}`, rows);
  }

  /** Why nodes do nothing, if they say so. What the database's triggers wrote down comes first: then that is why. */
  async #unready() {
    const { world, clients } = this;
    await world.insistNothingForbidden();
    const answers = await Promise.all(world.nodes.map(async (node) => [node.name, await clients.send(node, "GET", "/readyz")]));
    const unready = answers.filter(([, answer]) => answer?.status !== 200);
    return unready.map(([name, answer]) => `; ${name} is not ready: ${answer?.text}`).join("");
  }

  /** Runs that were sent without a key and whose client does not know of them; since the last check. */
  async #adopt(options) {
    const { eyes } = this.world;
    const rows = await eyes.rows(`SELECT id, substr(${eyes.text("input")}, 1, ${INPUT_HEAD}) AS head FROM task_runs
      WHERE idempotency_key IS NULL AND id > ${this.through} ORDER BY id`);
    this.clients.adopt(rows.map(({ id, head }) => ({ id, tag: tagOf(head) })), options);
  }

  /** I9: each node does its next operations at once. */
  async #tail() {
    const { world, clients } = this;
    for (const node of world.nodes) {
      for (let i = 0; i < TAIL_OPERATIONS; i++) {
        const began = world.clock.now();
        const key = `${clients.tag}-tail-${this.number}-${node.name}-${i}`;
        const program = makeProgram(this.random, 4, "t");
        const body = { task: "random", input: clients.input(key, program), options: { idempotency_key: key } };
        const entry = { tag: key, key, program, body, how: "plain", operate: "" };
        await clients.submit(entry, { node, once: true });
        const ended = await eventually(world.clock, TAIL_MS, async () => {
          const answer = await clients.send(node, "GET", `/runs/${entry.id}?wait=1`);
          return answer?.status === 200 && answer.json().status === "completed" && answer.json();
        });
        insist(ended, "I9", `after healing run ${entry.id} of ${node.name} is not over within ${TAIL_MS} ms`);
        entry.seen = hashOf(ended.status, ended.result ?? null);
        clients.open.delete(entry.id);
        this.totals.tail += 1;
        world.recovery.add("an operation after healing", world.clock.now() - began);
      }
    }
  }

  /** I6: nothing is under way, also no call that nobody waits for. */
  async #settle() {
    const { world, clients } = this;
    const idle = await eventually(world.clock, BOUND_MS + WORK_MS, async () => {
      const [row] = await world.eyes.rows("SELECT count(*) AS n FROM stack_runs WHERE ended_at IS NULL");
      if (row.n > 0) await this.#adopt();
      return row.n === 0 && clients.busy === 0;
    }, 100);
    if (idle) return;
    const rows = await world.eyes.rows("SELECT * FROM stack_runs WHERE ended_at IS NULL ORDER BY id LIMIT 5");
    throw new Violation("I6", `stack runs are left though their runs are over${await this.#unready()}`, rows);
  }

  // --- I10 ----------------------------------------------------------------------------------------------------------

  async #resources() {
    const { world } = this;
    for (const node of world.nodes) {
      let used;
      const back = await eventually(world.clock, SETTLE_MS, async () => {
        used = node.measure();
        const { held, in_flight: busy } = (await node.request("GET", "/stats")).json();
        Object.assign(used, { held, busy });
        return this.#excess(node, used).length === 0;
      }, 100);
      this.resources.push({ node: node.name, life: node.lives, ...used });
      insist(back, "I10", `${node.name} is not back at its baseline: ${this.#excess(node, used).join(", ")}; ${MARGINS_SAY}`);
    }
    if (world.store !== "postgres") return;
    // Transitions, readers, and one each for leases, sweeps and news.
    const most = world.nodes.reduce((sum, node) => sum + Number(node.settings["store.postgres.connections"]) + 2 + 3, 0);
    let count;
    const back = await eventually(world.clock, SETTLE_MS, async () => (count = await world.eyes.connections()) <= most, 100);
    insist(back, "I10", `the database has ${count} connections of nodes that open ${most}`);
  }

  #excess(node, used) {
    const excess = Object.entries(MARGINS).filter(([what, margin]) => used[what] > node.atStart[what] + margin)
      .map(([what]) => `${what} ${node.atStart[what]} -> ${used[what]}`);
    if (used.engines !== Number(node.settings["engine.processes"])) excess.push(`${used.engines} engine processes`);
    if (used.held !== 0 || used.busy !== 0) excess.push(`${used.held} claims held, ${used.busy} stack runs under way`);
    return excess;
  }

  // --- the database -------------------------------------------------------------------------------------------------

  async #database(whole) {
    const { world, clients } = this;
    const { eyes } = world;
    const [{ top }] = await eyes.rows("SELECT coalesce(max(id), 0) AS top FROM task_runs");
    const range = { after: this.through, through: top };
    await this.search.ofStore(range, whole);
    await this.#adopt({ over: true });
    await world.insistNothingForbidden();

    const found = {};
    for (const [name, sql] of Object.entries(journalStatements(range))) found[name] = await eyes.rows(sql);
    try {
      judgeJournal(found, { acknowledged: [...clients.period.keys()] });
    } catch (error) {
      const [, invariant, what] = /^(I\d+): ([\s\S]*)/.exec(error.message) ?? [];
      throw invariant ? new Violation(invariant, what) : error;
    }
    await this.#programs(found, range);
    this.#sink(found);
    await this.#branches(range);
    await this.#history(range, whole);
    const damage = await eyes.damage(whole);
    insist(damage.length === 0, "I12", JSON.stringify(damage.slice(0, 10)));

    this.totals.runs += found.runs.length;
    this.totals.calls += found.calls.length;
    this.through = top;
    world.sink.forget(top);
    world.thaws.length = 0;
    world.crashes.length = 0;
    clients.forget();
    return { runs: found.runs.length, calls: found.calls.length };
  }

  /** P1: one run for each key. I8: each ends as its model does. I2, I5: what was told once holds. */
  async #programs(found, { after }) {
    const { clients } = this;
    const { eyes } = this.world;
    insist(found.runs.length === clients.period.size, "P1",
      `${clients.period.size} runs were acknowledged, and there are ${found.runs.length}`,
      found.runs.filter((run) => !clients.period.has(run.id)).slice(0, 5));
    const ids = [...clients.period.keys()].sort((a, b) => a - b);
    insist(ids.length === 0 || ids[0] > after, "I1", `run ${ids[0]} was given an id of runs that were over`);
    for (let at = 0; at < ids.length; at += RUNS_AT_ONCE) {
      const some = ids.slice(at, at + RUNS_AT_ONCE);
      const list = some.join(",");
      const runs = await eyes.rows(`SELECT id, ${eyes.text("idempotency_key")} AS key, status, ${eyes.text("result")} AS result,
        substr(${eyes.text("input")}, 1, ${INPUT_HEAD}) AS head FROM task_runs WHERE id IN (${list})`);
      const calls = await eyes.rows(`SELECT task_run_id AS run, seq, ${eyes.text("service_name")} AS service, delivered_as, status,
        ${eyes.text("result")} AS result, ${eyes.text("error")} AS error FROM stack_runs WHERE seq > 0 AND task_run_id IN (${list})
        ORDER BY task_run_id, seq`);
      const logs = await eyes.rows(`SELECT task_run_id AS run, ${eyes.text("message")} AS message FROM task_logs
        WHERE task_run_id IN (${list}) ORDER BY task_run_id, n`);
      this.totals.logs += logs.length;
      const callsOf = groupBy(calls);
      const logsOf = groupBy(logs);
      for (const run of runs) await this.#program(run, callsOf.get(run.id) ?? [], (logsOf.get(run.id) ?? []).map((row) => row.message));
    }
  }

  async #program(run, calls, logs) {
    const { clients } = this;
    const entry = clients.period.get(run.id);
    insist(entry.key === run.key, "P1", `run ${run.id} has the key ${run.key}, its client ${entry.key}`);
    const tag = tagOf(run.head);
    insist(entry.tag === tag, "P1", `run ${run.id} has the input of ${tag}, and was sent as ${entry.tag}`);
    const result = run.result === null ? null : JSON.parse(run.result);
    insist(!entry.seen || entry.seen === hashOf(run.status, result), "I5", `run ${run.id} ended otherwise than its client was told`);
    const outcomes = calls.filter((row) => row.delivered_as > 0).sort((a, b) => a.delivered_as - b.delivered_as);
    for (const row of outcomes) {
      const hash = outcomeHash(row.delivered_as, row.status, parsed(row.result), parsed(row.error));
      clients.remember(run.id, row.seq, hash, row);
      this.#answered(run.id, row);
    }
    if (run.status === "cancelled") return;
    let expected;
    try {
      expected = await model(entry.program, outcomes.map((row) =>
        ({ seq: row.seq, failed: row.status === "failed", payload: row.status === "failed" ? row.error : row.result })));
    } catch (error) {
      throw new Violation("I8", `run ${run.id}: ${error.message}`);
    }
    const got = { result, logs, calls: calls.length };
    const same = JSON.stringify(got) === JSON.stringify({ result: expected.result, logs: expected.logs, calls: expected.calls });
    insist(same, "I8", `run ${run.id} (${entry.tag}) did not end as its model`, { got, expected });
  }

  /** I2: a recorded answer is one that the sink gave to this very call. */
  #answered(run, row) {
    if (!["http", "gapi"].includes(row.service) || row.status !== "completed") return;
    const { sink } = this.world;
    const reply = row.service === "http" ? JSON.parse(row.result) : { status: 200, body: row.result };
    const given = sink.calls.get(`${run}:${row.seq}`)?.answers ?? [];
    const one = given.find((answer) => answer.status === reply.status && sink.render(answer) === reply.body);
    insist(one, "I2", `call ${run}:${row.seq} has an answer that the sink did not give: ${reply.status} ` +
      `${reply.body?.slice(0, 200)}`, given);
  }

  /** I3. */
  #sink({ calls, runs }) {
    const { world } = this;
    const byKey = new Map(calls.map((row) => [`${row.task_run_id}:${row.seq}`, row]));
    const cancelled = new Set(runs.filter((run) => run.status === "cancelled").map((run) => String(run.id)));
    insist(world.sink.strays.length === 0, "I3", `calls of runs that were over arrived: ${JSON.stringify(world.sink.strays.slice(0, 5))}`);
    for (const [key, { arrivals }] of world.sink.calls) {
      const row = byKey.get(key);
      const lost = this.#mayBeLost(arrivals);
      if (!row && lost > 0 && cancelled.has(key.split(":")[0])) continue;
      insist(row, "I3", `the sink saw the key ${key}, which no call has`);
      // A claim sends at most once, so there are no more arrivals than claims, of this row and of those lost before it.
      const most = row.delivery === 1 ? 1 : row.epoch + lost;
      insist(arrivals.length <= most, "I3", `the sink saw ${key} ${arrivals.length} times, more than ${most}`, { row, arrivals });
      if (arrivals.length > row.epoch) world.branch("a call made again because its slice was lost with the database");
      if (arrivals.length > 1) {
        this.totals.doubled += 1;
        world.branch("a call was sent again under its key");
      }
      if (row.delivered_as === 0) continue;
      for (const at of arrivals.filter((one) => one > row.ended_at)) {
        const thawed = world.thaws.some((thaw) => at >= thaw && at - thaw < THAW_MS);
        insist(thawed, "I3", `${key} arrived at ${at}, after its outcome was recorded at ${row.ended_at}`,
          { row, arrivals, thaws: world.thaws });
        this.totals.late += 1;
      }
    }
  }

  /**
   * How many crashes of the database may have lost the row of a call that arrived then: a slice that suspends with calls at
   * least once is committed without waiting for the disk, and made again with the same calls if it is lost.
   */
  #mayBeLost(arrivals) {
    return this.world.crashes.filter((at) => at >= arrivals[0] - LEASE_MS && at <= arrivals.at(-1) + LEASE_MS).length;
  }

  /** I13: what of the recovery's branches can be seen in the rows. */
  async #branches({ after, through }) {
    const { world } = this;
    const within = (column) => `${column} > ${after} AND ${column} <= ${through}`;
    const count = async (name, sql) => {
      const rows = await world.eyes.rows(sql);
      for (const row of rows) world.branch(row.name ? `${name} ${row.name}` : name, row.n);
    };
    await count("a try", `SELECT a.outcome AS name, count(*) AS n FROM attempts a JOIN stack_runs s ON s.id = a.stack_run_id
      WHERE ${within("s.task_run_id")} GROUP BY a.outcome`);
    await count("processed by", `SELECT CASE via WHEN 0 THEN 'a hint' WHEN 1 THEN 'a timer' WHEN 2 THEN 'the sweep' ELSE 'hand' END AS name,
      count(*) AS n FROM stack_runs WHERE via IS NOT NULL AND ${within("task_run_id")} GROUP BY via`);
    await count("last resumed", `SELECT CASE resume_kind WHEN 0 THEN 'warm' ELSE 'by a replay' END AS name, count(*) AS n
      FROM stack_runs WHERE seq = 0 AND resume_kind IS NOT NULL AND ${within("task_run_id")} GROUP BY resume_kind`);
    await count("a task was refused a secret", `SELECT count(*) AS n FROM stack_runs WHERE status = 'failed'
      AND ${world.eyes.text("service_name")} = 'keystore' AND ${within("task_run_id")}`);
    await count("an outcome that is not known", `SELECT count(*) AS n FROM stack_runs WHERE delivery = 1 AND status = 'failed'
      AND ${world.eyes.text("error")} LIKE '%outcome_unknown%' AND ${within("task_run_id")}`);
    if (world.nodes.length > 1) {
      await count("a call taken over by another node", `SELECT count(DISTINCT s.id) AS n FROM stack_runs s JOIN attempts a
        ON a.stack_run_id = s.id AND a.node <> s.lease_owner WHERE ${within("s.task_run_id")}`);
    }
  }

  /** I2, I5: hashes of rows that must not change any more. */
  async #history(range, whole) {
    const compare = whole ? this.chunks : this.chunks.slice(-1);
    for (const chunk of compare) {
      const hash = await this.#hash(chunk);
      insist(hash === chunk.hash, "I5", `rows of the runs ${chunk.after + 1} to ${chunk.through}, which were over, changed`);
      this.totals.compared += 1;
    }
    if (range.through > range.after) this.chunks.push({ ...range, hash: await this.#hash(range) });
  }

  async #hash({ after, through }) {
    const { eyes } = this.world;
    const within = (column) => `${column} > ${after} AND ${column} <= ${through}`;
    return hashOf(
      await eyes.hash(`SELECT id, status, result, error, ended_at FROM task_runs WHERE ${within("id")} ORDER BY id`),
      await eyes.hash(`SELECT id, task_run_id, seq, status, epoch, delivered_as, args, result, error, ended_at FROM stack_runs
        WHERE ${within("task_run_id")} ORDER BY id`),
      await eyes.hash(`SELECT task_run_id, n, at, message FROM task_logs WHERE ${within("task_run_id")} ORDER BY task_run_id, n`),
    );
  }
}

/** Of an input as it is stored. */
const tagOf = (head) => /^\{"tag":"([^"]+)"/.exec(head)?.[1];

const parsed = (text) => (text === null ? null : JSON.parse(text));

function groupBy(rows) {
  const groups = new Map();
  for (const row of rows) {
    if (!groups.has(row.run)) groups.set(row.run, []);
    groups.get(row.run).push(row);
  }
  return groups;
}
