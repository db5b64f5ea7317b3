// The rig is checked: what it must find is done to it, to the rows and to the ledger, and, on PostgreSQL, to the product's own
// functions, which live in the database and can be given a hole there.
import assert from "node:assert/strict";
import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { sharedCluster } from "../support/js/postgres.mjs";
import { binary, STORE } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";
import { runRig } from "./rig/rig.mjs";

const POSTGRES = STORE === "postgres";
const SEEDS = 4;

const oneOf = (sql) => async (world) => (await world.eyes.rows(`${sql} LIMIT 1`))[0];
const aRecordedCall = oneOf(`SELECT id FROM stack_runs WHERE seq > 0 AND delivered_as > 0 AND status = 'completed'
  AND service_name = 'http' ORDER BY id`);
const aFinishedRun = oneOf("SELECT id FROM task_runs WHERE status = 'completed' ORDER BY id");
const bytes = (text) => (POSTGRES ? `convert_to('${text}', 'UTF8')` : `CAST('${text}' AS BLOB)`);
const ANY = POSTGRES ? "'1'::bytea" : "'1'";
/** What is done to a sound history, and what must be said of it. */
const SABOTAGE = {
  "a recorded result that changed": [/^I2/, async (world) => {
    const { id } = await aRecordedCall(world);
    await world.eyes.change(`UPDATE stack_runs SET result = ${ANY} WHERE id = ${id}`);
  }],
  "a run that was over and changed": [/^I5/, async (world) => {
    const { id } = await aFinishedRun(world);
    await world.eyes.change(`UPDATE task_runs SET result = ${ANY} WHERE id = ${id}`);
  }],
  "an epoch that fell": [/^I4/, (world) =>
    world.eyes.change("UPDATE stack_runs SET epoch = epoch - 1 WHERE seq = 0 AND ended_at IS NOT NULL")],
  "an acknowledged run that is gone": [/^I[12]/, async (world) => {
    const { id } = await aFinishedRun(world);
    await world.eyes.change(`DELETE FROM task_logs WHERE task_run_id = ${id}; DELETE FROM stack_runs WHERE task_run_id = ${id};
      DELETE FROM task_runs WHERE id = ${id}`);
  }],
  "a log line that is missing": [/^I7/, (world) => world.eyes.change("DELETE FROM task_logs WHERE task_run_id IN " +
    "(SELECT id FROM task_runs WHERE ended_at IS NOT NULL)")],
  "a secret that is not sealed": [/^I11: a row of .*keystore holds a canary/, (world) =>
    world.eyes.change(`UPDATE keystore SET sealed = ${bytes(world.secrets.make("keystore"))} WHERE ${world.eyes.text("key")} = 'CANARY'`)],
  "a secret in a call, encoded": [/^I11: a row of .*stack_runs holds a canary in base64/, async (world) => {
    const { id } = await aFinishedRun(world);
    const text = JSON.stringify({ note: Buffer.from(`user:${world.secrets.make("access_token")}`).toString("base64") });
    await world.eyes.change(`UPDATE stack_runs SET args = ${bytes(text)} WHERE task_run_id = ${id}`);
  }],
};
/** What has nothing to do with the store. */
const ELSEWHERE = {
  "a call sent more often than it was claimed": [/^I3/, (world) => {
    for (const { arrivals } of world.sink.calls.values()) arrivals.push(arrivals[0], arrivals[0], arrivals[0], arrivals[0]);
  }],
  "an answer that the sink did not give": [/^I2/, (world) => {
    for (const { answers } of world.sink.calls.values()) for (const answer of answers) answer.nonce += 1_000_000;
  }],
  "a secret in a log": [/^I11: the file node1.server\.log holds a canary \(api_token\)/, (world) =>
    appendFileSync(world.nodes[0].logPath, `refused: Bearer ${world.token}\n`)],
  "the chain's key in what a node prints": [/^I11: the file node1.stdout\.log holds the chain's key in hexadecimal/, (world) =>
    world.nodes[0].out.write(`${readFileSync(join(world.dir, "chain.key"), "utf8").trim().toUpperCase()}\n`)],
  "a secret in an answer": [/^I11: the answer of node1 to GET \/runs holds a canary \(keystore\)/, (world) => {
    const [node] = world.nodes;
    node.onAnswer(node, "GET /runs", { headers: {}, text: world.secrets.make("keystore") });
  }],
  "a token that goes where it does not belong": [/^I11: a request to the sink holds a canary \(api_token\)/, (world) =>
    fetch(`${world.sink.url}/label`, { method: "POST", headers: { authorization: `Bearer ${world.token}` } })],
  "a submission without a key that made two runs": [/^P1: \S+ was sent once, without a key, and made run \d+ and run/, async (world) => {
    const entry = await until("a submission without a key", () => [...world.clients.keyless.values()].find(({ id, body }) => id && body));
    await until("it to be taken again", async () => {
      const answer = await world.clients.send(world.nodes[0], "POST", "/tasks/execute", { json: entry.body });
      return world.ended || answer?.status < 300;
    });
  }],
  "a run without a key that nobody sent": [/^P1: run \d+ has no key, and nobody sent it/, async (world) => {
    const json = { task: "random", input: world.clients.input("nobody", { op: "count", name: "a", by: 1 }) };
    await until("it to be taken", async () => {
      const answer = await world.clients.send(world.nodes[0], "POST", "/tasks/execute", { json });
      return world.ended || answer?.status < 300;
    });
  }],
  "a node that ends by itself": [/^P12/, (world) => process.kill(world.nodes[0].pid, "SIGKILL")],
};
// Where the database's own triggers would find it first, others must find it without them.
const UNSEEN = {
  "a recorded result that changed": /^I[25]/, "a run that was over and changed": /^I5/,
  // Or a node finds it before the rig does, and does nothing any more.
  "an acknowledged run that is gone": /^(I1|P1)|^I9.*the database went back in time/,
};

