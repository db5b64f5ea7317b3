// Task code end to end: what an author sees. Each case runs warm and with every resume a replay, and must not notice.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server } from "../support/js/server.mjs";
import { endpointCode } from "../support/js/workspace.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const plain = (body) => `module.exports = async function (input) {\n${body}\n};`;

// {code, input?, result} or {code, check(run, logs)}; logs: the messages that must be recorded.
const CASES = {
  "try, catch and finally see no suspension (F38)": {
    code: plain(`
      const order = [];
      async function inner() {
        try {
          order.push("try");
          order.push(await services.echo.echo("answer"));
          return "returned";
        } catch (error) {
          order.push("catch " + error);
          return 1;
        } finally {
          order.push(await services.echo.echo("finally"));
        }
      }
      order.push(await inner());
      return order;`),
    result: ["try", "answer", "finally", "returned"],
  },
  "a failing call is an ordinary exception": {
    code: plain(`
      const order = [];
      try {
        try {
          await services.echo.fail({ code: "E_CUSTOM", message: "it broke", status: 418, errors: [{ reason: "teapot" }] });
          order.push("not reached");
        } finally {
          order.push(await services.echo.echo("cleanup"));
        }
      } catch (error) {
        order.push([error.name, error instanceof HostCallError, error instanceof Error, error.code, error.message, error.status, error.service, error.method, error.errors]);
      }
      return order;`),
    result: ["cleanup", ["HostCallError", true, true, "E_CUSTOM", "it broke", 418, "echo", "fail", [{ reason: "teapot" }]]],
  },
  "a code that is a number stays one": {
    code: plain("try { await services.echo.fail({ code: 404, message: 'gone' }); } catch (error) { return [error.code, error.message]; }"),
    result: [404, "gone"],
  },
  "a slip in the call options is an error that can be caught, and no call is made": {
    code: plain(`
      const seen = [];
      for (const options of [{ timeoutms: 5 }, { bogus: 1 }, { retry: { attempst: 2 } }, { subject: "a@b.c" }]) {
        try { seen.push(await __callHostTool__("echo", "echo", ["called"], options)); } catch (error) { seen.push([error.code, error.message]); }
      }
      seen.push(await __callHostTool__("echo", "echo", ["called"], { timeoutMs: 5000, idempotent: true }));
      return seen;`),
    result: [
      ["invalid_arguments", "a call has no option timeoutms; did you mean timeoutMs?"],
      ["invalid_arguments", "a call has no option bogus; there are: delivery, timeoutMs, retry, idempotent"],
      ["invalid_arguments", "a call has no option retry.attempst; did you mean retry.attempts?"],
      ["invalid_arguments", "a call has no option subject; there are: delivery, timeoutMs, retry, idempotent"],
      "called",
    ],
  },
  "arguments that are not JSON: the error names the argument, and its stack begins with the task": {
    code: plain(`
      const seen = [];
      const cycle = { a: {} }; cycle.a.back = cycle;
      const own = new RangeError("on purpose");
      const attempts = [() => services.echo.echo(1, cycle), () => services.echo.echo(1n), () => __callHostTool__("echo", "echo", [0, { toJSON() { throw own; } }]),
        () => __callHostTool__("echo", "echo", [], { retry: 1n }), () => __callHostTool__("echo", 5), () => sleep("soon")];
      for (const attempt of attempts) {
        try { await attempt(); } catch (error) {
          const frames = error.stack.slice(error.stack.indexOf("\\n    at ")).trim().split("\\n");
          seen.push([error.name, error.message.split("\\n")[0], /case-.*js:/.test(frames[0]), error === own]);
        }
      }
      return seen;`),
    result: [
      ["TypeError", "argument 2 of echo.echo cannot be written as JSON: Converting circular structure to JSON", true, false],
      ["TypeError", "argument 1 of echo.echo cannot be written as JSON: Do not know how to serialize a BigInt", true, false],
      ["RangeError", "on purpose", true, true],
      ["TypeError", "the call options cannot be written as JSON: Do not know how to serialize a BigInt", true, false],
      ["TypeError", "the method of a host call must be a non-empty string or an array of strings", true, false],
      ["TypeError", "sleep takes a number of milliseconds or a valid Date", true, false],
    ],
  },
  "unknown services and methods are errors of the call": {
    code: plain(`
      const codes = [];
      for (const [service, method] of [["nothing", "x"], ["echo", "ecko"], ["http", "fetch"], ["timer", "sleep"]]) {
        try { await __callHostTool__(service, method, []); codes.push("called"); } catch (error) { codes.push(error.code); }
      }
      return codes;`),
    result: ["unknown_service", "unknown_method", "invalid_arguments", "invalid_arguments"],
  },
  "every way to make a call": {
    code: plain(`return [
      await __callHostTool__("echo", "echo", [1]), await __callHostTool__("echo", ["echo"], [2]), await __callHostTool__("echo", "echo", 3),
      await services.echo.echo(4), await __callHostTool__("echo", "echo"), await services.echo.echo(undefined), await services["echo"]["echo"]({ a: undefined }),
    ];`),
    result: [1, 2, 3, 4, null, null, {}],
  },
  "a rejected call without a handler ends the run with it": {
    code: plain("const x = services.echo.fail({ code: 'late', message: 'nobody caught me' });\nawait x;\nreturn 1;"),
    check(run) {
      assert.equal(run.status, "failed");
      assert.deepEqual([run.error.name, run.error.code, run.error.message], ["HostCallError", "late", "nobody caught me"]);
      assert.match(run.error.stack, /case-\d+\.js:2:/);
    },
  },
  "a task that throws shows its own stack": {
    code: "const helper = (value) => {\n  return value.missing.deeper;\n};\nmodule.exports = async function shown(input) {\n  await services.echo.echo(1);\n  return helper(input);\n};",
    check(run) {
      assert.equal(run.status, "failed");
      assert.equal(run.error.name, "TypeError");
      assert.equal(run.error.code, "task_error");
      const lines = run.error.stack.split("\n");
      assert.match(lines[0], /^TypeError: Cannot read propert/);
      assert.match(lines[1], /^ {4}at helper \(case-\d+\.js:2:24\)$/);
      assert.match(lines[2], /^ {4}at (async )?(Object\.)?(module\.exports|shown) \(case-\d+\.js:6:10\)$/);
      assert.ok(!/node:|bootstrap|sequential:|<anonymous>:/.test(run.error.stack), `nothing of ours is in it: ${run.error.stack}`);
    },
  },
  "causes are recorded": {
    code: plain("throw new RangeError('outer', { cause: new TypeError('inner', { cause: 'text' }) });"),
    check(run) {
      assert.deepEqual([run.error.name, run.error.message, run.error.cause.name, run.error.cause.message], ["RangeError", "outer", "TypeError", "inner"]);
    },
  },
  "Promise.all of 200 calls, in program order": {
    code: plain(`
      const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => services.echo.echo({ i })));
      return answers.map((answer) => answer.i);`),
    result: Array.from({ length: 200 }, (_, i) => i),
    rows: 200,
  },
  "Promise.allSettled and any": {
    code: plain(`
      const settled = await Promise.allSettled([services.echo.echo(1), services.echo.fail({ code: "no", message: "m" }), services.echo.echo(2)]);
      const any = await Promise.any([services.echo.fail({ code: "a", message: "a" }), services.echo.echo("any")]);
      let none;
      try { await Promise.any([services.echo.fail({ code: "x", message: "x" }), services.echo.fail({ code: "y", message: "y" })]); }
      catch (error) { none = [error.constructor.name, error.errors.map((one) => one.code)]; }
      return [settled.map((one) => one.status === "fulfilled" ? one.value : one.reason.code), any, none];`),
    result: [[1, "no", 2], "any", ["AggregateError", ["x", "y"]]],
  },
  "a race against sleep": {
    code: plain(`
      const fast = await Promise.race([sleep(5000).then(() => "slow"), services.echo.echo("fast")]);
      const timeout = await Promise.race([sleep(30).then(() => "timeout"), sleep(60000)]);
      return [fast, timeout];`),
    result: ["fast", "timeout"],
  },
  "nested parallel work": {
    code: plain(`
      const sum = async (n) => n === 0 ? await services.echo.echo(1) : (await Promise.all([sum(n - 1), sum(n - 1)])).reduce((a, b) => a + b);
      return sum(5);`),
    result: 32, rows: 32,
  },
  "for await, generators, closures and classes over suspensions": {
    code: plain(`
      async function* pages() { let page = 1; while (page <= 3) { yield await services.echo.echo([page, page * 10]); page++; } }
      class Total { #sum = 0; add(n) { this.#sum += n; return this; } get sum() { return this.#sum; } }
      const total = new Total();
      for await (const page of pages()) for (const n of page) total.add(await services.echo.echo(n));
      const map = new Map([["a", 1]]); const set = new Set([1]); const when = new Date(0); const big = 10n ** 20n; const bytes = new Uint8Array([1, 2]);
      await services.echo.echo("suspend");
      return [total.sum, map.get("a"), set.has(1), when.toISOString(), String(big), bytes[1]];`),
    result: [66, 1, true, "1970-01-01T00:00:00.000Z", "100000000000000000000", 2],
  },
  "sleep sleeps, and the clock shows it": {
    code: plain(`
      const began = Date.now();
      const still = Date.now();
      await sleep(120);
      const slept = Date.now() - began;
      await sleep(new Date(Date.now() + 80));
      return [began === still, slept >= 120, slept < 10000, Date.now() - began >= 200, new Date().getTime() === Date.now(), performance.now() === Date.now() - performance.timeOrigin];`),
    result: [true, true, true, true, true, true],
  },
  "timers": {
    code: plain(`
      const order = [];
      await new Promise((resolve) => {
        const cancelled = setTimeout(() => order.push("cancelled"), 1);
        clearTimeout(cancelled);
        let ticks = 0;
        const interval = setInterval(() => { order.push("tick" + ++ticks); if (ticks === 3) { clearInterval(interval); resolve(); } }, 20);
      });
      await new Promise((resolve) => setTimeout((a, b) => { order.push(a + b); resolve(); }, 1, "a", "b"));
      return order;`),
    result: ["tick1", "tick2", "tick3", "ab"],
  },
  "the run knows itself": {
    code: plain("await services.echo.echo(1); return [typeof task.id, task.name.startsWith('case-'), task.version, Math.abs(new Date(task.started) - Date.now()) < 60000, Object.isFrozen(task)];"),
    result: ["number", true, 1, true, true],
  },
  "web APIs": {
    code: plain(`
      await services.echo.echo(1);
      const url = new URL("../x?q=a b#h", "https://example.com/a/b/c");
      const params = new URLSearchParams({ a: "1 2" });
      params.append("b", "ü");
      const controller = new AbortController();
      controller.abort();
      const copy = structuredClone({ when: new Date(5), map: new Map([[1, { a: [2] }]]) });
      return [url.href, String(params), new TextDecoder().decode(new TextEncoder().encode("ü😀")), atob(btoa("abc")), controller.signal.aborted,
        copy.when.getTime(), copy.map.get(1).a[0], crypto.getRandomValues(new Uint8Array(4)).length, /^[0-9a-f-]{36}$/.test(crypto.randomUUID()),
        new Intl.NumberFormat("en-US").format(1234.5), new Date(0).toLocaleDateString("en-US", { timeZone: "UTC" })];`),
    result: ["https://example.com/a/x?q=a%20b#h", "a=1+2&b=%C3%BC", "ü😀", "abc", true, 5, 2, 4, true, "1,234.5", "1/1/1970"],
  },
  "log lines once each, in order": {
    code: plain(`
      console.log("start", { a: [1, "x"] });
      for (let i = 0; i < 5; i++) { console.info("before " + i); await services.echo.echo(i); console.warn("after " + i); }
      await Promise.all([1, 2, 3].map(async (n) => { await services.echo.echo(n); console.debug("parallel " + n); }));
      console.error(new Error("shown").message);
      return "ok";`),
    check(run, logs) {
      assert.equal(run.result, "ok");
      const messages = logs.map((entry) => entry.message);
      assert.equal(messages[0], "start { a: [ 1, 'x' ] }");
      const loop = [0, 1, 2, 3, 4].flatMap((i) => [`before ${i}`, `after ${i}`]);
      assert.deepEqual(messages.slice(1, 11), loop);
      assert.deepEqual(messages.slice(11, 14).sort(), ["parallel 1", "parallel 2", "parallel 3"]);
      assert.equal(messages[14], "shown");
      assert.equal(messages.length, 15);
      assert.deepEqual([1, 2, 11, 14].map((i) => logs[i].level), ["info", "warn", "debug", "error"]);
      assert.deepEqual(logs.map((entry) => entry.n), messages.map((_, i) => i + 1));
    },
  },
  "chance and clock repeat themselves in a replay": {
    // Whatever a replay drew otherwise would be another argument, and pause the run as divergent.
    code: plain(`
      const seen = [];
      for (let i = 0; i < 30; i++) {
        const drawn = [Math.random(), crypto.randomUUID(), Date.now(), new Date().toISOString(), performance.now(), crypto.getRandomValues(new Uint32Array(2)).join()];
        await services.echo.echo(drawn);
        seen.push(drawn[1]);
        if (i % 7 === 0) await sleep(2);
      }
      return new Set(seen).size;`),
    result: 30,
  },
  "a task that waits for nothing": {
    code: plain("await new Promise(() => {}); return 1;"),
    check(run) {
      assert.equal(run.status, "failed");
      assert.equal(run.error.code, "deadlock");
    },
  },
  "a result that cannot be written as JSON": {
    code: plain("const result = { deep: [1] }; result.deep.push(result); return result;"),
    check(run) {
      assert.equal(run.status, "failed");
      assert.equal(run.error.name, "TypeError");
      assert.match(run.error.message, /^the result cannot be written as JSON: Converting circular structure/);
      assert.ok(!/stringify|sequential:/.test(run.error.stack), run.error.stack);
      assert.equal(run.error.cause, undefined);
    },
  },
  "a result whose toJSON throws: the error is the task's own": {
    code: plain("return { toJSON() { throw new RangeError('on purpose'); } };"),
    check(run) {
      assert.deepEqual([run.error.name, run.error.message], ["RangeError", "on purpose"]);
      assert.match(run.error.stack, /case-\d+\.js:2/);
    },
  },
  "results that are not JSON": { code: plain("return { when: new Date(0), not: undefined, fn() {}, nan: NaN, nested: [undefined] };"), result: { when: "1970-01-01T00:00:00.000Z", nan: null, nested: [null] } },
  "a task that is not async": { code: "module.exports = function (input) { return input.n + 1; };", input: { n: 1 }, result: 2 },
  "a task that is an arrow": { code: "module.exports = async ({ n }) => (await services.echo.echo(n)) * 2;", input: { n: 4 }, result: 8 },
  "an ES module": { code: "const twice = (n) => 2 * n;\nexport const unused = 1;\nexport default async function (input) { return twice(await services.echo.echo(input.n)); }", input: { n: 5 }, result: 10 },
  "exports.default": { code: "exports.default = async (input) => input;", input: 3, result: 3, optional: true },
};

