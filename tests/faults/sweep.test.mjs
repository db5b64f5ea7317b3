// F11: a sweep that dawdles between looking and acting (sweep.after_select). What it saw is over by then; it must change
// nothing. (River's rescuer set completed jobs back from such a stale read: its issue 1302.)
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { openChainProxy } from "../support/js/proxy.mjs";
import { makeRelease, startAs } from "../support/js/releases.mjs";
import { crashSettings, Server, STORE } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const TWO_CALLS = sinkTask("return [(await sink(input.name + '-1')).label, (await sink(input.name + '-2')).label];");
const POINT = "sweep.after_select";
/** How often the point was hit: it says so on stderr before it acts. */
const hits = (node) => node.stderr.split("\n").filter((line) => line === POINT).length;
const isStopped = (node) => / T /.test(readFileSync(`/proc/${node.pid}/stat`, "utf8").replace(/^.*\)/, ""));

/** All that a sweep could change of a run. */
async function seenOf(node, id) {
  return { run: await node.run(id), stack: await node.stack(id) };
}
function assertUntouched(seen, name) {
  assert.equal(seen.run.status, "completed");
  assert.deepEqual(seen.run.result, [`${name}-1`, `${name}-2`]);
  for (const { seq, attempt, attempts } of seen.stack.slice(1)) {
    assert.equal(attempt, 1, `attempts at call ${seq}: ${JSON.stringify(attempts)}`);
    assert.ok(!attempts.some(({ outcome }) => outcome === "lost"), JSON.stringify(attempts));
  }
}

describe(`F11 a sweep that dawdles on ${STORE}`, () => {
  it("starts nothing that was done while it dawdled", { timeout: 60_000 }, async () => {
    const sink = await openSink();
    const proxy = await openChainProxy();
    const node = new Server({ settings: crashSettings(sink, { "chain.url": proxy.url }) });
    try {
      await startAs(makeRelease(node.store, [], { SEQUENTIAL_FAULTS_FD: "2" }), node, { faults: `${POINT}=delay:3000@1+` });
      proxy.target = node.url;
      await node.publish("two", TWO_CALLS);
      // On a busy machine the sweep may be back too early: then once more.
      for (let round = 1; ; round++) {
        assert.ok(round <= 5, "no run ended while a sweep dawdled");
        const name = `r${round}`;
        const held = [];
        let holding = true;
        proxy.treat = async (hint, forward) => {
          const { stackRunId } = JSON.parse(hint.body);
          if (stackRunId === undefined) return;  // "any": would take what is held back
          const isCall = holding && (await node.get(`/stack/${stackRunId}`)).seq === 1;
          if (isCall) held.push(() => forward(hint));
          else await forward(hint);
        };
        const id = await node.submit("two", { url: sink.url, name });
        await until("the first call's hint", () => held.length > 0);
        const before = hits(node);
        await until("a sweep to see the call", () => hits(node) > before);
        holding = false;
        await held[0]();
        await node.ended(id);
        const seen = await seenOf(node, id);
        if (hits(node) !== before + 1) continue;
        // The next one begins after this one has acted.
        await until("the sweep to go on", () => hits(node) > before + 1);
        await until("another sweep", () => hits(node) > before + 2);
        assert.deepEqual(await seenOf(node, id), seen);
        assertUntouched(seen, name);
        for (const label of seen.run.result) assert.equal(sink.count(label), 1, label);
        break;
      }
      await node.check({ sink });
    } finally {
      await node.destroy();
      await proxy.close();
      await sink.close();
    }
  });
});

describe("F11 a sweep that is stopped on another node", () => {
  it("takes nothing over whose owner came back late, but before the sweep did", { timeout: 60_000 }, async () => {
    const sink = await openSink();
    const owner = new Server({ store: "postgres", settings: crashSettings(sink, { "store.sweep_ms": 2_000 }) });
    const sweeper = new Server({ store: "postgres", beside: owner, settings: crashSettings(sink) });
    const wakeUp = () => sweeper.child.kill("SIGCONT");
    try {
      await owner.start();
      await owner.publish("two", TWO_CALLS);
      // It stops itself after every look; until it listens it is woken at once.
      const pump = setInterval(() => sweeper.child && wakeUp(), 20);
      await startAs(makeRelease("postgres", [], { SEQUENTIAL_FAULTS_FD: "2" }), sweeper, { faults: `${POINT}=stop@1+` });
      clearInterval(pump);

      const held = gate();
      sink.behave = ({ label }) => (label === "x-1" ? held.passed.then(() => undefined) : undefined);
      const id = await owner.submit("two", { url: sink.url, name: "x" });
      await until("the call to arrive", () => sink.count("x-1") === 1);
      await until("the sweeper to have looked", () => isStopped(sweeper));
      owner.child.kill("SIGSTOP");
      const { cluster, database } = owner;
      await until("the owner's leases to end", () => cluster.rows(database, `SELECT 1 FROM stack_runs WHERE status = 'processing'
        AND lease_until > extract(epoch FROM clock_timestamp()) * 1000`).length === 0);
      const before = hits(sweeper);
      wakeUp();
      await until("the sweeper to look again", () => hits(sweeper) > before && isStopped(sweeper));

      owner.child.kill("SIGCONT");
      held.open();
      await owner.ended(id);
      const seen = await seenOf(owner, id);
      wakeUp();
      await until("the sweeper to act and look again", () => hits(sweeper) > before + 1 && isStopped(sweeper));
      assert.deepEqual(await seenOf(owner, id), seen);
      assertUntouched(seen, "x");
      for (const label of ["x-1", "x-2"]) assert.equal(sink.count(label), 1, label);

      await sweeper.kill9();
      await owner.check({ sink, samples: [...owner.samples, ...sweeper.samples] });
    } finally {
      await sweeper.destroy();
      await owner.destroy();
      await sink.close();
    }
  });
});
