import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openWorkspace, SCOPES } from "./helpers.mjs";

describe("Directory API", () => {
  let workspace, client, token;
  before(async () => {
    workspace = await openWorkspace();
    client = workspace.client;
    token = await client.token(workspace.adminEmail, `${SCOPES.domains} ${SCOPES.users}`);
  });
  after(() => workspace.close());

  const error = ({ status, body }) => [status, body.error.code, body.error.errors[0].reason];

  it("lists the domains", async () => {
    for (const customer of ["my_customer", "C0offline"]) {
      const { status, body } = await client.admin(token, `/customer/${customer}/domains`);
      assert.equal(status, 200);
      assert.equal(body.kind, "admin#directory#domains");
      const names = body.domains.map(({ domainName }) => domainName);
      assert.deepEqual(names, ["alderbrook.example", "brightwater.example", "cedarhill.example"]);
      assert.deepEqual(
        body.domains.map(({ isPrimary }) => isPrimary),
        [true, false, false],
      );
    }
    assert.deepEqual(error(await client.admin(token, "/customer/C0other/domains")), [404, 404, "notFound"]);
  });

  it("lists the users of a domain, page by page", async () => {
    const all = await client.admin(token, "/users?domain=alderbrook.example&orderBy=email");
    const emails = all.body.users.map(({ primaryEmail }) => primaryEmail);
    assert.equal(all.body.nextPageToken, undefined);
    assert.deepEqual(emails, [...emails].sort());
    assert.ok(emails.length >= 4);
    const paged = [];
    let pages = 0;
    for (let pageToken = ""; pageToken !== undefined; pages++) {
      const query = `/users?domain=alderbrook.example&orderBy=email&maxResults=4&pageToken=${encodeURIComponent(pageToken)}`;
      const { body } = await client.admin(token, query);
      paged.push(...body.users.map(({ primaryEmail }) => primaryEmail));
      pageToken = body.nextPageToken;
    }
    assert.deepEqual(paged, emails);
    assert.equal(pages, Math.ceil(emails.length / 4));
  });

  it("lists everybody of the customer, 15 by default", async () => {
    const { body } = await client.admin(token, "/users?customer=my_customer&maxResults=500");
    assert.equal(body.users.length, 15);
    assert.equal(body.users.filter(({ isAdmin }) => isAdmin).length, 1);
  });

  it("understands query, orderBy and sortOrder", async () => {
    const emailsOf = async (params) => {
      const { body } = await client.admin(token, `/users?customer=my_customer&${params}`);
      return (body.users ?? []).map(({ primaryEmail }) => primaryEmail);
    };
    assert.deepEqual(await emailsOf("query=email:tomasz*"), ["tomasz.nowak@alderbrook.example"]);
    assert.deepEqual(await emailsOf("query=isAdmin%3Dtrue"), [workspace.adminEmail]);
    assert.deepEqual(await emailsOf("query=name:'Amara Okafor'"), ["amara.okafor@brightwater.example"]);
    assert.deepEqual(await emailsOf("query=familyName:nobody"), []);
    const up = await emailsOf("orderBy=familyName");
    assert.deepEqual(await emailsOf("orderBy=familyName&sortOrder=DESCENDING"), [...up].reverse());
  });

  it("gets a user by e-mail and by id", async () => {
    const byEmail = await client.admin(token, `/users/${encodeURIComponent(workspace.adminEmail)}`);
    assert.equal(byEmail.body.isAdmin, true);
    const byId = await client.admin(token, `/users/${byEmail.body.id}`);
    assert.deepEqual(byId.body, byEmail.body);
    assert.deepEqual(error(await client.admin(token, "/users/nobody%40x.example")), [404, 404, "notFound"]);
  });

  it("refuses bad parameters", async () => {
    assert.deepEqual(error(await client.admin(token, "/users")), [400, 400, "badRequest"]);
    assert.deepEqual(error(await client.admin(token, "/users?domain=other.example")), [404, 404, "notFound"]);
    const query = "/users?customer=my_customer";
    assert.deepEqual(error(await client.admin(token, `${query}&maxResults=501`)), [400, 400, "invalidParameter"]);
    assert.deepEqual(error(await client.admin(token, `${query}&pageToken=zzz`)), [400, 400, "invalid"]);
    assert.deepEqual(error(await client.admin(token, `${query}&orderBy=age`)), [400, 400, "invalid"]);
  });

  it("refuses missing, unknown and insufficient tokens, and people who are no administrators", async () => {
    const path = "/customer/my_customer/domains";
    assert.deepEqual(error(await client.admin(undefined, path)), [401, 401, "required"]);
    assert.deepEqual(error(await client.admin("ya29.unknown", path)), [401, 401, "authError"]);
    const narrow = await client.token(workspace.adminEmail, SCOPES.users);
    assert.deepEqual(error(await client.admin(narrow, path)), [403, 403, "insufficientPermissions"]);
    const person = await client.token("noor.haddad@alderbrook.example", SCOPES.domains);
    assert.deepEqual(error(await client.admin(person, path)), [403, 403, "forbidden"]);
  });

  it("knows only the routes it has", async () => {
    assert.equal((await client.admin(token, "/groups?customer=my_customer")).status, 404);
    assert.equal((await client.call(token, "drive.example", "/x")).status, 404);
  });
});
