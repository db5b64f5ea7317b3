// Tasks that start tasks: what comes back, what is cancelled with what, and trees that are wide or deep.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cli } from "../support/js/cli.mjs";
import { Server, STORE } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const WIDE = Number(process.env.SEQUENTIAL_TEST_WIDE ?? 2000);
const DEEP = 100;

/** Published everywhere below. */
const TASKS = {
  double: "module.exports = async ({ n }) => ({ doubled: n * 2 });",
  parent: "module.exports = async (input) => ({ got: await callTask(input.task, input.input, input.options) });",
  throws: `module.exports = async () => {
    const error = new RangeError("too far");
    error.code = "far_off";
    throw error;
  };`,
  catches: `module.exports = async ({ task, input, options }) => {
    try {
      return { got: await callTask(task, input, options) };
    } catch (error) {
      return {
        name: error.name, kind: error instanceof HostCallError, cancelled: error instanceof CancelledError,
        message: error.message, code: error.code, service: error.service, method: error.method, mine: /catches/.test(error.stack),
        cause: error.cause && { name: error.cause.name, message: error.cause.message, code: error.cause.code, stack: error.cause.stack },
      };
    }
  };`,
  wide: `module.exports = async ({ n }) => {
    const results = await Promise.all(Array.from({ length: n }, (_, i) => callTask("double", { n: i })));
    return results.reduce((sum, { doubled }) => sum + doubled, 0);
  };`,
  deep: `module.exports = async ({ levels }) => (levels === 0 ? 0 : 1 + await callTask("deep", { levels: levels - 1 }));`,
  detach: "module.exports = async (input) => startTask(input.task, input.input, input.options);",
  held: sinkTask(`return (await sink("held-" + input.name)).label;`),
  tree: sinkTask(`
    if (input.levels === 0) return (await sink(input.name)).label;
    const below = (n) => callTask("tree", { ...input, levels: input.levels - 1, name: input.name + "." + n });
    return await Promise.all([below(1), below(2)]);`),
  leaves: sinkTask(`
    callTask("held", { url: input.url, name: input.name });
    await sleep(1);
    return "gone";`),
};

function suite(title, settings, body) {
  describe(`${title} on ${STORE}`, () => {
    const world = {};
    before(async () => {
      world.sink = await openSink();
      world.server = new Server({
        settings: { "engine.processes": 1, "store.sweep_ms": 500, "services.http.allow_hosts": [world.sink.host], ...settings },
      });
      await world.server.start();
      for (const [name, code] of Object.entries(TASKS)) await world.server.publish(name, code);
    });
    after(async () => {
      await world.server?.destroy();
      await world.sink?.close();
    });
    body(world);
  });
}

const childrenOf = async (server, id) => (await server.get(`/runs?parent=${id}&limit=1000`)).runs;

/** Holds back the answers of all labels that match; answers how to let them go. */
function hold(sink, matches) {
  const held = gate();
  sink.behave = (entry) => (matches.test(entry.label) ? held.passed : undefined);
  return held;
}