for (const evict of [false, true]) {
  describe(`task code, ${evict ? "every resume a replay" : "warm"}`, () => {
    let server;
    before(async () => {
      server = new Server({ settings: { "engine.processes": 1, "engine.evict_always": evict } });
      await server.start();
    });
    after(() => server.destroy());

    Object.entries(CASES).forEach(([name, { code, input = {}, result, check, rows, optional }], index) => {
      it(name, { timeout: 40_000 }, async () => {
        const task = `case-${index}`;
        if (optional) {
          const published = await server.request("PUT", `/tasks/${task}`, { json: { code } });
          assert.ok([201, 422].includes(published.status), published.text);
          if (published.status === 422) return;
        } else {
          await server.publish(task, code);
        }
        const run = await server.ended(await server.submit(task, input));
        if (check) return check(run, await server.logs(run.id));
        assert.equal(run.status, "completed", JSON.stringify(run).slice(0, 3000));
        assert.deepEqual(run.result, result);
        if (rows) assert.equal((await server.stack(run.id)).length, rows + 1);
      });
    });

    it("resumes as it should", { timeout: 20_000 }, async () => {
      const { engine } = await server.get("/stats");
      if (evict) assert.ok(engine.replays > 50, JSON.stringify(engine));
      else assert.equal(engine.replays, 0, JSON.stringify(engine));
      assert.equal(engine.deaths, 0);
      await server.check();
    });
  });
}

