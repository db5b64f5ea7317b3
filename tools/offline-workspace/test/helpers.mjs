// What the tests share: a workspace for one test file, and a client that signs its own assertions.
import { createSign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startWorkspace } from "../lib/workspace.mjs";

export const SCOPES = {
  domains: "https://www.googleapis.com/auth/admin.directory.domain.readonly",
  users: "https://www.googleapis.com/auth/admin.directory.user.readonly",
  gmail: "https://www.googleapis.com/auth/gmail.readonly",
  metadata: "https://www.googleapis.com/auth/gmail.metadata",
  modify: "https://www.googleapis.com/auth/gmail.modify",
};

/** Starts a workspace in a directory of its own; `close()` removes both. */
export async function openWorkspace(options = {}) {
  const dir = mkdtempSync(join(tmpdir(), "offline-workspace-"));
  const running = await startWorkspace({ dir, ...options });
  const key = JSON.parse(readFileSync(running.keyFile, "utf8"));
  const close = async () => {
    await running.close();
    rmSync(dir, { recursive: true, force: true });
  };
  return { ...running, dir, key, close, client: createClient(running.endpoint, key) };
}

export function sign(header, claims, privateKey) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part(header)}.${part(claims)}`;
  return `${signed}.${createSign("RSA-SHA256").update(signed).sign(privateKey).toString("base64url")}`;
}

export function createClient(endpoint, key) {
  const urlOf = (host, path) => endpoint.replace("{host}", host) + path;
  const claims = (sub, scope, changes = {}) => {
    const iat = Math.floor(Date.now() / 1000);
    return { iss: key.client_email, scope, aud: key.token_uri, iat, exp: iat + 3600, sub, ...changes };
  };

  async function exchange(assertion, form = {}) {
    const grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    const body = new URLSearchParams({ grant_type: grant, assertion, ...form });
    return answerOf(await fetch(urlOf("oauth2.googleapis.com", "/token"), { method: "POST", body }));
  }

  async function token(sub, scope, changes) {
    const { status, body } = await exchange(
      sign({ alg: "RS256", typ: "JWT" }, claims(sub, scope, changes), key.private_key),
    );
    if (status !== 200) throw new Error(`token: ${status} ${JSON.stringify(body)}`);
    return body.access_token;
  }

  async function call(bearer, host, path, init = {}) {
    const headers = { ...init.headers };
    if (bearer) headers.authorization = `Bearer ${bearer}`;
    return answerOf(await fetch(urlOf(host, path), { ...init, headers }));
  }

  return {
    urlOf,
    claims,
    exchange,
    token,
    call,
    admin: (bearer, path) => call(bearer, "admin.googleapis.com", `/admin/directory/v1${path}`),
    gmail: (bearer, path, init) => call(bearer, "gmail.googleapis.com", `/gmail/v1${path}`, init),
    control: async (document) =>
      answerOf(
        await fetch(new URL("/_control", endpoint.replace("{host}", "x")), {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(document),
        }),
      ),
  };
}

async function answerOf(response) {
  const text = await response.text();
  const json = /json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, body: json && text ? JSON.parse(text) : text };
}