/** `seeds`: how many are tried, where chance decides whether the hole is hit. */
async function findsAfter(act, what, { kinds = ["sink misbehaves", "engine killed"], seeds = 1 } = {}) {
  let found;
  for (let seed = 1; seed <= seeds && !found; seed++) found = await findsWithSeed(seed, act, kinds);
  assert.match(found?.message ?? "nothing was found", what);
}

async function findsWithSeed(seed, act, kinds) {
  let done = false;
  const sabotage = async (world) => {
    await until("runs to be over", () => world.ended || world.clients.numbers.ended >= 20);
    await act(world);
    done = true;
  };
  const cluster = POSTGRES ? await sharedCluster() : undefined;
  const summary = await runRig({
    binary: binary(), store: STORE, seconds: 3, seed, every: [3, 3], kinds, sabotage, keep: false, cluster,
  });
  assert.equal(summary.error, undefined);
  assert.ok(done || summary.violation, "nothing was done to it");
  return summary.violation;
}

/** The product with a hole in it: its own functions in the database, changed. */
async function mutate(world, from, to) {
  const quoted = from.replaceAll("'", "''");
  const found = await world.eyes.rows(`SELECT pg_get_functiondef(p.oid) AS code FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'sequential' AND p.prokind = 'f' AND position('${quoted}' IN p.prosrc) > 0`);
  assert.ok(found.length > 0, `no function of the schema has "${from}"`);
  for (const { code } of found) await world.eyes.change(code.replaceAll(from, to));
}
const faultsOf = (world, kind, n) => until(`${kind}, ${n} times`, () => world.ended || world.counts.faults.get(kind) >= n, 60_000);

describe("the rig finds", () => {
  for (const [what, [message, act]] of Object.entries(POSTGRES ? SABOTAGE : { ...SABOTAGE, ...ELSEWHERE })) {
    it(what, { timeout: 90_000 }, () => findsAfter(act, message));
  }
  if (POSTGRES) {
    const hard = { timeout: 90_000 * SEEDS };
    it("transitions that do not look at the epoch", hard, () => findsAfter(async (world) => {
      await mutate(world, "epoch = p_epoch AND status = 'processing'", "status IS NOT NULL");
      await mutate(world, "WHERE id = p_call AND ended_at IS NULL", "WHERE id = p_call");
      await faultsOf(world, "node frozen", 4);
    }, /^(I[2-9]|P8)/, { kinds: ["node frozen", "sink misbehaves"], seeds: SEEDS }));
    it("calls at most once that are made twice", hard, () => findsAfter(async (world) => {
      await mutate(world, "(s.seq > 0 AND s.delivery = 1)", "false");
      await faultsOf(world, "node killed", 6);
    }, /^I3/, { kinds: ["node killed", "sink misbehaves"], seeds: SEEDS }));
  }
  for (const [what, message] of Object.entries(UNSEEN)) {
    it(`${what}, also without triggers`, { timeout: 90_000 }, () => findsAfter(async (world) => {
      await world.eyes.unwatch();
      await SABOTAGE[what][1](world);
    }, message));
  }
});
