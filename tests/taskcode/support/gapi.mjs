// A small `gapi` service over HTTP: service-account assertions, a token per subject and scope, the four methods the search
// needs. The real one is the server's; this one lets task code be tested without it.
import { createSign } from "node:crypto";
import { readFileSync } from "node:fs";

const SCOPE = "https://www.googleapis.com/auth/";
const METHODS = {
  "admin.domains.list": {
    host: "admin.googleapis.com",
    path: "/admin/directory/v1/customer/{customer}/domains",
    scope: `${SCOPE}admin.directory.domain.readonly`,
  },
  "admin.users.list": {
    host: "admin.googleapis.com",
    path: "/admin/directory/v1/users",
    scope: `${SCOPE}admin.directory.user.readonly`,
  },
  "gmail.users.messages.list": {
    host: "gmail.googleapis.com",
    path: "/gmail/v1/users/{userId}/messages",
    scope: `${SCOPE}gmail.readonly`,
  },
  "gmail.users.messages.get": {
    host: "gmail.googleapis.com",
    path: "/gmail/v1/users/{userId}/messages/{id}",
    scope: `${SCOPE}gmail.readonly`,
  },
};

function signAssertion(key, subject, scope) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const iat = Math.floor(Date.now() / 1000);
  const claims = { iss: key.client_email, scope, aud: key.token_uri, exp: iat + 3600, iat, sub: subject };
  const signed = `${part({ alg: "RS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createSign("RSA-SHA256").update(signed).sign(key.private_key).toString("base64url")}`;
}

function buildUrl(urlOf, { host, path }, params) {
  const query = new URLSearchParams();
  const rest = { ...params };
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => {
    const value = rest[name];
    delete rest[name];
    if (value === undefined) throw new Error(`Missing required parameters: ${name}`);
    return encodeURIComponent(value);
  });
  for (const [name, value] of Object.entries(rest)) {
    for (const one of [value].flat()) query.append(name, one);
  }
  const text = String(query);
  return urlOf(host, filled) + (text && `?${text}`);
}

/** @param {{endpoint: string, keyFile: string, adminEmail: string}} workspace */
export function createGapi({ endpoint, keyFile, adminEmail }) {
  const key = JSON.parse(readFileSync(keyFile, "utf8"));
  const tokens = new Map();
  const urlOf = (host, path) => endpoint.replace("{host}", host) + path;

  async function fetchToken(subject, scope) {
    const grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    const body = new URLSearchParams({ grant_type: grant, assertion: signAssertion(key, subject, scope) });
    const response = await fetch(urlOf("oauth2.googleapis.com", "/token"), { method: "POST", body });
    const answer = await response.json();
    if (!response.ok)
      throw Object.assign(new Error(`${answer.error}: ${answer.error_description}`), { status: response.status });
    return answer.access_token;
  }

  function getToken(subject, scope) {
    const name = `${subject} ${scope}`;
    if (!tokens.has(name)) tokens.set(name, fetchToken(subject, scope));
    return tokens.get(name);
  }

  return async function gapi(method, [params = {}]) {
    const facts = METHODS[method];
    if (!facts) throw Object.assign(new Error(`Unknown method ${method}`), { code: "unknown_method" });
    const subject = params.userId?.includes("@") ? params.userId : adminEmail;
    const url = buildUrl(urlOf, facts, params);
    const token = await getToken(subject, facts.scope);
    const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    const answer = await response.json();
    if (response.ok) return answer;
    const { message, code, errors } = answer.error;
    throw Object.assign(new Error(message), { code, status: response.status, errors });
  };
}