function whatComesBack(world) {
  it("the child's result, whose run names its parent", async () => {
    const { server } = world;
    const run = await server.complete("parent", { task: "double", input: { n: 21 } });
    assert.deepEqual(run.result, { got: { doubled: 42 } });
    const [child, ...others] = await childrenOf(server, run.id);
    assert.deepEqual(others, []);
    const seen = await server.run(child.id);
    assert.deepEqual([seen.task, seen.status, seen.parent_run_id, seen.parent_seq, seen.depth], ["double", "completed", run.id, 1, 1]);
    const [, call] = await server.stack(run.id);
    assert.deepEqual([call.id, call.service, call.method, call.status], [seen.parent_stack_run_id, "tasks", "run", "completed"]);
    assert.equal((await server.run(run.id)).parent_run_id, undefined);
  });
  it("no input is an empty object, and any JSON comes through as it is", async () => {
    const { server } = world;
    await server.publish("same", "module.exports = async (input) => input;");
    await server.publish("each", `module.exports = async () => [
      await callTask("same"), await callTask("same", null), await callTask("same", [1, { a: "\\ud800" }, "input\\":"]), await callTask("same", 0)];`);
    assert.deepEqual((await server.complete("each", {})).result, [{}, null, [1, { a: "\ud800" }, 'input":'], 0]);
  });
  it("the child's error, with what it threw as the cause", async () => {
    const { result } = await world.server.complete("catches", { task: "throws" });
    const { stack, ...cause } = result.cause;
    assert.deepEqual({ ...result, cause }, {
      name: "HostCallError", kind: true, cancelled: false, message: "too far", code: "far_off", service: "tasks", method: "run",
      mine: true, cause: { name: "RangeError", message: "too far", code: "far_off" },
    });
    assert.match(stack, /^RangeError: too far\n {4}at .*throws/);
  });
  it("an error that nobody catches ends the whole line of parents, with every cause", async () => {
    const { server } = world;
    const id = await server.submit("parent", { task: "parent", input: { task: "throws" } });
    const run = await server.ended(id);
    assert.equal(run.status, "failed");
    assert.deepEqual([run.error.message, run.error.code, run.error.cause.name, run.error.cause.cause.name], ["too far", "far_off", "HostCallError", "RangeError"]);
  });
  it("a task that does not exist, options that do not and names that are none are errors to be caught", async () => {
    const { server } = world;
    const of = async (input) => (await server.complete("catches", input)).result;
    assert.equal((await of({ task: "nobody" })).code, "task_not_found");
    assert.equal((await of({ task: "double", options: { version: 7 } })).code, "task_not_found");
    for (const options of [{ verson: 1 }, { version: 0 }, { priority: "high" }, { tags: "x" }, { delayMs: -1 }, { idempotencyKey: "k" }]) {
      assert.equal((await of({ task: "double", options })).code, "invalid_arguments", JSON.stringify(options));
    }
    assert.equal((await of({ task: 7 })).name, "TypeError");
    assert.equal((await of({ task: "double", options: "x" })).name, "TypeError");
  });
  it("version, priority, tags and delay are those asked for; the priority is else the parent's", async () => {
    const { server } = world;
    await server.publish("versioned", "module.exports = async () => 1;");
    await server.publish("versioned", "module.exports = async () => 2;");
    const options = { version: 1, priority: -4, tags: { a: 1 }, delayMs: 50 };
    const run = await server.complete("parent", { task: "versioned", options }, { options: { priority: 9 } });
    assert.deepEqual(run.result, { got: 1 });
    const [child] = await childrenOf(server, run.id);
    assert.deepEqual([child.version, child.priority, child.tags], [1, -4, { a: 1 }]);
    assert.ok(Date.parse(child.started_at) - Date.parse(child.created_at) >= 50);
    const other = await server.complete("parent", { task: "versioned" }, { options: { priority: 9 } });
    assert.deepEqual((await childrenOf(server, other.id)).map(({ priority, version }) => [priority, version]), [[9, 2]]);
  });
  it("any JSON that a task calls the service with itself gets an answer, and never more than one run", async () => {
    const { server } = world;
    await server.publish("raw", `module.exports = async ({ args }) => {
      const codes = [];
      for (const one of args) codes.push(await __callHostTool__("tasks", "run", one).then(() => "ran", (error) => error.code));
      return codes;
    };`);
    const args = [[], ["double"], [{}], [{ task: "double" }, { task: "double" }], [[{ task: "double" }]], [{ task: "double", more: 1 }],
      [{ task: { a: 1 } }], [{ task: "double", options: [] }], [{ task: "double", input: { n: 1 } }]];
    const run = await server.complete("raw", { args });
    assert.deepEqual(run.result, [...args.slice(1).map(() => "invalid_arguments"), "ran"]);
    assert.equal((await childrenOf(server, run.id)).length, 1);
  });
}

