// The seeds' main job, undisturbed: the comprehensive Gmail search against the offline workspace, set up by the command line.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, it } from "node:test";
import { cli } from "../support/js/cli.mjs";
import { Server } from "../support/js/server.mjs";
import { openWorkspace, timeless } from "../support/js/workspace.mjs";

const SEARCH = "comprehensive-gmail-search";
const FILE = fileURLToPath(new URL("../../taskcode/endpoints/comprehensive-gmail-search.js", import.meta.url));

describe("comprehensive Gmail search", () => {
  let workspace;
  let server;
  before(async () => {
    workspace = await openWorkspace({ domains: 3, users: 12, messages: 60 });
    server = new Server({ settings: { "engine.processes": 1, ...workspace.settings } });
    await server.start();
  });
  after(async () => {
    await server?.destroy();
    await workspace?.close();
  });
  const apiCalls = () => workspace.ledger().filter((entry) => entry.host !== "oauth2.googleapis.com");
  const ok = (ran) => {
    assert.equal(ran.code, 0, `${ran.stdout}\n${ran.stderr}`);
    return ran;
  };

  it("set up and run by the command line", { timeout: 80_000 }, async () => {
    const email = join(server.dir, "email");
    writeFileSync(email, workspace.adminEmail);
    ok(await cli(server, ["keystore", "set", "default", "GAPI_KEY", "--value-file", workspace.keyFile]));
    ok(await cli(server, ["keystore", "set", "default", "GAPI_ADMIN_EMAIL", "--value-file", email]));
    ok(await cli(server, ["publish", FILE]));
    const ran = ok(await cli(server, ["run", SEARCH, "--wait", "--json", "--input", '{"gmailSearchQuery":"","maxUsersPerDomain":10,"maxResultsPerUser":10}']));
    const run = ran.json();
    server.acknowledged.set(run.id, true);
    const { summary, domainResults, sampleMessages, executionInfo } = run.result;
    assert.deepEqual([summary.totalDomains, summary.totalUsers, summary.totalErrors], [3, 12, 0]);
    const users = domainResults.flatMap((domain) => domain.users);
    assert.equal(summary.totalMessagesFound, users.reduce((sum, user) => sum + user.messages.length, 0));
    assert.ok(summary.totalMessagesFound >= 40, `${summary.totalMessagesFound} messages`);
    assert.equal(sampleMessages.length, 10);
    for (const message of sampleMessages) assert.ok(message.userEmail && message.subject && message.from && message.date);
    // One domain list, a user list per domain, a message list per user, a get per message, each call one request.
    const calls = 1 + 3 + 12 + summary.totalMessagesFound;
    assert.equal(executionInfo.totalApiCalls, calls);
    assert.equal(run.calls, calls);
    assert.equal(apiCalls().length, calls);
    const messages = (await server.logs(run.id)).map((entry) => entry.message);
    assert.equal(messages.filter((text) => text.startsWith("  User ")).length, 12);
    const shown = ok(await cli(server, ["logs", String(run.id)])).stdout;
    assert.match(shown, /Found 3 domains/);
  });

  it("the same result when every resume is a replay, and after a restart", { timeout: 80_000 }, async () => {
    const input = { maxUsersPerDomain: 10, maxResultsPerUser: 10 };
    const first = await server.complete(SEARCH, input);
    await server.restart({ settings: { "engine.evict_always": true } });
    const second = await server.complete(SEARCH, input, { ms: 60_000 });
    assert.equal(timeless(second.result), timeless(first.result));
    await server.restart({ settings: { "engine.evict_always": false } });
  });

  it("limits of the input are kept, and a query filters", { timeout: 60_000 }, async () => {
    const few = await server.complete(SEARCH, { maxUsersPerDomain: 1, maxResultsPerUser: 2 });
    assert.equal(few.result.summary.totalUsers, 3);
    for (const domain of few.result.domainResults) for (const user of domain.users) assert.ok(user.messages.length <= 2);
    const none = await server.complete(SEARCH, { gmailSearchQuery: "subject:xyzzy-not-there", maxUsersPerDomain: 10, maxResultsPerUser: 5 });
    assert.equal(none.result.summary.totalMessagesFound, 0);
    const wrong = await server.ended(await server.submit(SEARCH, { maxUsersPerDomain: 0 }));
    assert.equal(wrong.status, "failed");
    assert.match(wrong.error.stack, /comprehensive-gmail-search\.js:\d+:\d+/);
  });

  it("Google's hiccups are retried, its refusals reported", { timeout: 60_000 }, async () => {
    await workspace.control({ failNext: [{ match: "/users/", status: 503, count: 2 }, { match: "/domains", status: 429, count: 1 }] });
    const run = await server.complete(SEARCH, { maxUsersPerDomain: 2, maxResultsPerUser: 1 }, { ms: 50_000 });
    assert.equal(run.result.summary.totalErrors, 0);
    await workspace.control({ revokeTokens: true });
    const again = await server.complete(SEARCH, { maxUsersPerDomain: 2, maxResultsPerUser: 1 });
    assert.equal(timeless(again.result), timeless(run.result));
    await workspace.control({ failNext: { match: "/domains", status: 403, count: 1, reason: "forbidden", message: "Not Authorized to access this resource/api" } });
    const refused = await server.ended(await server.submit(SEARCH, {}));
    assert.equal(refused.status, "failed");
    assert.match(refused.error.message, /Not Authorized/);
    assert.equal(refused.error.status, 403);
  });

  it("the key is nowhere to be seen", { timeout: 30_000 }, async () => {
    await server.check();
    const secret = JSON.parse(workspace.key).private_key.split("\n")[3];
    assert.ok(secret.length > 40);
    assert.ok(!server.stderr.includes(secret));
    const found = (text) => server.query((query) => [
      query.holding("stack_runs", ["args", "result", "error"], text), query.holding("keystore", ["sealed"], text),
    ]);
    assert.deepEqual(found(secret), [0, 0]);
    assert.ok(found("messages")[0] > 0);  // it would be found
  });
});
