import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openWorkspace, SCOPES } from "./helpers.mjs";

const USER = "noor.haddad@alderbrook.example";

describe("Gmail API", () => {
  let workspace, client, token, seeded;
  before(async () => {
    workspace = await openWorkspace({ messagesPerUser: 40, noMailbox: 1 });
    client = workspace.client;
    token = await client.token(USER, SCOPES.gmail);
    seeded = workspace.workspace.messages.filter(
      (message) => message.user_email === USER && !message.label_ids.includes("SPAM"),
    );
  });
  after(() => workspace.close());

  const error = ({ status, body }) => [status, body.error.errors[0].reason, body.error.message];
  const idsOf = async (query) => {
    const { status, body } = await client.gmail(token, `/users/me/messages${query}`);
    assert.equal(status, 200);
    return (body.messages ?? []).map(({ id }) => id);
  };

  it("lists a mailbox newest first, by me and by e-mail, without Spam", async () => {
    const expected = seeded.map(({ id }) => id);
    assert.deepEqual(await idsOf(""), expected);
    const { body } = await client.gmail(token, `/users/${encodeURIComponent(USER)}/messages`);
    assert.deepEqual(
      body.messages.map(({ id }) => id),
      expected,
    );
    assert.equal((await idsOf("?includeSpamTrash=true")).length, expected.length + 1);
  });

  it("pages", async () => {
    const paged = [];
    let pageToken = "";
    do {
      const { body } = await client.gmail(token, `/users/me/messages?maxResults=4&pageToken=${pageToken}`);
      assert.ok(body.messages.length <= 4);
      paged.push(...body.messages.map(({ id }) => id));
      pageToken = body.nextPageToken;
    } while (pageToken);
    assert.deepEqual(
      paged,
      seeded.map(({ id }) => id),
    );
  });

  it("searches with q", async () => {
    const having = (test) => seeded.filter(test).map(({ id }) => id);
    const important = having(({ subject }) => subject.toLowerCase().includes("important"));
    assert.ok(important.length > 0);
    assert.deepEqual(await idsOf("?q=subject:important"), important);
    const unread = having(({ label_ids: labels }) => labels.includes("UNREAD"));
    assert.deepEqual(await idsOf("?q=is%3Aunread"), unread);
    assert.deepEqual(
      await idsOf("?q=has%3Aattachment"),
      having(({ raw }) => raw),
    );
    const limit = seeded[3].internal_date;
    const later = having(({ internal_date: at }) => Number(at) > Number(limit));
    assert.deepEqual(await idsOf(`?q=after:${limit}`), later);
  });

  it("leaves an empty list out, as Gmail does", async () => {
    const { body } = await client.gmail(token, "/users/me/messages?q=subject:nothingofthesort");
    assert.deepEqual(body, { resultSizeEstimate: 0 });
  });

  it("gets a message with the headers asked for", async () => {
    const wanted = seeded[0];
    const headers = "metadataHeaders=From&metadataHeaders=Subject&metadataHeaders=Date";
    const { status, body } = await client.gmail(token, `/users/me/messages/${wanted.id}?format=metadata&${headers}`);
    assert.equal(status, 200);
    assert.deepEqual(Object.fromEntries(body.payload.headers.map(({ name, value }) => [name, value])), {
      From: wanted.from,
      Subject: wanted.subject,
      Date: wanted.date,
    });
    assert.equal(body.internalDate, wanted.internal_date);
    assert.equal(body.snippet, wanted.snippet);
  });

  it("answers large bodies with gzip when asked to", async () => {
    const url = client.urlOf("gmail.googleapis.com", "/gmail/v1/users/me/messages?maxResults=500");
    const plain = await fetch(url, { headers: { authorization: `Bearer ${token}`, "accept-encoding": "identity" } });
    assert.equal(plain.headers.get("content-encoding"), null);
    const zipped = await fetch(url, { headers: { authorization: `Bearer ${token}`, "accept-encoding": "gzip" } });
    const text = await plain.text();
    assert.ok(text.length >= 1024);
    assert.equal(zipped.headers.get("content-encoding"), "gzip");
    assert.equal(await zipped.text(), text);
  });

  it("reports what is missing in Google's words", async () => {
    const notFound = [404, "notFound", "Requested entity was not found."];
    assert.deepEqual(error(await client.gmail(token, "/users/me/messages/1000000000000000")), notFound);
    assert.equal((await client.gmail(token, "/users/me/nonsense")).status, 404);
  });

  it("lets nobody into another mailbox", async () => {
    const other = encodeURIComponent(workspace.adminEmail);
    const denied = [403, "forbidden", `Delegation denied for ${USER}`];
    assert.deepEqual(error(await client.gmail(token, `/users/${other}/messages`)), denied);
  });

  it("checks tokens and scopes", async () => {
    assert.deepEqual(error(await client.gmail(undefined, "/users/me/messages")).slice(0, 2), [401, "required"]);
    assert.deepEqual(error(await client.gmail("ya29.x", "/users/me/messages")).slice(0, 2), [401, "authError"]);
    const directory = await client.token(USER, SCOPES.users);
    const refused = [403, "insufficientPermissions"];
    assert.deepEqual(error(await client.gmail(directory, "/users/me/messages")).slice(0, 2), refused);
    const trash = await client.gmail(token, `/users/me/messages/${seeded[0].id}/trash`, { method: "POST" });
    assert.deepEqual(error(trash).slice(0, 2), refused);
  });

  it("holds gmail.metadata to its limits", async () => {
    const narrow = await client.token(USER, SCOPES.metadata);
    const path = `/users/me/messages/${seeded[0].id}`;
    assert.equal((await client.gmail(narrow, `${path}?format=metadata`)).status, 200);
    assert.equal((await client.gmail(narrow, `${path}?format=full`)).status, 403);
    assert.equal((await client.gmail(narrow, "/users/me/messages?q=x")).status, 403);
  });

  it("has users without a mailbox when told so", async () => {
    const user = workspace.workspace.users.at(-1).email;
    const answer = await client.gmail(await client.token(user, SCOPES.gmail), "/users/me/messages");
    assert.deepEqual(error(answer), [400, "failedPrecondition", "Mail service not enabled"]);
  });

  it("keeps what is written", async () => {
    const writer = await client.token(USER, SCOPES.modify);
    const raw = Buffer.from(`From: ${USER}\r\nTo: someone@x.example\r\nSubject: Hello\r\n\r\nHi.\r\n`).toString(
      "base64url",
    );
    const sent = await client.gmail(writer, "/users/me/messages/send", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ raw }),
    });
    assert.equal(sent.status, 200);
    assert.deepEqual(sent.body.labelIds, ["SENT"]);
    assert.equal((await client.gmail(writer, `/users/me/messages/${sent.body.id}`)).body.snippet, "Hi.");
  });

  it("takes uploads, as media and as multipart", async () => {
    const writer = await client.token(USER, SCOPES.modify);
    const mail = (subject) => `From: ${USER}\r\nTo: x@x.example\r\nSubject: ${subject}\r\n\r\nHello, ${subject}.\r\n`;
    const upload = (type, contentType, body) =>
      client.call(writer, "gmail.googleapis.com", `/upload/gmail/v1/users/me/messages?uploadType=${type}`, {
        method: "POST",
        headers: { "content-type": contentType },
        body,
      });
    const media = await upload("media", "message/rfc822", mail("media"));
    assert.deepEqual([media.status, media.body.snippet], [200, "Hello, media."]);
    const parts = (boundary) =>
      [
        `--${boundary}`,
        "Content-Type: application/json",
        "",
        JSON.stringify({ labelIds: ["STARRED"], threadId: "1234" }),
        `--${boundary}`,
        "Content-Type: message/rfc822",
        "",
        mail("multipart"),
        `--${boundary}--`,
        "",
      ].join("\r\n");
    const both = await upload("multipart", "multipart/related; boundary=abc", parts("abc"));
    assert.deepEqual([both.status, both.body.snippet], [200, "Hello, multipart."]);
    assert.deepEqual([both.body.labelIds, both.body.threadId], [["STARRED"], "1234"]);
    const bad = await upload("multipart", "multipart/related; boundary=other", parts("abc"));
    assert.deepEqual(error(bad).slice(0, 2), [400, "badRequest"]);
  });

  it("has profiles", async () => {
    const other = workspace.workspace.users[4].email;
    const { status, body } = await client.gmail(await client.token(other, SCOPES.metadata), "/users/me/profile");
    assert.equal(status, 200);
    assert.deepEqual([body.emailAddress, body.messagesTotal, body.threadsTotal], [other, 41, 41]);
    assert.match(body.historyId, /^\d+$/);
  });
});
