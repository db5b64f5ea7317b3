// Payload bytes: what goes in as input comes back through a call's arguments, its recorded result and the run's result, with
// nothing lost, reordered or rounded by the server; also when every resume is a replay and after a restart.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server } from "../support/js/server.mjs";
import { openSink } from "../support/js/sink.mjs";

// JSON texts as they are submitted. `back`: what V8 makes of it (JSON.stringify of JSON.parse); default: the text itself.
const TEXTS = {
  "key order": { text: '{"z":1,"a":2,"__proto__":{"x":1},"10":3,"9":4}', back: '{"9":4,"10":3,"z":1,"a":2,"__proto__":{"x":1}}' },
  "NUL": { text: '"a\\u0000b"' },
  "lone surrogates": { text: '"\\ud800 \\udfff"' },
  "a pair of surrogates as escapes": { text: '"\\ud83d\\ude00"', back: '"😀"' },
  "beyond the basic plane": { text: '"😀 ü €"' },
  "control characters": { text: '"\\b\\t\\n\\f\\r\\u0001\\u001f\\u007f"', back: '"\\b\\t\\n\\f\\r\\u0001\\u001f\u007f"' },
  "line separators": { text: '"\u2028\u2029"' },
  "2^53+1": { text: "9007199254740993", back: "9007199254740992" },
  "a long fraction": { text: "0.1000000000000000055511151231257827", back: "0.1" },
  "-0": { text: "-0", back: "0" },
  "a small exponent": { text: "1e-7" },
  "a large exponent": { text: "1e308", back: "1e+308" },
  "less than the least": { text: "1e-400", back: "0" },
  "true, false, null": { text: "[true,false,null]" },
  "nothing at all": { text: "{}" },
  "white space": { text: ' [ 1 ,\t{ "a" :\r\n2 } ] ', back: '[1,{"a":2}]' },
  "500 deep": { text: "[".repeat(500) + "]".repeat(500) },
  "keys that are no names": { text: '{"":1," ":2,"a.b":3,"\\u0000":4,"constructor":5,"toString":6,"length":7}' },
  "then": { text: '{"then":"not a function","toJSON":1}' },
  "5 MB": { text: `"${"0123456789abcdef".repeat(5 * 2 ** 16)}"` },
  "5 MB of two-byte characters": { text: `"${"ü".repeat(2.5 * 2 ** 20)}"` },
};

const THROUGH = `module.exports = async function (input) {
  const before = JSON.stringify(input.value);
  const answer = await __callHostTool__("echo", "echo", [input.value]);
  const again = await services.echo.echo(answer);
  return [before === JSON.stringify(again), again];
};`;

for (const evict of [false, true]) {
  describe(`payload bytes, ${evict ? "every resume a replay" : "warm"}`, () => {
    let server;
    const ids = new Map();
    before(async () => {
      server = new Server({ settings: { "engine.processes": 1, "engine.evict_always": evict } });
      await server.start();
      await server.publish("through", THROUGH);
    });
    after(() => server.destroy());

    const check = async (id, text, back) => {
      const shown = (body) => (body.length > 2000 ? `${body.slice(0, 500)}…` : body);
      const run = await server.request("GET", `/runs/${id}`);
      assert.ok(run.text.includes(`"input":{"value":${text}}`), `the input is kept as it came: ${shown(run.text)}`);
      assert.ok(run.text.includes(`"result":[true,${back}]`), shown(run.text));
      let stack = "";  // all its pages, which end after some megabytes
      for (let from = 0; from !== null;) {
        const page = await server.request("GET", `/runs/${id}/stack?from=${from}`);
        stack += page.text;
        from = page.json().next_from;
      }
      assert.ok(stack.includes(`"args":[${back}]`), shown(stack));
      assert.ok(stack.includes(`"result":${back},`), shown(stack));
    };
    for (const [name, { text, back = text }] of Object.entries(TEXTS)) {
      it(name, { timeout: 30_000 }, async () => {
        const answer = await server.execute("through", undefined, { raw: `{"task":"through","input":{"value":${text}}}` });
        assert.equal(answer.status, 202, answer.text);
        const id = answer.json().data.taskRunId;
        const run = await server.ended(id);
        assert.equal(run.status, "completed", JSON.stringify(run.error));
        ids.set(name, id);
        await check(id, text, back);
      });
    }
    it("all the same after a restart", { timeout: 30_000 }, async () => {
      await server.check();
      await server.start();
      for (const [name, id] of ids) await check(id, TEXTS[name].text, TEXTS[name].back ?? TEXTS[name].text);
    });
  });
}