describe("the endpoints that come with the product", () => {
  it("hello-world, countdown, many-calls, try-catch-finally", { timeout: 60_000 }, async () => {
    const server = new Server({ settings: { "engine.processes": 1 } });
    try {
      await server.start();
      for (const name of ["hello-world", "countdown", "many-calls", "try-catch-finally"]) await server.publish(name, endpointCode(name));
      assert.deepEqual((await server.complete("hello-world", { name: "tests" })).result, { greeting: "Hello, tests!" });
      assert.equal((await server.complete("countdown", { from: 3, seconds: 0.05 })).result.counted, 3);
      assert.deepEqual((await server.complete("many-calls", { calls: 30 })).result, { calls: 30, sum: 465 });
      assert.deepEqual((await server.complete("try-catch-finally", {})).result.steps, ["try", "catch", "finally"]);
      assert.deepEqual((await server.complete("try-catch-finally", { fail: false })).result.steps, ["try", "after the call", "finally"]);
      const failed = await server.ended(await server.submit("many-calls", { calls: -1 }));
      assert.match(failed.error.stack, /many-calls\.js:\d+:\d+/);
      await server.check();
    } finally {
      await server.destroy();
    }
  });
});

describe("services that fail", () => {
  it("a refused connection, a broken one, a late one, a wrong status", { timeout: 60_000 }, async () => {
    const sink = await openSink();
    const server = new Server({ settings: { "engine.processes": 1, "services.http.allow_hosts": ["127.0.0.1"] } });
    try {
      sink.behave = (entry) => ({ drop: "drop", late: "hang", bad: { status: 500, body: "broken" } })[entry.label];
      await server.start();
      await server.publish("failing", `module.exports = async function ({ url, closed }) {
        const call = (label, more) => __callHostTool__("http", "fetch", [{ url: label.startsWith("http") ? label : url + "/" + label, method: "POST", body: "x" }], more);
        const out = {};
        const note = async (name, attempt) => {
          try { out[name] = (await attempt()).status; } catch (error) { out[name] = [error.name, error.code]; }
        };
        await note("closed", () => call(closed, { retry: false }));
        await note("drop", () => call("drop", { retry: false }));
        await note("once", () => call("drop", { delivery: "at_most_once" }));
        await note("late", () => call("late", { timeoutMs: 200, retry: false }));
        await note("lateOnce", () => call("late", { timeoutMs: 200, delivery: "at_most_once" }));
        await note("bad", () => call("bad"));
        await note("fetch", () => fetch(closed));
        return out;
      };`);
      const closed = await openSink();
      await closed.close();
      const run = await server.complete("failing", { url: sink.url, closed: closed.url });
      assert.deepEqual(run.result, {
        closed: ["HostCallError", "service_unavailable"], drop: ["HostCallError", "service_unavailable"],
        once: ["OutcomeUnknownError", "outcome_unknown"], late: ["TimeoutError", "timeout"],
        lateOnce: ["OutcomeUnknownError", "outcome_unknown"], bad: 500, fetch: ["TypeError", "service_unavailable"],
      });
      await server.check();
    } finally {
      await server.destroy();
      await sink.close();
    }
  });

  it("what may pass is tried again under the same key, what may not is not", { timeout: 60_000 }, async () => {
    const sink = await openSink();
    const server = new Server({ settings: { "engine.processes": 1, "services.http.allow_hosts": [sink.host] } });
    try {
      sink.behave = (entry) => (entry.arrival <= 2 && entry.label.startsWith("flaky") ? "drop" : undefined);
      await server.start();
      await server.publish("retries", sinkTask(`
        const retry = { attempts: 4, backoffMs: 10, maxBackoffMs: 20 };
        const good = await sink("flaky-idempotent", { idempotent: true, retry });
        let bad;
        try { await sink("flaky-not", { retry }); } catch (error) { bad = error.code; }
        let spent;
        sinkUrl = sinkUrl.replace(/\\d+$/, "1");
        try { await sink("closed", { retry: { attempts: 3, backoffMs: 5 } }); } catch (error) { spent = error.code; }
        return [good.arrival, bad, spent];`));
      const run = await server.complete("retries", { url: sink.url });
      assert.equal(run.result[0], 3);
      assert.equal(run.result[1], "service_unavailable");
      assert.deepEqual([sink.count("flaky-idempotent"), sink.count("flaky-not")], [3, 1]);
      assert.equal(new Set(sink.of("flaky-idempotent").map((entry) => entry.key)).size, 1);
      const [, first] = await server.stack(run.id);
      assert.deepEqual([first.attempt, first.attempts.map((one) => one.outcome)], [3, ["failed", "failed", "completed"]]);
      await server.check();
    } finally {
      await server.destroy();
      await sink.close();
    }
  });

  it("50 calls answered in reverse: results in program order, one resume each", { timeout: 60_000 }, async () => {
    const sink = await openSink();
    const server = new Server({ settings: { "engine.processes": 1, "services.http.allow_hosts": [sink.host] } });
    try {
      const gates = new Map();
      sink.behave = (entry) => {
        gates.set(entry.label, gate());
        return gates.get(entry.label).passed;
      };
      await server.start();
      await server.publish("reverse", sinkTask(`
        const order = [];
        const answers = await Promise.all(Array.from({ length: 50 }, async (_, i) => { const answer = await sink(String(i)); order.push(i); return answer.label; }));
        return { order, answers };`));
      const id = await server.submit("reverse", { url: sink.url });
      await until("all calls", () => gates.size === 50);
      for (let i = 49; i >= 0; i--) {
        gates.get(String(i)).open();
        await until(`outcome of ${i}`, async () => (await server.run(id)).outcomes >= 50 - i);
      }
      const run = await server.ended(id);
      const forward = Array.from({ length: 50 }, (_, i) => i);
      assert.deepEqual(run.result, { order: [...forward].reverse(), answers: forward.map(String) });
      await server.check({ sink });
    } finally {
      await server.destroy();
      await sink.close();
    }
  });
});

