import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openWorkspace, SCOPES } from "./helpers.mjs";

describe("faults and ledger", () => {
  const dir = mkdtempSync(join(tmpdir(), "offline-ledger-"));
  const ledger = join(dir, "ledger.jsonl");
  const lines = () =>
    readFileSync(ledger, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  let workspace, client, token, user;
  before(async () => {
    workspace = await openWorkspace({ users: 3, messages: 9, ledger });
    client = workspace.client;
    user = workspace.adminEmail;
    token = await client.token(user, `${SCOPES.gmail} ${SCOPES.modify} ${SCOPES.domains}`);
  });
  after(async () => {
    await workspace.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it("fails as often as told, then works", async () => {
    const { status, body } = await client.control({
      failNext: { match: "/gmail/", status: 503, count: 2, retryAfter: 1 },
    });
    assert.equal(status, 200);
    assert.equal(body.failNext.length, 1);
    assert.equal((await client.admin(token, "/customer/my_customer/domains")).status, 200);
    for (let i = 0; i < 2; i++) {
      const answer = await client.gmail(token, "/users/me/messages");
      assert.equal(answer.status, 503);
      assert.equal(answer.headers.get("retry-after"), "1");
      assert.equal(answer.body.error.status, "UNAVAILABLE");
    }
    assert.equal((await client.gmail(token, "/users/me/messages")).status, 200);
  });

  it("sends Google's quota errors", async () => {
    const faults = [
      { match: "/messages", status: 403, reason: "userRateLimitExceeded" },
      { match: "/messages", status: 429 },
    ];
    await client.control({ failNext: faults });
    const first = await client.gmail(token, "/users/me/messages");
    assert.deepEqual([first.status, first.body.error.errors[0].reason], [403, "userRateLimitExceeded"]);
    const second = await client.gmail(token, "/users/me/messages");
    assert.deepEqual([second.status, second.body.error.status], [429, "RESOURCE_EXHAUSTED"]);
  });

  it("fails the token endpoint in its own shape", async () => {
    await client.control({ failNext: { match: "/token", status: 500, message: "try later" } });
    const { status, body } = await client.exchange("x.y.z");
    assert.deepEqual([status, body], [500, { error: "internal_failure", error_description: "try later" }]);
  });

  it("breaks the connection, before or after the effect", async () => {
    const count = async () =>
      (await client.gmail(token, "/users/me/messages?includeSpamTrash=true")).body.messages.length;
    const send = () =>
      client.gmail(token, "/users/me/messages/send", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ from: user, to: user, subject: "x", body_text: "y" }),
      });
    const before = await count();
    await client.control({ failNext: { match: "/send", status: 0 } });
    await assert.rejects(send(), TypeError);
    assert.equal(await count(), before);
    await client.control({ failNext: { match: "/send", status: 0, when: "after" } });
    await assert.rejects(send(), TypeError);
    assert.equal(await count(), before + 1);
  });

  it("revokes tokens", async () => {
    const old = await client.token(user, SCOPES.gmail);
    await client.control({ revokeTokens: true });
    assert.equal((await client.gmail(old, "/users/me/messages")).status, 401);
    token = await client.token(user, `${SCOPES.gmail} ${SCOPES.modify} ${SCOPES.domains}`);
    assert.equal((await client.gmail(token, "/users/me/messages")).status, 200);
  });

  it("refuses a control document it does not understand, and changes nothing", async () => {
    for (const bad of [
      { failnext: {} },
      { failNext: { status: 200 } },
      { failNext: { status: 503, count: 0 } },
      { delayMs: -1 },
      [],
    ]) {
      const { status, body } = await client.control(bad);
      assert.equal(status, 400);
      assert.equal(typeof body.error, "string");
    }
    assert.deepEqual((await client.control({ reset: true })).body.failNext, []);
  });

  it("writes a ledger line for every request before it is answered", async () => {
    const start = lines().length;
    const headers = { "x-idempotency-key": "7:1" };
    await client.gmail(token, "/users/me/messages?q=is%3Aunread", { headers });
    const [line] = lines().slice(start);
    assert.equal(line.n, start + 1);
    assert.ok(Date.parse(line.time) > 0);
    delete line.n;
    delete line.time;
    assert.deepEqual(line, {
      method: "GET",
      host: "gmail.googleapis.com",
      url: "/gmail/v1/users/me/messages?q=is%3Aunread",
      subject: user,
      status: 200,
      "x-idempotency-key": "7:1",
    });
    await client.gmail("ya29.x", "/users/me/messages");
    assert.deepEqual([lines().at(-1).status, lines().at(-1).subject], [401, null]);
    await client.token(user, SCOPES.gmail);
    assert.deepEqual([lines().at(-1).host, lines().at(-1).subject], ["oauth2.googleapis.com", user]);
  });
});
