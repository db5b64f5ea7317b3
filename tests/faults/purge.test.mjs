// kill -9 in the middle of a purge: afterwards every run is whole or gone, what is gone stays gone, and the next purge
// takes the rest. The database has not "gone back" because of it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Server, STORE } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";

const RUNS = 230;  // three transactions

const countOf = (server, what) => Number(server.query((query) => query(`SELECT count(*) AS n FROM ${what}`))[0].n);

/** Rows that belong to no run. */
function orphans(server) {
  const tables = ["stack_runs", "task_logs", "run_tags", "run_children"];
  return tables.map((table) => countOf(server, `${table} WHERE task_run_id NOT IN (SELECT id FROM task_runs)`))
    .concat(countOf(server, "attempts WHERE stack_run_id NOT IN (SELECT id FROM stack_runs)")
      + countOf(server, "task_runs WHERE root_stack_run_id NOT IN (SELECT id FROM stack_runs)")
      + countOf(server, "task_runs t WHERE (SELECT count(*) FROM stack_runs s WHERE s.task_run_id = t.id) <> 2"));
}

async function begin(settings = {}) {
  const server = new Server({ settings: { "engine.processes": 1, "retention.pass_ms": 0, ...settings } });
  await server.start();
  await server.publish("one", "module.exports = async (n) => { console.log('x'); setAttributes({ n }); return services.echo.echo(n); };");
  const submitted = [];
  for (let i = 0; i < RUNS; i += 10) {
    submitted.push(...await Promise.all(Array.from({ length: 10 }, (_, k) => server.submit("one", i + k, { options: { tags: ["t"] } }))));
  }
  await until("all runs to end", async () => (await server.get("/runs/count?status=completed")).count === RUNS, 60_000);
  return { server, submitted };
}

describe(`a purge that is killed on ${STORE}`, () => {
  for (const faults of ["purge.before_commit=kill9@2", "purge.after_commit=kill9@2"]) {
    it(`${faults}: every run is whole or gone`, { timeout: 120_000 }, async () => {
      const { server } = await begin();
      try {
        await server.restart({ faults });
        await server.request("POST", "/runs/purge", { json: { filter: { task: "one" } } }).catch(() => undefined);
        await server.crashed();
        const left = countOf(server, "task_runs");
        assert.ok(left > 0 && left < RUNS, `${left} are left`);
        assert.equal(left % 10, 0, "in whole transactions");
        assert.deepEqual(orphans(server), [0, 0, 0, 0, 0]);
        await server.start();
        assert.equal((await server.get("/runs/count?tag=t")).count, left);
        const rest = (await server.request("POST", "/runs/purge", { json: { filter: { tag: "t" } } })).json();
        assert.equal(rest.removed_runs, left);
        assert.equal((await server.complete("one", 1)).result, 1);
        await server.stop();
        assert.equal(countOf(server, "task_runs"), 1);
        assert.deepEqual(orphans(server), [0, 0, 0, 0, 0]);
      } finally {
        await server.destroy();
      }
    });
  }

  if (STORE === "postgres") it("a run whose removal takes too long keeps no other", { timeout: 120_000 }, async () => {
    const { server, submitted } = await begin({ "store.postgres.statement_timeout_ms": 500 });
    try {
      const stuck = Math.min(...submitted);  // the first of the first batch
      server.alter(`CREATE FUNCTION takes_long() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN OLD; END';
        CREATE TRIGGER takes_long BEFORE DELETE ON task_runs
          FOR EACH ROW WHEN (OLD.id = ${stuck}) EXECUTE FUNCTION takes_long();`);
      await server.restart({ settings: { "retention.pass_ms": 100 } });
      await server.request("PUT", "/tasks/one/retention", { json: { completed: "1ms" } });
      await until("the others to be removed", async () => (await server.get("/runs/count?task=one")).count === 1, 60_000);
      assert.equal((await server.run(stuck)).status, "completed");
      await until("the log to name it", () => new RegExp(`an old run was not removed.*${stuck}`).test(server.stderr));
      assert.ok((await server.get("/stats")).retention.failed > 0);
      await server.request("DELETE", "/tasks/one/retention");
      const purged = (await server.request("POST", "/runs/purge", { json: { filter: { task: "one" } } })).json();
      assert.deepEqual([purged.matched, purged.removed_runs, purged.failures], [1, 0, 1]);
      assert.deepEqual([purged.failed[0].id, purged.next_cursor], [stuck, null]);
      server.alter("DROP TRIGGER takes_long ON task_runs");
      assert.equal((await server.request("POST", "/runs/purge", { json: { filter: { task: "one" } } })).json().removed_runs, 1);
      await server.stop();
      assert.deepEqual(orphans(server), [0, 0, 0, 0, 0]);
    } finally {
      await server.destroy();
    }
  });

  it("the background pass goes on after a kill, and leaves what is to be kept", { timeout: 120_000 }, async () => {
    const { server } = await begin();
    try {
      await server.publish("kept", "module.exports = async () => 1;");
      const { id } = await server.complete("kept", {});
      await server.restart({ faults: "purge.before_commit=kill9@2", settings: { "retention.pass_ms": 100 } });
      const retention = { json: { completed: "1ms" } };
      await server.request("PUT", "/tasks/one/retention", retention).catch(() => undefined);
      await server.crashed();
      assert.deepEqual(orphans(server).slice(0, 4), [0, 0, 0, 0]);
      await server.start();
      await until("the pass to remove them", async () => (await server.get("/runs/count?task=one")).count === 0, 30_000);
      assert.equal((await server.run(id)).status, "completed");
      await server.stop();
    } finally {
      await server.destroy();
    }
  });
});
