import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { loadTask, runTask } from "./support/host.mjs";
import { openWorkspace } from "./support/workspace.mjs";

const FILE = new URL("../../taskcode/endpoints/comprehensive-gmail-search.js", import.meta.url);
const search = loadTask(FILE.pathname);

async function complete(workspace, input, more = {}) {
  const ended = await runTask(search, { input, services: { gapi: workspace.gapi }, ...more });
  assert.equal(ended.status, "completed", ended.error && ended.error.stack);
  return ended;
}

const usersOf = (result) => result.domainResults.flatMap(({ users }) => users);

describe("comprehensive-gmail-search on the standard workspace", () => {
  let workspace;
  before(async () => {
    workspace = await openWorkspace();
  });
  after(() => workspace.close());

  it("reports every domain, user and message", async () => {
    const { result } = await complete(workspace, { maxResultsPerUser: 100 });
    assert.deepEqual(Object.keys(result), ["summary", "domainResults", "sampleMessages", "executionInfo"]);
    assert.deepEqual(result.summary, {
      searchQuery: "",
      totalDomains: 3,
      totalUsers: 15,
      usersWithMessages: 14,
      totalMessagesFound: 90,
      totalErrors: 0,
    });
    assert.deepEqual(
      result.domainResults.map(({ domain }) => domain),
      workspace.domains.map(({ domainName }) => domainName),
    );
    for (const { domain, userCount, totalMessages, hasMoreUsers, errors, users } of result.domainResults) {
      assert.equal(userCount, workspace.users.filter((user) => user.domain === domain).length);
      assert.equal(
        totalMessages,
        users.reduce((total, user) => total + user.messageCount, 0),
      );
      assert.deepEqual([hasMoreUsers, errors], [false, []]);
    }
    for (const user of usersOf(result)) {
      const seeded = workspace.mailOf(user.email);
      assert.deepEqual([user.messageCount, user.hasMore, user.errors], [seeded.length, false, []]);
      const wanted = seeded.map(({ id, thread_id: threadId, subject, from, date, body_text: snippet }) => ({
        id,
        threadId,
        subject,
        from,
        date,
        snippet,
      }));
      assert.deepEqual(user.messages, wanted);
    }
  });

  it("takes samples from different mailboxes", async () => {
    const { result } = await complete(workspace, {});
    assert.equal(result.sampleMessages.length, 10);
    assert.equal(new Set(result.sampleMessages.map(({ userEmail }) => userEmail)).size, 10);
    const [first] = result.sampleMessages;
    const keys = ["userEmail", "userName", "domain", "subject", "from", "date", "snippet"];
    assert.deepEqual(Object.keys(first), keys);
    assert.equal(first.subject, workspace.mailOf(first.userEmail)[0].subject);
  });

  it("counts its calls", async () => {
    const { result, journal } = await complete(workspace, { maxResultsPerUser: 100 });
    const { totalApiCalls, callsByMethod, startedAt, completedAt, durationMs } = result.executionInfo;
    assert.equal(totalApiCalls, journal.length);
    assert.deepEqual(callsByMethod, {
      "admin.domains.list": 1,
      "admin.users.list": 3,
      "gmail.users.messages.list": 15,
      "gmail.users.messages.get": 90,
    });
    assert.equal(Date.parse(completedAt) - Date.parse(startedAt), durationMs);
    assert.equal(durationMs, journal.length * 7);
  });

  it("passes the query on", async () => {
    const { result } = await complete(workspace, { gmailSearchQuery: "subject:important", maxResultsPerUser: 50 });
    for (const user of usersOf(result)) {
      const wanted = workspace.mailOf(user.email).filter(({ subject }) => /important/i.test(subject));
      assert.deepEqual(
        user.messages.map(({ id }) => id),
        wanted.map(({ id }) => id),
      );
    }
    assert.equal(result.summary.totalMessagesFound, 20);
    assert.equal(result.summary.searchQuery, "subject:important");
    const none = await complete(workspace, { gmailSearchQuery: "subject:nothingofthesort" });
    assert.equal(none.result.summary.totalMessagesFound, 0);
    assert.deepEqual(none.result.sampleMessages, []);
  });

  it("keeps to its limits, and says that there is more", async () => {
    const { result } = await complete(workspace, { maxUsersPerDomain: 2, maxResultsPerUser: 1 });
    assert.deepEqual(
      result.domainResults.map(({ userCount, hasMoreUsers }) => [userCount, hasMoreUsers]),
      [
        [2, true],
        [2, true],
        [2, true],
      ],
    );
    for (const user of usersOf(result)) {
      const size = workspace.mailOf(user.email).length;
      assert.deepEqual([user.messageCount, user.hasMore], [Math.min(1, size), size > 1]);
    }
  });

  it("tells its progress", async () => {
    const { logs } = await complete(workspace, { maxUsersPerDomain: 1 });
    const text = logs.map(({ message }) => message).join("\n");
    assert.match(text, /Found 3 domains: alderbrook\.example, brightwater\.example, cedarhill\.example/);
    assert.match(text, /Domain 2 of 3, brightwater\.example: 1 user\n/);
    assert.match(text, /Done: \d+ messages of 3 users in 3 domains, 0 errors/);
  });

  it("gives the same result and the same log after an interruption at any call", async () => {
    const input = { maxUsersPerDomain: 2, maxResultsPerUser: 2 };
    const whole = await complete(workspace, input);
    assert.ok(whole.journal.length > 15);
    for (let stopAfter = 0; stopAfter < whole.journal.length; stopAfter++) {
      const first = await runTask(search, { input, services: { gapi: workspace.gapi }, stopAfter });
      assert.equal(first.status, "suspended");
      const second = await complete(workspace, input, { journal: first.journal });
      assert.equal(second.text, whole.text);
      assert.deepEqual(second.logs, whole.logs);
    }
  });

  it("refuses bad input before it makes a call", async () => {
    for (const [input, text] of [
      [[], /The input must be an object/],
      [{ gmailSearchQuery: 7 }, /"gmailSearchQuery" must be a string, not 7/],
      [{ maxUsersPerDomain: 0 }, /"maxUsersPerDomain" must be a whole number of at least 1, not 0/],
      [{ maxResultsPerUser: "10" }, /"maxResultsPerUser" must be a whole number of at least 1, not "10"/],
      [{ maxResultsPerUser: 1.5 }, /"maxResultsPerUser" must be a whole number/],
    ]) {
      const ended = await runTask(search, { input, services: { gapi: workspace.gapi } });
      assert.equal(ended.status, "failed");
      assert.equal(ended.error.name, "TypeError");
      assert.match(ended.error.message, text);
      assert.deepEqual(ended.journal, []);
    }
  });

  it("has defaults for everything, and warns of fields it does not know", async () => {
    for (const input of [undefined, null, {}, { maxResultsPerUser: null }]) {
      const { result } = await complete(workspace, input);
      assert.equal(result.summary.totalUsers, 15);
      assert.ok(usersOf(result).every(({ messages }) => messages.length <= 10));
    }
    const { logs } = await complete(workspace, { maxUserPerDomain: 1 });
    const warnings = logs.filter(({ level }) => level === "warn");
    assert.match(warnings[0].message, /"maxUserPerDomain" is not used; known are gmailSearchQuery, maxUsersPerDomain/);
  });
});

