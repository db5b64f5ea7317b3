// Schedules through the API: ticks start runs, once each, on one node or two; what waits waits; restarts lose nothing.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cli as runCli } from "../support/js/cli.mjs";
import { Server, STORE } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";
import { endpointCode } from "../support/js/workspace.mjs";

const EVERY_SECOND = "* * * * * *";
const settings = (sink, more = {}) => ({
  "engine.processes": 1, "store.sweep_ms": 1_000, "limits.cancel_grace_ms": 1_500, "services.http.allow_hosts": [sink.host], ...more,
});

const put = (node, name, schedule) => node.request("PUT", `/schedules/${name}`, { json: { task: "echo", ...schedule } });
async function make(node, name, schedule) {
  const answer = await put(node, name, schedule);
  assert.ok([200, 201].includes(answer.status), answer.text);
  return answer.json();
}
async function post(node, name, what, json = {}) {
  return node.request("POST", `/schedules/${name}/${what}`, { json });
}
async function pause(node, name) {
  assert.equal((await post(node, name, "pause")).status, 200);
}
/** The runs of a schedule, oldest first. */
async function runsOf(node, name) {
  const { runs } = await node.get("/runs?limit=1000");
  return runs.filter(({ tags }) => tags?.schedule === name).reverse();
}
const ticksOf = async (node, name) => (await runsOf(node, name)).map(({ tags }) => tags.tick);
function assertEach(ticks, stepMs) {
  assert.equal(new Set(ticks).size, ticks.length, `a tick came twice: ${ticks}`);
  const times = ticks.map((tick) => Date.parse(tick)).sort((a, b) => a - b);
  for (let i = 1; i < times.length; i++) assert.equal(times[i] - times[i - 1], stepMs, `ticks are missing: ${ticks}`);
}

