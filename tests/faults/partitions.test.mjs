// F16 and F17: a node that loses the database stops by its own clock, and what it had locked is freed by the server; nodes that
// cannot reach each other are slower, nothing else.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { describe, it } from "node:test";
import { Cluster } from "../support/js/postgres.mjs";
import { labels, withProxied } from "../support/js/proxied.mjs";
import { BOUND_MS } from "../support/js/server.mjs";
import { gate, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const FREED_MS = 10_000;
const SLACK_MS = 3_000;  // of a busy machine, and of the kernel's own timers

const LATE = { "chain.enabled": false, "store.lease_ms": 15_000, "store.sweep_ms": 15_000 };

/** A cluster that is also reached over TCP. */
async function tcpCluster() {
  for (let attempt = 1; ; attempt++) {
    const probe = net.createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address();
    probe.close();
    await once(probe, "close");
    const cluster = new Cluster();
    try {
      return await cluster.start({ port });
    } catch (error) {  // somebody else took the port meanwhile
      if (attempt === 3) throw error;
    }
  }
}

const backIn = async (node) => {
  await until("the node to be back", async () => (await node.request("GET", "/readyz")).status === 200);
  await until("its claims to be dropped", async () => (await node.get("/stats")).held === 0);
};

describe("F16 a node that is cut off from the database", () => {
  it("keeps no row locked for more than ten seconds; another node goes on with its work, and it drops it", { timeout: 120_000 }, async () =>
    withProxied({ proxied: [true, false], tcp: true, cluster: await tcpCluster(), arrivalsMax: 3 },
      async ({ nodes: [a, b], proxies: [proxy], sink, cluster, database }) => {
        // One transition of node 0 holds its locks because it does not get on, another because its answer is not read.
        a.alter(`
          CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF current_setting('application_name') = 'node-0' THEN PERFORM pg_sleep(60); END IF;
            RETURN NEW;
          END $$;
          CREATE TRIGGER slow BEFORE UPDATE ON stack_runs FOR EACH ROW
            WHEN (NEW.ended_at IS NOT NULL AND position('locked-1'::bytea IN NEW.args) > 0) EXECUTE FUNCTION slow()`);
        await a.publish("large", sinkTask(`
          const request = { url: input.url + "/large-1", method: "POST", body: "x".repeat(input.bytes) };
          return (await __callHostTool__("http", "fetch", [request], { idempotent: true })).status;`));
        sink.behave = ({ label, arrival }) => (label === "large-1" && arrival === 1 ? "drop" : undefined);

        const locked = await a.submit("serial", { url: sink.url, name: "locked", calls: 2 });
        b.child.kill("SIGSTOP");  // else it may be the one that claims the second try
        const stalled = proxy.at("claim_v1", "stall", { times: 4 });  // its timer and its sweep may both ask
        const large = await a.submit("large", { url: sink.url, bytes: 8 << 20 });
        await stalled.answered;
        const backends = (what) => Number(cluster.rows(database,
          `SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'node-0' AND ${what}`)[0].n);
        await until("a row lock held by a statement", () => backends("wait_event = 'PgSleep'") === 1);
        await until("a row lock held by an answer", () => backends("wait_event = 'ClientWrite'") === 1);
        b.child.kill("SIGCONT");

        proxy.blackHole();
        const cut = Date.now();
        await until("the locks to be freed", () => backends("xact_start IS NOT NULL") === 0, FREED_MS + SLACK_MS);
        const freed = Date.now();
        assert.deepEqual((await b.ended(locked, freed + BOUND_MS + SLACK_MS - Date.now())).result, labels("locked", 2));
        assert.equal((await b.ended(large, freed + BOUND_MS + SLACK_MS - Date.now())).result, 200);
        assert.ok(Date.now() - cut < FREED_MS + BOUND_MS + 2 * SLACK_MS);
        assert.equal((await a.get("/livez")).status, "alive");

        proxy.heal();
        await backIn(a);
        assert.deepEqual(["locked-1", "locked-2", "large-1"].map((label) => sink.count(label)), [2, 1, 2]);
      }));

  it("begins nothing more once its lease may be over, by its own clock", { timeout: 90_000 }, () =>
    // Node 0 takes up what it was handed before its lease ends, but too late to be sure.
    withProxied({ proxied: [true, false], settings: (i) => (i === 0 ? LATE : {}) },
      async ({ nodes: [a, b], proxies: [proxy], sink, cluster, database }) => {
        const id = await a.submit("serial", { url: sink.url, name: "s", calls: 2 });
        const handed = `SELECT count(*) AS n FROM stack_runs WHERE task_run_id = ${id} AND seq = 1 AND status = 'processing'`;
        await until("a call to be handed over", () => Number(cluster.rows(database, handed)[0].n) === 1);
        proxy.blackHole();
        const cut = Date.now();
        a.child.kill("SIGSTOP");
        await until("two thirds of its lease to be over", () => Date.now() - cut > (LATE["store.lease_ms"] * 3) / 4, 30_000);
        a.child.kill("SIGCONT");
        await until("its next sweep to take it up", async () => (await a.get("/stats")).in_flight > 0, 30_000);
        assert.equal(sink.count("s-1"), 0);
        assert.deepEqual((await b.ended(id, 60_000)).result, labels("s", 2));
        assert.ok(Date.now() - cut < LATE["store.lease_ms"] + BOUND_MS + SLACK_MS);
        proxy.heal();
        await backIn(a);
        for (const label of labels("s", 2)) assert.equal(sink.count(label), 1, label);
      }));
});

describe("F17 nodes that cannot reach each other", () => {
  it("all work ends by the database alone, whether the balancer is gone or swallows everything", { timeout: 90_000 }, async () => {
    const connections = new Set();
    const hole = net.createServer((socket) => {
      connections.add(socket.on("error", () => undefined));
      socket.resume();
    });
    hole.listen(0, "127.0.0.1");
    await once(hole, "listening");
    const gone = net.createServer().listen(0, "127.0.0.1");
    await once(gone, "listening");
    const urls = [gone, hole].map((server) => `http://127.0.0.1:${server.address().port}`);
    gone.close();
    await once(gone, "close");
    try {
      await withProxied({ proxied: [false, false], settings: (i) => ({ "chain.url": urls[i], "chain.timeout_ms": 1_000 }) },
        async ({ nodes, sink }) => {
          const began = Date.now();
          const runs = [];
          for (const [i, node] of nodes.entries()) {
            for (const task of ["serial", "parallel"]) {
              runs.push([await node.submit(task, { url: sink.url, name: `${task}-${i}`, calls: 6 }), `${task}-${i}`]);
            }
          }
          const steps = 2 * 6 + 1;
          for (const [id, name] of runs) {
            assert.deepEqual((await nodes[0].ended(id, began + steps * BOUND_MS - Date.now())).result, labels(name, 6));
            for (const label of labels(name, 6)) assert.equal(sink.count(label), 1, label);
          }
          for (const node of nodes) await until("its hints to have failed", async () => (await node.get("/stats")).chain.failed > 0);
        });
    } finally {
      for (const socket of connections) socket.destroy();
      hole.close();
    }
  });
});
