import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { loadTask, runTask } from "./support/host.mjs";

const FOLDER = new URL("../../taskcode/endpoints/", import.meta.url);
const load = (name) => loadTask(new URL(`${name}.js`, FOLDER).pathname);

const slept = [];
const services = {
  echo: {
    echo: async (value) => value,
    fail: async ({ code, message }) => {
      throw Object.assign(new Error(message), { code });
    },
  },
  timer: { sleep: async (ms) => void slept.push(ms) },
};

async function complete(name, input) {
  const ended = await runTask(load(name), { input, services });
  assert.equal(ended.status, "completed", ended.error && ended.error.stack);
  return ended;
}

describe("examples", () => {
  it("hello-world greets", async () => {
    assert.deepEqual((await complete("hello-world")).result, { greeting: "Hello, world!" });
    assert.deepEqual((await complete("hello-world", { name: "Ines" })).result, { greeting: "Hello, Ines!" });
  });

  it("countdown sleeps before every number", async () => {
    slept.length = 0;
    const { result, logs } = await complete("countdown", { from: 4, seconds: 0.5 });
    assert.deepEqual(slept, [500, 500, 500, 500]);
    assert.equal(result.counted, 4);
    assert.ok(result.endedAt > result.startedAt);
    assert.deepEqual(
      logs.map(({ message }) => message),
      ["4...", "3...", "2...", "1...", "Done."],
    );
  });

  it("order-attributes says what it is found by", async () => {
    const { result, logs } = await complete("order-attributes", { customer: "Ines", orders: 2 });
    assert.deepEqual(result, { customer: "Ines", orders: 2, total: 30 });
    assert.deepEqual(logs, [
      { level: "attributes", message: '{"customer":"Ines","orders":2}' },
      { level: "attributes", message: '{"total":30}' },
    ]);
  });

  it("account-sync syncs page by page", async () => {
    const { result, logs } = await complete("account-sync", { account: "a-1" });
    assert.deepEqual([result, logs.length], [{ account: "a-1", synced: 60 }, 3]);
  });

  it("many-calls adds up", async () => {
    assert.deepEqual((await complete("many-calls")).result, { calls: 100, sum: 5050 });
    const { result, journal } = await complete("many-calls", { calls: 1000 });
    assert.deepEqual([result, journal.length], [{ calls: 1000, sum: 500500 }, 1000]);
    assert.deepEqual((await complete("many-calls", { calls: 0 })).result, { calls: 0, sum: 0 });
  });

  it("daily-report reports on the day before its tick", async () => {
    const given = { schedule: "report", tick: "2026-11-22T05:00:00.000Z", input: {} };
    assert.deepEqual((await complete("daily-report", given)).result, { day: "2026-11-21", orders: 3, by: "report" });
    assert.equal((await complete("daily-report")).result.by, "by hand");
  });

  it("graceful-cancel gives its lock back when its work is done, and when it is cancelled", async () => {
    slept.length = 0;
    const { result, journal, logs } = await complete("graceful-cancel", { steps: 2 });
    assert.deepEqual([result, slept, journal.length], [{ done: 2 }, [1000, 1000], 4]);
    assert.deepEqual(logs.map(({ message }) => message), ["The lock was given back"]);
    let step = 0;
    const sleep = async () => {
      if (++step === 2) throw Object.assign(new Error("so"), { name: "CancelledError", code: "cancelled" });
    };
    const ended = await runTask(load("graceful-cancel"), { services: { ...services, timer: { sleep } } });
    assert.deepEqual([ended.status, ended.error.code], ["failed", "cancelled"]);
    assert.deepEqual(ended.logs.map(({ message }) => message), ["Cancelled after 1 of 60 steps", "The lock was given back"]);
  });

  it("try-catch-finally catches what fails, and runs every block once", async () => {
    const { result, journal } = await complete("try-catch-finally");
    assert.deepEqual(result, {
      steps: ["try", "catch", "finally"],
      caught: { name: "HostCallError", code: "demo_failure", message: "This call fails on purpose" },
    });
    assert.equal(journal.length, 2);
    const calm = await complete("try-catch-finally", { fail: false });
    assert.deepEqual(calm.result, { steps: ["try", "after the call", "finally"], caught: null });
  });

  it("report-per-user starts a run for each, and one that fails leaves the others alone", async () => {
    const started = [];
    const run = async ({ task, input, options }) => {
      started.push([task, input.user, options.tags.user]);
      const child = await runTask(load(task), { input, services });
      if (child.status !== "completed") throw Object.assign(new Error(child.error.message), { code: "task_error" });
      return child.result;
    };
    const { result } = await runTask(load("report-per-user"), {
      input: { users: 3, locked: "user-2" },
      services: { ...services, tasks: { run } },
    });
    assert.deepEqual(started.map(([task]) => task), Array(3).fill("report-per-user"));
    assert.deepEqual(result, {
      messages: 36,
      reports: [{ user: "user-1", messages: 18 }, { user: "user-3", messages: 18 }],
      failed: [{ user: "user-2", error: "the mailbox of user-2 is locked" }],
    });
  });

  it("progress-report shows how far it is, up to all of it", async () => {
    const { result, shown } = await complete("progress-report", { items: 7, seconds: 0 });
    assert.deepEqual(result, { items: 7, batches: 2 });
    const amounts = shown.filter(([what]) => what === "progress").map(([, [done, total]]) => [done, total]);
    assert.deepEqual(amounts, Array.from({ length: 8 }, (_, i) => [i, 7]));
    assert.deepEqual(shown.at(-1), ["status", { phase: "done" }]);
  });

  it("approval waits for a button, or for nobody", async () => {
    const asked = [];
    const signal = {
      webhook: async (options) => (asked.push(options), { name: "webhook:1", url: "https://example.com/webhooks/x" }),
      wait: async () => ({ choice: "approve", at: "2026-01-01T00:00:00.000Z" }),
    };
    const ended = await runTask(load("approval"), { input: { question: "Pay?", hours: 1 }, services: { signal } });
    assert.deepEqual(ended.result, { choice: "approve", at: "2026-01-01T00:00:00.000Z" });
    assert.deepEqual([asked[0].expires, asked[0].page.title, asked[0].page.choices], [3_600_000, "Pay?", ["approve", "reject"]]);
    assert.match(ended.logs[0].message, /https:\/\/example\.com\/webhooks\/x/);
    const late = { ...signal, wait: async () => { throw Object.assign(new Error("late"), { name: "TimeoutError", code: "timeout" }); } };
    const nobody = await runTask(load("approval"), { services: { signal: late } });
    assert.equal(nobody.result.choice, "nobody");
  });

  it("gives the same result after an interruption at any call", async () => {
    for (const [name, input] of [
      ["countdown", {}],
      ["many-calls", { calls: 5 }],
      ["try-catch-finally", {}],
      ["progress-report", { items: 6 }],
    ]) {
      const whole = await complete(name, input);
      for (let stopAfter = 0; stopAfter < whole.journal.length; stopAfter++) {
        const first = await runTask(load(name), { input, services, stopAfter });
        assert.equal(first.status, "suspended");
        const second = await runTask(load(name), { input, services, journal: first.journal });
        assert.equal(second.text, whole.text);
      }
    }
  });

  it("refuses bad input with the field's name", async () => {
    for (const [name, input, field] of [
      ["countdown", { from: 0 }, "from"],
      ["countdown", { seconds: -1 }, "seconds"],
      ["many-calls", { calls: "9" }, "calls"],
      ["progress-report", { items: 0 }, "items"],
      ["approval", { hours: 0 }, "hours"],
    ]) {
      const ended = await runTask(load(name), { input, services });
      assert.equal(ended.status, "failed");
      assert.match(ended.error.message, new RegExp(`Input "${field}" must be`));
    }
  });
});

describe("every endpoint", () => {
  // What `publish` derives from the comment in front of `module.exports`: a description, and the input's fields and types.
  for (const file of readdirSync(FOLDER)) {
    it(`${file} begins with a comment that publishing can read`, () => {
      const [, comment, rest] =
        /^\/\*\*([\s\S]*?)\*\/\n([\s\S]*)$/.exec(readFileSync(new URL(file, FOLDER), "utf8")) ?? [];
      assert.ok(comment, "no leading /** … */");
      assert.match(rest, /^module\.exports = async function \w+\(input\) \{/);
      const text = comment.replace(/^\s*\* ?/gm, "");
      assert.match(text.trim(), /^[A-Z][\s\S]{30,}/);
      assert.match(text, /@param \{Object\} \[input\]/);
      const fields = [...text.matchAll(/@param \{(\w+)\} \[input\.(\w+)=([^\]]+)\] \S/g)];
      assert.ok(fields.length > 0);
      for (const [, type, , value] of fields) assert.equal(typeof JSON.parse(value), type);
    });
  }
});