describe("comprehensive-gmail-search when things fail", () => {
  let workspace;
  before(async () => {
    workspace = await openWorkspace({ users: 6, messages: 30, noMailbox: 1 });
  });
  after(() => workspace.close());

  it("captures a user's failure and goes on", async () => {
    const { result, logs } = await complete(workspace, {});
    const broken = usersOf(result).filter(({ errors }) => errors.length > 0);
    assert.deepEqual(
      broken.map(({ email }) => email),
      [workspace.users.at(-1).email],
    );
    assert.deepEqual(broken[0].errors, [
      { call: "gmail.users.messages.list", message: "Mail service not enabled", code: 400, status: 400 },
    ]);
    assert.deepEqual([broken[0].messageCount, broken[0].hasMore, broken[0].messages], [0, false, []]);
    assert.deepEqual(
      result.domainResults.map(({ totalErrors, errors }) => [totalErrors, errors]),
      [
        [0, []],
        [0, []],
        [1, []],
      ],
    );
    assert.equal(result.summary.totalErrors, 1);
    assert.equal(result.summary.totalUsers, 6);
    assert.ok(logs.some(({ level, message }) => level === "warn" && message.includes("Mail service not enabled")));
  });

  it("captures a message that cannot be read", async () => {
    const victim = workspace.mailOf(workspace.adminEmail)[1];
    await workspace.control({
      failNext: { match: `/messages/${victim.id}`, status: 404, message: "Requested entity was not found." },
    });
    const { result } = await complete(workspace, { maxResultsPerUser: 50 });
    const user = usersOf(result).find(({ email }) => email === workspace.adminEmail);
    assert.equal(user.messageCount, workspace.mailOf(workspace.adminEmail).length);
    assert.equal(user.messages.length, user.messageCount - 1);
    assert.deepEqual(user.errors, [
      {
        call: "gmail.users.messages.get",
        message: "Requested entity was not found.",
        code: 404,
        status: 404,
        messageId: victim.id,
      },
    ]);
  });

  it("captures a domain's failure and goes on", async () => {
    await workspace.control({
      failNext: { match: "/users?domain=brightwater", status: 403, reason: "forbidden", message: "No" },
    });
    const { result } = await complete(workspace, {});
    const [, second] = result.domainResults;
    assert.deepEqual(second.errors, [{ call: "admin.users.list", message: "No", code: 403, status: 403 }]);
    assert.deepEqual([second.userCount, second.totalMessages, second.users], [0, 0, []]);
    assert.equal(result.summary.totalDomains, 3);
  });

  it("ends with the error when the domains cannot be listed", async () => {
    await workspace.control({
      failNext: { match: "/domains", status: 403, reason: "forbidden", message: "Not Authorized" },
    });
    const ended = await runTask(search, { services: { gapi: workspace.gapi } });
    assert.equal(ended.status, "failed");
    assert.deepEqual(
      [ended.error.name, ended.error.message, ended.error.code],
      ["HostCallError", "Not Authorized", 403],
    );
  });

  it("does not take a cancellation for a failed call", async () => {
    const gapi = async (method, args) => {
      if (method === "gmail.users.messages.get")
        throw Object.assign(new Error("cancelled"), { name: "CancelledError" });
      return workspace.gapi(method, args);
    };
    const ended = await runTask(search, { services: { gapi } });
    assert.deepEqual([ended.status, ended.error.name], ["failed", "CancelledError"]);
  });
});

