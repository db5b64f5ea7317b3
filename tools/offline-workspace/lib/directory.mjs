// The part of the Admin SDK Directory API that the emulator lacks: domains and users, read-only.
import { createHash } from "node:crypto";
import { apiError, insufficientScope, unknownRoute } from "./google-errors.mjs";

const SCOPE = "https://www.googleapis.com/auth/admin.directory.";
const DOMAIN_SCOPES = [`${SCOPE}domain.readonly`, `${SCOPE}domain`];
const USER_SCOPES = [`${SCOPE}user.readonly`, `${SCOPE}user`];
const MAX_RESULTS = 500;

export const DIRECTORY_SCOPES = [...DOMAIN_SCOPES, ...USER_SCOPES];

// The Directory API's errors have no RPC status.
const directoryError = (code, message, reason) => apiError(code, message, reason, { status: null });
const ok = (body) => ({ status: 200, headers: {}, body });
const etagOf = (value) => `"${createHash("sha256").update(JSON.stringify(value)).digest("base64url").slice(0, 27)}"`;

const SORT_FIELDS = {
  email: (user) => user.email,
  familyName: (user) => user.familyName.toLowerCase(),
  givenName: (user) => user.givenName.toLowerCase(),
};

const QUERY_FIELDS = {
  email: (user) => [user.email],
  name: (user) => [user.givenName, user.familyName, `${user.givenName} ${user.familyName}`],
  givenName: (user) => [user.givenName],
  familyName: (user) => [user.familyName],
  isAdmin: (user) => [String(user.isAdmin)],
  isSuspended: () => ["false"],
  orgUnitPath: () => ["/"],
};

function userResource(user, customerId) {
  return {
    kind: "admin#directory#user",
    id: user.id,
    etag: etagOf(user),
    primaryEmail: user.email,
    name: { givenName: user.givenName, familyName: user.familyName, fullName: `${user.givenName} ${user.familyName}` },
    isAdmin: user.isAdmin,
    isDelegatedAdmin: false,
    lastLoginTime: "2025-06-27T08:15:00.000Z",
    creationTime: user.creationTime,
    agreedToTerms: true,
    suspended: false,
    archived: false,
    changePasswordAtNextLogin: false,
    ipWhitelisted: false,
    emails: [{ address: user.email, primary: true }],
    customerId,
    orgUnitPath: "/",
    isMailboxSetup: user.mailbox,
    isEnrolledIn2Sv: false,
    isEnforcedIn2Sv: false,
    includeInGlobalAddressList: true,
  };
}

/**
 * A test for `query=`: clauses `field:value`, `field:value*`, `field=value` or a bare word (part of a name), all of which
 * must hold; null when the query is malformed.
 */
