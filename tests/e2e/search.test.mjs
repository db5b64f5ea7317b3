// Finding runs and removing old ones, over HTTP and with the command line.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cli } from "../support/js/cli.mjs";
import { Server } from "../support/js/server.mjs";
import { until } from "../support/js/wait.mjs";

const ids = (page) => page.runs.map((run) => run.id);

describe("search and retention", () => {
  let server;
  const run = {};
  const list = async (query) => ids(await server.get(`/runs?${query}`));
  before(async () => {
    server = new Server({ settings: { "engine.processes": 1, "retention.pass_ms": 100 } });
    await server.start();
    await server.publish("plain", "module.exports = async (input) => input;");
    await server.publish("order.import", `module.exports = async (input) => {
      setAttributes({ orders: input.orders, customer: "first" });
      await services.echo.echo(1);
      setAttributes({ customer: input.customer, seen: true });
      if (input.fail) throw Object.assign(new TypeError("No such Thing"), { code: "E_THING" });
      return input.orders;
    };`);
    run.tagged = await server.submit("plain", 1, { options: { tags: { team: "red", size: 3 } } });
    run.listed = await server.submit("plain", 2, { options: { tags: ["urgent", "team:blue"], idempotency_key: "the-key" } });
    run.twelve = await server.submit("order.import", { orders: 12, customer: "x" });
    run.nine = await server.submit("order.import", { orders: 9, customer: "y", fail: true });
    run.later = await server.submit("plain", 3, { options: { delay_ms: 3_600_000 } });
    for (const id of [run.tagged, run.listed, run.twelve, run.nine]) await server.ended(id);
  });
  after(() => server.destroy());

  it("finds runs by tag, attribute, status, task, text, time, key", async () => {
    for (const [query, found] of [
      ["tag=team:red", [run.tagged]], ["tag=size:3", [run.tagged]], ["tag=urgent", [run.listed]], ["tag=team:blue", [run.listed]],
      ["tag=team:red&tag=size:4", []], ["attr.orders=12", [run.twelve]], ["attr.orders=%3E8", [run.nine, run.twelve]],
      ["attr.orders=%3C10", [run.nine]], ["attr.customer=x", [run.twelve]], ["attr.customer=first", []],
      ["status=failed,cancelled", [run.nine]], ["status=queued", [run.later]], ["status=completed&order=oldest", [run.tagged, run.listed, run.twelve]],
      ["task=order.import", [run.nine, run.twelve]], ["task=order.*", [run.nine, run.twelve]], ["task=order.*&version=2", []],
      ["text=such+thing", [run.nine]], ["text=e_thing", [run.nine]], ["text=TypeError", [run.nine]], ["text=nothing", []],
      ["idempotency_key=the-key", [run.listed]], [`id=${run.tagged}`, [run.tagged]], ["created_before=2001-01-01", []],
      ["created_after=2001-01-01T00:00:00Z&status=failed", [run.nine]], ["ended_after=2001-01-01&task=plain", [run.listed, run.tagged]],
    ]) assert.deepEqual(await list(query), found, query);
  });
  it("pages by a cursor, with the parameters as they were", async () => {
    const first = await server.get("/runs?limit=2");
    const second = await server.get(`/runs?limit=2&cursor=${first.next_cursor}`);
    assert.deepEqual([...ids(first), ...ids(second)], [run.later, run.nine, run.twelve, run.listed]);
    const last = await server.get(`/runs?limit=2&cursor=${second.next_cursor}`);
    assert.deepEqual([ids(last), last.next_cursor], [[run.tagged], null]);
  });
  it("counts", async () => {
    assert.deepEqual(await server.get("/runs/count?status=completed"), { count: 3, more: false });
    assert.deepEqual(await server.get("/runs/count?attr.customer=x"), { count: 1, more: false });
  });
  it("shows the attributes of a run", async () => {
    assert.deepEqual((await server.run(run.twelve)).attributes, { customer: "x", orders: 12, seen: "true" });
    assert.equal((await server.run(run.tagged)).attributes, undefined);
    assert.deepEqual((await server.run(run.tagged)).tags, { team: "red", size: 3 });
  });
  it("refuses what it cannot look for, naming it", async () => {
    for (const [query, field] of [
      ["stats=1", "stats"], ["status=over", "status"], ["created_after=yesterday", "created_after"], ["attr.n=%3Ex", "attr.n"],
      ["version=0", "version"], ["order=up", "order"], ["limit=0", "limit"], ["cursor=x", "cursor"], [`text=${"x".repeat(300)}`, "text"],
    ]) {
      const answer = await server.request("GET", `/runs?${query}`);
      assert.deepEqual([answer.status, answer.json().field], [422, field], `${query}: ${answer.text}`);
    }
  });
  it("refuses tags that nobody could find again", async () => {
    for (const tags of [{ "a:b": 1 }, { a: null }, { a: {} }, [1], { a: "x".repeat(300) }, Array.from({ length: 33 }, (_, i) => `t${i}`), "x"]) {
      const answer = await server.execute("plain", {}, { options: { tags } });
      assert.equal(answer.status, 422, `${JSON.stringify(tags)}: ${answer.text}`);
    }
  });
  it("a task is told which attributes cannot be", async () => {
    await server.publish("wrong", `module.exports = async () => {
      const told = [];
      const many = Object.fromEntries(Array.from({ length: 33 }, (_, i) => ["k" + i, i]));
      for (const values of [1, [], { "a b": 1 }, { a: {} }, { a: NaN }, { a: "x".repeat(300) }, many,
        { a: "x\\0y" }, { a: "x\\ud800" }, { a: "\\udc00\\ud800" }]) {
        try { setAttributes(values); told.push("taken"); } catch (error) { told.push(error.name); }
      }
      console.log("{\\"forged\\":1}");
      setAttributes({ a: 1, gone: 1 });
      setAttributes({ gone: null });
      return told;
    };`);
    const { id, result } = await server.complete("wrong", {});
    assert.deepEqual(result, ["TypeError", "TypeError", "TypeError", "TypeError", "TypeError", "RangeError", "RangeError", "TypeError", "TypeError", "TypeError"]);
    assert.deepEqual((await server.run(id)).attributes, { a: 1 });
    assert.equal((await server.request("DELETE", `/runs/${id}`)).status, 204);
  });

  it("limits of attributes are settings, up to what can be looked for", async () => {
    const other = new Server({
      settings: { "engine.processes": 1, "limits.attributes": 3, "limits.attribute_chars": 340, "limits.attributes_chars": 1000, "limits.log_message_bytes": 1200 },
    });
    try {
      await other.start();
      await other.publish("bounds", `module.exports = async () => {
        const told = [];
        const take = (values) => { try { setAttributes(values); told.push("taken"); } catch (error) { told.push(error.message); } };
        take({ a: "\u20ac".repeat(340) });
        take({ a: "x".repeat(341) });
        take({ b: 1, c: 2, d: 3 });
        take({ a: null, b: 1, c: 2, d: 3 });
        take({ a: null, b: "\u20ac".repeat(340), c: "y".repeat(340) });
        take({ b: "x".repeat(340), c: "x".repeat(340), d: "y".repeat(340) });
        return told;
      };`);
      const { id, result } = await other.complete("bounds", {});
      assert.deepEqual(result, [
        "taken", "the attribute a is longer than 340 characters (limits.attribute_chars)",
        "a run has at most 3 attributes (limits.attributes)", "taken",
        "attributes set at once are at most limits.log_message_bytes = 1200 bytes of JSON",
        "attributes set at once are at most 1000 characters of JSON (limits.attributes_chars)",
      ]);
      assert.deepEqual((await other.run(id)).attributes, { b: 1, c: 2, d: 3 });
      await other.publish("long", `module.exports = async () => setAttributes({ a: "\u20ac".repeat(340) });`);
      const long = await other.complete("long", {});
      const found = await other.get(`/runs?attr.a=${encodeURIComponent("€".repeat(340))}`);
      assert.deepEqual(found.runs.map((one) => one.id), [long.id]);
    } finally {
      await other.destroy();
    }
  });

  it("DELETE removes one run that has ended, and no other", async () => {
    const { id } = await server.complete("plain", {});
    const refused = await server.request("DELETE", `/runs/${run.later}`);
    assert.deepEqual([refused.status, refused.json().code], [409, "conflict"]);
    assert.equal((await server.request("DELETE", `/runs/${id}`)).status, 204);
    assert.equal((await server.request("DELETE", `/runs/${id}`)).status, 404);
    assert.equal((await server.request("GET", `/runs/${id}/stack`)).status, 404);
  });
  it("purges what a filter names, and only says so in a dry run", async () => {
    const purged = [];
    for (let i = 0; i < 5; i++) purged.push((await server.complete("plain", i, { options: { tags: ["bulk"] } })).id);
    const body = (more) => ({ json: { filter: { tag: "bulk", status: ["completed", "failed"] }, ...more } });
    const dry = (await server.request("POST", "/runs/purge", body({ dry_run: true }))).json();
    assert.deepEqual([dry.matched, dry.removed_runs, dry.next_cursor], [5, 0, null]);
    const old = (await server.request("POST", "/runs/purge", body({ older_than: "1h" }))).json();
    assert.equal(old.matched, 0);
    const some = (await server.request("POST", "/runs/purge", body({ limit: 2 }))).json();
    assert.equal(some.removed_runs, 2);
    const rest = (await server.request("POST", "/runs/purge", body({ cursor: some.next_cursor }))).json();
    assert.deepEqual([rest.removed_runs, rest.next_cursor], [3, null]);
    assert.deepEqual(await list("tag=bulk"), []);
    for (const wrong of [{ filter: { status: "running" } }, { filter: { nothing: "x" } }, {}, { filter: {}, older_than: "soon" }, { filter: {}, limit: 0 },
      ...["forever", "0", "0d", "", "-0d", 0].map((age) => ({ filter: {}, older_than: age })),
      { filter: { task: "" } }, { filter: { task: [] } }, { filter: { task: [""] } }, { filter: { tag: ["bulk", ""] } },
      { filter: { "attr.a": "" } }]) {
      assert.equal((await server.request("POST", "/runs/purge", { json: wrong })).status, 422, JSON.stringify(wrong));
    }
  });

  it("removes old runs by itself, as the task's options say, and as is set while it works", async () => {
    const publish = await server.request("PUT", "/tasks/short", {
      json: { code: "module.exports = async (fail) => { if (fail) throw new Error('x'); };", options: { retention: { completed: "1ms" } } },
    });
    assert.equal(publish.status, 201, publish.text);
    const gone = async (id) => (await server.request("GET", `/runs/${id}`)).status === 404;
    const completed = await server.submit("short", false);
    const failed = await server.submit("short", true);
    await server.request("GET", `/runs/${failed}?wait=10`);
    await until("the completed run to be removed", () => gone(completed));
    assert.equal((await server.ended(failed)).status, "failed");
    assert.deepEqual(await server.get("/tasks/short/retention"), { task: "short", completed_ms: 1, failed_ms: 0, set_here: false });
    const set = await server.request("PUT", "/tasks/short/retention", { json: { failed: 5, completed: "forever" } });
    assert.deepEqual(set.json(), { task: "short", completed_ms: 0, failed_ms: 5, set_here: true });
    await until("the failed run to be removed", () => gone(failed));
    const kept = await server.complete("short", false);
    const { passes } = (await server.get("/stats")).retention;
    await until("two more passes", async () => (await server.get("/stats")).retention.passes > passes + 1);
    assert.equal(await gone(kept.id), false);
    assert.ok((await server.get("/stats")).retention.removed_runs >= 2);
    assert.equal((await server.request("DELETE", "/tasks/short/retention")).json().completed_ms, 1);
    await until("the kept run to be removed", () => gone(kept.id));
    for (const json of [{ completed: "soon" }, { failed: -1 }, { other: "1d" }, []]) {
      assert.equal((await server.request("PUT", "/tasks/short/retention", { json })).status, 422, JSON.stringify(json));
    }
    assert.equal((await server.request("PUT", "/tasks/nobody/retention", { json: {} })).status, 404);
    const wrong = await server.request("PUT", "/tasks/wrong-options", { json: { code: "module.exports = async () => 1;", options: { retention: "1d" } } });
    assert.equal(wrong.status, 422);
  });

  it("the command line finds, counts, removes and purges", async () => {
    const json = async (...args) => (await cli(server, ["--json", ...args])).json();
    assert.deepEqual(ids(await json("runs", "list", "--tag", "team:red")), [run.tagged]);
    assert.deepEqual(ids(await json("runs", "list", "--attr", "orders>10")), [run.twelve]);
    assert.deepEqual(ids(await json("runs", "list", "--attr", "orders=9", "--text", "thing", "--status", "failed,cancelled")), [run.nine]);
    assert.deepEqual(ids(await json("runs", "list", "--task", "plain", "--oldest", "--limit", "1")), [run.tagged]);
    const lines = (await cli(server, ["--json", "runs", "list", "--all", "--task", "order.*"])).stdout.trim().split("\n");
    assert.deepEqual(lines.map((line) => JSON.parse(line).id), [run.nine, run.twelve]);
    assert.match((await cli(server, ["runs", "list", "--tag", "team:red"])).stdout, /RUN .*TASK[\s\S]*plain/);
    assert.equal((await cli(server, ["runs", "count", "--task", "order.import"])).stdout, "2\n");
    const { id } = await server.complete("plain", {}, { options: { tags: ["cli"] } });
    assert.equal((await cli(server, ["runs", "purge", "--older-than", "1ms", "--tag", "cli", "--dry-run"])).stdout, "would remove 1 runs\n");
    for (const wrong of [[], ["--older-than", "forever"], ["--older-than", "0"], ["--older-than="], ["--older-than", "0d", "--yes"],
      ["--task="], ["--task", "", "--yes"]]) {
      assert.equal((await cli(server, ["runs", "purge", ...wrong])).code, 2, wrong.join(" "));
    }
    assert.deepEqual((await json("runs", "purge", "--tag", "cli", "--status", "completed")).removed_runs, 1);
    assert.equal((await cli(server, ["runs", "delete", String(id)])).code, 4);
    assert.equal((await cli(server, ["runs", "delete", String(run.later)])).code, 5);
    assert.match((await cli(server, ["tasks", "retention", "plain", "--completed", "30d"])).stdout, /completed: 30 days/);
    assert.match((await cli(server, ["tasks", "retention", "plain", "--reset"])).stdout, /completed: for ever/);
  });

  it("clear takes runs and what they are found by, and keeps tasks, secrets and retentions", async () => {
    await server.request("PUT", "/tasks/plain/retention", { json: { failed: "90d" } });
    await server.request("PUT", "/keystore/default/kept", { json: { value: "x" } });
    const cleared = await server.request("POST", "/db/clear", { json: { confirm: "clear" } });
    assert.equal(cleared.status, 200);
    assert.deepEqual(await list(""), []);
    assert.deepEqual(await list("tag=team:red"), []);
    assert.equal((await server.get("/tasks/plain/retention")).failed_ms, 90 * 86_400_000);
    assert.equal((await server.get("/keystore")).entries.length, 1);
    assert.equal((await server.complete("plain", 7)).result, 7);
  });
});
