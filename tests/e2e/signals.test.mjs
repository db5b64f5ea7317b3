// Signals and webhooks through HTTP: what a run is told from outside, before it waits, while it does, and never twice.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cli } from "../support/js/cli.mjs";
import { Server } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";

const TASKS = {
  waits: `module.exports = async function (input) {
    try { return { got: await waitForSignal(input.name, { timeout: input.timeout }) }; }
    catch (error) { return { caught: [error.name, error.code, error instanceof TimeoutError] }; }
  };`,
  all: `module.exports = async (input) => Promise.all(Array.from({ length: input.n }, () => waitForSignal("go")));`,
  sends: `module.exports = async (input) => [await sendSignal(input.run, "go", { n: 1 }), await signal(input.run, "go")];`,
  wrong: `module.exports = async function () {
    const caught = [];
    for (const bad of [() => waitForSignal("a b"), () => waitForSignal(""), () => waitForSignal("x", { timeout: "1" }), () => waitForSignal("x", 5),
      () => sendSignal(0, "x"), () => sendSignal(1, "webhook:1"), () => sendSignal(1, "x", 1n), () => createWebhook({ method: "PUT" }),
      () => createWebhook({ expires: NaN }), () => createWebhook({ page: 1n }), () => createWebhook({ page: { choices: [] } }),
      () => createWebhook({ page: { html: "x" } }), () => waitForSignal("x", { timeuot: 1 }), () => waitForSignal("x", { signal: 1 }), () => createWebhook({ expire: 1 }), () => sendSignal(999999, "x")]) {
      await bad().then(() => caught.push("nothing"), (error) => caught.push(error.code ?? error.name));
    }
    return caught;
  };`,
  stops: `module.exports = async function () {
    const own = new AbortController();
    const first = waitForSignal("go", { signal: own.signal });
    await sleep(50);
    own.abort("enough");
    const why = await first.catch((error) => error);
    await waitForSignal("next");
    return [why, await waitForSignal("go", { timeout: 60000, signal: own.signal }).catch((error) => error), await waitForSignal("go")];
  };`,
  hook: `module.exports = async function (input) {
    const hook = await createWebhook(input.options);
    console.log(hook.url);
    try {
      const answers = await Promise.all([hook.wait(input.wait), hook.received]);
      return { same: JSON.stringify(answers[0]) === JSON.stringify(answers[1]), answer: await hook.wait(), token: hook.token, expires: +hook.expires };
    } catch (error) { return { caught: [error.name, error.code] }; }
  };`,
};

