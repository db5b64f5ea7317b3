// What a run shows of itself, and the stream of what happens to it: GET /runs/{id}/events.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cli } from "../support/js/cli.mjs";
import { parseEvents, watch } from "../support/js/events.mjs";
import { openRaw } from "../support/js/http.mjs";
import { Server, STORE, withServer } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

// Logs before and after each call, and shows how far it is. The sink decides when a call ends.
const STEPS = sinkTask(`
  setStatus({ phase: "begun", name: input.name });
  for (let i = 1; i <= input.calls; i++) {
    console.log(input.name + " before " + i);
    progress(i - 1, input.calls);
    await sink(input.name + "-" + i);
    console.log(input.name + " after " + i);
    progress(i, input.calls, "did " + i);
  }
  setStatus("done");
  return { name: input.name };`);
const messages = (name, calls) =>
  Array.from({ length: calls }, (_, i) => [`${name} before ${i + 1}`, `${name} after ${i + 1}`]).flat();

describe("run state and events", () => {
  let server;
  let sink;
  const settings = () => ({
    "engine.processes": 1, "services.http.allow_hosts": [sink.host], "server.event_heartbeat_ms": 300, "server.event_poll_ms": 200,
  });
  const own = () => ({ settings: settings() });
  const gates = new Map();
  const gateOf = (label) => gates.get(label) ?? gates.set(label, gate()).get(label);
  before(async () => {
    sink = await openSink();
    sink.behave = ({ label }) => (label.startsWith("held") ? gateOf(label).passed.then(() => undefined) : undefined);
    server = new Server({ settings: settings() });
    await server.start();
    await server.publish("steps", STEPS);
  });
  after(async () => {
    await server.destroy();
    await sink.close();
  });
  const submit = (name, calls) => server.submit("steps", { url: sink.url, name, calls });

  it("GET /runs/{id} shows the newest status and progress, GET /runs the progress", async () => {
    const id = await submit("held-show", 2);
    await until("the first call", () => sink.count("held-show-1") === 1);
    let run = await server.get(`/runs/${id}`);
    assert.deepEqual(run.state.status, { phase: "begun", name: "held-show" });
    assert.deepEqual(run.state.progress, { done: 0, total: 2 });
    gateOf("held-show-1").open();
    await until("the second call", () => sink.count("held-show-2") === 1);
    run = await server.get(`/runs/${id}`);
    assert.deepEqual(run.state.progress, { done: 1, total: 2 });  // the last of the slice
    const listed = (await server.get("/runs?limit=50")).runs.find((one) => one.id === id);
    assert.deepEqual(listed.progress, { done: 1, total: 2 });
    gateOf("held-show-2").open();
    await server.ended(id);
    run = await server.get(`/runs/${id}`);
    assert.equal(run.state.status, "done");
    assert.equal(run.logs, 4);  // what it showed are no log entries
    const { logs } = await server.get(`/runs/${id}/logs`);
    assert.deepEqual(logs.map((entry) => [entry.level, entry.message]), messages("held-show", 2).map((text) => ["info", text]));
  });

  it("a run that shows nothing has an empty state", async () => {
    await server.publish("quiet", "module.exports = async () => 1;");
    const id = await server.submit("quiet", {});
    await server.ended(id);
    assert.deepEqual((await server.get(`/runs/${id}`)).state, { status: null, progress: null, updated_at: null });
  });

  it("streams every log once and in order, the state, and the end", async () => {
    const id = await submit("held-order", 3);
    const seen = await watch(server, id);
    assert.equal(seen.status, 200);
    assert.match(seen.headers["content-type"], /^text\/event-stream/);
    for (let i = 1; i <= 3; i++) {
      await until(`what came before call ${i}`, () => seen.last("state")?.progress?.done === i - 1);
      assert.equal(seen.logs().at(-1), `held-order before ${i}`);
      gateOf(`held-order-${i}`).open();
    }
    await seen.ended();
    assert.deepEqual(seen.logs(), messages("held-order", 3));
    assert.deepEqual(seen.of("log").map((entry) => entry.n), [1, 2, 3, 4, 5, 6]);
    assert.ok(seen.of("run").length > 0);
    assert.deepEqual(seen.last("state").progress, { done: 3, total: 3, message: "did 3" });
    const end = seen.last("end");
    assert.equal(seen.events.at(-1).event, "end");
    assert.deepEqual([end.id, end.status, end.result, end.state.status], [id, "completed", { name: "held-order" }, "done"]);
    assert.equal(end.input, undefined);
  });

  it("goes on after Last-Event-ID or ?after= with nothing lost and nothing twice", async () => {
    const id = await submit("held-resume", 4);
    const whole = [];
    let lastEventId;
    for (let i = 1; i <= 4; i++) {
      const seen = await watch(server, id, i % 2 === 0 ? { lastEventId } : { after: lastEventId });
      await until(`the log before call ${i}`, () => seen.logs().at(-1) === `held-resume before ${i}`);
      whole.push(...seen.logs());
      lastEventId = seen.lastId;
      seen.close();
      gateOf(`held-resume-${i}`).open();
    }
    await server.ended(id);
    const rest = await watch(server, id, { lastEventId });
    await rest.ended();
    assert.deepEqual([...whole, ...rest.logs()], messages("held-resume", 4));
    assert.equal(rest.of("end").length, 1);
    assert.equal(rest.of("run").length, 0);
    const nothing = await watch(server, id, { lastEventId: rest.lastId });
    assert.equal(nothing.status, 204);  // an EventSource does not come back
    const fromNumber = await watch(server, id, { after: 7 });
    await fromNumber.ended();
    assert.deepEqual(fromNumber.logs(), ["held-resume after 4"]);
  });

  it("a failed run's stream ends with its error; a run that is over is streamed from its beginning", async () => {
    await server.publish("fails", "module.exports = async () => { console.log('x'); progress(1, 2); throw new Error('no'); };");
    const id = await server.submit("fails", {});
    await server.ended(id);
    const seen = await watch(server, id);
    await seen.ended();
    assert.deepEqual(seen.events.map((event) => event.event), ["log", "state", "end"]);
    assert.equal(seen.last("end").error.message, "no");
  });

  it("more logs than a page come whole, also beside a reader that is at the front", async () => {
    await server.publish("talks", "module.exports = async (n) => { for (let i = 0; i < n; i++) { for (let j = 0; j < 300; j++)"
      + " console.log(`${i}.${j}`); await sleep(1); } };");
    const id = await server.submit("talks", 4);
    const front = await watch(server, id);
    await front.ended();
    const late = await watch(server, id);
    await late.ended();
    const all = Array.from({ length: 1_200 }, (_, i) => `${Math.floor(i / 300)}.${i % 300}`);
    assert.deepEqual(front.logs(), all);
    assert.deepEqual(late.logs(), all);
  });

  it("a slow reader gets the newest state and every log, and holds up nobody", async () => {
    await server.publish("wordy", "module.exports = async (n) => { for (let i = 1; i <= n; i++) { for (let j = 0; j < 50; j++)"
      + " console.log('x'.repeat(8000)); progress(i, n); await sleep(1); } };");
    const id = await server.submit("wordy", 40);
    const slow = await watch(server, id);
    slow.response.pause();
    const quick = await watch(server, id);
    await quick.ended(40_000);
    assert.equal(quick.logs().length, 2_000);
    slow.response.resume();
    await slow.ended(40_000);
    assert.equal(slow.logs().length, 2_000);
    assert.deepEqual(slow.last("state").progress, { done: 40, total: 40 });
    assert.ok(slow.of("state").length <= quick.of("state").length);
  });

  it("comments keep a silent stream open, and HTTP/1.0 and HEAD are understood", async () => {
    const id = await submit("held-silent", 1);
    const seen = await watch(server, id);
    await until("two comments", () => seen.comments >= 2);
    assert.equal(seen.over, false);
    const head = await server.request("HEAD", `/runs/${id}/events`);
    assert.equal(head.status, 200);
    assert.match(head.headers["content-type"], /^text\/event-stream/);
    const old = await openRaw(server.url);
    old.send(`GET /runs/${id}/events HTTP/1.0\r\nHost: localhost\r\n\r\n`);
    gateOf("held-silent-1").open();
    const [headers, body] = (await old.closed()).toString("utf8").split("\r\n\r\n");
    assert.doesNotMatch(headers, /transfer-encoding/i);
    const { events, rest } = parseEvents(body);
    assert.equal(rest, "");
    assert.equal(events.filter((event) => event.event).at(-1).event, "end");
    await seen.ended();
    assert.equal(seen.of("end").length, 1);
  });

  it("refuses what it cannot serve", async () => {
    const id = await submit("refuse", 1);
    const paths = { "/runs/999999/events": 404, [`/runs/${id}/events?after=x`]: 422, [`/runs/${id}/events?after=1.2.99`]: 422,
      [`/runs/${id}/events?from=1`]: 422 };
    for (const [path, status] of Object.entries(paths)) {
      const answer = await server.request("GET", path);
      assert.equal(answer.status, status, path);
      assert.match(answer.headers["content-type"], /problem\+json/);
    }
    assert.equal((await server.request("POST", `/runs/${id}/events`)).status, 405);
  });

  it("the CLI follows the stream, and shows progress and status", async () => {
    const id = await submit("held-cli", 2);
    const following = cli(server, ["logs", String(id), "-f"]);
    const json = cli(server, ["--json", "logs", String(id), "-f"]);
    await until("both to follow", async () => (await server.get("/stats")).events.streams >= 2);
    const shown = await cli(server, ["runs", "show", String(id)]);
    assert.match(shown.stdout, /progress +\[\.{20}\] 0% 0\/2/);
    assert.match(shown.stdout, /status\n\{\n  "phase": "begun"/);
    gateOf("held-cli-1").open();
    gateOf("held-cli-2").open();
    const { code, stdout } = await following;
    assert.equal(code, 0);
    assert.deepEqual(stdout.trim().split("\n").map((line) => line.replace(/^\S+ info +/, "")), messages("held-cli", 2));
    const lines = (await json).stdout.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines.map((entry) => [entry.n, entry.message]), messages("held-cli", 2).map((text, i) => [i + 1, text]));
  });

  const callsOf = (seen) => seen.events.filter((one) => ["call", "outcome"].includes(one.event));
  const told = (events) => events.map(({ event, data }) => `${event} ${data.seq}`);
  it("with calls=1, each call that begins and each recorded outcome, once, from wherever a client comes back", async () => {
    const id = await submit("held-calls", 3);
    const seen = await watch(server, id, { calls: true });
    await until("the call", () => seen.last("call"));
    for (const n of [1, 2, 3]) gateOf(`held-calls-${n}`).open();
    await seen.ended();
    const calls = callsOf(seen);
    const wanted = [1, 2, 3].flatMap((n) => [`call ${n}`, `outcome ${n}`]);
    assert.deepEqual(told(calls), wanted);
    const { at, ...begun } = calls[2].data;
    assert.deepEqual(begun, { seq: 2, service: "http", method: "fetch" });
    const { started_at: started, ended_at: ended, ...outcome } = calls[3].data;
    assert.deepEqual(outcome, { ...begun, at, status: "completed", attempts: 1, position: 2 });
    assert.ok(at <= started && started <= ended, `${at} ${started} ${ended}`);
    for (const [i, { id: lastEventId }] of calls.entries()) {
      const back = await watch(server, id, { calls: true, lastEventId });
      await back.ended();
      assert.deepEqual(told(callsOf(back)), wanted.slice(i + 1));
      assert.equal(back.last("end").status, "completed");
    }
    assert.equal((await watch(server, id, { calls: true, lastEventId: seen.lastId })).status, 204);
    const without = await watch(server, id, { lastEventId: calls[1].id });
    await without.ended();
    assert.deepEqual(callsOf(without), []);
    assert.equal((await server.request("GET", `/runs/${id}/events?calls=2`)).status, 422);
  });

  it("with calls=1, a failed call says so, and so does one that took several tries", async () => {
    await server.publish("tries", `module.exports = async () => {
      const failed = await services.none.method().catch((error) => error.code);
      const both = await Promise.allSettled([services.echo.echo(1), services.echo.nothing()]);
      return [failed, both.map((one) => one.status)];
    };`);
    const id = await server.submit("tries", {});
    const seen = await watch(server, id, { calls: true });
    await seen.ended();
    const outcomes = new Map(seen.of("outcome").map((one) => [one.seq, one]));
    const rows = (await server.stack(id)).filter((row) => row.seq > 0);
    assert.equal(outcomes.size, rows.length);
    for (const row of rows) {
      const { status, attempts, position, service, method } = outcomes.get(row.seq);
      assert.deepEqual([status, attempts, position, service, method], [row.status, row.attempt, row.delivered_as, row.service, row.method]);
    }
    assert.deepEqual([outcomes.get(1).status, outcomes.get(2).status], ["failed", "completed"]);
  });

  it("with calls=1, kill -9 loses and repeats nothing", () => withServer(own(), async (one) => {
    await one.publish("steps", STEPS);
    const id = await one.submit("steps", { url: sink.url, name: "held-killed", calls: 3 });
    const first = await watch(one, id, { calls: true });
    gateOf("held-killed-1").open();
    await until("the second call", () => first.of("call").length === 2);
    await one.kill9();
    await first.ended();
    await one.start();
    const second = await watch(one, id, { calls: true, lastEventId: first.lastId });
    for (const n of [2, 3]) gateOf(`held-killed-${n}`).open();
    await second.ended(60_000);
    assert.deepEqual(told([...callsOf(first), ...callsOf(second)]), [1, 2, 3].flatMap((n) => [`call ${n}`, `outcome ${n}`]));
    assert.deepEqual([...first.logs(), ...second.logs()], messages("held-killed", 3));
  }));

  it("the CLI follows calls among the lines", async () => {
    const id = await submit("held-cli-calls", 1);
    const following = cli(server, ["logs", String(id), "-f", "--calls"]);
    const json = cli(server, ["--json", "logs", String(id), "--follow", "--calls"]);
    await until("both to follow", async () => (await server.get("/stats")).events.streams >= 2);
    gateOf("held-cli-calls-1").open();
    const { code, stdout } = await following;
    assert.equal(code, 0);
    const lines = stdout.trim().split("\n").map((line) => line.replace(/^\S+ /, "").replace(/ +/g, " "));
    const calls = lines.filter((line) => !line.startsWith("info"));
    assert.deepEqual(calls, ["call #1 http.fetch called", "outcome #1 http.fetch completed"]);
    assert.deepEqual(lines.filter((line) => line.startsWith("info")), messages("held-cli-calls", 1).map((text) => `info ${text}`));
    const parsed = (await json).stdout.trim().split("\n").map((line) => JSON.parse(line)).filter((entry) => entry.event);
    assert.deepEqual(parsed.map(({ event, seq, status }) => [event, seq, status]), [["call", 1, undefined], ["outcome", 1, "completed"]]);
    const refused = await cli(server, ["logs", String(id), "--calls"]);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /--follow/);
  });

  const two = () => ({ settings: { ...settings(), "server.event_streams_max": 2 } });
  it("no more streams than the limit; a closed one makes room", () => withServer(two(), async (small) => {
    await small.publish("steps", STEPS);
    const id = await small.submit("steps", { url: sink.url, name: "held-limit", calls: 1 });
    const first = await watch(small, id);
    await watch(small, id);
    const third = await watch(small, id);
    assert.equal(third.status, 429);
    first.close();
    await until("room", async () => {
      const again = await watch(small, id);
      if (again.status !== 200) return false;
      again.close();
      return true;
    });
    gateOf("held-limit-1").open();
    await small.ended(id);
  }));

  it("a drain says goodbye and does not wait; the next server goes on where it was", () => withServer(own(), async (one) => {
    await one.publish("steps", STEPS);
    const id = await one.submit("steps", { url: sink.url, name: "held-drain", calls: 2 });
    const seen = await watch(one, id);
    await until("the first log", () => seen.logs().length === 1);
    gateOf("held-drain-1").open();
    await until("the second call", () => sink.count("held-drain-2") === 1);
    await until("its log", () => seen.logs().length === 3);
    gateOf("held-drain-2").open();
    await one.stop();
    await seen.ended();
    const bye = seen.events.find((event) => event.event === "bye");
    assert.equal(bye?.data.reason, "stopping");
    assert.ok(Number(bye.retry) > 0);
    await one.start();
    const rest = await watch(one, id, { lastEventId: seen.lastId });
    await rest.ended();
    assert.deepEqual([...seen.logs(), ...rest.logs()], messages("held-drain", 2));
    assert.equal([...seen.of("end"), ...rest.of("end")].length, 1);
  }));

  it("a client that goes away is missed at once, not at the next comment", () =>
    withServer({ settings: { ...settings(), "server.event_heartbeat_ms": 60_000 } }, async (one) => {
      await one.publish("steps", STEPS);
      const id = await one.submit("steps", { url: sink.url, name: "held-gone", calls: 1 });
      const streams = async () => (await one.get("/stats")).events.streams;
      const [first, second] = [await watch(one, id), await watch(one, id)];
      assert.equal(await streams(), 2);
      first.close();
      await until("the first to be missed", async () => (await streams()) === 1, 10_000);
      gateOf("held-gone-1").open();
      await second.ended();
      assert.equal(second.of("end").length, 1);
    }));

  it("a run that waits is looked at ever more rarely, and news is heard at once all the same", () =>
    withServer({ settings: { ...settings(), "server.event_poll_ms": 50 } }, async (one) => {
      await one.publish("steps", STEPS);
      const id = await one.submit("steps", { url: sink.url, name: "held-idle", calls: 1 });
      await until("the call", () => sink.count("held-idle-1") === 1);
      const looks = async () => (await one.get("/stats")).events.looks;
      const seen = await watch(one, id);
      const before = await looks();
      await until("ten comments", () => seen.comments >= 10);  // 3 s, sixty looks at a steady pace
      assert.ok((await looks()) - before <= 20, `${(await looks()) - before} looks`);
      const opened = Date.now();
      gateOf("held-idle-1").open();
      await seen.ended();
      assert.ok(Date.now() - opened < 5_000, `it ended after ${Date.now() - opened} ms`);
    }));

  it("many watchers of one run cost one look at a time", async () => {
    const id = await submit("held-many", 3);
    const all = await Promise.all(Array.from({ length: 100 }, () => watch(server, id)));
    const before = (await server.get("/stats")).events.looks;
    for (let i = 1; i <= 3; i++) gateOf(`held-many-${i}`).open();
    await Promise.all(all.map((one) => one.ended()));
    const looks = (await server.get("/stats")).events.looks - before;
    assert.ok(looks <= 60, `${looks} looks`);
    for (const one of all) assert.deepEqual(one.logs(), messages("held-many", 3));
  });

  it("setStatus and progress refuse what has no JSON, is no amount, or is too large; the last of a slice counts", async () => {
    await server.publish("shows", `module.exports = async () => {
      const refused = [];
      const cycle = {};
      cycle.a = cycle;
      const long = "x".repeat(20000);
      for (const show of [() => setStatus(cycle), () => setStatus(long), () => setStatus(() => 1), () => setStatus(1n), () => progress(-1),
        () => progress("1"), () => progress(NaN), () => progress(1, 2, 3), () => progress(1, 2, long)]) {
        try { show(); refused.push("taken"); } catch (error) { refused.push(error.name); }
      }
      setStatus(1); setStatus(); setStatus({ é: [null] });
      for (let i = 0; i < 5000; i++) progress(i);
      return { refused, forged: typeof console.status };
    };`);
    const run = await server.complete("shows", {});
    assert.deepEqual(run.result.refused.map((name) => name.replace("Error", "")),
      ["Type", "Range", "Type", "Type", "Type", "Type", "Type", "Type", "Range"]);
    assert.equal(run.result.forged, "undefined");
    const { state, logs } = await server.get(`/runs/${run.id}`);
    assert.deepEqual(state.status, { é: [null] });
    assert.deepEqual(state.progress, { done: 4999 });
    assert.equal(logs, 0);
  });

  it("a replay shows nothing again", () => withServer({ settings: { ...settings(), "engine.evict_always": true } }, async (cold) => {
    await cold.publish("steps", STEPS);
    const id = await cold.submit("steps", { url: sink.url, name: "cold", calls: 5 });
    const seen = await watch(cold, id);
    await seen.ended();
    assert.deepEqual(seen.logs(), messages("cold", 5));
    const shown = seen.of("state").map((state) => state.progress.done);
    assert.deepEqual(shown, [...shown].sort((a, b) => a - b));
    assert.equal(seen.last("state").status, "done");
  }));

  if (STORE === "postgres") {
    it("a watcher at another node sees the same", async () => {
      const other = new Server({ beside: server, settings: settings() });
      await other.start();
      try {
        const id = await submit("held-other", 2);
        const seen = await watch(other, id);
        await until("the first log", () => seen.logs().length === 1);
        gateOf("held-other-1").open();
        await until("more", () => seen.logs().length === 3);
        const here = await watch(server, id, { lastEventId: seen.lastId });
        gateOf("held-other-2").open();
        await seen.ended();
        await here.ended();
        assert.deepEqual(seen.logs(), messages("held-other", 2));
        assert.deepEqual(here.logs(), ["held-other after 2"]);
        assert.equal(seen.last("end").status, "completed");
      } finally {
        await other.destroy();
      }
    });
  }
});
