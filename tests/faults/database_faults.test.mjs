// F23 and F24: a database that is slow, one connection of which hangs, or that refuses statements. The whole server is looked at;
// what the store does with each error is tested in tests/unit/storage_postgres.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { labels, withProxied } from "../support/js/proxied.mjs";
import { gate, sinkTask } from "../support/js/sink.mjs";
import { until, within } from "../support/js/wait.mjs";

const LATENCY_MS = 1_000;   // each way
const STATEMENT_MS = 1_000;
const CUT_MS = STATEMENT_MS + 5_000;  // when a connection without an answer is given up

/** Asks `/livez` again and again until stopped; how long each answer took. */
function probe(node) {
  const took = [];
  let going = true;
  const asking = (async () => {
    while (going) {
      const began = performance.now();
      await node.get("/livez");
      took.push(performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return async () => {
    going = false;
    await asking;
    return took.sort((a, b) => a - b);
  };
}

describe("F23 a slow database", () => {
  it("two seconds of latency, then a connection that hangs: requests end, leases are renewed, /livez answers", { timeout: 120_000 }, () =>
    withProxied({
      proxied: [true, false],
      settings: (i) => ({
        "store.lease_ms": 9_000,
        ...(i === 0 ? { "store.postgres.statement_timeout_ms": STATEMENT_MS, "store.postgres.readers": 1 } : {}),
      }),
    }, async ({ nodes: [a], proxies: [proxy], sink, cluster, database }) => {
      // A call under way for longer than a lease, and all connections made.
      const held = gate();
      sink.behave = ({ label }) => (label === "held-1" ? held.passed.then(() => undefined) : undefined);
      const id = await a.submit("serial", { url: sink.url, name: "held", calls: 2 });
      await a.complete("parallel", { url: sink.url, name: "warm", calls: 16 });
      await until("the call", () => sink.count("held-1") === 1);
      await until("its lease to be renewed once", () => proxy.seen("extend_v1") > 0);
      const row = () => cluster.rows(database, `SELECT epoch, lease_until - now_ms(0) AS left FROM stack_runs WHERE task_run_id = ${id} AND seq = 1`)[0];
      const watched = [];
      const watch = setInterval(() => watched.push(row().left), 500);
      const stop = probe(a);
      try {
        proxy.latencyMs = { toServer: LATENCY_MS, toClient: LATENCY_MS };
        const began = Date.now();
        await a.run(id);
        assert.ok(Date.now() - began >= 2 * LATENCY_MS, "the latency is there");

        // The only connection for reads hangs: requests that need it wait until it is given up, and are answered then.
        const hung = proxy.at("FROM \"sequential\".", "hang", { only: (connection) => connection.ran.at(-1)?.includes("task_runs") });
        const asked = Date.now();
        const answers = await Promise.all([1, 2, 3].map(() => a.request("GET", `/runs/${id}`, { timeoutMs: 60_000 })));
        const took = Date.now() - asked;
        assert.equal(hung.hits, 1);
        for (const answer of answers) assert.ok([200, 503].includes(answer.status), answer.text);
        assert.ok(took >= CUT_MS - 500 && took < CUT_MS + 20 * LATENCY_MS, `answered after ${took} ms`);
        // Submitting takes its round trips, and no more.
        const submitted = Date.now();
        await a.submit("serial", { url: sink.url, name: "new", calls: 0 });
        assert.ok(Date.now() - submitted < 20 * LATENCY_MS);
        await until("more than a lease to pass", () => Date.now() - began > 12_000, 30_000);
      } finally {
        clearInterval(watch);
        proxy.heal();
      }
      const live = await stop();
      const [middle, last] = [live[Math.floor(live.length / 2)], live.at(-1)];
      assert.ok(middle < 100 && last < 1_000, `/livez took ${middle} and at most ${last} ms`);
      assert.ok(Math.min(...watched) > 0, `the lease had ${Math.min(...watched)} ms left`);
      assert.equal(row().epoch, 1);
      held.open();
      assert.deepEqual((await a.ended(id)).result, labels("held", 2));
      assert.equal(sink.count("held-1"), 1);
    }));
});

/** The next statements that write to these tables fail so: `times` of each, counted by what a rollback does not undo. */
const injection = (sqlstate, times) => `
  CREATE SEQUENCE injected;
  CREATE FUNCTION inject() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('sequential.injected') <= ${times} THEN RAISE EXCEPTION 'made to fail' USING ERRCODE = '${sqlstate}'; END IF;
    RETURN NEW;
  END $$;`;
const trigger = (when, table, condition = "") => `CREATE TRIGGER inject BEFORE ${when} ON ${table} FOR EACH ROW ${condition} EXECUTE FUNCTION inject();`;
const HEALED = "DROP FUNCTION inject() CASCADE; DROP SEQUENCE injected";

/** Where each statement can be made to fail: what it writes. */
const STATEMENTS = {
  publish: trigger("INSERT", "task_functions"),
  submit: trigger("INSERT", "task_runs"),
  "a slice's calls": trigger("INSERT", "stack_runs", "WHEN (NEW.seq > 0)"),
  "a call's outcome": trigger("UPDATE", "stack_runs", "WHEN (NEW.seq > 0 AND NEW.ended_at IS NOT NULL)"),
  "a run's end": trigger("UPDATE", "stack_runs", "WHEN (NEW.seq = 0 AND NEW.ended_at IS NOT NULL)"),
  "a claim": trigger("UPDATE", "stack_runs", "WHEN (OLD.status = 'pending' AND NEW.status = 'processing')"),
  "the renewal of a lease": trigger("UPDATE", "stack_runs", "WHEN (OLD.status = 'processing' AND NEW.status = 'processing' AND NEW.epoch = OLD.epoch)"),
  "a secret": trigger("INSERT", "keystore"),
};

describe("F24 a database that refuses", () => {
  it("40001, 40P01 and 55P03 at every statement: the whole transaction is done again, and nobody learns of it", { timeout: 120_000 }, () =>
    withProxied({ proxied: [false] }, async ({ nodes: [node], sink, cluster, database }) => {
      let n = 0;
      for (const sqlstate of ["40001", "40P01", "55P03"]) {
        for (const [statement, where] of Object.entries(STATEMENTS)) {
          const name = `r${++n}`;
          node.alter(injection(sqlstate, 3) + where);
          const held = gate();
          sink.behave = () => (statement.includes("lease") ? held.passed.then(() => undefined) : undefined);
          const injected = () => cluster.rows(database, "SELECT last_value AS n FROM injected")[0].n;
          await node.publish(name, `module.exports = async () => ${n};`);
          assert.equal((await node.request("PUT", `/keystore/space/${name}`, { json: { value: "v" } })).status, 204);
          const id = await node.submit("serial", { url: sink.url, name, calls: 2 }, { options: { delay_ms: statement === "a claim" ? 20 : 0 } });
          await until(`${sqlstate} at ${statement}`, () => injected() >= 4);
          held.open();
          assert.deepEqual((await node.ended(id)).result, labels(name, 2));
          for (const label of labels(name, 2)) assert.equal(sink.count(label), 1, label);
          const tries = (await node.stack(id)).flatMap((row) => row.attempts.map((attempt) => attempt.outcome));
          assert.ok(tries.every((outcome) => outcome === "completed"), `${sqlstate} at ${statement}: ${tries}`);
          node.alter(HEALED);
        }
      }
    }));

  it("25006: a database made read-only is left, writes are refused meanwhile, and work goes on when it may be written again", { timeout: 90_000 }, () =>
    withProxied({ proxied: [false], arrivalsMax: 3 }, async ({ nodes: [node], sink, cluster, database }) => {
      const held = gate();
      sink.behave = ({ label, arrival }) => (label === "s-1" && arrival === 1 ? held.passed.then(() => undefined) : undefined);
      const id = await node.submit("serial", { url: sink.url, name: "s", calls: 3 });
      await until("the call", () => sink.count("s-1") === 1);
      const began = () => cluster.rows(database, "SELECT max(backend_start) AS at FROM pg_stat_activity WHERE application_name = 'node-0'")[0].at;
      const before = began();
      const readOnly = (value) => cluster.psql("postgres", `ALTER SYSTEM SET default_transaction_read_only = ${value}; SELECT pg_reload_conf()`);
      readOnly("on");
      held.open();
      await until("a write to be refused", async () => {
        const answer = await node.execute("serial", { url: sink.url, name: "no", calls: 0 });
        assert.ok([202, 503].includes(answer.status), answer.text);  // the server's processes hear of it one by one
        return answer.status === 503 && answer.headers["retry-after"] !== undefined;
      });
      assert.equal((await node.get("/livez")).status, "alive");
      assert.equal((await node.request("GET", "/readyz")).status, 503);
      readOnly("off");
      assert.deepEqual((await node.ended(id)).result, labels("s", 3));
      assert.ok(began() > before, "connections to a server that refused writes were kept");
    }));

  it("57P01: backends terminated again and again lose nothing and double nothing", { timeout: 90_000 }, () =>
    withProxied({ proxied: [false] }, async ({ nodes: [node], sink, cluster, database }) => {
      const runs = [];
      const client = async (name) => {
        for (let n = 0; n < 12; n++) {
          const answer = await node.execute("serial", { url: sink.url, name: `${name}${n}`, calls: 3 });
          assert.equal(answer.status, 202, answer.text);
          runs.push([answer.json().data.taskRunId, `${name}${n}`]);
        }
      };
      let killing = true;
      let killed = 0;
      const count = (what) => Number(cluster.rows(database, `SELECT count(${what}) AS n FROM pg_stat_activity
        WHERE application_name = 'node-0' AND query LIKE '%\\_v1%'`)[0].n);
      const killer = (async () => {
        while (killing) {
          killed += count("pg_terminate_backend(pid)");
          await until("connections to be made again", () => !killing || count("*") > 2);
        }
      })();
      try {
        await Promise.all([client("a"), client("b"), client("c")]);
        for (const [id, name] of runs) assert.deepEqual((await node.ended(id)).result, labels(name, 3));
      } finally {
        killing = false;
        await killer;
      }
      assert.ok(killed > 10, `${killed} backends were terminated`);
      for (const [, name] of runs) for (const label of labels(name, 3)) assert.equal(sink.count(label), 1, label);
    }));

  it("22012: data that are never taken end as an error of whoever sent them, and nothing loops", { timeout: 90_000 }, () =>
    withProxied({ proxied: [false], arrivalsMax: 1 }, async ({ nodes: [node], sink }) => {
      await node.publish("catches", sinkTask(`
        try {
          await sink(input.name + "-1");
        } catch (error) {
          return error.code;
        }`));
      const never = 1_000_000;
      node.alter(injection("22012", never) + STATEMENTS.submit);
      const refused = await node.execute("serial", { url: sink.url, name: "x", calls: 1 });
      assert.deepEqual([refused.status, refused.json().code], [500, "internal"], refused.text);
      node.alter(HEALED);

      node.alter(injection("22012", never) + trigger("UPDATE", "stack_runs", "WHEN (NEW.seq > 0 AND NEW.result IS NOT NULL)"));
      const outcome = await within("the call to fail", 10_000, node.ended(await node.submit("catches", { url: sink.url, name: "outcome" })));
      assert.deepEqual([outcome.status, outcome.result], ["completed", "internal"]);
      assert.equal(sink.count("outcome-1"), 1);
      node.alter(HEALED);

      node.alter(injection("22012", never) + STATEMENTS["a slice's calls"]);
      const slice = await within("the run to fail", 10_000, node.ended(await node.submit("serial", { url: sink.url, name: "slice", calls: 1 })));
      assert.deepEqual([slice.status, slice.error?.code], ["failed", "internal"]);
      assert.equal(sink.count("slice-1"), 0);
      node.alter(HEALED);

      node.alter(injection("22012", never) + trigger("UPDATE", "task_runs", "WHEN (NEW.result IS NOT NULL)"));
      const end = await within("the run to fail", 10_000, node.ended(await node.submit("serial", { url: sink.url, name: "end", calls: 0 })));
      assert.deepEqual([end.status, end.error?.code], ["failed", "internal"]);
      node.alter(HEALED);
    }));
});
