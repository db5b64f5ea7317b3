import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { openWorkspace, SCOPES, sign } from "./helpers.mjs";

const HEADER = { alg: "RS256", typ: "JWT" };

describe("token endpoint", () => {
  let workspace, client, admin;
  let skew = 0;
  before(async () => {
    workspace = await openWorkspace({ users: 3, messages: 3, clock: () => Date.now() + skew });
    ({ client, adminEmail: admin } = workspace);
  });
  after(() => workspace.close());

  const assertion = (changes, header = HEADER, key = workspace.key.private_key) =>
    sign(header, client.claims(admin, SCOPES.domains, changes), key);
  const refused = async (promise, status, error, description) => {
    const answer = await promise;
    assert.deepEqual([answer.status, answer.body], [status, { error, error_description: description }]);
  };

  it("gives a token that works for the subject and the scope", async () => {
    const { status, body } = await client.exchange(assertion());
    assert.equal(status, 200);
    assert.deepEqual(Object.keys(body), ["access_token", "expires_in", "token_type"]);
    assert.equal(body.token_type, "Bearer");
    assert.equal(body.expires_in, 3599);
    assert.equal((await client.admin(body.access_token, "/customer/my_customer/domains")).status, 200);
  });

  it("accepts the subject in any case, and several scopes", async () => {
    const token = await client.token(admin.toUpperCase(), `${SCOPES.domains} ${SCOPES.users}`);
    assert.equal((await client.admin(token, "/users?customer=my_customer")).status, 200);
  });

  it("refuses another key's signature, and an altered claim", async () => {
    const other = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    await refused(client.exchange(assertion({}, HEADER, other)), 400, "invalid_grant", "Invalid JWT Signature.");
    const [head, , signature] = assertion().split(".");
    const altered = Buffer.from(JSON.stringify(client.claims(admin, SCOPES.users))).toString("base64url");
    await refused(client.exchange(`${head}.${altered}.${signature}`), 400, "invalid_grant", "Invalid JWT Signature.");
  });

  it("refuses an unsigned assertion", async () => {
    const [, body] = assertion().split(".");
    const head = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
    const { status, body: answer } = await client.exchange(`${head}.${body}.`);
    assert.deepEqual([status, answer.error], [400, "invalid_grant"]);
  });

  it("refuses a wrong audience, issuer and subject", async () => {
    const text = "Invalid JWT: Failed audience check.";
    await refused(client.exchange(assertion({ aud: "https://example.com/" })), 400, "invalid_grant", text);
    const unknown = "Invalid grant: account not found";
    await refused(client.exchange(assertion({ iss: "nobody@x.example" })), 400, "invalid_grant", unknown);
    const noUser = "Invalid email or User ID";
    await refused(client.exchange(assertion({ sub: "nobody@x.example" })), 400, "invalid_grant", noUser);
  });

  it("refuses expired, early, long-lived and undated assertions", async () => {
    const now = Math.floor(Date.now() / 1000);
    const text =
      "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp " +
      "values in the JWT claim.";
    for (const times of [
      { iat: now - 8000, exp: now - 4400 },
      { iat: now + 900, exp: now + 1800 },
      { iat: now, exp: now + 7200 },
      { iat: undefined },
      { exp: "soon" },
    ]) {
      await refused(client.exchange(assertion(times)), 400, "invalid_grant", text);
    }
  });

  it("refuses scopes nobody authorised, and none at all", async () => {
    const text =
      "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes " +
      "requested.";
    const scope = "https://www.googleapis.com/auth/cloud-platform";
    await refused(client.exchange(assertion({ scope })), 401, "unauthorized_client", text);
    const none = "Invalid OAuth scope or ID token audience provided.";
    await refused(client.exchange(assertion({ scope: "" })), 400, "invalid_scope", none);
  });

  it("refuses other grants, garbage and other content types", async () => {
    const grant = { grant_type: "password" };
    await refused(client.exchange("x", grant), 400, "unsupported_grant_type", "Invalid grant_type: password");
    await refused(client.exchange("not.a-jwt"), 400, "invalid_request", "Bad Request");
    const url = client.urlOf("oauth2.googleapis.com", "/token");
    const json = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
    assert.deepEqual([json.status, (await json.json()).error], [400, "invalid_request"]);
  });

  it("lets a token expire", async () => {
    const token = await client.token(admin, SCOPES.domains);
    skew = 3600_000;
    const { status, body } = await client.admin(token, "/customer/my_customer/domains");
    skew = 0;
    assert.deepEqual([status, body.error.errors[0].reason], [401, "authError"]);
  });

  it("gives the service account itself a token that opens neither mail nor directory", async () => {
    const token = await client.token(undefined, `${SCOPES.domains} ${SCOPES.gmail}`);
    assert.equal((await client.admin(token, "/customer/my_customer/domains")).status, 403);
    const mail = await client.gmail(token, "/users/me/messages");
    assert.deepEqual([mail.status, mail.body.error.message], [400, "Precondition check failed."]);
  });
});
