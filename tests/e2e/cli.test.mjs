// Every command of the program against a running server: what it prints, where, and its exit code.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { cli } from "../support/js/cli.mjs";
import { Server } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";

const OK = 0, FAILED = 1, USAGE = 2, UNREACHABLE = 3, NOT_FOUND = 4, REFUSED = 5, STILL_RUNNING = 7;

describe("the command line", () => {
  let server;
  before(async () => {
    server = new Server({ settings: { "engine.processes": 1 } });
    await server.start();
  });
  after(() => server.destroy());

  const run = (...args) => cli(server, args);
  const file = (name, text) => {
    const path = join(server.dir, name);
    writeFileSync(path, text);
    return path;
  };
  const ok = (ran) => {
    assert.equal(ran.code, OK, `${ran.stdout}\n${ran.stderr}`);
    return ran;
  };

  it("publish: files, again, with a name", async () => {
    file("greet.js", "module.exports = async function (input) {\n  console.log('greeting', input.name);\n  return { greeting: await services.echo.echo('hello ' + input.name) };\n};\n");
    file("fails.js", "module.exports = async function () {\n  throw new RangeError('on purpose');\n};\n");
    const first = ok(await run("publish", "greet.js", "fails.js"));
    assert.match(first.stdout + first.stderr, /greet.*1/);
    assert.match(first.stdout + first.stderr, /fails.*1/);
    ok(await run("publish", "greet.js"));
    assert.equal((await server.get("/tasks/greet")).version, 1);
    const named = ok(await run("publish", "greet.js", "--name", "other", "--description", "says hello", "--json"));
    const answer = named.json();
    assert.deepEqual([[answer].flat()[0].name, [answer].flat()[0].version], ["other", 1]);
    assert.equal((await server.get("/tasks/other")).description, "says hello");
  });
  it("publish: a description for code that is published already is not dropped silently", async () => {
    const ran = ok(await run("publish", "greet.js", "--description", "greets"));
    assert.match(ran.stderr, /not stored: description .*next version/);
    const answer = ok(await run("publish", "greet.js", "--description", "greets", "--json")).json();
    assert.deepEqual([answer.created, answer.not_stored], [false, ["description"]]);
    assert.equal(ok(await run("publish", "greet.js", "--json")).json().not_stored, undefined);
    file("execute.js", "module.exports = async () => 1;");
    const reserved = await run("publish", "execute.js");
    assert.equal(reserved.code, REFUSED);
    assert.match(reserved.stderr, /name may not be execute.*another name/);
  });
  it("publish: code that does not compile", async () => {
    file("broken.js", "module.exports = async function () {\n  return 1 +;\n};\n");
    const ran = await run("publish", "broken.js");
    assert.equal(ran.code, REFUSED, ran.stderr);
    assert.match(ran.stderr, /broken\.js:2:13/);
    assert.match(ran.stderr, /SyntaxError|Unexpected token/);
    assert.equal(ran.stdout, "");
    const json = await run("publish", "broken.js", "--json");
    assert.equal(json.code, REFUSED);
    assert.match(json.stdout + json.stderr, /code_invalid/);
    assert.equal((await server.request("GET", "/tasks/broken")).status, 404);
  });
  it("publish: one bad file among good ones", async () => {
    file("good.js", "module.exports = async () => 1;");
    const ran = await run("publish", "good.js", "broken.js");
    assert.equal(ran.code, REFUSED);
    assert.match(ran.stderr, /broken\.js/);
  });
  it("publish: a file that is not there", async () => {
    const ran = await run("publish", "nowhere.js");
    assert.equal(ran.code, USAGE);
    assert.match(ran.stderr, /nowhere\.js/);
  });

  it("run: without and with --wait", async () => {
    const started = ok(await run("run", "greet", "--input", '{"name":"Ann"}'));
    const id = Number(/run (\d+)/.exec(started.stdout)[1]);
    assert.equal((await server.ended(id)).status, "completed");
    const waited = ok(await run("run", "greet", "--input", '{"name":"Bob"}', "--wait"));
    assert.match(waited.stdout, /hello Bob/);
    const json = ok(await run("run", "greet", "--input", '{"name":"Cid"}', "--wait", "--json"));
    assert.deepEqual(json.json().result, { greeting: "hello Cid" });
    assert.equal(json.json().status, "completed");
    const async = ok(await run("run", "greet", "--json"));
    assert.equal(typeof async.json().data.taskRunId, "number");
  });
  it("run: input from a file and from standard input", async () => {
    file("input.json", '{"name":"File"}');
    assert.match(ok(await run("run", "greet", "--input", "@input.json", "--wait")).stdout, /hello File/);
    assert.match(ok(await cli(server, ["run", "greet", "--input", "-", "--wait"], { input: '{"name":"Pipe"}' })).stdout, /hello Pipe/);
  });
  it("run: a task that fails shows its stack and exits 1", async () => {
    const ran = await run("run", "fails", "--wait");
    assert.equal(ran.code, FAILED);
    assert.match(ran.stdout + ran.stderr, /RangeError: on purpose/);
    assert.match(ran.stdout + ran.stderr, /fails\.js:2:\d+/);
    const json = await run("run", "fails", "--wait", "--json");
    assert.equal(json.code, FAILED);
    assert.equal(json.json().error.name, "RangeError");
  });
  it("run: refusals", async () => {
    assert.equal((await run("run", "nobody")).code, NOT_FOUND);
    assert.equal((await run("run", "greet", "--task-version", "9")).code, NOT_FOUND);
    const malformed = await run("run", "greet", "--input", "{name:1}");
    assert.ok([USAGE, REFUSED].includes(malformed.code), malformed.stderr);
    assert.match(malformed.stderr, /JSON/i);
    assert.equal((await run("run", "greet", "--input", "@nowhere.json")).code, USAGE);
    assert.equal((await run("run")).code, USAGE);
    assert.equal((await run("run", "greet", "--timeout", "5")).code, USAGE);
    const key = ["run", "greet", "--idempotency-key", "cli", "--json"];
    const first = ok(await run(...key, "--input", '{"name":"1"}')).json().data.taskRunId;
    assert.equal(ok(await run(...key, "--input", '{"name":"1"}')).json().data.taskRunId, first);
    const conflict = await run(...key, "--input", '{"name":"2"}');
    assert.equal(conflict.code, REFUSED);
    assert.match(conflict.stderr, /idempotency/i);
  });
  it("run --wait that ends before the run: exit 7, and the run goes on", async () => {
    file("sleepy.js", "module.exports = async () => { await sleep(2500); return 'woke'; };");
    ok(await run("publish", "sleepy.js"));
    const ran = await run("run", "sleepy", "--wait", "--timeout", "1");
    assert.equal(ran.code, STILL_RUNNING, ran.stderr);
    const { runs } = await server.get("/runs?task=sleepy");
    const shown = ok(await run("runs", "show", String(runs[0].id), "--wait"));
    assert.match(shown.stdout, /woke/);
  });
  it("run --wait and Ctrl-C: exit 7, and the run goes on", async () => {
    const before = (await server.get("/runs?task=sleepy")).runs.length;
    const ran = await cli(server, ["run", "sleepy", "--wait"], {
      onStart: async (child) => {
        await until("the run", async () => (await server.get("/runs?task=sleepy")).runs.length > before);
        child.kill("SIGINT");
      },
    });
    assert.equal(ran.code, STILL_RUNNING, ran.stderr);
    const { runs } = await server.get("/runs?task=sleepy");
    assert.equal((await server.ended(runs[0].id)).result, "woke");
  });

  it("runs cancel asks a run to end, and with --force ends it", async () => {
    file("stubborn.js", "module.exports = async () => { for (;;) { try { await sleep(60_000); } catch { /* goes on */ } } };");
    ok(await run("publish", "stubborn.js"));
    const { taskRunId: id } = ok(await run("run", "stubborn", "--json")).json().data;
    await until("the run to wait", async () => (await server.run(id)).status === "suspended_waiting_child");
    const asked = ok(await run("runs", "cancel", String(id), "--grace", "5m", "--reason", "no more"));
    assert.match(asked.stdout, new RegExp(`^run ${id} is asked to end, and is cancelled at .+ if it has not by then`));
    const shown = ok(await run("runs", "show", String(id), "--json")).json();
    const left = Date.parse(shown.cancel_at) - Date.now();
    assert.ok(shown.cancelling && left > 240_000 && left <= 300_000, JSON.stringify(shown));
    assert.equal((await run("runs", "cancel", String(id), "--grace", "5", "--force")).code, USAGE);
    assert.equal((await run("runs", "cancel", String(id), "--grace", "soon")).code, USAGE);
    assert.equal(ok(await run("runs", "cancel", String(id), "--force")).stdout, `run ${id} is cancelled\n`);
    assert.equal((await run("runs", "cancel", String(id))).code, REFUSED);
    assert.equal((await run("runs", "cancel", "999999")).code, NOT_FOUND);
  });

  it("runs list and show, logs", async () => {
    const waited = ok(await run("run", "greet", "--input", '{"name":"List"}', "--wait", "--json")).json();
    const listed = ok(await run("runs", "list", "--task", "greet", "--limit", "2"));
    assert.match(listed.stdout, /RUN\s+TASK/);
    assert.match(listed.stdout, new RegExp(`\\b${waited.id}\\b.*greet.*completed`));
    assert.equal(ok(await run("runs", "list", "--json", "--limit", "1")).json().runs[0].id, waited.id);
    assert.equal(ok(await run("runs", "list", "--status", "cancelled", "--task", "greet")).stdout, "");
    assert.equal((await run("runs", "list", "--status", "done")).code, REFUSED);
    assert.equal((await run("runs", "list", "--limit", "0")).code, USAGE);
    const shown = ok(await run("runs", "show", String(waited.id)));
    assert.match(shown.stdout, /completed/);
    assert.match(shown.stdout, /hello List/);
    assert.match(shown.stdout, /echo\.echo/);
    assert.deepEqual(ok(await run("runs", "show", String(waited.id), "--json")).json().result, { greeting: "hello List" });
    assert.equal((await run("runs", "show", "999999")).code, NOT_FOUND);
    assert.equal((await run("runs", "show", "abc")).code, USAGE);
    assert.match(ok(await run("logs", String(waited.id))).stdout, /greeting List/);
    assert.equal(ok(await run("logs", String(waited.id), "--json")).json().logs[0].message, "greeting List");
    assert.equal((await run("logs", "999999")).code, NOT_FOUND);
    const silent = await server.submit("fails", {});
    await server.ended(silent);
    assert.deepEqual(ok(await run("logs", String(silent), "--json")).json(), { logs: [], next_after: 0 });
    await server.publish("chatty", "module.exports = async () => { for (let k = 0; k < 3; k++) { for (let i = 0; i < 900; i++) console.log(i); await services.echo.echo(k); } };");
    const chatty = await server.complete("chatty", {});
    assert.equal(ok(await run("logs", String(chatty.id), "--json")).json().logs.length, 2_700);
  });
  it("logs -f until the run ends", async () => {
    file("talks.js", "module.exports = async () => { for (let i = 0; i < 3; i++) { console.log('said ' + i); await sleep(300); } console.warn('over'); };");
    ok(await run("publish", "talks.js"));
    const id = await server.submit("talks", {});
    const ran = ok(await run("logs", "-f", String(id)));
    assert.deepEqual(ran.stdout.match(/said \d|over/g), ["said 0", "said 1", "said 2", "over"]);
  });
  it("tasks list and show", async () => {
    assert.match(ok(await run("tasks", "list")).stdout, /other.*says hello/);
    assert.match(ok(await run("tasks", "show", "greet")).stdout, /module\.exports/);
    assert.equal((await run("tasks", "show", "nobody")).code, NOT_FOUND);
  });

  it("keystore: set, list, delete; the value is never shown", async () => {
    file("secret.txt", "canary-77aa\n");
    ok(await run("keystore", "set", "apart", "FILE", "--value-file", "secret.txt"));
    ok(await cli(server, ["keystore", "set", "apart", "PIPE"], { input: "canary-77aa\n" }));
    const listed = ok(await run("keystore", "list"));
    assert.match(listed.stdout, /apart\s+FILE/);
    assert.match(listed.stdout, /apart\s+PIPE/);
    const json = ok(await run("keystore", "list", "apart", "--json"));
    assert.ok(!`${listed.stdout}${json.stdout}`.includes("canary"));
    assert.equal((await run("keystore", "set", "bad name", "X", "--value-file", "secret.txt")).code, REFUSED);
    assert.equal((await cli(server, ["keystore", "set", "apart", "EMPTY"], { input: "" })).code, USAGE);
    ok(await run("keystore", "delete", "apart", "FILE"));
    assert.equal((await run("keystore", "delete", "apart", "FILE")).code, NOT_FOUND);
  });

  it("db status and clear", async () => {
    const status = ok(await run("db", "status"));
    assert.match(status.stdout, /task_runs/);
    assert.ok(ok(await run("db", "status", "--json")).json().size_bytes > 0);
    const unasked = await run("db", "clear");
    assert.notEqual(unasked.code, OK, "without --yes and without a terminal nothing is deleted");
    assert.ok((await server.get("/runs")).runs.length > 0);
    ok(await run("db", "clear", "--yes"));
    assert.deepEqual((await server.get("/runs")).runs, []);
    assert.ok((await server.get("/tasks")).tasks.length > 0);
  });

  it("version, help, wrong arguments", async () => {
    assert.match(ok(await cli(null, ["version"])).stdout, /^sequential-runner \d/);
    assert.match(ok(await cli(null, ["--version"])).stdout, /^sequential-runner \d/);
    const version = ok(await cli(null, ["version", "--json"])).json();
    assert.equal(typeof version.version, "string");
    const text = ok(await cli(null, ["version"])).stdout;
    for (const library of ["V8", "SQLite", "libcurl", "OpenSSL", "Boost"]) {
      assert.ok(version.components.some((one) => new RegExp(`^${library} \\d+\\.\\d+`).test(one)), `${library}: ${version.components}`);
      assert.ok(text.includes(`  ${library} `), text);
    }
    const help = ok(await cli(null, ["--help"]));
    for (const command of ["serve", "publish", "run", "runs", "logs", "keystore", "db", "version"]) assert.match(help.stdout, new RegExp(`\\b${command}\\b`));
    assert.match(help.stdout, /Exit codes/);
    for (const args of [[], ["nonsense"], ["runs"], ["publish"], ["run", "x", "--nonsense"], ["serve", "--set", "nonsense"]]) {
      const ran = await cli(null, args);
      assert.equal(ran.code, USAGE, `${args}: ${ran.stdout}${ran.stderr}`);
      assert.ok(ran.stderr.length > 0, `${args}: says why`);
    }
  });
  it("a wrong command or number is named, with what it may have been meant to be", async () => {
    assert.match((await cli(null, ["runs", "lst"])).stderr, /no command "runs lst"; did you mean runs list\?/);
    assert.match((await cli(null, ["bogus"])).stderr, /no command "bogus"; there are serve, publish/);
    assert.equal((await cli(null, ["runs", "show", "abc"])).stderr.split("\n")[0], "error: id must be a positive whole number, not abc");
  });
  it("serve --print-config and --print-schema", async () => {
    const printed = ok(await cli(null, ["serve", "--print-config", "--set", "server.port=1234", "--set", "services.http.proxy=http://user:canary-88@p:1"], { env: { SEQUENTIAL_STORE_SWEEP_MS: "777" } }));
    const text = printed.stdout;
    assert.match(text, /server\.port.*1234.*flag/);
    assert.match(text, /store\.sweep_ms.*777.*SEQUENTIAL_STORE_SWEEP_MS/);
    assert.ok(!text.includes("canary-88"));
    JSON.parse(text);
    assert.ok(JSON.parse(ok(await cli(null, ["serve", "--print-schema"])).stdout).$schema);
  });
  it("no server: exit 3 and a hint", async () => {
    const ran = await cli(null, ["--server", "http://127.0.0.1:1", "runs", "list"]);
    assert.equal(ran.code, UNREACHABLE);
    assert.match(ran.stderr, /serve/);
    assert.equal((await cli(null, ["--server", "ftp://127.0.0.1", "runs", "list"])).code, USAGE);
  });
  it("a token", async () => {
    const guarded = new Server({ settings: { "engine.processes": 1 } });
    try {
      const token = join(guarded.dir, "token");
      writeFileSync(token, "a-token-of-the-tests\n", { mode: 0o600 });
      await guarded.start({ settings: { "server.api_token_file": token } });
      const without = await cli(guarded, ["runs", "list"]);
      assert.equal(without.code, REFUSED);
      assert.match(without.stderr, /token/);
      assert.equal((await cli(guarded, ["runs", "list", "--token-file", token])).code, OK);
      assert.equal((await cli(guarded, ["runs", "list"], { env: { SEQUENTIAL_TOKEN_FILE: token } })).code, OK);
    } finally {
      await guarded.destroy();
    }
  });
});