describe("comprehensive-gmail-search beyond one page", () => {
  it("reads several pages of messages", async (test) => {
    const workspace = await openWorkspace({ domains: 1, users: 1, messagesPerUser: 510 });
    test.after(() => workspace.close());
    const { result, logs } = await complete(workspace, { maxResultsPerUser: 505 });
    const [user] = usersOf(result);
    assert.deepEqual([user.messageCount, user.hasMore], [505, true]);
    assert.deepEqual(
      user.messages.map(({ id }) => id),
      workspace
        .mailOf(user.email)
        .slice(0, 505)
        .map(({ id }) => id),
    );
    assert.equal(result.executionInfo.callsByMethod["gmail.users.messages.list"], 2);
    assert.ok(logs.some(({ message }) => message.includes("read 500 of 505 messages")));
  });

  it("reads several pages of users", async (test) => {
    const workspace = await openWorkspace({ domains: 1, users: 510, messages: 0 });
    test.after(() => workspace.close());
    const { result } = await complete(workspace, { maxUsersPerDomain: 505 });
    const emails = usersOf(result).map(({ email }) => email);
    const wanted = workspace.users
      .map(({ email }) => email)
      .sort()
      .slice(0, 505);
    assert.deepEqual(emails, wanted);
    assert.equal(result.domainResults[0].hasMoreUsers, true);
    assert.equal(result.executionInfo.callsByMethod["admin.users.list"], 2);
  });
});