describe(`schedules on ${STORE}`, () => {
  let server;
  let sink;
  before(async () => {
    sink = await openSink();
    server = new Server({ settings: settings(sink) });
    await server.start();
    await server.publish("echo", "module.exports = async (input) => input;");
    await server.publish("held", sinkTask("return (await sink(input.name)).label;"));
  });
  after(async () => {
    await server.destroy();
    await sink.close();
  });

  it("a schedule of every second starts a run for each, which shows schedule and tick", async () => {
    await make(server, "second", { cron: EVERY_SECOND, overlap: "allow", catch_up: "all", input: { a: [1] }, tags: { team: "x" } });
    await until("three runs", async () => (await runsOf(server, "second")).length >= 3);
    await pause(server, "second");
    const runs = await runsOf(server, "second");
    assertEach(runs.map(({ tags }) => tags.tick), 1_000);
    for (const { id, tags, idempotency_key: key } of runs) {
      const run = await server.ended(id);
      assert.deepEqual(run.result, { a: [1] });
      assert.equal(tags.team, "x");
      assert.equal(key, undefined);
      assert.ok(Date.parse(run.created_at) >= Date.parse(tags.tick), "started before its tick");
    }
    const shown = await server.get("/schedules/second");
    assert.equal(shown.state, "paused");
    assert.equal(shown.next_tick, null);
    assert.equal(shown.started, runs.length);
    assert.equal(shown.last_run_id, runs.at(-1).id);
  });

  it("input_with_tick gives the task the tick", async () => {
    await make(server, "tick-input", { cron: EVERY_SECOND, input: 7, input_with_tick: true });
    const [run] = await until("a run", async () => (await runsOf(server, "tick-input")).length > 0 && runsOf(server, "tick-input"));
    await pause(server, "tick-input");
    assert.deepEqual((await server.ended(run.id)).result, { schedule: "tick-input", tick: run.tags.tick, input: 7 });
  });

  it("the example reports on the day before its tick", async () => {
    await server.publish("daily-report", endpointCode("daily-report"));
    await make(server, "report", { task: "daily-report", cron: "0 6 * * *", input_with_tick: true });
    const answer = await post(server, "report", "backfill", { from: "2026-11-20T00:00:00Z", to: "2026-11-21T00:00:00Z" });
    const run = await server.ended(answer.json().runs[0].taskRunId);
    assert.deepEqual(run.result, { day: "2026-11-19", orders: 3, by: "report" });
  });

  it("paused starts nothing; resumed goes on with the next tick and makes up none", async () => {
    await make(server, "rests", { cron: EVERY_SECOND, overlap: "allow", catch_up: "all" });
    await until("a run", async () => (await runsOf(server, "rests")).length > 0);
    await pause(server, "rests");
    const before = await ticksOf(server, "rests");
    // Another schedule's ticks show that time passes.
    await make(server, "meanwhile", { cron: EVERY_SECOND, overlap: "allow" });
    await until("three other runs", async () => (await runsOf(server, "meanwhile")).length >= 3);
    assert.deepEqual(await ticksOf(server, "rests"), before);
    const resumed = (await post(server, "rests", "resume")).json();
    assert.equal(resumed.state, "active");
    await until("another run", async () => (await runsOf(server, "rests")).length > before.length);
    await pause(server, "rests");
    await pause(server, "meanwhile");
    const ticks = await ticksOf(server, "rests");
    assert.equal(ticks[before.length], resumed.next_tick);
    assert.ok(Date.parse(ticks[before.length]) - Date.parse(before.at(-1)) > 1_000, "a tick of the pause was made up");
  });

  it("overlap skip passes ticks over, and says so", async () => {
    const held = gate();
    sink.behave = () => held.passed.then(() => undefined);
    await make(server, "skips", { task: "held", input: { url: sink.url, name: "skips" }, cron: EVERY_SECOND });
    const shown = await until("two skipped ticks", async () => {
      const schedule = await server.get("/schedules/skips");
      return schedule.skipped >= 2 && schedule;
    });
    assert.equal((await runsOf(server, "skips")).length, 1);
    assert.ok(Date.parse(shown.last_skipped_at) > Date.parse((await ticksOf(server, "skips"))[0]));
    await pause(server, "skips");
    held.open();
    sink.behave = undefined;
  });

  it("overlap queue starts the newest waiting tick when the run ends, not before", async () => {
    const held = gate();
    sink.behave = () => held.passed.then(() => undefined);
    await make(server, "queues", { task: "held", input: { url: sink.url, name: "queues" }, cron: EVERY_SECOND, overlap: "queue" });
    await until("a tick that waits", async () => {
      const schedule = await server.get("/schedules/queues");
      return schedule.started === 1 && Date.now() - Date.parse(schedule.starts_at) > 1_500;
    });
    assert.equal((await runsOf(server, "queues")).length, 1);
    held.open();
    await until("the next run", async () => (await runsOf(server, "queues")).length >= 2);
    await pause(server, "queues");
    const [first, second] = await runsOf(server, "queues");
    assert.ok(Date.parse(second.created_at) >= Date.parse((await server.ended(first.id)).ended_at));
    sink.behave = undefined;
  });

  it("overlap cancel ends the run before", async () => {
    const held = gate();
    sink.behave = () => held.passed.then(() => undefined);
    await make(server, "cancels", { task: "held", input: { url: sink.url, name: "cancels" }, cron: EVERY_SECOND, overlap: "cancel" });
    await until("three runs", async () => (await runsOf(server, "cancels")).length >= 3);
    await pause(server, "cancels");
    held.open();
    sink.behave = undefined;
    const runs = await runsOf(server, "cancels");
    for (const { id } of runs.slice(0, -1)) assert.equal((await server.ended(id)).status, "cancelled");
    assertEach(runs.map(({ tags }) => tags.tick), 1_000);
  });

  it("a trigger with an Idempotency-Key starts one run, however often it is sent", async () => {
    const held = gate();
    sink.behave = () => held.passed.then(() => undefined);
    await make(server, "keyed", { task: "held", input: { url: sink.url, name: "keyed" }, cron: "@yearly" });
    const send = (key) => server.request("POST", "/schedules/keyed/trigger", { headers: { "Idempotency-Key": key } });
    const first = await send("one");
    assert.equal(first.status, 202, first.text);
    const again = await send("one");
    assert.deepEqual([again.status, again.json()], [202, first.json()]);
    assert.equal((await send("two")).status, 409, "the last run is not over");
    held.open();
    sink.behave = undefined;
    await server.ended(first.json().data.taskRunId);
    assert.deepEqual((await send("one")).json(), first.json());
    assert.equal((await runsOf(server, "keyed")).length, 1);
    assert.equal((await send("")).status, 422);
  });

  it("tags are checked as those of any run", async () => {
    const answer = await server.request("PUT", "/schedules/tagged", { json: { task: "held", cron: "@yearly", tags: { a: { b: 1 } } } });
    assert.deepEqual([answer.status, answer.json().field], [422, "tags.a"], answer.text);
  });

  it("overlap cancel asks the run before to end: it tidies up, and the tick starts after its end", async () => {
    await server.publish("tidy", sinkTask(`
      try {
        await sink("work");
      } catch (error) {
        await sink("tidied");
        throw error;
      }`));
    sink.behave = ({ label }) => (label === "work" ? "hang" : undefined);
    await make(server, "tidies", { task: "tidy", input: { url: sink.url }, cron: EVERY_SECOND, overlap: "cancel" });
    await until("two to have tidied up", () => sink.count("tidied") >= 2);
    await pause(server, "tidies");
    const runs = await runsOf(server, "tidies");
    const [first, second] = [await server.ended(runs[0].id), await server.get(`/runs/${runs[1].id}`)];
    assert.equal(first.status, "cancelled");
    assert.deepEqual([first.error.name, first.error.code, first.error.forced], ["CancelledError", "cancelled", undefined]);
    assert.match(first.error.message, /by its schedule/);
    assert.ok(Date.parse(second.created_at) >= Date.parse(first.ended_at));
    for (const { id } of runs) await server.request("POST", `/runs/${id}/cancel`);
    for (const { id } of runs) await server.ended(id);
    sink.behave = undefined;
  });

  it("overlap cancel cancels a run that does not end within limits.cancel_grace_ms", async () => {
    await server.publish("stubborn", sinkTask('for (;;) { try { await sink("stay"); } catch { await sink("stays"); } }'));
    sink.behave = ({ label }) => (label === "stay" ? "hang" : undefined);
    await make(server, "stubborn", { task: "stubborn", input: { url: sink.url }, cron: EVERY_SECOND, overlap: "cancel" });
    await until("a second run", async () => (await runsOf(server, "stubborn")).length >= 2);
    await pause(server, "stubborn");
    const [first, ...rest] = await runsOf(server, "stubborn");
    const ended = await server.ended(first.id);
    assert.deepEqual([ended.status, ended.error.forced], ["cancelled", true]);
    assert.ok(sink.count("stays") >= 1, "it was asked first");
    for (const { id } of rest) await server.request("POST", `/runs/${id}/cancel`, { json: { force: true } });
    for (const { id } of rest) await server.ended(id);
    sink.behave = undefined;
  });

  it("a queue key: its runs go one at a time, however many ticks there are", async () => {
    const held = gate();
    sink.behave = () => held.passed.then(() => undefined);
    const { spec } = await make(server, "in-line", {
      task: "held", input: { url: sink.url, name: "in-line" }, cron: EVERY_SECOND, overlap: "allow", queue_key: "line",
    });
    assert.equal(spec.queue_key, "line");
    await until("three runs", async () => (await runsOf(server, "in-line")).length >= 3);
    await pause(server, "in-line");
    const runs = await runsOf(server, "in-line");
    const seen = await Promise.all(runs.map(({ id }) => server.get(`/runs/${id}`)));
    for (const run of seen) assert.equal(run.queue_key, "line");
    assert.deepEqual(seen.map(({ status }) => status), ["suspended_waiting_child", ...seen.slice(1).map(() => "queued")]);
    assert.ok(seen.slice(1).every((run) => run.waiting_for === "queue"));
    held.open();
    sink.behave = undefined;
    const ended = [];
    for (const { id } of runs) ended.push(await server.ended(id));
    for (let i = 1; i < ended.length; i++) assert.ok(Date.parse(ended[i].started_at) >= Date.parse(ended[i - 1].ended_at));
    for (const queue_key of ["", "x".repeat(257), 7]) {
      const wrong = await put(server, "wrong", { cron: "@daily", queue_key });
      assert.deepEqual([wrong.status, wrong.json().field], [422, "queue_key"], wrong.text);
    }
  });

  it("trigger starts a run now, beside the ticks; the last one's end or overlap allow is needed", async () => {
    const held = gate();
    sink.behave = () => held.passed.then(() => undefined);
    await make(server, "asked", { task: "held", input: { url: sink.url, name: "asked" }, cron: "@yearly" });
    const first = await post(server, "asked", "trigger");
    assert.equal(first.status, 202, first.text);
    const refused = await post(server, "asked", "trigger");
    assert.deepEqual([refused.status, refused.json().code], [409, "conflict"]);
    assert.equal((await post(server, "asked", "trigger", { overlap: "allow" })).status, 202);
    held.open();
    sink.behave = undefined;
    await server.ended(first.json().data.taskRunId);
    assert.equal((await runsOf(server, "asked")).length, 2);
    assert.match((await server.get("/schedules/asked")).next_tick, /-01-01T00:00:00.000Z$/);
  });

  it("backfill starts each tick of the past once, also when it is asked for twice or at once", async () => {
    await make(server, "past", { cron: "0 */10 * * * *", time_zone: "Europe/Berlin", overlap: "skip", paused: true });
    const range = { from: "2026-03-29T00:30:00Z", to: "2026-03-29T03:30:00+02:00" };
    const answers = await Promise.all([post(server, "past", "backfill", range), post(server, "past", "backfill", range)]);
    const again = (await post(server, "past", "backfill", range)).json();
    for (const answer of answers) assert.equal(answer.status, 200, answer.text);
    assert.equal(answers[0].json().started + answers[1].json().started, 7);
    assert.deepEqual([again.started, again.existing], [0, 7]);
    assert.deepEqual(again.runs.map(({ taskRunId }) => taskRunId), answers[0].json().runs.map(({ taskRunId }) => taskRunId));
    assert.deepEqual(again.runs.map(({ tick }) => tick.slice(11, 16)), ["00:30", "00:40", "00:50", "01:00", "01:10", "01:20", "01:30"]);
    assert.equal((await runsOf(server, "past")).length, 7);
    for (const [bad, field] of [[{ to: range.to }, "from"], [{ ...range, to: "2999-01-01T00:00:00Z" }, "to"], [{ ...range, from: "yesterday" }, "from"],
      [{ from: "2020-01-01T00:00:00Z", to: "2026-01-01T00:00:00Z" }, "to"]]) {
      const refused = await post(server, "past", "backfill", bad);
      assert.deepEqual([refused.status, refused.json().field], [422, field], refused.text);
    }
  });

  it("the preview shows ticks across a change of the clocks", async () => {
    await make(server, "look", { cron: "30 2 * * *", time_zone: "Europe/Berlin" });
    const { ticks } = await server.get("/schedules/look/next?count=400");
    assert.equal(ticks.length, 400);
    const hours = new Set(ticks.map((tick) => tick.slice(11, 16)));
    assert.deepEqual([...hours].sort(), ["00:30", "01:00", "01:30"]);
    assert.equal((await server.get("/schedules/look")).next_ticks.length, 5);
    assert.equal((await server.request("GET", "/schedules/look/next?count=0")).status, 422);
  });

  it("a mistake is named with its field", async () => {
    for (const [schedule, field, says] of [
      [{ cron: "61 * * * *" }, "cron", /minute "61" is out of range/], [{ cron: "* *" }, "cron", /has 2 fields/],
      [{ cron: "@daily", time_zone: "Mars/Base" }, "time_zone", /Europe\/Berlin/], [{ cron: "@daily", overlap: "maybe" }, "overlap", /allow, skip, queue or cancel/],
      [{}, "cron", /missing/], [{ cron: "@daily", when: 1 }, "when", /not a member/],
    ]) {
      const answer = await put(server, "wrong", schedule);
      assert.deepEqual([answer.status, answer.json().field], [422, field], answer.text);
      assert.match(answer.json().detail, says);
    }
    const nobody = await put(server, "wrong", { task: "nobody", cron: "@daily" });
    assert.deepEqual([nobody.status, nobody.json().code], [404, "task_not_found"]);
    for (const [method, path] of [["GET", "/schedules/wrong"], ["DELETE", "/schedules/wrong"], ["POST", "/schedules/wrong/trigger"], ["GET", "/schedules/wrong/next"]]) {
      const answer = await server.request(method, path);
      assert.deepEqual([answer.status, answer.json().code], [404, "schedule_not_found"], path);
    }
  });

  it("the same schedule put again keeps its next tick; another cron has another", async () => {
    const first = await make(server, "same", { cron: "@yearly" });
    const second = await make(server, "same", { cron: "@yearly", overlap: "queue" });
    assert.equal(second.next_tick, first.next_tick);
    assert.equal(second.spec.overlap, "queue");
    const third = await make(server, "same", { cron: "@hourly" });
    assert.notEqual(third.next_tick, first.next_tick);
    assert.equal((await server.request("DELETE", "/schedules/same")).status, 204);
    assert.equal((await server.request("GET", "/schedules/same")).status, 404);
  });

  it("lists are cut into pages", async () => {
    for (const name of ["page-a", "page-b", "page-c"]) await make(server, name, { cron: "@yearly" });
    const one = await server.get("/schedules?limit=2&cursor=page");
    assert.deepEqual(one.schedules.map(({ name }) => name), ["page-a", "page-b"]);
    const two = await server.get(`/schedules?limit=2&cursor=${one.next_cursor}`);
    assert.equal(two.schedules[0].name, "page-c");
  });

  it("db clear keeps schedules", async () => {
    await make(server, "kept", { cron: "@yearly" });
    assert.equal((await server.request("POST", "/db/clear", { json: { confirm: "clear" } })).status, 200);
    assert.equal((await server.get("/schedules/kept")).name, "kept");
  });

  it("the command line sets, shows, triggers and deletes", async () => {
    const cli = async (...args) => {
      const done = await runCli(server, ["schedules", ...args]);
      return { ...done, text: done.stdout + done.stderr };
    };
    const set = await cli("set", "by-hand", "--task", "echo", "--cron", "0 */5 * * * *", "--tz", "Europe/Berlin", "--overlap", "queue", "--jitter", "30s", "--queue-key", "nightly", "--input", '{"n":1}');
    assert.equal(set.code, 0, set.text);
    assert.match(set.stdout, /0 \*\/5 \* \* \* \*\s+Europe\/Berlin/);
    assert.match(set.stdout, /queue key +nightly/);
    const { spec } = await server.get("/schedules/by-hand");
    assert.deepEqual([spec.jitter_ms, spec.overlap, spec.queue_key, spec.input], [30_000, "queue", "nightly", { n: 1 }]);
    assert.match((await cli()).stdout, /by-hand\s+active\s+echo/);
    assert.match((await cli("show", "by-hand")).stdout, /next \(UTC\)/);
    assert.match((await cli("pause", "by-hand")).stdout, /paused/);
    assert.match((await cli("resume", "by-hand")).stdout, /active/);
    assert.match((await cli("trigger", "by-hand")).stdout, /started run \d+/);
    assert.match((await cli("backfill", "by-hand", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:10:00Z")).stdout, /started 3 runs; 0 were/);
    const wrong = await cli("set", "by-hand", "--task", "echo", "--cron", "x");
    assert.equal(wrong.code, 5, wrong.text);
    assert.match(wrong.stderr, /has 1 fields/);
    assert.equal((await cli("set", "by-hand", "--task", "echo", "--cron", "@daily", "--jitter", "soon")).code, 2);
    assert.equal((await cli("delete", "by-hand")).code, 0);
    assert.equal((await cli("show", "by-hand")).code, 4);
  });
});

describe(`schedules across restarts on ${STORE}`, () => {
  it("ticks of the downtime are made up by catch_up all, the newest by latest, each once", { timeout: 60_000 }, async () => {
    const sink = await openSink();
    const server = new Server({ settings: settings(sink) });
    try {
      await server.start();
      await server.publish("echo", "module.exports = async (input) => input;");
      await make(server, "all", { cron: EVERY_SECOND, overlap: "allow", catch_up: "all" });
      await make(server, "latest", { cron: EVERY_SECOND, overlap: "allow" });
      await until("two runs", async () => (await runsOf(server, "all")).length >= 2);
      await server.stop();
      const down = Date.now();
      await until("ticks to be missed", () => Date.now() - down > 3_500);
      await server.start();
      const up = Date.now();
      await until("ticks of now", async () => (await ticksOf(server, "all")).some((tick) => Date.parse(tick) > up));
      for (const name of ["all", "latest"]) await pause(server, name);
      assertEach(await ticksOf(server, "all"), 1_000);
      const latest = (await ticksOf(server, "latest")).map((tick) => Date.parse(tick));
      assert.equal(new Set(latest).size, latest.length);
      const { missed } = await server.get("/schedules/latest");
      assert.ok(missed >= 2, `${missed} missed`);
      assert.equal((await server.get("/schedules/all")).missed, 0);
    } finally {
      await server.destroy();
      await sink.close();
    }
  });
});

if (STORE === "postgres") {
  describe("schedules on two nodes", () => {
    it("start one run for each tick, and each takes the other's place", { timeout: 60_000 }, async () => {
      const sink = await openSink();
      const a = new Server({ settings: settings(sink) });
      const b = new Server({ beside: a, settings: settings(sink) });
      try {
        await a.start();
        await b.start();
        await a.publish("echo", "module.exports = async (input) => input;");
        for (let i = 0; i < 5; i++) await make(i % 2 ? b : a, `s${i}`, { cron: EVERY_SECOND, overlap: "allow", catch_up: "all" });
        await until("runs", async () => (await runsOf(a, "s4")).length >= 4);
        await a.stop();
        const alone = Date.now();
        await until("a tick at the other", async () => (await ticksOf(b, "s0")).some((tick) => Date.parse(tick) > alone));
        for (let i = 0; i < 5; i++) {
          await pause(b, `s${i}`);
          assertEach(await ticksOf(b, `s${i}`), 1_000);
        }
      } finally {
        await b.destroy();
        await a.destroy();
        await sink.close();
      }
    });
  });
}
