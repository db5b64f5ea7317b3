// The life of runs through the API: accepting, waiting, looking, listing, stopping.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

describe("runs", () => {
  let server;
  let sink;
  before(async () => {
    sink = await openSink();
    server = new Server({ settings: { "engine.processes": 1, "services.http.allow_hosts": [sink.host] } });
    await server.start();
    await server.publish("echo", "module.exports = async (input) => services.echo.echo(input);");
    await server.publish("held", sinkTask(`const answer = await sink("held-" + input.n); await sink("after-" + input.n); return answer.label;`));
  });
  after(async () => {
    await server.destroy();
    await sink.close();
  });

  describe("idempotency", () => {
    it("the same key and body is the same run, by option or by header", async () => {
      const first = await server.execute("echo", { a: 1 }, { options: { idempotency_key: "k1" } });
      assert.equal(first.status, 202);
      const id = first.json().data.taskRunId;
      for (const how of [
        { options: { idempotency_key: "k1" } }, { options: { idempotencyKey: "k1" } },
        { headers: { "idempotency-key": "k1" } }, { headers: { "idempotency-key": '"k1"' } },
      ]) {
        const again = await server.execute("echo", { a: 1 }, how);
        assert.deepEqual([again.status, again.json().data.taskRunId, again.json().data.existing], [200, id, true]);
      }
      const waited = await server.execute("echo", { a: 1 }, { options: { idempotency_key: "k1" }, waitS: 10 });
      assert.deepEqual(waited.json().data.result, { a: 1 });
    });
    it("another body is refused with 409 and changes nothing", async () => {
      const id = await server.submit("echo", { a: 1 }, { options: { idempotency_key: "k2" } });
      await server.ended(id);
      const before = await server.get("/db/status");
      for (const [task, input, options] of [["echo", { a: 2 }, {}], ["echo", { a: 1 }, { priority: 1 }], ["held", { a: 1 }, {}], ["echo", { a: 1 }, { tags: ["x"] }]]) {
        const answer = await server.execute(task, input, { options: { idempotency_key: "k2", ...options } });
        assert.equal(answer.status, 409, answer.text);
        assert.equal(answer.json().code, "idempotency_conflict");
      }
      assert.deepEqual((await server.get("/db/status")).tables, before.tables);
    });
    it("twenty at once make one run", async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => server.execute("echo", { race: 1 }, { options: { idempotency_key: "k3" } })));
      assert.equal(new Set(answers.map((answer) => answer.json().data.taskRunId)).size, 1);
      assert.equal(answers.filter((answer) => answer.status === 202).length, 1);
    });
    it("publishing the task anew does not change what a key means", async () => {
      await server.publish("keyed", "module.exports = async () => 1;");
      const id = await server.submit("keyed", {}, { options: { idempotency_key: "k4" } });
      await server.publish("keyed", "module.exports = async () => 2;");
      const again = await server.execute("keyed", {}, { options: { idempotency_key: "k4" } });
      assert.deepEqual([again.status, again.json().data.taskRunId], [200, id]);
    });
  });

  describe("accepting and waiting", () => {
    it("202 with id, links and Location", async () => {
      const answer = await server.execute("echo", {});
      const { success, data } = answer.json();
      assert.equal(success, true);
      assert.deepEqual(data.links, { self: `/runs/${data.taskRunId}`, stack: `/runs/${data.taskRunId}/stack`, logs: `/runs/${data.taskRunId}/logs` });
      assert.equal(answer.headers.location, data.links.self);
      for (const path of Object.values(data.links)) await server.get(path);
    });
    it("the seeds' member names are taken", async () => {
      const answer = await server.request("POST", "/tasks/execute", { json: { task_identifier: "echo", input: [1] }, headers: { prefer: "wait=10" } });
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(answer.json().data.result, [1]);
    });
    it("no input is an empty object", async () => {
      const answer = await server.request("POST", "/tasks/execute", { json: { task: "echo" }, headers: { prefer: "wait=10" } });
      assert.deepEqual(answer.json().data.result, {});
    });
    it("Prefer: wait answers the result at once when it is there", async () => {
      const began = Date.now();
      const answer = await server.execute("echo", { quick: 1 }, { waitS: 20 });
      assert.equal(answer.status, 200);
      assert.equal(answer.json().data.status, "completed");
      assert.deepEqual(answer.json().data.result, { quick: 1 });
      assert.ok(Date.now() - began < 5_000);
    });
    it("Prefer: wait of a run that fails answers its error, and success is false", async () => {
      await server.publish("fails", "module.exports = async () => { throw new Error('no'); };");
      const answer = await server.execute("fails", {}, { waitS: 20 });
      assert.equal(answer.status, 200);
      assert.equal(answer.json().success, false);
      assert.equal(answer.json().data.error.message, "no");
    });
    it("a wait that is over before the run answers 202, and the run goes on", async () => {
      const hold = gate();
      sink.behave = (entry) => (entry.label === "held-1" ? hold.passed : undefined);
      const answer = await server.execute("held", { url: sink.url, n: 1 }, { waitS: 1 });
      assert.equal(answer.status, 202);
      const id = answer.json().data.taskRunId;
      assert.equal((await server.run(id)).status, "suspended_waiting_child");
      // A long poll that began before the end is answered by the end, not by its deadline.
      const began = Date.now();
      const poll = server.get(`/runs/${id}?wait=20`);
      const polls = Array.from({ length: 5 }, () => server.get(`/runs/${id}?wait=20`));
      hold.open();
      assert.equal((await poll).result, "held-1");
      for (const one of polls) assert.equal((await one).status, "completed");
      assert.ok(Date.now() - began < 10_000);
    });
    it("wait=1 on a run that does not end answers what it is", async () => {
      const hold = gate();
      sink.behave = (entry) => (entry.label === "held-2" ? hold.passed : undefined);
      const id = await server.submit("held", { url: sink.url, n: 2 });
      const began = Date.now();
      const run = await server.get(`/runs/${id}?wait=1`);
      assert.equal(run.status, "suspended_waiting_child");
      assert.ok(Date.now() - began >= 900 && Date.now() - began < 5_000);
      const stack = await server.stack(id);
      assert.equal(run.waiting_on_stack_run_id, stack[1].id);
      hold.open();
      await server.ended(id);
    });
    it("a delayed run begins no earlier", async () => {
      const began = Date.now();
      const answer = await server.execute("echo", { d: 1 }, { options: { delay_ms: 400 }, waitS: 20 });
      assert.equal(answer.json().data.status, "completed");
      assert.ok(Date.now() - began >= 400, `${Date.now() - began} ms`);
    });
    it("a manual POST /stack/process reports what it did", async () => {
      const id = await server.submit("echo", {}, { options: { delay_ms: 60_000 } });
      const { root_stack_run_id: root } = await server.run(id);
      const answer = await server.request("POST", "/stack/process", { json: { stackRunId: root } });
      assert.equal(answer.status, 200);
      assert.equal(answer.json().data.status, "not_runnable");
      assert.equal((await server.request("POST", `/runs/${id}/cancel`)).json().status, "cancelled");
    });
  });

  describe("looking", () => {
    it("the stack shows every call in order, with where it was made", async () => {
      await server.publish("shown", [
        "module.exports = async function (input) {",
        "  await services.echo.echo({ first: 1 });",
        "  try {",
        "    await __callHostTool__('echo', 'fail', [{ code: 'c', message: 'm' }], { timeoutMs: 5000 });",
        "  } catch {}",
        "  return 'done';",
        "};",
      ].join("\n"));
      const run = await server.complete("shown", {});
      assert.deepEqual([run.task, run.version, run.calls, run.outcomes], ["shown", 1, 2, 2]);
      const [root, first, second] = await server.stack(run.id);
      assert.deepEqual([root.seq, root.status, root.id], [0, "completed", run.root_stack_run_id]);
      assert.deepEqual([first.seq, first.service, first.method, first.status, first.source_line, first.delivered_as], [1, "echo", "echo", "completed", 2, 1]);
      assert.deepEqual([first.args, first.result], [[{ first: 1 }], { first: 1 }]);
      assert.deepEqual([second.seq, second.status, second.source_line, second.attempt], [2, "failed", 4, 1]);
      assert.deepEqual(second.options, { timeoutMs: 5000 });
      assert.equal(second.error.code, "c");
      assert.equal(first.parent_stack_run_id, root.id);
      assert.deepEqual(await server.get(`/stack/${first.id}`), first);
      const page = await server.get(`/runs/${run.id}/stack?from=1&limit=1`);
      assert.deepEqual([page.stack.map((row) => row.seq), page.next_from], [[1], 2]);
    });
    it("runs are listed newest first, page by page, without loss or double", async () => {
      await server.publish("listed", "module.exports = async (input) => input;");
      const ids = [];
      for (let i = 0; i < 23; i++) ids.push(await server.submit("listed", { i }));
      for (const id of ids) await server.ended(id);
      const seen = [];
      for (let cursor = ""; ;) {
        const page = await server.get(`/runs?task=listed&limit=5${cursor}`);
        seen.push(...page.runs.map((run) => run.id));
        // New ones that come meanwhile do not disturb the pages.
        if (seen.length === 5) await server.complete("listed", { late: true });
        if (page.next_cursor === null) break;
        cursor = `&cursor=${page.next_cursor}`;
      }
      assert.deepEqual(seen, [...ids].reverse());
      const completed = await server.get("/runs?status=completed&task=listed&limit=1000");
      assert.equal(completed.runs.length, 24);
      assert.equal("input" in completed.runs[0], false, "a list carries no payloads");
      assert.deepEqual((await server.get("/runs?status=paused")).runs, []);
      assert.deepEqual((await server.get("/runs?task=no-such")).runs, []);
    });
    it("tasks are listed and shown, every version", async () => {
      await server.request("PUT", "/tasks/described", { json: { code: "module.exports = async () => 1;", description: "what it does", input_schema: { type: "object" } } });
      await server.request("PUT", "/tasks/described", { body: "export default async () => 2;", headers: { "content-type": "text/javascript" } });
      const task = await server.get("/tasks/described");
      assert.deepEqual([task.version, task.versions.sort(), task.code], [2, [1, 2], "export default async () => 2;"]);
      const old = await server.get("/tasks/described?version=1");
      assert.deepEqual([old.version, old.description, old.input_schema], [1, "what it does", { type: "object" }]);
      const { tasks } = await server.get("/tasks");
      assert.equal(tasks.filter((one) => one.name === "described").length, 1);
      assert.ok(tasks.every((one) => !("code" in one)));
      assert.equal((await server.complete("described", {})).result, 2);
    });
    it("secrets go in and never come out", async () => {
      const value = "s3cret-\u0000\"ü";
      assert.equal((await server.request("PUT", "/keystore/apart/TOKEN", { json: { value } })).status, 204);
      assert.equal((await server.request("PUT", "/keystore/apart/TOKEN", { json: { value: `${value}2` } })).status, 204);
      const { entries } = await server.get("/keystore/apart");
      assert.deepEqual(entries.map(({ namespace, key, version }) => ({ namespace, key, version })), [{ namespace: "apart", key: "TOKEN", version: 2 }]);
      assert.ok(!JSON.stringify(entries).includes("s3cret"));
      assert.equal((await server.get("/keystore")).entries.length, 1);
      await server.publish("keys", `module.exports = async () => [await services.keystore.hasKey("apart", "TOKEN"), await services.keystore.listKeys("apart"),
        await services.keystore.listNamespaces(), await services.keystore.getKey("apart", "TOKEN").catch((error) => error.code),
        await services.keystore.setKey("apart", "X", "y").catch((error) => error.code)];`);
      assert.deepEqual((await server.complete("keys", {})).result, [true, ["TOKEN"], ["apart"], "forbidden", "forbidden"]);
      assert.equal((await server.request("DELETE", "/keystore/apart/TOKEN")).status, 204);
      assert.deepEqual((await server.get("/keystore")).entries, []);
    });
  });

  describe("stopping", () => {
    it("cancel ends a run that waits, and its calls", async () => {
      const hold = gate();
      sink.behave = (entry) => (entry.label === "held-3" ? hold.passed : undefined);
      const id = await server.submit("held", { url: sink.url, n: 3 });
      await until("the call", () => sink.count("held-3") === 1);
      const poll = server.get(`/runs/${id}?wait=20`);
      const answer = await server.request("POST", `/runs/${id}/cancel`, { json: { force: true } });
      assert.deepEqual([answer.status, answer.json().status, answer.json().error.code], [200, "cancelled", "cancelled"]);
      assert.equal((await poll).status, "cancelled");
      hold.open();
      const again = await server.request("POST", `/runs/${id}/cancel`);
      assert.deepEqual([again.status, again.json().code], [409, "conflict"]);
      assert.equal((await server.request("POST", `/runs/${id}/resume`)).status, 409);
      assert.equal((await server.request("POST", `/runs/${id}/pause`)).status, 409);
      await until("nothing in flight", async () => (await server.get("/stats")).in_flight === 0);
      assert.equal(sink.count("after-3"), 0);
      assert.equal((await server.run(id)).status, "cancelled");
    });
    it("pause holds a run, and resume lets it go on where it was", async () => {
      const hold = gate();
      sink.behave = (entry) => (entry.label === "held-4" ? hold.passed : undefined);
      const id = await server.submit("held", { url: sink.url, n: 4 });
      await until("the call", () => sink.count("held-4") === 1);
      const paused = await server.request("POST", `/runs/${id}/pause`);
      assert.deepEqual([paused.json().status, paused.json().pause_reason], ["paused", "operator"]);
      hold.open();
      // A call under way still records; nothing more begins.
      await until("the outcome", async () => (await server.run(id)).outcomes === 1);
      assert.equal((await server.request("POST", `/runs/${id}/pause`)).status, 409);
      assert.equal((await server.run(id)).status, "paused");
      assert.equal(sink.count("after-4"), 0);
      const resumed = await server.request("POST", `/runs/${id}/resume`);
      assert.equal(resumed.status, 200);
      assert.equal((await server.ended(id)).result, "held-4");
      assert.deepEqual([sink.count("held-4"), sink.count("after-4")], [1, 1]);
    });
    it("a paused run stays paused over a restart", async () => {
      const id = await server.submit("echo", { p: 1 }, { options: { delay_ms: 300 } });
      await server.request("POST", `/runs/${id}/pause`);
      await server.restart();
      assert.equal((await server.run(id)).status, "paused");
      await server.request("POST", `/runs/${id}/resume`);
      assert.deepEqual((await server.ended(id)).result, { p: 1 });
    });
  });

  it("the history is sound, and clearing it leaves the tasks", { timeout: 30_000 }, async () => {
    sink.behave = undefined;
    const { runs } = await server.check();
    await server.start();
    const cleared = await server.request("POST", "/db/clear", { json: { confirm: "clear" } });
    assert.deepEqual([cleared.status, cleared.json().deleted_runs], [200, runs.length]);
    assert.deepEqual((await server.get("/runs")).runs, []);
    server.acknowledged.clear();
    server.samples = [];
    assert.deepEqual((await server.complete("echo", { after: 1 })).result, { after: 1 });
  });
});
