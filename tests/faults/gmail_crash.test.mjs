// The seeds' main job under kill -9: the comprehensive Gmail search is killed at ten random moments and restarted each time.
// Its result is that of an undisturbed run but for times, and Google sees no call again after its result was recorded.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createRandom, testSeed } from "../support/js/random.mjs";
import { crashSettings, Server } from "../support/js/server.mjs";
import { connectWorkspace, openWorkspace, timeless } from "../support/js/workspace.mjs";
import { until } from "../support/js/wait.mjs";

const KILLS = 10;
const SEARCH = "comprehensive-gmail-search";
const INPUT = { gmailSearchQuery: "", maxUsersPerDomain: 10, maxResultsPerUser: 10 };

/** The ledger's API requests (not the token endpoint's). */
const apiCalls = (ledger) => ledger.filter((entry) => entry.host !== "oauth2.googleapis.com" && !entry.url.startsWith("/oauth2/"));
const keyOf = (entry) => `${entry.method} ${entry.host}${entry.url} ${entry.subject}`;

function countBy(items, key) {
  const counts = new Map();
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + 1);
  return counts;
}

describe("Gmail search under kill -9", () => {
  let workspace;
  before(async () => {
    workspace = await openWorkspace({ domains: 3, users: 12, messages: 60 });
  });
  after(() => workspace?.close());

  it("ten kills: the same result, and no recorded call is made again", { timeout: 85_000 }, async () => {
    const random = createRandom(testSeed());
    // Undisturbed first: the result to compare with, and how often Google is asked for what.
    const calm = new Server({ settings: crashSettings(null, { ...workspace.settings, "engine.processes": 1 }) });
    let expected;
    try {
      await calm.start();
      await connectWorkspace(calm, workspace);
      expected = await calm.complete(SEARCH, INPUT, { ms: 60_000 });
      await calm.check();
    } finally {
      await calm.destroy();
    }
    const calmCalls = apiCalls(workspace.ledger());
    const total = calmCalls.length;
    assert.equal(expected.result.executionInfo.totalApiCalls, total);
    assert.equal(new Set(calmCalls.map(keyOf)).size, total, "every call of this search has a URL of its own");
    // Slow enough that kills fall into calls, and between them.
    await workspace.control({ delayMs: 4 });

    const server = new Server({ settings: crashSettings(null, workspace.settings) });
    try {
      await server.start();
      await connectWorkspace(server, workspace);
      const seen = () => apiCalls(workspace.ledger()).length - total;
      const id = await server.submit(SEARCH, INPUT);
      const killedAt = [];
      for (let kill = 0; kill < KILLS; kill++) {
        // Somewhere in the next stretch: after some more calls, and then some more milliseconds.
        const from = seen();
        const calls = random.between(0, Math.max(1, Math.floor((total - from) / (KILLS - kill)) - 1));
        await until(`${calls} more calls`, () => seen() >= Math.min(from + calls, total - 2), 20_000);
        const until_ms = Date.now() + random.between(0, 12);
        await until("a moment", () => Date.now() >= until_ms);
        await server.kill9();
        killedAt.push(seen());
        await server.start();
      }
      console.log(`killed after ${killedAt.join(", ")} of ${total} calls`);
      const run = await server.ended(id, 60_000);
      assert.equal(run.status, "completed", JSON.stringify(run).slice(0, 2000));
      assert.equal(timeless(run.result), timeless(expected.result));

      const { calls } = await server.check();
      const rows = server.query((query) => query(`SELECT seq, method_name, args, attempt, ended_at FROM stack_runs
        WHERE task_run_id = ${id} AND seq > 0 ORDER BY seq`));
      assert.equal(calls.length, total);
      const disturbed = apiCalls(workspace.ledger()).slice(total);
      const counts = countBy(disturbed, keyOf);
      assert.deepEqual([...counts.keys()].sort(), calmCalls.map(keyOf).sort(), "the same calls as undisturbed");
      // The n-th call of the journal is the n-th URL of the calm run, so each ledger line has its journal row.
      const rowOf = new Map(calmCalls.map((entry, i) => [keyOf(entry), rows[i]]));
      let repeated = 0;
      for (const entry of disturbed) {
        const row = rowOf.get(keyOf(entry));
        assert.ok(Date.parse(entry.time) <= row.ended_at, `${keyOf(entry)} was seen at ${entry.time}, after call ${row.seq} was recorded`);
      }
      for (const [key, count] of counts) {
        const row = rowOf.get(key);
        assert.ok(count <= row.attempt, `${key} was seen ${count} times in ${row.attempt} attempts`);
        if (count > 1) repeated += 1;
      }
      assert.ok(repeated <= KILLS, `${repeated} calls were made again in ${KILLS} kills`);
      const messages = (await (async () => {
        await server.start();
        return server.logs(id);
      })()).map((entry) => entry.message);
      assert.equal(new Set(messages.filter((text) => text.startsWith("Domain "))).size, 3);
      assert.equal(messages.filter((text) => text.startsWith("Searching for")).length, 1, "no line of the log twice");
      assert.equal(messages.filter((text) => text.startsWith("  User ")).length, 12);
    } finally {
      await server.destroy();
    }
  });
});
