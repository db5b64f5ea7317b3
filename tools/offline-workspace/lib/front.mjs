// The HTTP server clients see: /_h/{host}/… stands for https://{host}/…, /_control is for tests.
import http from "node:http";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { answerDirectory } from "./directory.mjs";
import { answerGmail } from "./gmail.mjs";
import { apiError, invalidToken, missingToken, unknownRoute } from "./google-errors.mjs";

const MAX_BODY = 40 * 1024 * 1024;
const GZIP_FROM = 1024;
// Longer than any client's pool keeps a connection, so that a test never meets a connection closed under its request.
const KEEP_ALIVE_MS = 240_000;

async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parseUrl(rawUrl) {
  const match = /^\/_h\/([^/?]+)(\/[^?]*)(\?.*)?$/.exec(rawUrl);
  if (!match) return null;
  const [, host, path, search = ""] = match;
  try {
    decodeURIComponent(path);
  } catch {
    return null;
  }
  return { host: host.toLowerCase(), path, search, params: new URLSearchParams(search) };
}

/** The grant of the request's bearer token, or the error answer. */
function authenticate(tokens, authorization) {
  if (!authorization) return { error: missingToken() };
  const match = /^Bearer +(\S+)$/i.exec(authorization);
  const grant = match && tokens.find(match[1]);
  return grant ? { grant } : { error: invalidToken() };
}

function send(request, response, answer) {
  const raw = Buffer.isBuffer(answer.body);
  let body = raw
    ? answer.body
    : Buffer.from(answer.body === undefined ? "" : JSON.stringify(answer.body, null, 2) + "\n");
  const headers = {
    "Content-Type": answer.contentType ?? "application/json; charset=UTF-8",
    "Cache-Control": "private",
    Vary: "Origin, X-Origin, Referer, Accept-Encoding",
    ...answer.headers,
  };
  if (body.length >= GZIP_FROM && /\bgzip\b/.test(request.headers["accept-encoding"] ?? "")) {
    body = gzipSync(body);
    headers["Content-Encoding"] = "gzip";
  }
  headers["Content-Length"] = body.length;
  response.writeHead(answer.status, headers);
  response.end(request.method === "HEAD" ? undefined : body);
}

/** A line of the ledger; `time` is when the request arrived, lines are in the order of the answers. */
function ledgerEntry(request, api, { time, subject, status, fault }) {
  const entry = {
    time,
    method: request.method,
    host: api.host,
    url: api.path + api.search,
    subject: subject ?? null,
    status,
  };
  for (const name of ["x-idempotency-key", "idempotency-key"]) {
    if (request.headers[name] !== undefined) entry[name] = request.headers[name];
  }
  if (fault) entry.fault = fault.when;
  return entry;
}

/** What the API says to a request, faults aside; `subject` is for the ledger. */
async function answerApi(parts, request, api, body) {
  const { workspace, tokens, emulator } = parts;
  const call = { ...api, method: request.method, contentType: request.headers["content-type"], body };
  const isToken = api.host === "oauth2.googleapis.com" && api.path === "/token";
  if (isToken || (api.host === "www.googleapis.com" && api.path === "/oauth2/v4/token")) return tokens.exchange(call);
  const { grant, error } = authenticate(tokens, request.headers.authorization);
  if (error) return error;
  let answer = unknownRoute(request.method, `https://${api.host}${api.path}`);
  if (api.host === "admin.googleapis.com") answer = answerDirectory(workspace, grant, call);
  if (api.host === "gmail.googleapis.com") answer = await answerGmail(emulator, grant, call);
  return { ...answer, subject: grant.subject };
}

async function handleApi(parts, request, response, api) {
  const { tokens, faults, ledger } = parts;
  parts.requests += 1;
  const time = new Date().toISOString();
  const body = await readBody(request);
  if (body === null) return send(request, response, apiError(413, "Request body is too large.", "uploadTooLarge"));
  if (faults.delayMs > 0) await delay(faults.delayMs);
  const fault = faults.take(request.url);
  let answer = fault?.when === "before" ? undefined : await answerApi(parts, request, api, body);
  const subject = answer?.subject ?? authenticate(tokens, request.headers.authorization).grant?.subject;
  if (fault && fault.status !== 0) answer = faults.answer(fault, api.host);
  const status = fault ? fault.status : answer.status;
  ledger.append(ledgerEntry(request, api, { time, subject, status, fault }));
  if (fault?.status === 0) return request.socket.destroy();
  return send(request, response, answer);
}

async function handleControl(parts, request, response) {
  const body = await readBody(request);
  if (request.method === "POST") {
    // A page in a browser cannot send this type to another origin without asking first.
    if (!/^application\/json\b/i.test(request.headers["content-type"] ?? "")) {
      return send(request, response, { status: 415, body: { error: "send application/json" } });
    }
    try {
      parts.faults.control(JSON.parse(body.toString("utf8")));
    } catch (error) {
      return send(request, response, { status: 400, body: { error: error.message } });
    }
  }
  return send(request, response, { status: 200, body: { ...parts.faults.state(), requests: parts.requests } });
}

async function handle(parts, request, response) {
  if (request.url === "/_control") return handleControl(parts, request, response);
  const api = parseUrl(request.url);
  if (api) return handleApi(parts, request, response, api);
  return send(request, response, unknownRoute(request.method, request.url));
}

/** Listens on 127.0.0.1. @param services {workspace, tokens, emulator, faults, ledger} */
export async function startFront(services, port) {
  const parts = { ...services, requests: 0 };
  const server = http.createServer((request, response) => {
    handle(parts, request, response).catch((error) => {
      if (request.destroyed && !request.complete) return; // the client went away while it was sending
      process.stderr.write(`offline-workspace: ${request.method} ${request.url}: ${error.stack}\n`);
      if (!response.headersSent) send(request, response, apiError(500, "Internal error encountered.", "backendError"));
    });
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = KEEP_ALIVE_MS + 1000;
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}