describe("payloads of the outside world", () => {
  let server;
  let sink;
  before(async () => {
    sink = await openSink();
    server = new Server({
      settings: {
        "engine.processes": 1, "services.http.allow_hosts": [sink.host], "limits.payload_bytes": 2 ** 20, "services.http.response_bytes_max": 2 ** 21,
      },
    });
    await server.start();
  });
  after(async () => {
    await server.destroy();
    await sink.close();
  });

  it("fetch: bytes, headers and statuses as they came", { timeout: 30_000 }, async () => {
    sink.behave = (entry) => ({
      text: { body: '{"b":1,"a":[2],"a":3,"big":9007199254740993}' }, missing: { status: 404, body: "not here" }, empty: { status: 204, body: "" },
    })[entry.label];
    await server.publish("fetches", `module.exports = async function ({ url }) {
      const text = await (await fetch(url + "/text")).text();
      const missing = await fetch(url + "/missing", { method: "POST", body: "ü\\u0000", headers: { "X-Custom": "yes" } });
      const empty = await fetch(new URL("/empty", url));
      return { text, missing: [missing.ok, missing.status, await missing.text()], empty: [empty.status, await empty.text()] };
    };`);
    const run = await server.complete("fetches", { url: sink.url });
    assert.deepEqual(run.result, {
      text: '{"b":1,"a":[2],"a":3,"big":9007199254740993}', missing: [false, 404, "not here"], empty: [204, ""],
    });
    const [sent] = sink.of("missing");
    assert.equal(sent.bytes.toString(), "ü\u0000");
    assert.equal(sent.headers["x-custom"], "yes");
    assert.equal(sent.headers["idempotency-key"], `"${run.id}:2"`);
    assert.equal(sink.of("text")[0].headers["idempotency-key"], undefined, "a GET needs no key");
  });

  it("what is over a limit is an error that the task can catch", { timeout: 30_000 }, async () => {
    sink.behave = (entry) => ({ body: "x".repeat(Number(entry.label)) });
    await server.publish("large", `module.exports = async function ({ url }) {
      const out = [];
      for (const attempt of [
        () => fetch(url + "/1500000"), () => fetch(url + "/3000000"), () => services.echo.echo("x".repeat(2 ** 20)),
      ]) {
        try { out.push(typeof (await attempt())); } catch (error) { out.push(error.code); }
      }
      return out;
    };`);
    const run = await server.complete("large", { url: sink.url });
    assert.deepEqual(run.result, ["response_too_large", "response_too_large", "payload_too_large"]);
  });

  it("an input at the limit is taken, a byte more is refused", { timeout: 30_000 }, async () => {
    await server.publish("length", "module.exports = async (input) => input.length;");
    const text = (n) => `{"task":"length","input":"${"x".repeat(n - 2)}"}`;
    const taken = await server.execute("length", undefined, { raw: text(2 ** 20) });
    assert.equal(taken.status, 202, taken.text.slice(0, 300));
    assert.equal((await server.ended(taken.json().data.taskRunId)).result, 2 ** 20 - 2);
    const refused = await server.execute("length", undefined, { raw: text(2 ** 20 + 1) });
    assert.deepEqual([refused.status, refused.json().code], [413, "payload_too_large"]);
  });
});

describe("a result as large as the search of a whole Workspace", () => {
  it("is kept: 98 users with 300 messages each", { timeout: 60_000 }, async () => {
    const server = new Server({ settings: { "engine.processes": 1 } });
    try {
      await server.start();
      await server.publish("whole", `module.exports = async function () {
        const text = (n) => "x".repeat(n);
        const message = (user, n) => ({ id: text(16), threadId: text(16), subject: text(60), from: text(50), to: text(50),
          date: text(31), snippet: text(160), labelIds: ["INBOX", "IMPORTANT"], n });
        return Array.from({ length: 98 }, (_, user) => ({ user, messages: Array.from({ length: 300 }, (_, n) => message(user, n)) }));
      };`);
      const run = await server.complete("whole", {});
      assert.equal(run.result.length, 98);
      assert.ok(run.result.every((user) => user.messages.length === 300 && user.messages[299].n === 299));
      await server.check();
    } finally {
      await server.destroy();
    }
  });
});