describe("signals and webhooks", () => {
  let server;
  before(async () => {
    server = new Server({ settings: { "engine.processes": 1, "limits.signals_kept": 3, "limits.signal_bytes": 2000 } });
    await server.start();
    for (const [name, code] of Object.entries(TASKS)) await server.publish(name, code);
  });
  after(() => server.destroy());

  const send = (run, name, json, headers) => server.request("POST", `/runs/${run}/signals/${name}`, { json, headers });
  const waiting = (run) => until(`run ${run} to wait`, async () => (await server.stack(run)).some((row) => row.method === "wait" && row.status === "pending"));
  /** The address that the run's task has logged. */
  const url = (run) => until(`run ${run} to log its address`, async () => (await server.logs(run))[0]?.message);
  const ask = (address, method, options = {}) => server.request(method, new URL(address).pathname + (options.query ?? ""), options);

  describe("signals", () => {
    it("one sent while the run waits reaches it; its answer says so", async () => {
      const run = await server.submit("waits", { name: "go" });
      await waiting(run);
      const sent = await send(run, "go", { a: 1.5, b: "ü" });
      assert.deepEqual([sent.status, sent.json().delivered], [202, true]);
      assert.deepEqual((await server.ended(run)).result, { got: { a: 1.5, b: "ü" } });
    });
    it("one sent before the wait is kept, shown, and taken in the order of sending", async () => {
      const run = await server.submit("all", { n: 2 }, { options: { delay_ms: 1500 } });
      for (const n of [1, 2, 3]) assert.equal((await send(run, "go", n)).json().delivered, false);
      assert.deepEqual((await server.get(`/runs/${run}/signals`)).signals.map(({ name, payload }) => [name, payload]), [["go", 1], ["go", 2], ["go", 3]]);
      assert.deepEqual((await server.ended(run)).result, [1, 2]);
      assert.deepEqual((await server.get(`/runs/${run}/signals`)).signals.map(({ payload }) => payload), [3]);
    });
    it("a wait in vain rejects with TimeoutError when its time is over", async () => {
      const { result, ended_at, created_at } = await server.complete("waits", { name: "never", timeout: 300 });
      assert.deepEqual(result, { caught: ["TimeoutError", "timeout", true] });
      assert.ok(Date.parse(ended_at) - Date.parse(created_at) >= 300);
    });
    it("a wait that its task has given up takes no signal", async () => {
      const run = await server.submit("stops");
      const calls = await until("the first wait to be cancelled", async () => {
        const rows = await server.stack(run);
        return rows.some((row) => row.method === "wait" && row.status === "cancelled") && rows;
      });
      assert.equal(calls.filter((row) => row.method === "wait").length, 2);
      await send(run, "go", "kept");
      await send(run, "next");
      assert.deepEqual((await server.ended(run)).result, ["enough", "enough", "kept"]);
    });
    it("a paused run is told, and sees it after its resume", async () => {
      const run = await server.submit("waits", { name: "go" });
      await waiting(run);
      assert.equal((await server.request("POST", `/runs/${run}/pause`)).status, 200);
      assert.deepEqual((await send(run, "go", "p")).json().delivered, true);
      assert.equal((await server.run(run)).status, "paused");
      assert.equal((await server.request("POST", `/runs/${run}/resume`)).status, 200);
      assert.deepEqual((await server.ended(run)).result, { got: "p" });
    });
    it("a task sends to another run, and none is sent twice under its key", async () => {
      const run = await server.submit("all", { n: 3 });
      assert.equal((await server.complete("sends", { run })).result.length, 2);
      for (const existing of [false, true, true]) {
        const sent = await send(run, "go", "k", { "idempotency-key": "one" });
        assert.deepEqual([sent.status, sent.json().existing], [202, existing]);
      }
      assert.equal((await send(run, "go", "other", { "idempotency-key": "one" })).json().code, "idempotency_conflict");
      assert.deepEqual((await server.ended(run)).result, [{ n: 1 }, null, "k"]);
    });
    it("sent at once, each is taken exactly once", async () => {
      const run = await server.submit("all", { n: 40 });
      await until("the run to wait", async () => (await server.stack(run)).filter((row) => row.status === "pending").length === 40);
      const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => send(run, "go", n)));
      assert.deepEqual(answers.filter((answer) => answer.status !== 202), []);
      const { result } = await server.ended(run);
      assert.deepEqual(result.toSorted((a, b) => a - b), Array.from({ length: 40 }, (_, n) => n));
    });
    it("what cannot be taken is refused for what it is", async () => {
      const run = await server.submit("waits", { name: "go" });
      const code = async (...args) => (await send(...args)).json().code;
      assert.equal(await code(999999, "go", 1), "run_not_found");
      assert.equal(await code(run, "a%20b", 1), "invalid_field");
      assert.equal((await server.request("POST", `/runs/${run}/signals/go`, { body: "{" })).json().code, "invalid_json");
      assert.equal(await code(run, "go", "x".repeat(2100)), "payload_too_large");
      for (let i = 0; i < 3; i++) assert.equal((await send(run, "x", i)).status, 202);
      assert.equal(await code(run, "x", 4), "signals_limit");
      await send(run, "go", 1);
      await server.ended(run);
      assert.equal(await code(run, "go", 1), "conflict");
    });
    it("mistakes are errors that the task can catch", async () => {
      const { result } = await server.complete("wrong", {});
      assert.deepEqual(result, ["TypeError", "TypeError", "TypeError", "TypeError", "TypeError", "TypeError", "TypeError", "TypeError", "TypeError",
        "TypeError", "invalid_arguments", "invalid_arguments", "TypeError", "TypeError", "TypeError", "run_not_found"]);
    });
    it("a restart loses no wait and no signal", async () => {
      const early = await server.submit("waits", { name: "go" });
      const late = await server.submit("all", { n: 2 });
      await waiting(early);
      await waiting(late);
      await send(late, "go", "before");
      await server.restart();
      assert.equal((await send(early, "go", 1)).json().delivered, true);
      await send(late, "go", "after");
      assert.deepEqual((await server.ended(early)).result, { got: 1 });
      assert.deepEqual((await server.ended(late)).result, ["before", "after"]);
    });
  });

  it("the command line sends them", async () => {
    const run = await server.submit("waits", { name: "go" });
    const sent = await cli(server, ["signal", String(run), "go", "--data", '{"cli":1}', "--idempotency-key", "c"]);
    assert.deepEqual([sent.code, /delivered|kept/.test(sent.stdout)], [0, true], sent.stderr);
    assert.deepEqual((await server.ended(run)).result, { got: { cli: 1 } });
    const again = await cli(server, ["--json", "signal", String(run), "go", "--data", '{"cli":1}', "--idempotency-key", "c"]);
    assert.deepEqual(again.json(), { delivered: true, existing: true });
    assert.equal((await cli(server, ["signal", String(run), "go"])).code, 5);
  });

  describe("webhooks", () => {
    it("one request answers every wait, the second is gone", async () => {
      const run = await server.submit("hook", {});
      const address = await url(run);
      assert.match(address, new RegExp(`^${server.url}/webhooks/[A-Za-z0-9_-]{32}$`));
      const first = await ask(address, "POST", { json: { ok: true }, query: "?a=1&a=2&b=%C3%BC+x", headers: { "x-sender": "me", authorization: "Bearer s", cookie: "c" } });
      assert.deepEqual([first.status, first.json()], [200, { accepted: true }]);
      const { result } = await server.ended(run);
      assert.equal(result.same, true);
      const { method, query, headers, body } = result.answer;
      assert.deepEqual([method, query, body, headers["x-sender"], headers.authorization, headers.cookie],
        ["POST", { a: ["1", "2"], b: "ü x" }, { ok: true }, "me", undefined, undefined]);
      for (const method of ["POST", "GET"]) {
        const second = await ask(address, method, method === "POST" ? { json: {} } : {});
        assert.deepEqual([second.status, second.json().code], [410, "webhook_gone"]);
        assert.ok(!second.text.includes(String(run)));
      }
    });
    it("of many at once one is taken", async () => {
      const run = await server.submit("hook", {});
      const address = await url(run);
      const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => ask(address, "POST", { json: n })));
      assert.deepEqual(answers.map((answer) => answer.status).toSorted(), [200, ...Array(19).fill(410)]);
      const { result } = await server.ended(run);
      assert.equal(answers[result.answer.body].status, 200);
    });
    it("only its methods count, and a HEAD is no answer", async () => {
      const run = await server.submit("hook", { options: { method: "GET" } });
      const address = await url(run);
      for (const method of ["HEAD", "POST", "PUT"]) assert.equal((await ask(address, method, { json: method === "HEAD" ? undefined : 1 })).status, 405);
      assert.equal((await ask(address, "GET", { query: "?x=1" })).status, 200);
      assert.deepEqual((await server.ended(run)).result.answer.query, { x: "1" });
    });
    it("forms and texts are taken, broken JSON is not", async () => {
      for (const [type, body, seen] of [["application/x-www-form-urlencoded", "a=1&b=x+y", { a: "1", b: "x y" }], ["text/plain", "grüß", "grüß"],
        ["application/octet-stream", Buffer.from([255, 0]), { base64: "/wA=" }], ["application/cloudevents+json; charset=utf-8", "[1]", [1]]]) {
        const run = await server.submit("hook", {});
        const address = await url(run);
        assert.equal((await ask(address, "POST", { body: "{", headers: { "content-type": "application/json" } })).status, 400);
        assert.equal((await ask(address, "POST", { body, headers: { "content-type": type } })).status, 200);
        assert.deepEqual((await server.ended(run)).result.answer.body, seen);
      }
    });
    it("an expired one is gone, and its wait is in vain", async () => {
      const run = await server.submit("hook", { options: { expires: 400 } });
      const address = await url(run);
      assert.deepEqual((await server.ended(run)).result, { caught: ["TimeoutError", "timeout"] });
      assert.equal((await ask(address, "POST", { json: 1 })).status, 410);
    });
    it("one whose run is over is gone, one that never was is not found", async () => {
      const run = await server.submit("hook", {});
      const address = await url(run);
      assert.equal((await server.request("POST", `/runs/${run}/cancel`, { json: { force: true } })).status, 200);
      assert.equal((await ask(address, "POST", { json: 1 })).status, 410);
      const unknown = [];
      for (const token of ["x", "A".repeat(32), "%00", "..%2f", "A".repeat(31) + "="]) unknown.push((await server.request("GET", `/webhooks/${token}`)).status);
      assert.ok(unknown.every((status) => status === 404 || status === 400), `${unknown}`);
    });
    it("a page asks people; looking answers nothing, a button does, once", async () => {
      const page = { title: "Pay <b>5</b> €?", text: "\"Quotes\" & 'more'\n<script>alert(1)</script>", choices: ["approve", "reject"] };
      const run = await server.submit("hook", { options: { page } });
      const address = await url(run);
      const html = { accept: "text/html" };
      for (let look = 0; look < 3; look++) {
        const shown = await ask(address, "GET", { headers: html });
        assert.equal(shown.status, 200);
        assert.match(shown.headers["content-type"], /^text\/html/);
        assert.match(shown.headers["content-security-policy"], /default-src 'none'/);
        assert.equal(shown.headers["referrer-policy"], "no-referrer");
        assert.ok(shown.text.includes("Pay &lt;b&gt;5&lt;/b&gt; €?") && shown.text.includes("&quot;Quotes&quot; &amp; &#39;more&#39;"));
        assert.ok(!shown.text.includes("<script") && !shown.text.includes(`/runs/${run}`));
        assert.equal((await ask(address, "HEAD", { headers: html })).status, 200);
      }
      const form = { ...html, "content-type": "application/x-www-form-urlencoded", origin: "null" };
      assert.equal((await ask(address, "POST", { body: "choice=other", headers: form })).status, 422);
      const answered = await ask(address, "POST", { body: "choice=reject", headers: form });
      assert.equal(answered.status, 200);
      assert.match(answered.text, /recorded: reject/);
      const { answer } = (await server.ended(run)).result;
      assert.deepEqual([answer.choice, answer.body], ["reject", { choice: "reject" }]);
      const again = await ask(address, "POST", { body: "choice=approve", headers: form });
      assert.equal(again.status, 410);
      assert.match(again.headers["content-type"], /^text\/html/);
    });
  });
});