function cancellation(world) {
  it("cancelling a run cancels what it waits for, down the tree", async () => {
    const { server, sink } = world;
    const held = hold(sink, /^c1/);
    const id = await server.submit("tree", { url: sink.url, levels: 3, name: "c1" });
    await until("eight leaves at the sink", () => sink.entries.filter(({ label }) => label.startsWith("c1")).length === 8);
    const cancelled = await server.request("POST", `/runs/${id}/cancel`);
    assert.equal(cancelled.status, 200);
    const below = [];
    const collect = async (parent) => {
      for (const child of await childrenOf(server, parent)) {
        below.push(child.id);
        await collect(child.id);
      }
    };
    await collect(id);
    assert.equal(below.length, 14);
    for (const child of below) {
      const run = await server.ended(child);
      assert.deepEqual([run.status, run.error.code], ["cancelled", "cancelled"]);
    }
    held.open();
  });
  it("a cancelled child is a CancelledError to its parent", async () => {
    const { server, sink } = world;
    const held = hold(sink, /^held-c2/);
    const id = await server.submit("catches", { task: "held", input: { url: sink.url, name: "c2" } });
    await until("the child to wait", () => sink.count("held-c2") === 1);
    const [child] = await childrenOf(server, id);
    await server.request("POST", `/runs/${child.id}/cancel`);
    const { result } = await server.ended(id);
    assert.deepEqual([result.name, result.cancelled, result.code], ["CancelledError", true, "cancelled"]);
    held.open();
  });
  it("a child that its parent never awaited goes on when the parent ends", async () => {
    const { server, sink } = world;
    const held = hold(sink, /^held-c3/);
    const run = await server.complete("leaves", { url: sink.url, name: "c3" });
    assert.equal(run.result, "gone");
    const [child] = await childrenOf(server, run.id);
    await until("the child to wait", () => sink.count("held-c3") === 1);
    held.open();
    assert.equal((await server.ended(child.id)).result, "held-c3");
  });
  it("a paused parent sees after its resume what its child came to", async () => {
    const { server, sink } = world;
    const held = hold(sink, /^held-c4/);
    const id = await server.submit("parent", { task: "held", input: { url: sink.url, name: "c4" } });
    await until("the child to wait", () => sink.count("held-c4") === 1);
    await server.request("POST", `/runs/${id}/pause`);
    await server.request("POST", `/runs/${id}/resume`);
    await server.request("POST", `/runs/${id}/pause`);
    held.open();
    const [child] = await childrenOf(server, id);
    await server.ended(child.id);
    assert.equal((await server.run(id)).status, "paused");
    await server.request("POST", `/runs/${id}/resume`);
    assert.deepEqual((await server.ended(id)).result, { got: "held-c4" });
    assert.equal(sink.count("held-c4"), 1);
  });
}

function detached(world) {
  it("startTask answers the run's id at once, and no cancellation follows", async () => {
    const { server, sink } = world;
    const held = hold(sink, /^held-d1/);
    const run = await server.complete("detach", { task: "held", input: { url: sink.url, name: "d1" } });
    const child = await server.run(run.result.runId);
    assert.equal(child.parent_run_id, undefined);
    assert.deepEqual(await childrenOf(server, run.id), []);
    held.open();
    assert.equal((await server.ended(child.id)).result, "held-d1");
  });
  it("an idempotency key means the same run as over HTTP", async () => {
    const { server } = world;
    const options = { idempotencyKey: "once" };
    const first = await server.complete("detach", { task: "double", input: { n: 1 }, options });
    const again = await server.complete("detach", { task: "double", input: { n: 1 }, options });
    assert.equal(first.result.runId, again.result.runId);
    const overHttp = await server.submit("double", { n: 1 }, { options: { idempotency_key: "once" } });
    assert.equal(overHttp, first.result.runId);
    const other = await server.ended(await server.submit("detach", { task: "double", input: { n: 2 }, options }));
    assert.equal(other.error.code, "idempotency_conflict");
  });
  it("nobody can take the keys that the server gives", async () => {
    const { server } = world;
    const answer = await server.execute("double", { n: 1 }, { options: { idempotency_key: "sequential:start:1:1" } });
    assert.deepEqual([answer.status, answer.json().code], [422, "invalid_field"]);
  });
}

