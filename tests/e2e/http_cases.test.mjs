// Every refusal of the HTTP API (http_cases.mjs): the right status and problem document, and nothing is stored.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openRaw } from "../support/js/http.mjs";
import { Server } from "../support/js/server.mjs";
import { CASES } from "./http_cases.mjs";

describe("refused requests", () => {
  let server;
  let stored;
  before(async () => {
    server = new Server({ settings: { "engine.processes": 1, "limits.cpu_ms": 500, "limits.payload_bytes": "8MiB" } });
    await server.start();
    await server.publish("hello", "module.exports = async () => 'hello';");
    await server.complete("hello", {});
    const { tables, runs, stack_runs } = await server.get("/db/status");
    stored = { tables, runs, stack_runs };
  });
  after(() => server.destroy());

  async function ask({ method = "POST", path, headers, body, json, declared }) {
    if (declared === undefined) return server.request(method, path, { headers, body, json });
    const connection = await openRaw(server.url);
    connection.send(`${method} ${path} HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\nContent-Length: ${declared}\r\n\r\n`);
    const answer = await connection.answer();
    connection.destroy();
    return { ...answer, text: answer.body, json: () => JSON.parse(answer.body) };
  }

  for (const [what, request, expected] of CASES) {
    it(what, async () => {
      const answer = await ask(request);
      const shown = `${answer.status} ${answer.text}`;
      assert.equal(answer.status, expected.status, shown);
      assert.equal(answer.headers["content-type"], "application/problem+json", shown);
      const problem = answer.json();
      assert.equal(problem.code, expected.code, shown);
      assert.equal(problem.status, answer.status);
      assert.equal(problem.type, `/errors/${expected.code}`);
      assert.ok(problem.title && problem.detail, shown);
      const page = await server.request("GET", problem.type);
      assert.deepEqual([page.status, page.headers["content-type"]], [200, "text/markdown; charset=utf-8"], problem.type);
      assert.ok(page.text.startsWith(`# ${expected.code}\n`), page.text);
      assert.equal(problem.field, expected.field ?? problem.field, shown);
      if (expected.allow) assert.equal(answer.headers.allow, expected.allow);
      if (expected.line) assert.equal(problem.line, expected.line, shown);
      if (expected.column) assert.equal(problem.column, expected.column, shown);
      if (expected.detail) assert.ok(problem.detail.includes(expected.detail), shown);
      const { tables, runs, stack_runs } = await server.get("/db/status");
      assert.deepEqual({ tables, runs, stack_runs }, stored, "something was stored");
    });
  }

  it("and the server is as well as before", async () => {
    assert.equal((await server.complete("hello", {})).result, "hello");
    await server.check();
  });
});
