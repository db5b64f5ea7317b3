// Releases side by side: F50's rolling restart of N and N+1, and F12. The next release is the one under test with more
// migrations (releases.mjs). N: nothing more; N+1: an expand, all that one may do; N+2: a contract, which takes away what N uses.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openBalancer } from "../support/js/balancer.mjs";
import { exchange } from "../support/js/http.mjs";
import { sharedCluster } from "../support/js/postgres.mjs";
import {
  calledByNodes, catalogAfter, complaintsAbout, FIRST_RELEASE, functionsOf, greatExpand, makeRelease, migrationFiles, startAs, takenAway,
} from "../support/js/releases.mjs";
import { binary, crashSettings, Server } from "../support/js/server.mjs";
import { openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const EXIT_SERVER = 6;  // cli/include/sequential/cli/main.h
const EXPAND = {
  postgres: greatExpand(),
  sqlite: `-- expand
    ALTER TABLE stack_runs ADD COLUMN later BLOB;
    ALTER TABLE task_runs ADD COLUMN later_too INTEGER NOT NULL DEFAULT 7;
    CREATE TABLE later_things (id INTEGER PRIMARY KEY);
    CREATE INDEX task_runs_later ON task_runs (later_too);`,
};
const CONTRACT = { postgres: "DROP VIEW calls; DROP FUNCTION later_v1(bigint);", sqlite: "DROP VIEW runs;" };
function releases(store) {
  const later = ["later", EXPAND[store]];
  const less = ["less", (before) => `-- contract, compatible from ${before}\n${CONTRACT[store]}`];
  return { N: binary(), N1: makeRelease(store, [later]), N2: makeRelease(store, [later, less]), levels: migrationFiles(store).length };
}

const SERIAL = sinkTask(`
  const labels = [];
  for (let i = 1; i <= input.calls; i++) labels.push((await sink(input.name + "-" + i)).label);
  return labels;`);
const PARALLEL = sinkTask(`
  const names = Array.from({ length: input.calls }, (_, i) => input.name + "-" + (i + 1));
  return (await Promise.all(names.map((name) => sink(name)))).map((answer) => answer.label);`);
const labels = (name, calls) => Array.from({ length: calls }, (_, i) => `${name}-${i + 1}`);

/** It must not start, and say so to somebody who has never heard of schemas. */
async function refused(program, node, ...texts) {
  await assert.rejects(startAs(program, node), (error) => {
    assert.match(error.message, new RegExp(`"code":${EXIT_SERVER}\\b`));
    for (const text of texts) assert.ok(error.message.includes(text), `"${text}" is not in:\n${error.message}`);
    return true;
  });
}
const TOO_NEW = ["cannot serve: database ", "a newer release has taken this database over", "Start the newer release", "backup"];

/** Clients that submit and wait for results through the balancer, with one retry. Any that fails twice fails the test. */
function openClients(balancer, sink, count) {
  const clients = { done: 0, retried: 0, acknowledged: [] };
  let open = true;
  let number = 0;
  const once = (name, task) => exchange({
    url: `${balancer.url}/tasks/execute`, method: "POST", timeoutMs: 40_000,
    headers: { "content-type": "application/json", "idempotency-key": name, prefer: "wait=30" },
    body: JSON.stringify({ task, input: { url: sink.url, name, calls: 3 } }),
  }).catch((error) => ({ status: 0, text: error.message }));
  const client = async () => {
    while (open) {
      const name = `r${++number}`;
      const task = number % 3 === 0 ? "parallel" : "serial";
      let answer = await once(name, task);
      if (answer.status !== 200) {
        clients.retried += 1;
        const first = answer;
        answer = await once(name, task);
        assert.equal(answer.status, 200, `${name}: ${first.status} ${first.text}, then ${answer.status} ${answer.text}`);
      }
      const { taskRunId, status, result } = answer.json().data;
      assert.equal(status, "completed", answer.text);
      assert.deepEqual(result, labels(name, 3));
      clients.acknowledged.push(taskRunId);
      clients.done += 1;
    }
  };
  let failure;
  const all = Promise.all(Array.from({ length: count }, client)).catch((error) => { failure = error; });
  const move = async (what, condition) => until(what, async () => {
    if (failure) throw failure;
    return condition();
  }, 30_000);
  return Object.assign(clients, {
    /** Waits until work has gone on, at this node if one is named. */
    async goOn(node) {
      const before = clients.done;
      const slices = async () => (node ? (await node.get("/stats")).engine.slices : 0);
      const had = await slices();
      await move("work to go on", async () => clients.done >= before + 8 && (!node || (await slices()) >= had + 5));
    },
    async close() {
      open = false;
      await all;
      if (failure) throw failure;
    },
  });
}

describe("F50 a rolling restart of N and N+1 on PostgreSQL", () => {
  it("fails no client, though an N node dies in the middle and starts again on the newer schema", { timeout: 120_000 }, async () => {
    const { N, N1, N2, levels } = releases("postgres");
    const sink = await openSink();
    const balancer = await openBalancer([undefined, undefined]);
    const settings = crashSettings(sink, { "chain.url": balancer.url });
    const a = new Server({ store: "postgres", settings });
    const b = new Server({ store: "postgres", settings, beside: a });
    const nodes = [a, b];
    const start = async (program, index) => {
      await startAs(program, nodes[index]);
      await balancer.place(index, nodes[index].url);
    };
    const schema = async (node) => (await node.get("/db/status")).schema_version;
    let clients;
    try {
      await start(N, 0);
      await start(N, 1);
      await a.publish("serial", SERIAL);
      await a.publish("parallel", PARALLEL);
      clients = openClients(balancer, sink, 4);
      await clients.goOn();

      // Two releases at once: N2 would cut off b. It changes nothing, and b goes on.
      await a.stop();
      await refused(N2, a, "nodes of an older release are at work", "Bring all nodes to a release with schema");
      await clients.goOn(b);
      assert.equal(await schema(b), String(levels));

      // One release: killed in the middle of its migration, then done, under b's work.
      await startAs(N1, a, { faults: "migrate.midway=kill9" });
      await a.crashed();
      await clients.goOn(b);
      await start(N1, 0);
      assert.equal(await schema(b), String(levels + 1));
      await clients.goOn(b);
      await clients.goOn(a);

      await b.kill9();
      await clients.goOn(a);
      await start(N, 1);
      assert.match(b.stderr, /of a newer release, which left this one what it needs/);
      await clients.goOn(b);
      await b.stop();
      await start(N1, 1);
      await clients.goOn(b);

      // The contract comes with the release after, while N+1 works.
      await a.stop();
      await start(N2, 0);
      assert.equal(await schema(a), String(levels + 2));
      await clients.goOn(b);
      await b.stop();
      await refused(N, b, ...TOO_NEW);
      await clients.goOn(a);
      await start(N1, 1);
      await clients.goOn(b);
      await clients.close();

      await b.stop();
      const acknowledged = [...clients.acknowledged, ...a.acknowledged.keys(), ...b.acknowledged.keys()];
      await a.check({ sink, arrivalsMax: 2, acknowledged, samples: [...a.samples, ...b.samples] });
      // Only what was in flight at the killed node was called again.
      const lost = a.query((query) => query("SELECT count(DISTINCT stack_run_id) AS n FROM attempts WHERE outcome = 'lost'"))[0].n;
      const twice = sink.entries.filter((entry) => entry.arrival === 2).length;
      assert.ok(twice <= lost, `${twice} calls arrived twice, ${lost} were lost with their node`);
    } finally {
      await clients?.close().catch(() => {});
      for (const node of nodes.reverse()) await node.destroy();
      await balancer.close();
      await sink.close();
    }
  });
});

for (const store of ["sqlite", "postgres"]) {
  describe(`F12 one node on ${store}`, () => {
    it("is upgraded through crashes, goes back after an expand, and not after a contract", { timeout: 90_000 }, async () => {
      const { N, N1, N2, levels } = releases(store);
      const sink = await openSink();
      const node = new Server({ store, settings: crashSettings(sink, { "services.keystore.readable": ["space"] }) });
      const work = async (name) => {
        const { result } = await node.complete("work", { url: sink.url, name });
        assert.deepEqual(result, { label: name, secret: "canary-4d1c" });
      };
      const stopAndStart = async (program) => {
        await node.stop();
        await startAs(program, node);
      };
      try {
        // The first migrations, each with a crash in its middle.
        let crashes = 0;
        for (let hit = 1; crashes < levels; hit = 2) {
          await startAs(N, node, { faults: `migrate.midway=kill9@${hit}` });
          if (node.url) break;
          await node.crashed();
          crashes += 1;
        }
        if (crashes === levels) await startAs(N, node);
        assert.equal(crashes, levels, "crashes");
        assert.equal((await node.request("PUT", "/keystore/space/key", { json: { value: "canary-4d1c" } })).status, 204);
        await node.publish("work", sinkTask(`
          const { label } = await sink(input.name);
          return { label, secret: await __callHostTool__("keystore", "getKey", ["space", "key"]) };`));
        await work("one");

        // A run that sleeps through all of it.
        let wake;
        const asleep = new Promise((resolve) => { wake = resolve; });
        let arrived = false;
        sink.behave = ({ label, arrival }) => {
          if (label !== "long" || arrival > 1) return undefined;
          arrived = true;
          return asleep;
        };
        const long = await node.submit("work", { url: sink.url, name: "long" });
        await until("its call", () => arrived);
        await node.kill9();
        wake();

        for (let crash = 1; crash <= 2; crash++) {
          await startAs(N1, node, { faults: "migrate.midway=kill9" });
          await node.crashed();
        }
        await startAs(N, node);  // nothing of the migration is there
        await work("two");
        await stopAndStart(N1);
        await work("three");
        await stopAndStart(N);
        assert.match(node.stderr, /of a newer release, which left this one what it needs/);
        await work("four");

        await node.stop();
        await startAs(N2, node, { faults: "migrate.midway=kill9" });
        await node.crashed();
        await startAs(N, node);
        await work("five");
        await stopAndStart(N2);
        assert.equal((await node.get("/db/status")).schema_version, String(levels + 2));
        await work("six");
        await node.stop();
        await refused(N, node, ...TOO_NEW);
        await startAs(N1, node);
        await work("seven");
        assert.deepEqual((await node.ended(long)).result, { label: "long", secret: "canary-4d1c" });
        await node.check({ sink, arrivalsMax: 2 });
      } finally {
        await node.destroy();
        await sink.close();
      }
    });
  });
}

describe("migration files", () => {
  for (const store of ["sqlite", "postgres"]) {
    it(`of ${store} say who may go on after them, and expands only add`, () => {
      const files = migrationFiles(store);
      files.forEach(({ version, name }, index) => assert.equal(version, index + 1, name));
      for (const file of files.slice(FIRST_RELEASE[store])) assert.deepEqual(complaintsAbout(file, store), [], file.name);
      assert.deepEqual(complaintsAbout({ version: 9, sql: EXPAND[store] }, store), []);
    });
  }

  it("that break the rules are found", () => {
    const of = (...statements) => complaintsAbout({ version: 9, sql: `-- expand\n${statements.join(";\n")};` }, "postgres");
    for (const sql of [
      "DROP TABLE a", "TRUNCATE a", "DELETE FROM a", "UPDATE a SET b = 1", "INSERT INTO a VALUES (1)", "DO $$ BEGIN END $$",
      "DROP FUNCTION f(int)", "CREATE TRIGGER t BEFORE INSERT ON a EXECUTE FUNCTION f()",
      "CREATE INDEX i ON a (b)", "CREATE UNIQUE INDEX i ON a (b)", "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0)",
      "ALTER TABLE a DROP COLUMN b", "ALTER TABLE a RENAME COLUMN b TO c", "ALTER TABLE a ALTER b TYPE bigint",
      "ALTER TABLE a ADD COLUMN b int NOT NULL", "ALTER TABLE a ADD COLUMN b int UNIQUE",
      "ALTER TABLE a ADD COLUMN b int, DROP COLUMN c", "ALTER TABLE a ADD COLUMN b bigint DEFAULT nextval('s')",
    ]) {
      assert.equal(of(sql).length, 1, sql);
    }
    assert.deepEqual(of("CREATE TABLE n (x int)", "CREATE UNIQUE INDEX i ON n (x)", "INSERT INTO n VALUES (1) -- ; DROP TABLE a",
      "CREATE FUNCTION f_v1() RETURNS void LANGUAGE sql AS $$ DELETE FROM a; DROP TABLE a; $$",
      "COMMENT ON TABLE a IS '; DROP TABLE a'"), []);
    const from = "-- contract, compatible from ";
    for (const line of ["", "-- Expand", "-- contract", `${from}0009`, `${from}0000`]) {
      assert.equal(complaintsAbout({ version: 9, sql: `${line}\nDROP TABLE a;` }, "postgres").length, 1, line);
    }
    assert.deepEqual(complaintsAbout({ version: 9, sql: `${from}0008\nDROP TABLE a;` }, "postgres"), []);
  });

  it("of PostgreSQL that are expands leave in the schema all that older nodes use", { timeout: 60_000 }, async () => {
    const cluster = await sharedCluster();
    const database = cluster.createDatabase();
    const apply = (sql, options) => catalogAfter(cluster, database, sql, options);
    cluster.psql(database, "CREATE SCHEMA sequential");
    const files = migrationFiles("postgres");
    const base = files.slice(0, FIRST_RELEASE.postgres).map(({ sql }) => sql).join("\n");
    let before = apply(base, { keep: true });
    assert.deepEqual(takenAway(before, before), []);
    for (const { name, sql } of files.slice(FIRST_RELEASE.postgres)) {
      const after = apply(sql, { keep: true });
      if (sql.startsWith("-- expand")) assert.deepEqual(takenAway(before, after), [], name);
      before = after;
    }

    // The check itself: each of these breaks an older node in one way, which it must find.
    const due = functionsOf(base).find((sql) => sql.includes(" due_v1("));
    const bad = {
      "gone or changed: function due_v1": "DROP FUNCTION due_v1(bigint, integer)",
      "gone or changed: function now_ms": "ALTER FUNCTION now_ms RENAME TO now_in_ms",
      "does not say SET search_path FROM CURRENT: due_v1": due.replaceAll("SET search_path FROM CURRENT", ""),
      "new: function of due_v1": "CREATE FUNCTION due_v1(p_now bigint) RETURNS void LANGUAGE sql SET search_path FROM CURRENT AS ''",
      "gone or changed: column stack_runs.hop_us": "ALTER TABLE stack_runs DROP COLUMN hop_us",
      "gone or changed: column attempts.attempt": "ALTER TABLE attempts ALTER attempt TYPE bigint",
      "gone or changed: relation calls": "DROP VIEW calls",
      "gone or changed: index": "DROP INDEX stack_runs_ready",
      "new: column of attempts": "ALTER TABLE attempts ALTER node SET NOT NULL",
      "new: constraint of attempts": "ALTER TABLE attempts ADD CHECK (attempt < 5)",
      "new: index of attempts": "CREATE UNIQUE INDEX one ON attempts (token)",
      "new: trigger of attempts": `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER t BEFORE INSERT ON attempts EXECUTE FUNCTION f()`,
    };
    // The answer of a function that returns such a type would have a column more.
    const type = "CREATE TYPE an_answer AS (x integer)";
    const wider = takenAway(apply(type), apply(`${type}; ALTER TYPE an_answer ADD ATTRIBUTE y integer`));
    assert.deepEqual(wider, ["new: attribute of an_answer: y"]);
    for (const [complaint, sql] of Object.entries(bad)) {
      const found = takenAway(before, apply(sql));
      assert.ok(found.some((text) => text.startsWith(complaint)), `${complaint} is not in ${JSON.stringify(found)}`);
    }
    assert.deepEqual(takenAway(before, apply(greatExpand())), []);
  });

  it("may be replaced by name, because every function that a node calls has its version in its name", async () => {
    const cluster = await sharedCluster();
    const database = cluster.createDatabase();
    cluster.psql(database, "CREATE SCHEMA sequential");
    const { names } = catalogAfter(cluster, database, migrationFiles("postgres").map(({ sql }) => sql).join("\n"));
    const called = calledByNodes();
    assert.ok(called.length >= 10, called.join());
    assert.deepEqual(called.filter((name) => !/_v[0-9]+$/.test(name)), []);
    assert.deepEqual(called.filter((name) => !names.includes(name)), []);
  });
});