describe("forms", () => {
  it("what a task sends is what others read, and a replay makes the same bytes", { timeout: 60_000 }, async () => {
    const sink = await openSink();
    const server = new Server({ settings: { "engine.processes": 1, "engine.evict_always": true, "services.http.allow_hosts": [sink.host] } });
    try {
      await server.start();
      await server.publish("sends", `module.exports = async ({ url }) => {
        const form = new FormData();
        form.append("name \\"x\\"", "añ\\nb");
        form.append("file", new File([new Uint8Array([0, 255, 13, 10]), "€"], "bild.bin", { type: "image/x" }));
        await fetch(url + "/first", { method: "POST", body: form });
        await sleep(1);
        await fetch(url + "/second", { method: "POST", body: form });
        await sleep(1);
        await fetch(url + "/blob", { method: "PUT", body: new Blob(["hi"], { type: "text/x" }) });
        return (await new Response(form).formData()).get("file").size;
      };`);
      const run = await server.complete("sends", { url: sink.url });
      assert.equal(run.result, 7);
      const types = [];
      for (const label of ["first", "second"]) {
        const [{ bytes, headers }, ...more] = sink.of(label);
        assert.deepEqual(more, []);
        types.push(headers["content-type"]);
        const form = await new Response(bytes, { headers: { "content-type": headers["content-type"] } }).formData();
        assert.deepEqual([...form.keys()], ['name "x"', "file"]);
        assert.equal(form.get('name "x"'), "añ\r\nb");
        const file = form.get("file");
        assert.deepEqual([file.name, file.type], ["bild.bin", "image/x"]);
        assert.deepEqual([...Buffer.from(await file.arrayBuffer())], [0, 255, 13, 10, ...Buffer.from("€")]);
      }
      assert.notEqual(types[0], types[1]);
      const [{ bytes, headers }] = sink.of("blob");
      assert.deepEqual([bytes.toString(), headers["content-type"]], ["hi", "text/x"]);
      await server.check({ sink });
    } finally {
      await server.destroy();
      await sink.close();
    }
  });
});
