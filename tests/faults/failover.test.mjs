// F22: a database that went back in time. A standby without the last commits is promoted, or a backup is restored under the
// running nodes: they notice, stop before they do any harm, and go on only by an operator's word, which is a restart. A failover
// that lost nothing is survived without one.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { openFaultProxy } from "../support/js/fault_proxy.mjs";
import { Cluster } from "../support/js/postgres.mjs";
import { labels, SERIAL } from "../support/js/proxied.mjs";
import { promote, restoreFiles, saveFiles, STANDBY, startStandby } from "../support/js/replication.mjs";
import { binary, cleanEnv, crashSettings, Server } from "../support/js/server.mjs";
import { gate, openSink } from "../support/js/sink.mjs";
import { removeDir, tempDir } from "../support/js/temp.mjs";
import { until } from "../support/js/wait.mjs";

const CODE = "database_went_back";
const NOTICED_MS = 30_000;  // from the moment at which the database answers again; a second or so

/** Nodes behind one proxy, which leads to the primary. `use({nodes, sink, proxy, primary, moveTo})`. */
async function withCluster({ count = 1, primarySettings, settings = () => ({}) }, use) {
  const primary = await new Cluster().start({ settings: primarySettings?.() });
  const database = primary.createDatabase();
  const keys = tempDir("sequential-keys");
  const sink = await openSink();
  const proxy = await openFaultProxy(primary);
  const proxies = [proxy];
  const nodes = [];
  try {
    for (let i = 0; i < count; i++) {
      nodes.push(new Server({
        store: "postgres", beside: { cluster: primary, database, dir: keys },
        settings: crashSettings(sink, { "store.url": `${proxy.url(database)}&application_name=node-${i}`, ...settings(i) }),
      }));
      await nodes[i].start();
    }
    await nodes[0]?.publish("serial", SERIAL);
    /** The database's name now leads there. */
    const moveTo = (cluster) => {
      proxy.pointTo(cluster);
      proxy.cutAll();
      for (const node of nodes) node.cluster = cluster;
    };
    const addStandby = async () => {
      const standby = await startStandby(primary);
      proxies.push(standby.replication);
      return standby;
    };
    await use({ nodes, sink, proxy, primary, database, moveTo, addStandby });
  } finally {
    for (const node of nodes.reverse()) await node.destroy();
    for (const each of proxies) await each.close();
    await sink.close();
    removeDir(keys);
  }
}

const ready = (node) => node.request("GET", "/readyz");
const isBack = async (node) => (await ready(node)).json().code === CODE;
const logged = (node, text) => node.stderr.split("\n").filter((line) => line.includes(text)).length;

/** It has stopped: nothing new, nothing claimed, reading works. */
async function assertStopped(node, { task, known }) {
  const answer = await ready(node);
  assert.equal(answer.status, 503);
  assert.match(answer.json().detail, /went back in time.*restart the node/s);
  for (const refused of [
    await node.execute(task, {}), await node.request("PUT", "/tasks/new", { json: { code: "module.exports = async () => 1;" } }),
    await node.request("POST", `/runs/${known}/cancel`), await node.request("POST", "/db/clear", { json: { confirm: "clear" } }),
    await node.request("PUT", "/keystore/a/b", { json: { value: "c" } }),
  ]) assert.deepEqual([refused.status, refused.json().code], [503, CODE], refused.text);
  assert.equal((await node.run(known)).status, "completed");
  assert.equal((await node.get("/livez")).status, "alive");
  assert.equal((await node.request("GET", `/errors/${CODE}`)).status, 200);
}

describe("F22 a standby without the last commits is promoted", () => {
  for (const died of [false, true]) {
    const name = died ? "also when the node that had them acknowledged died with the primary"
      : "every node stops, reads and waits for an operator; a restart goes on";
    it(name, { timeout: 90_000 }, () => withCluster({ count: 2 }, async ({ nodes, sink, primary, moveTo, addStandby }) => {
      const [a, b] = nodes;
      const known = (await a.complete("serial", { url: sink.url, name: "known", calls: 2 })).id;
      const delayed = await a.submit("serial", { url: sink.url, name: "late", calls: 1 }, { options: { delay_ms: 3_600_000 } });
      const standby = await addStandby();
      standby.replication.blackHole();
      const held = gate();
      sink.behave = ({ label }) => (label === "lost-2" ? held.passed.then(() => undefined) : undefined);
      const lost = await a.submit("serial", { url: sink.url, name: "lost", calls: 3 });
      await until("the second call", () => sink.count("lost-2") === 1);
      assert.equal((await b.run(lost)).outcomes, 1, "acknowledged");
      if (died) {
        await marksSeen(primary, a.database);
        await a.kill9();
      }
      await primary.stop("immediate");
      await promote(standby);
      moveTo(standby);
      const alive = died ? [b] : nodes;
      for (const node of alive) await until("the node to notice", () => isBack(node), NOTICED_MS);
      for (const node of alive) await assertStopped(node, { task: "serial", known });
      assert.equal((await b.request("GET", `/runs/${lost}`)).status, 404);

      held.open();
      b.alter(`UPDATE stack_runs SET available_at = now_ms(0), ready_at = now_ms(0) WHERE task_run_id = ${delayed}`);
      for (const node of alive) {
        const sweeps = () => logged(node, "the sweep could not read the store");
        const before = sweeps();
        await until("it to pass over what is due", () => sweeps() >= before + 3);
      }
      for (const node of alive) await until("its work to be dropped", async () => (await node.get("/stats")).held === 0);
      assert.deepEqual([sink.count("lost-2"), sink.count("lost-3"), sink.count("late-1")], [1, 0, 0]);

      for (const node of alive) await node.restart();
      if (died) await a.start();
      for (const node of nodes) assert.equal((await ready(node)).status, 200);
      assert.deepEqual((await b.ended(delayed)).result, labels("late", 1));
      assert.deepEqual((await a.complete("serial", { url: sink.url, name: "new", calls: 2 })).result, labels("new", 2));
      for (const node of nodes) await node.stop();
    }));
  }

  /** Waits until node 0 has marked what was acknowledged to it, and node 1 has seen that mark. */
  async function marksSeen(primary, database) {
    const one = (sql) => primary.rows(database, sql)[0].value;
    const last = one("SELECT max(updated_at) AS value FROM stack_runs");
    await until("the mark to be raised", () =>
      Number(one(`SELECT count(*) AS value FROM meta WHERE key LIKE 'mark:%' AND value > ${last}`)) > 0);
    // Only a look that began now is certain to see it: the mark's value is from before its commit.
    const visible = one("SELECT clock_timestamp()::text AS value");
    await until("the other node to see the mark", () => Number(one(`SELECT count(*) AS value FROM pg_stat_activity
      WHERE application_name = 'node-1' AND state = 'idle' AND query LIKE '%went_back%' AND query_start > '${visible}'`)) > 0);
  }
});

