// GET /openapi.json: a valid OpenAPI 3.1 document, and what the server really answers is what it says.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { watch } from "../support/js/events.mjs";
import { Server } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";
import { ApiDocument } from "./api_document.mjs";

const TASKS = {
  hello: "module.exports = async (input) => ({ hello: input.name });",
  waits: `module.exports = async () => {
    setStatus({ phase: "begun" });
    progress(1, 2, "half");
    setAttributes({ orders: 12, customer: "x" });
    console.log("waiting");
    return waitForSignal("go");
  };`,
  calls: "module.exports = async (input) => { await sleep(1); return tasks.run('hello', input); };",
  fails: "module.exports = async () => { await sleep(1); throw new Error('no'); };",
  asks: `module.exports = async (input) => {
    const hook = await createWebhook(input.options);
    console.log(hook.url);
    return hook.received;
  };`,
};
const HELLO_TWO = "module.exports = async () => ({ hello: 'again' });";
const SCHEDULE = { task: "hello", cron: "0 0 * * *", tags: { team: "red" }, description: "every night", paused: true };

describe("the document of the API", () => {
  let server;
  let api;
  before(async () => {
    server = new Server({ settings: { "engine.processes": 1 } });
    await server.start();
    api = new ApiDocument(await server.get("/openapi.json"));
  });
  after(() => server.destroy());

  /** Asks, and checks the answer against the document. */
  async function ask(method, path, { status = 200, ...request } = {}) {
    const answer = await server.request(method, path, request);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    api.checkAnswer(method, path, answer, request.json);
    return answer.text && answer.headers["content-type"].startsWith("application/") ? answer.json() : answer.text;
  }
  const get = (path, options) => ask("GET", path, options);
  const post = (path, json, status = 200) => ask("POST", path, { json, status });
  const put = (path, json, status = 200) => ask("PUT", path, { json, status });
  const remove = (path, status = 204) => ask("DELETE", path, { status });
  const start = async (task, input, options = {}) => (await post("/tasks/execute", { task, input, options }, 202)).data.taskRunId;
  const run = async (task, input, options = {}) => {
    const json = { task, input, options };
    return (await ask("POST", "/tasks/execute", { json, headers: { prefer: "wait=30" } })).data.taskRunId;
  };
  const waiting = (id) => until(`run ${id} to wait`, async () => (await server.stack(id)).some((row) => row.status === "pending" && row.seq));

  it("is valid OpenAPI 3.1", async () => {
    const result = await new Validator().validate(structuredClone(api.document));
    assert.deepEqual(result, { valid: true });
    assert.equal(api.document.openapi.slice(0, 4), "3.1.");
  });

  it("each operation has a name of its own", () => {
    const names = api.operations.map((one) => one.operationId);
    assert.deepEqual(names, [...new Set(names)]);
  });

  it("names every parameter of GET /runs, and no other", async () => {
    const { detail } = (await server.request("GET", "/runs?none=1")).json();
    const taken = detail.replace(/.*there are /, "").replace("attr.NAME", "attr").split(", ").sort();
    const named = ({ $ref, name }) => name ?? api.document.components.parameters[$ref.split("/").pop()].name;
    assert.deepEqual(api.find("GET", "/runs").parameters.map(named).sort(), taken);
    const paged = ["order", "cursor", "limit"];
    const counted = taken.filter((name) => !paged.includes(name));
    assert.deepEqual(api.find("GET", "/runs/count").parameters.map(named).sort(), counted);
  });

  it("is given without a token, as is what explains errors", async () => {
    const closed = new Server({ settings: { "engine.processes": 1 } });
    try {
      const file = join(closed.dir, "token");
      writeFileSync(file, "correct-horse-battery-staple", { mode: 0o600 });
      await closed.start({ settings: { "server.api_token_file": file } });
      const paths = Object.entries(api.document.paths).filter(([path, { get: one }]) => one && !/[{]/.test(path)).map(([path]) => path);
      for (const path of paths) {
        const asksNone = api.document.paths[path].get.security?.length === 0;
        assert.equal((await closed.request("GET", path)).status, asksNone ? 200 : 401, path);
      }
    } finally {
      await closed.destroy();
    }
  });

  describe("describes what the server answers", () => {
    it("about itself", async () => {
      for (const path of ["/", "/livez", "/readyz", "/limits", "/stats", "/services", "/openapi.json", "/errors", "/db/status"]) await get(path);
      await get("/errors/conflict");
    });

    it("about tasks", async () => {
      for (const [name, code] of Object.entries(TASKS)) {
        await put(`/tasks/${name}`, { code, description: name, input_schema: { type: "object" }, options: { retention: { failed: "9d" } } }, 201);
      }
      await put("/tasks/hello", { code: TASKS.hello, description: "other" });
      await ask("PUT", "/tasks/hello", { body: TASKS.hello, headers: { "content-type": "text/javascript" } });
      await get("/tasks");
      await get("/tasks/hello?version=1");
      await get("/tasks/hello/retention");
      await put("/tasks/hello/retention", { completed: "1d", failed: 1000 });
      await remove("/tasks/hello/retention", 200);
    });

    it("about runs", async () => {
      const options = { idempotency_key: "k1", priority: 3, queue_key: "q", tags: { team: "red", n: 1, on: true }, version: 1 };
      await run("hello", { name: "ada" }, options);
      await run("hello", { name: "ada" }, options);
      const waits = await start("waits", {});
      await waiting(waits);
      const calls = await run("calls", { name: "x" });
      const fails = await run("fails", {});
      for (const id of [waits, calls, fails]) {
        for (const view of ["", "/stack", "/logs?limit=1", "/signals", "/replay", "?wait=0"]) await get(`/runs/${id}${view}`);
      }
      await get(`/stack/${(await get(`/runs/${calls}/stack`)).stack[0].id}`);
      assert.ok((await get("/runs?limit=2")).next_cursor);
      await get("/runs?status=failed,cancelled&attr.orders=%3C100&tag=team:red&order=oldest");
      await get("/runs/count?task=hello");
      await post(`/runs/${waits}/signals/other`, { a: 1 }, 202);
      await get(`/runs/${waits}/signals`);
      await ask("POST", `/runs/${waits}/pause`);
      await ask("POST", `/runs/${waits}/resume`);
      await post(`/runs/${waits}/cancel`, { grace_ms: 60000, reason: "test" });
      await post(`/runs/${waits}/signals/go`, 1, 202).catch(() => {});
      await server.ended(waits);
      await put("/tasks/fails", { code: TASKS.fails.replace("throw new Error('no')", "return 1") }, 201);
      await post(`/runs/${fails}/retry`, { version: 2 });
      await server.ended(fails);
      const fork = await post(`/runs/${fails}/fork`, { at: { position: 0 }, input: { n: 1 }, version: 2, options: { tags: ["a:b"], idempotency_key: "f" } }, 201);
      assert.equal((await get(`/runs/${fork.id}`)).forked_from.run, fails);
      await server.ended(fork.id);
      await remove(`/runs/${fork.id}`);
      await post("/runs/bulk", { action: "cancel", filter: { task: "waits", created_after: "2026-01-01" }, limit: 5, dry_run: true });
      await post("/runs/purge", { filter: { task: "waits", version: 1 }, older_than: "1d", limit: 10, dry_run: true });
    });

    it("about runs as they happen", async () => {
      const id = await start("waits", {});
      await waiting(id);
      const watching = await watch(server, id, { calls: true });
      await until("the run's status", () => watching.last("run"));
      await post(`/runs/${id}/signals/go`, { done: true }, 202);
      await watching.ended();
      const schemas = {
        log: "LogEntry", state: "RunState", run: "RunSummary", call: "CallBegun", outcome: "CallOutcome", end: "RunEnd", bye: "Bye",
      };
      for (const { event, data } of watching.events) api.checkAs(schemas[event] ?? assert.fail(`no schema of ${event}`), data);
      assert.deepEqual([...new Set(watching.events.map((one) => one.event))].sort(), ["call", "end", "log", "outcome", "run", "state"]);
      await get(`/runs/${id}/events`);
      await get(`/runs/${id}/events`, { status: 204, headers: { "last-event-id": watching.lastId } });
    });

    it("to webhooks", async () => {
      const page = { title: "Pay?", choices: ["yes", "no"] };
      for (const options of [{ page }, { method: ["GET"] }]) {
        const id = await start("asks", { options });
        const path = await until("its address", async () => (await server.logs(id))[0] && new URL((await server.logs(id))[0].message).pathname);
        await get(path, { headers: { accept: "text/html" } });
        if (options.page) await post(path, { choice: "yes" });
        await get(path, { status: 410 });
        await get(path, { status: 410, headers: { accept: "text/html" } });
      }
    });

    it("about stack runs", async () => {
      await post("/stack/process", {});
      await ask("POST", "/stack/process", { json: {}, status: 202, headers: { prefer: "respond-async" } });
    });

    it("about schedules", async () => {
      await put("/schedules/night", SCHEDULE, 201);
      await put("/schedules/night", { ...SCHEDULE, overlap: "skip", paused: false });
      for (const path of ["/schedules", "/schedules/night", "/schedules/night/next?count=3"]) await get(path);
      for (const what of ["pause", "resume"]) await ask("POST", `/schedules/night/${what}`);
      await post("/schedules/night/trigger", { overlap: "allow" }, 202);
      await post("/schedules/night/backfill", { from: "2026-01-01T00:00:00Z", to: "2026-01-03T00:00:00Z" });
      await get("/schedules/night");
      await remove("/schedules/night");
    });

    it("about queues", async () => {
      await put("/queues/hello", { concurrency: 1, key_concurrency: null, rate: { starts: 10, per_ms: 1000 } });
      await run("hello", { name: "x" }, { queue_key: "q" });
      for (const path of ["/queues", "/queues/hello", "/queues/hello/keys"]) await get(path);
      await remove("/queues/hello", 200);
    });

    it("about the keystore", async () => {
      await put("/keystore/mail/password", { value: "secret" }, 204);
      await get("/keystore");
      await get("/keystore/mail");
      await remove("/keystore/mail/password");
    });

    it("when it refuses", async () => {
      await get("/runs/999999", { status: 404 });
      await get("/runs?status=over", { status: 422 });
      await put("/tasks/broken", { code: "module.exports = (" }, 422);
      await ask("POST", "/tasks/execute", { body: "{", status: 400 });
      await post("/tasks/execute", { task: "none" }, 404);
      await remove("/keystore/mail/none", 404);
      await post("/db/clear", {}, 422);
    });

    it("and nothing is left that was not asked for", async () => {
      await post("/db/clear", { confirm: "clear" });
      const left = api.operations.map((one) => one.operationId).filter((name) => !api.seen.has(name));
      assert.deepEqual(left, []);
    });
  });
});
