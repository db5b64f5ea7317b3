// F21: the connection to PostgreSQL is cut after a statement was committed and before its answer, or before or in the middle of
// the statement, on every write path of the server. Whoever asked learns what is true: nothing is there twice, nothing is lost,
// and no call is made again. (What the store answers is tested without a server in tests/unit/storage_postgres.)
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { labels, withProxied } from "../support/js/proxied.mjs";
import { BOUND_MS } from "../support/js/server.mjs";
import { gate, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const WHEN = ["answer", "request"];
const quickly = 5_000;  // no lease and no sweep has to help: the store itself finds out

async function serial(node, sink, name, calls = 2, options) {
  const run = await node.complete("serial", { url: sink.url, name, calls }, { ms: quickly, ...options });
  assert.deepEqual(run.result, labels(name, calls));
  for (const label of labels(name, calls)) assert.equal(sink.count(label), 1, label);
  assert.equal((await node.stack(run.id)).length, calls + 1);
  return run;
}

/** The engine that is at work on a slice: it uses the processor all the time. */
function spinning(node) {
  const used = (pid) => Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ")[11]);  // clock ticks
  const before = new Map();
  return until("a slice to be under way", () => node.engines().find((pid) => {
    if (!before.has(pid)) before.set(pid, used(pid));
    return used(pid) >= before.get(pid) + 10;
  }));
}

/** Each path: the statement that is cut, and the act that has the server send it. `n`: for names that nobody had before. */
const PATHS = {
  "publish": ["publish_v1", async ({ node, n }) => {
    const published = await node.publish(`other-${n}`, "module.exports = async () => 7;");
    assert.equal(published.version, 1);
    assert.equal((await node.get(`/tasks/other-${n}`)).version, 1);
  }],
  "submit": ["submit_v1", ({ node, sink, n }) => serial(node, sink, `submit-${n}`)],
  "submit with an idempotency key": ["submit_v1", async ({ node, sink, n }) => {
    const input = { url: sink.url, name: `key-${n}`, calls: 1 };
    const options = { idempotencyKey: `key-${n}` };
    const first = (await node.execute("serial", input, { options })).json().data;
    assert.equal(first.existing, false, "its own row is not somebody else's");
    const again = (await node.execute("serial", input, { options })).json().data;
    assert.deepEqual([again.taskRunId, again.existing], [first.taskRunId, true]);
    await node.ended(first.taskRunId, quickly);
    assert.equal(sink.count(`key-${n}-1`), 1);
  }],
  "the commit of a slice that calls": ["commit_slice_v1", ({ node, sink, n }) => serial(node, sink, `slice-${n}`)],
  "the commit of a slice that ends its run": ["commit_slice_v1", ({ node, sink, n }) => serial(node, sink, `end-${n}`, 1), { skip: 1 }],
  "the record of a call": ["record_outcome_v1", ({ node, sink, n }) => serial(node, sink, `record-${n}`)],
  "a call that is to be tried again": ["record_outcome_v1", async ({ node, sink, n }) => {
    sink.behave = ({ arrival }) => (arrival === 1 ? "drop" : undefined);
    const run = await node.complete("retrying", { url: sink.url, label: `retry-${n}-1` }, { ms: quickly });
    assert.equal(sink.count(`retry-${n}-1`), 2);
    const { attempts } = await node.get(`/stack/${(await node.stack(run.id))[1].id}`);
    assert.deepEqual(attempts.map((attempt) => attempt.outcome), ["failed", "completed"]);
  }],
  "a claim by number": ["claim_v1", ({ node, sink, n }) => serial(node, sink, `claim-${n}`, 1, { options: { delay_ms: 30 } })],
  "the renewal of leases": ["extend_v1", async ({ node, sink, n }) => {
    const held = gate();
    sink.behave = () => held.passed.then(() => undefined);
    const id = await node.submit("serial", { url: sink.url, name: `renew-${n}`, calls: 1 });
    await until("the call", () => sink.count(`renew-${n}-1`) === 1);
    const epoch = async () => (await node.stack(id))[1].epoch;
    const until_ = async () => (await node.stack(id))[1].lease_until;
    const first = await until_();
    await until("two renewals", async () => Date.parse(await until_()) > Date.parse(first) + 1_000, quickly);
    held.open();
    await node.ended(id, quickly);
    assert.equal(await epoch(), 1);
    assert.equal(sink.count(`renew-${n}-1`), 1);
  }],
  "a slice whose engine died": ["slice_lost_v1", async ({ node, n }) => {
    const id = await node.submit("spin", {});
    process.kill(await spinning(node), "SIGKILL");
    const run = await node.ended(id);  // the next try comes to the limit
    assert.deepEqual([run.status, run.error.code], ["failed", "cpu_limit"]);
    const [root] = await node.stack(id);
    assert.deepEqual(root.attempts.map((attempt) => attempt.outcome), ["lost"], `run ${n}`);
  }],
  "cancel": ["request_cancel_v1", async ({ node, sink, n }) => {
    const held = gate();
    sink.behave = () => held.passed.then(() => undefined);
    const id = await node.submit("serial", { url: sink.url, name: `cancel-${n}`, calls: 1 });
    await until("the call", () => sink.count(`cancel-${n}-1`) === 1);
    const answer = await node.request("POST", `/runs/${id}/cancel`, { json: { force: true } });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json().status, "cancelled");
    held.open();
  }],
  "a request to end": ["request_cancel_v1", async ({ node, sink, n }) => {
    const held = gate();
    sink.behave = () => held.passed.then(() => undefined);
    const id = await node.submit("serial", { url: sink.url, name: `end-${n}`, calls: 1 });
    await until("the call", () => sink.count(`end-${n}-1`) === 1);
    const answer = await node.request("POST", `/runs/${id}/cancel`);
    assert.equal(answer.status, 200, answer.text);
    const run = await node.ended(id);
    assert.deepEqual([run.status, run.error.code, run.outcomes], ["cancelled", "cancelled", 1]);
    held.open();
  }],
  "pause": ["pause_v1", async ({ node, sink, n }) => pauseAndResume(node, sink, `pause-${n}`)],
  "resume": ["resume_v1", async ({ node, sink, n }) => pauseAndResume(node, sink, `resume-${n}`)],
  "a secret": ["keystore_put_v1", async ({ node, n }) => {
    assert.equal((await node.request("PUT", `/keystore/space/k-${n}`, { json: { value: "v" } })).status, 204);
    const entries = (await node.get("/keystore/space")).entries.filter(({ key }) => key === `k-${n}`);
    assert.deepEqual(entries.map(({ version }) => version), [1]);
  }],
  "the removal of a secret": [".keystore WHERE namespace = $1::bytea AND key = $2::bytea AND version", async ({ node, n }) => {
    assert.equal((await node.request("PUT", `/keystore/gone/k-${n}`, { json: { value: "v" } })).status, 204);
    assert.equal((await node.request("DELETE", `/keystore/gone/k-${n}`)).status, 204);
    assert.deepEqual((await node.get("/keystore/gone")).entries, []);
  }],
};