function parseQuery(query) {
  const tests = [];
  for (const [clause] of query.matchAll(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g)) {
    const parts = /^(\w+)[:=](.*)$/.exec(clause);
    const read = parts ? QUERY_FIELDS[parts[1]] : QUERY_FIELDS.name;
    const wanted = (parts ? parts[2].replace(/^(['"])(.*)\1$/, "$2") : `${clause}*`).toLowerCase();
    if (!read || wanted === "") return null;
    tests.push(matcher(read, wanted));
  }
  return (user) => tests.every((test) => test(user));
}

function matcher(read, wanted) {
  if (!wanted.endsWith("*")) return (user) => read(user).some((value) => value.toLowerCase() === wanted);
  const prefix = wanted.slice(0, -1);
  return (user) => read(user).some((value) => value.toLowerCase().startsWith(prefix));
}

/** Page tokens are tied to their query, as Google's are, so that a client which mixes them up is told. */
function pageToken(offset, fingerprint) {
  return Buffer.from(`${offset}:${fingerprint}`).toString("base64url");
}

function readPageToken(token, fingerprint) {
  if (!token) return 0;
  const [offset, of] = Buffer.from(token, "base64url").toString("utf8").split(":");
  return of === fingerprint && /^\d+$/.test(offset) ? Number(offset) : null;
}

function listDomains(workspace, customer) {
  if (customer !== "my_customer" && customer !== workspace.customerId) {
    return directoryError(404, "Resource Not Found: customerId", "notFound");
  }
  const domains = workspace.domains.map((domain) => ({
    kind: "admin#directory#domain",
    etag: etagOf(domain),
    domainName: domain.domainName,
    isPrimary: domain.isPrimary,
    verified: domain.verified,
    creationTime: domain.creationTime,
  }));
  return ok({ kind: "admin#directory#domains", etag: etagOf(domains), domains });
}

/** The users the parameters select, in order; or `{error}`. */
function selectUsers(workspace, params) {
  const domain = params.get("domain");
  const customer = params.get("customer");
  if (!domain && !customer) return { error: directoryError(400, "Bad Request", "badRequest") };
  if (customer && customer !== "my_customer" && customer !== workspace.customerId) {
    return { error: directoryError(400, "Invalid Input", "invalid") };
  }
  if (domain && !workspace.domains.some(({ domainName }) => domainName === domain.toLowerCase())) {
    return { error: directoryError(404, "Domain not found.", "notFound") };
  }
  const test = parseQuery(params.get("query") ?? "");
  if (!test) return { error: directoryError(400, "Invalid Input: query", "invalid") };
  const orderBy = params.get("orderBy");
  if (orderBy !== null && !Object.hasOwn(SORT_FIELDS, orderBy)) {
    return { error: directoryError(400, "Invalid Input: orderBy", "invalid") };
  }
  const users = workspace.users.filter((user) => (!domain || user.domain === domain.toLowerCase()) && test(user));
  const key = SORT_FIELDS[orderBy ?? "email"];
  const direction = params.get("sortOrder")?.toUpperCase() === "DESCENDING" ? -1 : 1;
  users.sort((a, b) => (key(a) < key(b) ? -direction : key(a) > key(b) ? direction : 0));
  return { users };
}

function listUsers(workspace, params) {
  const { users, error } = selectUsers(workspace, params);
  if (error) return error;
  const wanted = params.get("maxResults") ?? "100";
  const limit = Number(wanted);
  if (!/^\d+$/.test(wanted) || limit < 1 || limit > MAX_RESULTS) {
    const text = `Invalid value '${wanted}'. Values must be within the range: [1, ${MAX_RESULTS}]`;
    return directoryError(400, text, "invalidParameter");
  }
  const filters = ["domain", "customer", "query", "orderBy", "sortOrder"].map((name) => params.get(name));
  const fingerprint = etagOf(filters).slice(1, 9);
  const offset = readPageToken(params.get("pageToken"), fingerprint);
  if (offset === null) return directoryError(400, "Invalid Input: INVALID_PAGE_TOKEN", "invalid");
  const page = users.slice(offset, offset + limit).map((user) => userResource(user, workspace.customerId));
  const body = { kind: "admin#directory#users", etag: etagOf(page) };
  // As Google does, an empty answer has no `users` at all.
  if (page.length > 0) body.users = page;
  if (offset + limit < users.length) body.nextPageToken = pageToken(offset + limit, fingerprint);
  return ok(body);
}

function getUser(workspace, userKey) {
  const key = userKey.toLowerCase();
  const user = workspace.users.find(({ email, id }) => email === key || id === key);
  if (!user) return directoryError(404, "Resource Not Found: userKey", "notFound");
  return ok(userResource(user, workspace.customerId));
}

const ROUTES = [
  {
    pattern: /^\/admin\/directory\/v1\/customer\/([^/]+)\/domains$/,
    scopes: DOMAIN_SCOPES,
    answer: (workspace, match) => listDomains(workspace, match[1]),
  },
  {
    pattern: /^\/admin\/directory\/v1\/users$/,
    scopes: USER_SCOPES,
    answer: (workspace, match, params) => listUsers(workspace, params),
  },
  {
    pattern: /^\/admin\/directory\/v1\/users\/([^/]+)$/,
    scopes: USER_SCOPES,
    answer: (workspace, match) => getUser(workspace, match[1]),
  },
];

/** Answers one request; `grant` is what its access token stands for. */
export function answerDirectory(workspace, grant, { method, path, params }) {
  for (const route of ROUTES) {
    const match = route.pattern.exec(path);
    if (!match || method !== "GET") continue;
    if (!route.scopes.some((scope) => grant.scopes.includes(scope))) {
      return insufficientScope("admin.googleapis.com", route.scopes);
    }
    // Only an administrator may read the directory; a service account by itself is none.
    if (!grant.user?.isAdmin) return directoryError(403, "Not Authorized to access this resource/api", "forbidden");
    return route.answer(
      workspace,
      match.map((part) => part && decodeURIComponent(part)),
      params,
    );
  }
  return unknownRoute(method, path);
}