suite("child tasks", {}, (world) => {
  describe("what comes back", () => whatComesBack(world));
  describe("cancellation", () => cancellation(world));
  describe("detached", () => detached(world));
  describe("looking", () => {
    it("children are listed newest first, in pages", async () => {
      const { server } = world;
      const run = await server.complete("wide", { n: 5 });
      const ids = (await childrenOf(server, run.id)).map(({ id }) => id);
      assert.deepEqual(ids, [...ids].sort((a, b) => b - a));
      const first = await server.get(`/runs?parent=${run.id}&limit=3`);
      const second = await server.get(`/runs?parent=${run.id}&limit=3&cursor=${first.next_cursor}`);
      assert.deepEqual([...first.runs, ...second.runs].map(({ id }) => id), ids);
      assert.equal(second.next_cursor, null);
      for (const query of ["parent=x", `parent=${run.id}&status=fialed`]) {
        assert.equal((await server.request("GET", `/runs?${query}`)).status, 422, query);
      }
    });
    it("runs show tells the parent and the children, runs list lists them", async () => {
      const { server } = world;
      const run = await server.complete("parent", { task: "double", input: { n: 1 } });
      const [child] = await childrenOf(server, run.id);
      const said = async (...args) => {
        const ended = await cli(server, args);
        assert.equal(ended.code, 0, ended.stderr);
        return ended.stdout;
      };
      assert.match(await said("runs", "show", String(child.id)), new RegExp(`^parent +run ${run.id}, call 1$`, "m"));
      assert.match(await said("runs", "show", String(run.id)), /^children +1 completed$/m);
      assert.match(await said("runs", "list", "--parent", String(run.id)), new RegExp(`^ *${child.id} +double`, "m"));
    });
  });
  describe("trees", () => {
    it(`${WIDE} children at once`, { timeout: 120_000 }, async (t) => {
      const { server } = world;
      const began = Date.now();
      const run = await server.complete("wide", { n: WIDE }, { ms: 100_000 });
      assert.equal(run.result, WIDE * (WIDE - 1));
      t.diagnostic(`${WIDE} children took ${Date.now() - began} ms`);
    });
    it(`${DEEP} levels`, { timeout: 60_000 }, async (t) => {
      const { server } = world;
      const began = Date.now();
      assert.equal((await server.complete("deep", { levels: DEEP })).result, DEEP);
      t.diagnostic(`${DEEP} levels took ${Date.now() - began} ms`);
    });
  });
});

suite("child tasks whose parents are evicted after every call", { "engine.evict_always": true }, (world) => {
  describe("what comes back", () => whatComesBack(world));
  it("a hundred wide and twenty deep", async () => {
    const { server } = world;
    assert.equal((await server.complete("wide", { n: 100 })).result, 9900);
    assert.equal((await server.complete("deep", { levels: 20 })).result, 20);
  });
});

suite("child tasks without the chain", { "chain.url": "http://127.0.0.1:9", "limits.child_depth": 5 }, (world) => {
  it("the sweep alone finishes a tree", { timeout: 60_000 }, async () => {
    const { server } = world;
    assert.equal((await server.complete("wide", { n: 5 }, { ms: 50_000 })).result, 20);
  });
  it("the depth has a limit, which the deepest task gets as an error", { timeout: 60_000 }, async () => {
    const { server } = world;
    assert.equal((await server.complete("deep", { levels: 5 }, { ms: 50_000 })).result, 5);
    const id = await server.submit("deep", { levels: 6 });
    const run = await server.ended(id, 50_000);
    assert.deepEqual([run.status, run.error.code], ["failed", "depth_limit"]);
    assert.match(run.error.message, /limits\.child_depth/);
  });
});