async function pauseAndResume(node, sink, name) {
  const held = gate();
  sink.behave = ({ label }) => (label === `${name}-1` ? held.passed.then(() => undefined) : undefined);
  const id = await node.submit("serial", { url: sink.url, name, calls: 2 });
  await until("the call", () => sink.count(`${name}-1`) === 1);
  const paused = await node.request("POST", `/runs/${id}/pause`);
  assert.deepEqual([paused.status, paused.json().status], [200, "paused"], paused.text);
  held.open();
  await until("the outcome of the call under way", async () => (await node.stack(id))[1].status === "completed", quickly);
  const resumed = await node.request("POST", `/runs/${id}/resume`);
  assert.equal(resumed.status, 200, resumed.text);
  assert.deepEqual((await node.ended(id, quickly)).result, labels(name, 2));
  for (const label of labels(name, 2)) assert.equal(sink.count(label), 1, label);
}

describe("F21 a connection cut around a commit", () => {
  it("changes no answer and makes no call again, whatever was written", { timeout: 120_000 }, () =>
    withProxied({ proxied: [true], allAcknowledged: true, arrivalsMax: 2, settings: { "limits.cpu_ms": 1_000 } }, async ({ nodes: [node], proxies: [proxy], sink }) => {
      await node.publish("spin", "module.exports = async () => { for (;;); };");
      await node.publish("retrying", sinkTask("return await sink(input.label, { idempotent: true });"));
      let n = 0;
      for (const [path, [text, act, options]] of Object.entries(PATHS)) {
        for (const when of WHEN) {
          n += 1;
          sink.behave = undefined;
          const fault = proxy.at(text, when, options);
          try {
            await act({ node, sink, n });
          } catch (error) {
            throw new Error(`${path}, cut at the ${when}: ${error.message}`, { cause: error });
          }
          assert.equal(fault.hits, 1, `${path}: the ${when} was not cut`);
        }
      }
    }));

  it("cut in the middle of a statement or of an answer, at any byte", { timeout: 60_000 }, () =>
    withProxied({ proxied: [true], allAcknowledged: true }, async ({ nodes: [node], proxies: [proxy], sink }) => {
      for (const text of ["submit_v1", "commit_slice_v1", "record_outcome_v1"]) {
        for (const way of ["toServer", "toClient"]) {
          for (const bytes of [1, 5, 40, 90]) {
            const fault = proxy.at(text, "bytes", { bytes, way });
            await serial(node, sink, `${text}-${way}-${bytes}`, 1);
            assert.equal(fault.hits, 1);
          }
        }
      }
    }));

  it("also where work is claimed by whoever is free: the oldest, and by number", { timeout: 60_000 }, () =>
    withProxied({ proxied: [true], settings: { "server.max_in_flight": 1 } }, async ({ nodes: [node], proxies: [proxy], sink }) => {
      for (const when of WHEN) {
        const fault = proxy.at("claim_next_v1", when);
        const run = await node.complete("parallel", { url: sink.url, name: when, calls: 4 }, { ms: quickly });
        assert.deepEqual(run.result, labels(when, 4));
        for (const label of labels(when, 4)) assert.equal(sink.count(label), 1, label);
        assert.equal(fault.hits, 1);
      }
    }));

  // While the first try is still at work its rows cannot be seen: the second must wait for its end.
  const SLOW = {
    "a submission": ["submit_v1", "BEFORE INSERT ON task_runs FOR EACH ROW", async ({ node, sink }) => serial(node, sink, "slow", 1)],
    "a claim by number": ["claim_v1", "BEFORE UPDATE ON stack_runs FOR EACH ROW WHEN (OLD.status = 'pending' AND NEW.epoch = 1)",
      async ({ node, sink }) => serial(node, sink, "slow", 1, { options: { delay_ms: 30 } })],
    "a claim of the oldest": ["claim_next_v1", "BEFORE UPDATE ON stack_runs FOR EACH ROW WHEN (OLD.status = 'pending' AND NEW.epoch = 1)",
      async ({ node, sink, epochs }) => {
        await node.restart({ settings: { "chain.url": "http://127.0.0.1:9", "store.sweep_ms": 0 } });
        for (const name of ["one", "two"]) await node.submit("serial", { url: sink.url, name, calls: 0 });
        const first = await node.request("POST", "/stack/process", { json: {} });
        assert.equal(first.json().data.status, "completed", first.text);
        assert.deepEqual(epochs(), [0, 1], "one was asked for");
        const second = await node.request("POST", "/stack/process", { json: {} });
        assert.equal(second.json().data.status, "completed", second.text);
      }],
  };
  for (const [what, [text, slow, act]] of Object.entries(SLOW)) {
    it(`${what} is made once, cut while the server still works on it`, { timeout: 60_000 }, () =>
      withProxied({ proxied: [true], allAcknowledged: true, settings: { "store.lease_ms": 60_000 } },
        async ({ nodes: [node], proxies: [proxy], sink, cluster, database }) => {
          cluster.psql(database, `SET search_path TO sequential;
            CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $$;
            CREATE TRIGGER slowly ${slow} EXECUTE FUNCTION slowly();`);
          const roots = "SELECT epoch FROM stack_runs WHERE seq = 0 ORDER BY epoch";
          const fault = proxy.at(text, "sent");
          await act({ node, sink, epochs: () => cluster.rows(database, roots).map((row) => row.epoch) });
          assert.equal(fault.hits, 1);
          cluster.psql(database, "DROP FUNCTION sequential.slowly() CASCADE");
        }));
  }

  it("clearing says how many runs it deleted", { timeout: 60_000 }, () =>
    withProxied({ proxied: [true], allAcknowledged: true }, async ({ nodes: [node], proxies: [proxy], sink }) => {
      for (const when of WHEN) {
        for (let n = 1; n <= 2; n++) await serial(node, sink, `clear-${when}-${n}`, 1);
        const fault = proxy.at("clear_v1", when);
        const cleared = await node.request("POST", "/db/clear", { json: { confirm: "clear" } });
        assert.deepEqual([cleared.status, cleared.json().deleted_runs], [200, 2], cleared.text);
        assert.equal(fault.hits, 1);
        node.acknowledged.clear();
        sink.entries.length = 0;
      }
    }));

  for (const when of WHEN) {
    it(`an orderly stop hands its claims back, cut at the ${when}`, { timeout: 60_000 }, () =>
      withProxied({ proxied: [true, false], settings: { "store.lease_ms": 60_000, "store.sweep_ms": 200 } },
        async ({ nodes: [a, b], proxies: [proxy], sink }) => {
          // A claim that nobody has begun on: there are more calls than slots.
          await a.restart({ settings: { "server.max_in_flight": 1, "chain.enabled": false, "store.sweep_ms": 0 } });
          const id = await a.submit("serial", { url: sink.url, name: "s", calls: 2 });
          const fault = proxy.at("release_v1", when);
          await a.stop();
          assert.equal(fault.hits, 1);
          assert.deepEqual((await b.ended(id, quickly)).result, labels("s", 2));
          for (const label of labels("s", 2)) assert.equal(sink.count(label), 1, label);
        }));
  }

  it("a node that was away until another went on drops its work, and the outcome it did record counts", { timeout: 60_000 }, () =>
    withProxied({ proxied: [true, false] }, async ({ nodes: [a, b], proxies: [proxy], sink }) => {
      const fault = proxy.at("record_outcome_v1", "answer", { skip: 1 });
      const id = await a.submit("serial", { url: sink.url, name: "s", calls: 4 });
      await fault.answered;
      proxy.refuse();  // it cannot ask what became of its second call
      assert.deepEqual((await b.ended(id, 2 * BOUND_MS + quickly)).result, labels("s", 4));
      proxy.heal();
      await until("the node to be back", async () => (await a.request("GET", "/readyz")).status === 200);
      await until("its claims to be dropped", async () => (await a.get("/stats")).held === 0);
      for (const label of labels("s", 4)) assert.equal(sink.count(label), 1, label);
    }));
});