describe("webhooks of a server that listens on every address", () => {
  it("cannot be made without server.public_url, and the log and the error say so", async () => {
    const { writeFileSync } = await import("node:fs");
    const { join } = await import("node:path");
    const server = new Server({ settings: { "engine.processes": 1, "server.address": "0.0.0.0" } });
    const file = join(server.dir, "token");
    writeFileSync(file, "0123456789abcdef0123\n");
    server.settings["server.api_token_file"] = file;
    const headers = { authorization: "Bearer 0123456789abcdef0123" };
    const code = `module.exports = async () => {
      try { return await createWebhook(); } catch (e) { return { code: e.code, message: e.message }; }
    };`;
    const run = async () => {
      assert.ok((await server.request("PUT", "/tasks/made", { json: { code }, headers })).status < 300);
      const id = (await server.execute("made", {}, { headers })).json().data.taskRunId;
      return (await server.request("GET", `/runs/${id}?wait=20`, { headers })).json().result;
    };
    try {
      await server.start();
      const refused = await run();
      assert.equal(refused.code, "config_invalid", JSON.stringify(refused));
      assert.match(refused.message, /server\.public_url/);
      assert.match(server.stderr, /server\.public_url is not set/);
      await server.restart({ settings: { "server.public_url": "https://example.com" } });
      assert.match((await run()).url, /^https:\/\/example\.com\/webhooks\//);
    } finally {
      await server.destroy();
    }
  });
});

describe("webhooks of a server that asks for a token", () => {
  it("need none, and name the public address", async () => {
    const { writeFileSync } = await import("node:fs");
    const { join } = await import("node:path");
    const server = new Server({ settings: { "engine.processes": 1, "server.public_url": "https://example.com/in/" } });
    const file = join(server.dir, "token");
    writeFileSync(file, "0123456789abcdef0123\n");
    server.settings["server.api_token_file"] = file;
    const headers = { authorization: "Bearer 0123456789abcdef0123" };
    try {
      await server.start();
      assert.equal((await server.request("PUT", "/tasks/hook", { json: { code: TASKS.hook }, headers })).status, 201);
      const run = (await server.execute("hook", {}, { headers })).json().data.taskRunId;
      const logged = async () => (await server.request("GET", `/runs/${run}/logs`, { headers })).json().logs[0]?.message;
      const address = await until("the address", logged);
      assert.match(address, /^https:\/\/example\.com\/in\/webhooks\//);
      const path = `/webhooks/${address.split("/").at(-1)}`;
      assert.equal((await server.request("POST", `/runs/${run}/signals/go`, { json: 1 })).status, 401);
      assert.equal((await server.request("POST", path, { json: 1, headers: { host: "example.com" } })).status, 200);
      const ended = async () => (await server.request("GET", `/runs/${run}`, { headers })).json();
      assert.equal((await until("the end", async () => { const seen = await ended(); return seen.status === "completed" && seen; })).result.answer.body, 1);
    } finally {
      await server.destroy();
    }
  });
});