describe("F22 a failover that loses nothing", () => {
  it("a synchronous standby is promoted: all goes on by itself, and the log says so once", { timeout: 90_000 }, () =>
    withCluster({ count: 2 }, async ({ nodes, sink, primary, moveTo, addStandby }) => {
      const standby = await addStandby();
      primary.psql("postgres", `ALTER SYSTEM SET synchronous_standby_names = '${STANDBY}'; SELECT pg_reload_conf()`);
      await until("replication to be synchronous", () =>
        primary.psql("postgres", "SELECT sync_state FROM pg_stat_replication").trim() === "sync");
      const ids = [];
      let failing = true;
      const client = async (node, name) => {
        for (let n = 0; failing && n < 1_000; n++) {
          const answer = await node.execute("serial", { url: sink.url, name: `${name}${n}`, calls: 3 }).catch(() => undefined);
          if (answer && answer.status < 300) ids.push([answer.json().data.taskRunId, `${name}${n}`]);
          else if (answer) assert.deepEqual([answer.status, answer.json().code], [503, "unavailable"], answer.text);
        }
      };
      const clients = Promise.all([client(nodes[0], "a"), client(nodes[1], "b")]);
      await until("work to be acknowledged", () => ids.length > 20);
      await primary.stop("immediate");
      await promote(standby);
      moveTo(standby);
      const before = ids.length;
      await until("work to be acknowledged again", () => ids.length > before + 20);
      failing = false;
      await clients;
      for (const [id, name] of ids) assert.deepEqual((await nodes[0].ended(id, 30_000)).result, labels(name, 3));
      for (const node of nodes) {
        assert.equal((await ready(node)).status, 200);
        assert.equal(logged(node, "failed over, and all that it had acknowledged is still there"), 1, node.stderr);
        assert.match(node.stderr, /timeline 00000001 at .*timeline 00000002 at/s);
      }
      const acknowledged = nodes.flatMap((node) => [...node.acknowledged.keys()]);
      await nodes[1].stop();
      await nodes[0].check({ sink, arrivalsMax: 3, acknowledged, samples: nodes[1].samples });
    }));
});

describe("F22 a backup is restored under running nodes", () => {
  it("they notice, though nothing tells of a failover; with strict off they say so and go on", { timeout: 90_000 }, () =>
    withCluster({ count: 2, settings: (i) => (i === 1 ? { "store.postgres.schema": "other", "store.postgres.strict": false } : {}) },
      async ({ nodes: [strict, lax], sink, primary }) => {
        await lax.publish("serial", SERIAL);
        const known = (await strict.complete("serial", { url: sink.url, name: "known", calls: 1 })).id;
        await primary.stop();
        saveFiles(primary);
        await primary.start();
        for (const node of [strict, lax]) await until("the node to be back", async () => (await ready(node)).status === 200);
        for (const node of [strict, lax]) await node.complete("serial", { url: sink.url, name: "lost", calls: 1 });
        await primary.stop();
        restoreFiles(primary);
        await primary.start();
        await until("the node to notice", () => isBack(strict), NOTICED_MS);
        await assertStopped(strict, { task: "serial", known });
        await until("the other one to notice", () => logged(lax, "strict is off") === 1, NOTICED_MS);
        await lax.complete("serial", { url: sink.url, name: "new", calls: 1 });
        await strict.restart();
        await strict.complete("serial", { url: sink.url, name: "new", calls: 1 });
        for (const node of [strict, lax]) await node.stop();
      }));

  it("strict mode refuses a server that acknowledges commits before they are on disk", { timeout: 60_000 }, () =>
    withCluster({ count: 0 }, async ({ primary, database }) => {
      const url = `${primary.url(database)}&options=-c%20synchronous_commit%3Doff`;
      const settings = ["server.port=0", "store.kind=postgres", `store.url=${url}`].flatMap((setting) => ["--set", setting]);
      const refused = spawnSync(binary(), ["serve", ...settings], { cwd: primary.dir, env: cleanEnv(), encoding: "utf8", timeout: 20_000 });
      assert.equal(refused.status, 2, refused.stderr);
      assert.match(refused.stderr, /synchronous_commit=off.*Turn it on/);
    }));
});
