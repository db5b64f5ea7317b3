// HTTP on the wire: framing, keep-alive, pipelining, HEAD, Expect, chunked bodies, tokens, hosts.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openRaw } from "../support/js/http.mjs";
import { Server } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";

const SUBMIT = '{"task":"hello","input":{"x":1}}';

describe("HTTP on the wire", () => {
  let server;
  let host;
  before(async () => {
    server = new Server({ settings: { "engine.processes": 1, "server.header_timeout_ms": 700, "server.idle_timeout_ms": 5_000, "server.body_timeout_ms": 900 } });
    await server.start();
    host = new URL(server.url).host;
    await server.publish("hello", "module.exports = async (input) => ({ hello: input });");
  });
  after(() => server.destroy());

  const raw = () => openRaw(server.url);
  const head = (line, ...headers) => `${[line, `Host: ${host}`, ...headers].join("\r\n")}\r\n\r\n`;
  const countRuns = async () => (await server.get("/db/status")).tables.task_runs;

  it("one connection serves many requests", async () => {
    const connection = await raw();
    for (let i = 0; i < 50; i++) {
      connection.send(head("GET /livez HTTP/1.1"));
      const answer = await connection.answer();
      assert.equal(answer.status, 200);
      assert.notEqual(answer.headers.connection, "close");
    }
    connection.destroy();
  });

  it("pipelined requests are answered in order", async () => {
    const connection = await raw();
    const body = '{"task":"nobody"}';
    connection.send(
      head("GET /livez HTTP/1.1") +
      head("POST /tasks/execute HTTP/1.1", `Content-Length: ${SUBMIT.length}`, "Prefer: wait=10") + SUBMIT +
      head("GET /nothing HTTP/1.1") +
      head("POST /tasks/execute HTTP/1.1", `Content-Length: ${body.length}`) + body +
      head("GET /livez HTTP/1.1"));
    const answers = [];
    for (let i = 0; i < 5; i++) answers.push(await connection.answer());
    assert.deepEqual(answers.map((answer) => answer.status), [200, 200, 404, 404, 200]);
    assert.deepEqual(JSON.parse(answers[1].body).data.result, { hello: { x: 1 } });
    connection.destroy();
  });

  it("a request cut into single bytes", async () => {
    const connection = await raw();
    const text = head("POST /tasks/execute HTTP/1.1", `Content-Length: ${SUBMIT.length}`) + SUBMIT;
    for (const byte of Buffer.from(text)) {
      connection.send(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal((await connection.answer()).status, 202);
    connection.destroy();
  });

  it("a chunked body", async () => {
    const connection = await raw();
    connection.send(head("POST /tasks/execute HTTP/1.1", "Transfer-Encoding: chunked", "Prefer: wait=10"));
    for (const part of [SUBMIT.slice(0, 7), SUBMIT.slice(7, 8), SUBMIT.slice(8)]) {
      connection.send(`${part.length.toString(16)}\r\n${part}\r\n`);
    }
    connection.send("0\r\n\r\n");
    const answer = await connection.answer();
    assert.equal(answer.status, 200, answer.body);
    assert.deepEqual(JSON.parse(answer.body).data.result, { hello: { x: 1 } });
    connection.send(head("GET /livez HTTP/1.1"));
    assert.equal((await connection.answer()).status, 200, "the connection goes on after it");
    connection.destroy();
  });

  it("Expect: 100-continue", async () => {
    const connection = await raw();
    connection.send(head("POST /tasks/execute HTTP/1.1", `Content-Length: ${SUBMIT.length}`, "Expect: 100-continue"));
    assert.equal((await connection.answer()).status, 100);
    connection.send(SUBMIT);
    assert.equal((await connection.answer()).status, 202);
    connection.destroy();
  });

  it("Expect: 100-continue with a body that is too large is refused before it is sent", async () => {
    const connection = await raw();
    connection.send(head("POST /tasks/execute HTTP/1.1", "Content-Length: 100000000", "Expect: 100-continue"));
    const answer = await connection.answer();
    assert.equal(answer.status, 413);
    assert.equal(JSON.parse(answer.body).code, "payload_too_large");
    connection.destroy();
  });

  it("HEAD is GET without the body", async () => {
    for (const path of ["/livez", "/limits", "/tasks/hello", "/runs", "/runs/999999"]) {
      const connection = await raw();
      connection.send(head(`HEAD ${path} HTTP/1.1`));
      const short = await connection.answer({ head: true });
      connection.send(head(`GET ${path} HTTP/1.1`));
      const long = await connection.answer();
      assert.equal(short.status, long.status, path);
      assert.equal(short.headers["content-length"], long.headers["content-length"], path);
      assert.equal(short.headers["content-type"], long.headers["content-type"], path);
      assert.ok(long.body.length > 0);
      connection.destroy();
    }
  });

  it("HTTP/1.0, and Connection: close", async () => {
    const old = await raw();
    old.send(`GET /livez HTTP/1.0\r\nHost: ${host}\r\n\r\n`);
    assert.match((await old.closed()).toString(), /^HTTP\/1\.[01] 200 /);
    const closing = await raw();
    closing.send(head("GET /livez HTTP/1.1", "Connection: close"));
    const text = (await closing.closed()).toString();
    assert.match(text, /^HTTP\/1\.1 200 /);
    assert.match(text, /\r\nConnection: close\r\n/i);
  });

  // What leaves any doubt about where a request ends is refused, and nothing after it is served.
  const smuggled = () => head("POST /tasks/execute HTTP/1.1", `Content-Length: ${SUBMIT.length}`) + SUBMIT;
  const doubtful = {
    "two lengths": ["POST /tasks/execute HTTP/1.1", ["Content-Length: 5", "Content-Length: 6"], "hello"],
    "two equal lengths": ["POST /tasks/execute HTTP/1.1", ["Content-Length: 5", "Content-Length: 5"], "hello"],
    "a list of lengths": ["POST /tasks/execute HTTP/1.1", ["Content-Length: 5,5"], "hello"],
    "a negative length": ["POST /tasks/execute HTTP/1.1", ["Content-Length: -5"], "hello"],
    "a length with a sign": ["POST /tasks/execute HTTP/1.1", ["Content-Length: +5"], "hello"],
    "length and chunks": ["POST /tasks/execute HTTP/1.1", ["Content-Length: 5", "Transfer-Encoding: chunked"], "0\r\n\r\n"],
    "another coding": ["POST /tasks/execute HTTP/1.1", ["Transfer-Encoding: gzip"], ""],
    "identity": ["POST /tasks/execute HTTP/1.1", ["Transfer-Encoding: identity"], ""],
    "xchunked": ["POST /tasks/execute HTTP/1.1", ["Transfer-Encoding: xchunked"], ""],
    "chunked, gzip": ["POST /tasks/execute HTTP/1.1", ["Transfer-Encoding: chunked, gzip"], ""],
    "gzip with a length": ["POST /tasks/execute HTTP/1.1", ["Transfer-Encoding: gzip", "Content-Length: 5"], "hello"],
    "two codings": ["POST /tasks/execute HTTP/1.1", ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "0\r\n\r\n"],
    "chunks in HTTP/1.0": ["POST /tasks/execute HTTP/1.0", ["Transfer-Encoding: chunked"], "0\r\n\r\n"],
    "a chunk size that is no number": ["POST /tasks/execute HTTP/1.1", ["Transfer-Encoding: chunked"], "zz\r\nhello\r\n0\r\n\r\n"],
    "a second Host": ["GET /livez HTTP/1.1", ["Host: evil.example"], ""],
    "an absolute target": ["GET http://evil.example/livez HTTP/1.1", [], ""],
    "an asterisk": ["OPTIONS * HTTP/1.1", [], ""],
    "a target without a slash": ["GET livez HTTP/1.1", [], ""],
    "blank before the colon": ["GET /livez HTTP/1.1", ["X-A : b"], ""],
    "HTTP/1.2": ["GET /livez HTTP/1.2", [], ""],
    "HTTP/2.0": ["GET /livez HTTP/2.0", [], ""],
    "65 header fields": ["GET /livez HTTP/1.1", Array.from({ length: 65 }, (_, i) => `X-${i}: 1`), ""],
    "17 KiB of header": ["GET /livez HTTP/1.1", [`X-Long: ${"x".repeat(17 * 1024)}`], ""],
  };
  for (const [what, [line, headers, body]] of Object.entries(doubtful)) {
    it(`refused and closed: ${what}`, async () => {
      const before = await countRuns();
      const connection = await raw();
      connection.send(head(line, ...headers) + body + smuggled());
      const text = (await connection.closed()).toString("latin1");
      const answers = text.match(/HTTP\/1\.[01] \d+/g) ?? [];
      assert.ok(answers.length <= 1, text);
      assert.match(text, /^(HTTP\/1\.1 4\d\d |$)/, text);
      assert.equal(await countRuns(), before, "the request behind it was served");
    });
  }
  it("a header over server.header_bytes_max, and one of too many fields, are answered 431", async () => {
    for (const headers of [[`X-Long: ${"x".repeat(17 * 1024)}`], Array.from({ length: 65 }, (_, i) => `X-${i}: 1`)]) {
      const connection = await raw();
      connection.send(head("GET /livez HTTP/1.1", ...headers));
      const answer = await connection.answer();
      assert.equal(answer.status, 431, answer.body);
      assert.equal(JSON.parse(answer.body).code, "headers_too_large");
      await connection.closed();
    }
  });
  it("no Host", async () => {
    const connection = await raw();
    connection.send("GET /livez HTTP/1.1\r\n\r\n");
    assert.match((await connection.closed()).toString(), /^HTTP\/1\.1 400 /);
  });
  it("no HTTP at all", async () => {
    for (const bytes of ["hello\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\0\0\0\0\r\n\r\n"]) {
      const connection = await raw();
      connection.send(Buffer.from(bytes, "latin1"));
      const text = (await connection.closed()).toString("latin1");
      assert.match(text, /^(HTTP\/1\.1 400 |$)/);
    }
  });

  it("a header that does not come, and a body that does not come, end the connection at their deadline", async () => {
    const began = Date.now();
    const slow = [await raw(), await raw(), await raw()];
    slow[0].send("GET /livez HT");
    slow[1].send(head("POST /tasks/execute HTTP/1.1", "Content-Length: 50") + '{"task"');
    slow[2].send(head("POST /tasks/execute HTTP/1.1", "Transfer-Encoding: chunked") + "5\r\nhel");
    const before = await countRuns();
    for (const connection of slow) await connection.closed(4_000);
    assert.ok(Date.now() - began < 4_000);
    assert.equal(await countRuns(), before);
    assert.equal((await server.get("/livez")).status, "alive");
  });

  it("300 idle connections do not keep anybody out", async () => {
    const idle = await Promise.all(Array.from({ length: 300 }, raw));
    assert.equal((await server.complete("hello", { n: 1 })).status, "completed");
    for (const connection of idle) connection.destroy();
  });

  it("a client that goes away while it waits leaves its run alone", async () => {
    await server.publish("slow", "module.exports = async () => { await sleep(400); return 'slept'; };");
    const before = await countRuns();
    const connection = await raw();
    const body = '{"task":"slow"}';
    connection.send(head("POST /tasks/execute HTTP/1.1", `Content-Length: ${body.length}`, "Prefer: wait=20") + body);
    await until("the run", async () => (await countRuns()) === before + 1);
    connection.destroy();
    const { runs } = await server.get("/runs?limit=1");
    assert.equal((await server.ended(runs[0].id)).result, "slept");
  });

  it("/ says what there is, /limits every limit, /services every service, /readyz ready", async () => {
    assert.equal((await server.get("/")).name, "sequential-runner");
    const { limits } = await server.get("/limits");
    const named = new Map(limits.map((limit) => [limit.name, limit.value]));
    for (const [name, value] of [["server.header_timeout_ms", 700], ["limits.cpu_ms", 10_000], ["store.lease_ms", 30_000]]) assert.equal(named.get(name), value, name);
    for (const limit of limits) assert.ok(limit.help && limit.unit !== undefined, JSON.stringify(limit));
    const names = (await server.get("/services")).services.map((service) => service.name);
    for (const name of ["echo", "gapi", "http", "keystore", "timer"]) assert.ok(names.includes(name), name);
    assert.equal((await server.get("/readyz")).status, "ready");
  });

  it("its own page's Origin, and localhost, are served", async () => {
    assert.equal((await server.request("GET", "/tasks", { headers: { origin: server.url } })).status, 200);
    const port = new URL(server.url).port;
    for (const name of [`localhost:${port}`, "LOCALHOST", `127.0.0.1:${port}`, `[::1]:${port}`]) {
      assert.equal((await server.request("GET", "/tasks", { headers: { host: name } })).status, 200, name);
    }
  });
});

describe("an API token", () => {
  it("is asked for by every route but /livez, /errors and /openapi.json, and the same 401 whatever is wrong", { timeout: 30_000 }, async () => {
    const server = new Server({ settings: { "engine.processes": 1 } });
    try {
      const token = "correct-horse-battery-staple";
      const file = join(server.dir, "token");
      writeFileSync(file, `${token}\n`, { mode: 0o600 });
      await server.start({ settings: { "server.api_token_file": file } });
      const bodies = new Set();
      const wrong = [undefined, `Bearer ${token}x`, `Bearer ${token.slice(1)}`, "Bearer ", token, `Basic ${token}`, `bearer${token}`];
      for (const authorization of wrong) {
        for (const [method, path] of [["GET", "/tasks"], ["GET", "/runs"], ["POST", "/tasks/execute"], ["GET", "/limits"], ["POST", "/stack/process"], ["GET", "/keystore"], ["GET", "/db/status"], ["POST", "/db/clear"], ["GET", "/"], ["GET", "/stats"], ["GET", "/runs?x=1"]]) {
          const answer = await server.request(method, path, { headers: authorization === undefined ? {} : { authorization }, body: method === "POST" ? "{}" : undefined });
          assert.equal(answer.status, 401, `${method} ${path} ${authorization}`);
          bodies.add(answer.text);
        }
      }
      assert.equal(bodies.size, 1);
      assert.equal((await server.request("GET", "/livez")).status, 200);
      assert.equal((await server.request("GET", JSON.parse([...bodies][0]).type)).status, 200, "where the 401 points to");
      assert.equal((await server.request("GET", "/tasks", { headers: { authorization: `Bearer ${token}` } })).status, 200);
    } finally {
      await server.destroy();
    }
  });

  it("is needed to listen on an address that others reach", async () => {
    const server = new Server({ settings: { "server.address": "0.0.0.0" } });
    try {
      await assert.rejects(server.start(), /api_token_file/);
    } finally {
      await server.destroy();
    }
  });
});

describe("starting", () => {
  it("a second server on the same SQLite file refuses to start", { timeout: 30_000 }, async () => {
    const server = new Server({ store: "sqlite" });
    const second = new Server({ settings: { "store.path": server.databasePath }, store: "sqlite" });
    try {
      await server.start();
      await assert.rejects(second.start(), /served by/);
      assert.equal((await server.get("/livez")).status, "alive");
    } finally {
      await second.destroy();
      await server.destroy();
    }
  });
  it("wrong settings are named, and nothing is started", { timeout: 30_000 }, async () => {
    for (const [settings, pattern] of [[{ "server.prot": 1 }, /server\.prot/], [{ "store.lease_ms": 5 }, /store\.lease_ms/], [{ "chain.url": "ftp://x" }, /chain\.url/], [{ "server.port": "http" }, /server\.port/]]) {
      const server = new Server({ settings });
      try {
        await assert.rejects(server.start(), pattern);
      } finally {
        await server.destroy();
      }
    }
  });
});
