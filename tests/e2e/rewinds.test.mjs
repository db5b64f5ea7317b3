// Going on from an earlier point: replays, other versions, retries, forks, and many runs at once.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cli } from "../support/js/cli.mjs";
import { Server } from "../support/js/server.mjs";
import { gate, openSink, SINK_CLIENT, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const ONCE = `{ retry: { attempts: 1 } }`;
const STEPS = (more = "") => sinkTask(`
  console.log("begun");
  const answers = [(await sink("first")).label];
  const [left, right] = await Promise.all([sink("left", ${ONCE}), sink("right", ${ONCE})]);
  console.log("both");
  answers.push(left.label, right.label);
  ${more}
  answers.push((await sink("last")).label);
  return answers;`);

describe("rewinds", () => {
  let server;
  let sink;
  before(async () => {
    sink = await openSink();
    server = new Server({ settings: { "engine.processes": 1, "services.http.allow_hosts": [sink.host] } });
    await server.start();
  });
  after(async () => {
    await server.destroy();
    await sink.close();
  });
  const post = (path, json) => server.request("POST", path, json === undefined ? {} : { json });
  const ok = async (path, json, status = 200) => {
    const answer = await post(path, json);
    assert.equal(answer.status, status, answer.text);
    return answer.json();
  };
  const refused = async (path, json, status, code) => {
    const answer = await post(path, json);
    assert.deepEqual([answer.status, answer.json().code], [status, code], answer.text);
    return answer.json();
  };
  const arrivals = (id) => sink.entries.filter((entry) => entry.key.startsWith(`${id}:`)).map((entry) => entry.label);

  describe("a paused run and other code", () => {
    it("a replay shows the first difference, resuming on such a version is refused, and on a fixed one it goes on", async () => {
      const [begin, text] = ["const at = Date.now();", `await sink("one"); await services.echo.echo({ at, id: task.id });`];
      await server.publish("versions", sinkTask(`${begin} ${text} await services.timer.sleep(3600000); return "old";`));
      const id = await server.submit("versions", { url: sink.url });
      await waitFor(server, id, (run) => run.calls === 3);
      await ok(`/runs/${id}/pause`);
      await server.publish("versions", sinkTask(`${begin} await sink("other"); return "wrong";`));
      await server.publish("versions", sinkTask(`${begin} ${text} await services.timer.sleep(3600000); return "new";`));
      const own = await server.get(`/runs/${id}/replay?version=1`);
      assert.deepEqual([own.same, own.calls, own.outcomes, own.ends, own.next], [true, 3, 2, "suspended", []]);
      const wrong = await server.get(`/runs/${id}/replay?version=2`);
      assert.equal(wrong.same, false);
      assert.equal(wrong.difference.seq, 1);
      assert.match(wrong.difference.recorded.args, /one/);
      assert.match(wrong.difference.replayed.args, /other/);
      const shown = await cli(server, ["runs", "replay", String(id), "--task-version", "2"]);
      assert.equal(shown.code, 1, shown.stderr);
      assert.match(shown.stdout, /- .*one[\s\S]*\+ .*other/);
      const problem = await refused(`/runs/${id}/resume`, { version: 2 }, 409, "divergent");
      assert.equal(problem.difference.seq, 1);
      assert.equal((await server.run(id)).status, "paused");
      await refused(`/runs/${id}/resume`, { version: 9 }, 404, "task_not_found");
      assert.equal((await server.get(`/runs/${id}/replay`)).version, 3, "the newest, unless one is named");
      const resumed = await ok(`/runs/${id}/resume`, { version: 3 });
      assert.deepEqual([resumed.version, resumed.rewinds], [3, 1]);
      assert.deepEqual(arrivals(id), ["one"], "replays make no calls");
      await refused(`/runs/${id}/resume`, { version: 3 }, 409, "conflict");
      await ok(`/runs/${id}/cancel`);
    });

    it("a divergent run goes on with code that repeats what it did", async () => {
      await server.publish("broken", sinkTask(`await sink("one"); await sink("two"); return "old";`));
      const id = await server.submit("broken", { url: sink.url });
      await server.ended(id);
      const fixed = await server.publish("broken", sinkTask(`await sink("one"); await sink("two"); return "new";`));
      assert.equal((await server.get(`/runs/${id}/replay?version=${fixed.version}`)).result, "new");
      await refused(`/runs/${id}/resume`, { version: fixed.version }, 409, "conflict");
    });
  });

  describe("retry", () => {
    it("makes the failed calls again, and no call that had succeeded", async () => {
      await server.publish("steps", STEPS());
      let down = true;
      sink.behave = (entry) => (down && (entry.label === "left" || entry.label === "right") ? "drop" : undefined);
      const id = await server.submit("steps", { url: sink.url });
      const failed = await server.ended(id);
      assert.equal(failed.status, "failed", JSON.stringify(failed));
      down = false;
      const retried = await ok(`/runs/${id}/retry`);
      assert.deepEqual([retried.rewinds, retried.error], [1, null]);
      const run = await server.ended(id);
      assert.deepEqual([run.status, run.result], ["completed", ["first", "left", "right", "last"]]);
      assert.deepEqual(arrivals(id).sort(), ["first", "last", "left", "left", "right", "right"]);
      assert.equal(new Set(sink.of("left").filter((entry) => entry.key.startsWith(`${id}:`)).map((entry) => entry.key)).size, 1);
      assert.deepEqual((await server.logs(id)).map((log) => log.message), ["begun", "both"]);
      const left = (await server.stack(id))[2];
      assert.deepEqual(left.attempts.map((one) => one.outcome), ["retried", "completed"]);
      await refused(`/runs/${id}/retry`, undefined, 409, "conflict");
    });

    it("again and again, each time from where it failed last", async () => {
      sink.behave = (entry) => (entry.label === "last" && entry.arrival < 3 ? "drop" : undefined);
      await server.publish("stubborn", sinkTask(`await sink("first"); return (await sink("last", ${ONCE})).arrival;`));
      const id = await server.submit("stubborn", { url: sink.url });
      for (let n = 0; n < 2; ++n) {
        assert.equal((await server.ended(id)).status, "failed");
        await ok(`/runs/${id}/retry`);
      }
      const run = await server.ended(id);
      assert.deepEqual([run.result, run.rewinds], [3, 2]);
      assert.deepEqual(arrivals(id), ["first", "last", "last", "last"]);
    });

    it("code that threw by itself goes on with a fixed version, which keeps every result", async () => {
      const code = (text) => sinkTask(`const a = await sink("a"); const b = await sink("b"); ${text}; return [a.nonce, b.nonce];`);
      sink.behave = undefined;
      await server.publish("thrower", code("null.x"));
      const id = await server.submit("thrower", { url: sink.url });
      assert.equal((await server.ended(id)).status, "failed");
      const before = (await server.stack(id)).slice(1).map((call) => JSON.parse(call.result.body).nonce);
      const problem = await refused(`/runs/${id}/retry`, {}, 409, "conflict");
      assert.match(problem.detail, /same way/);
      await server.publish("thrower", code("null.y"));
      await refused(`/runs/${id}/retry`, { version: 2 }, 409, "conflict");
      await server.publish("thrower", code("1"));
      await ok(`/runs/${id}/retry`, { version: 3 });
      const run = await server.ended(id);
      assert.deepEqual([run.version, run.result], [3, before]);
      assert.deepEqual(arrivals(id), ["a", "b"]);
    });

    it("from a call that is named, though it did not fail", async () => {
      sink.behave = (entry) => (entry.label === "checked" && entry.arrival === 1 ? { status: 503 } : undefined);
      await server.publish("checker", sinkTask(`await sink("before"); await sink("checked"); return "ok";`));
      const id = await server.submit("checker", { url: sink.url });
      assert.equal((await server.ended(id)).status, "failed");
      await refused(`/runs/${id}/retry`, { call: 3 }, 422, "invalid_field");
      await ok(`/runs/${id}/retry`, { call: 2 });
      assert.equal((await server.ended(id)).result, "ok");
      assert.deepEqual(arrivals(id), ["before", "checked", "checked"]);
    });

    it("a run that failed after it was asked to end is not asked any more, and what that cut off stays so", async () => {
      const held = gate();
      sink.behave = (entry) => (entry.label === "asked-work" ? held.passed
        : entry.label === "asked-fix" && entry.arrival === 1 ? "drop" : undefined);
      await server.publish("asked", sinkTask(`
        const timer = setTimeout(() => undefined, 3_600_000);
        clearTimeout(timer);
        try { await sink("asked-work"); } catch { await sink("asked-fix", ${ONCE}); }
        await services.timer.sleep(1);
        return task.signal.aborted;`));
      const id = await server.submit("asked", { url: sink.url });
      await until("the call to arrive", () => sink.count("asked-work") === 1);
      await ok(`/runs/${id}/cancel`, { grace_ms: 60_000 });
      assert.equal((await server.ended(id)).status, "failed");
      const run = await ok(`/runs/${id}/retry`);
      assert.equal(run.cancelling, undefined);
      const ended = await server.ended(id);
      assert.deepEqual([ended.status, ended.result], ["completed", true]);
      assert.deepEqual(arrivals(id).sort(), ["asked-fix", "asked-fix", "asked-work"]);
      const fork = await ok(`/runs/${id}/fork`, { at: { position: 2 } }, 201);
      assert.deepEqual([(await server.ended(fork.id)).result, sink.count("asked-work")], [true, 1]);
      held.open();
    });
    it("a cancelled run goes on where it was", async () => {
      sink.behave = undefined;
      await server.publish("sleeper", sinkTask(`await sink("a"); await services.timer.sleep(input.ms); await sink("b"); return "ok";`));
      const id = await server.submit("sleeper", { url: sink.url, ms: 1500 });
      await waitFor(server, id, (run) => run.calls === 2);
      await ok(`/runs/${id}/cancel`);
      assert.equal((await server.ended(id)).status, "cancelled");
      await ok(`/runs/${id}/retry`);
      assert.equal((await server.ended(id)).result, "ok");
      assert.deepEqual(arrivals(id), ["a", "b"]);
    });
  });

  describe("fork", () => {
    const code = `${SINK_CLIENT}
module.exports = async (input) => {
  sinkUrl = input.url;
  const began = Date.now();
  const a = await services.echo.echo({ began, x: Math.random() });
  const b = await sink("b");
  if (b.label === "edited") return { edited: true, a: a.x, extra: input.extra };
  await sink("c");
  return { edited: false, a: a.x, extra: input.extra };
};`;
    let id;
    let source;
    before(async () => {
      sink.behave = undefined;
      await server.publish("forked", code);
      id = (await server.complete("forked", { url: sink.url })).id;
      source = await server.run(id);
    });
    const fork = (json, status = 201) => ok(`/runs/${id}/fork`, json, status);

    it("with an edited outcome goes another way from there, with the same past", async () => {
      const made = await fork({ at: { call: 2 }, outcome: { result: { status: 200, body: JSON.stringify({ label: "edited" }) } } });
      assert.deepEqual(made.forked_from, { run: id, position: 1 });
      const run = await server.ended(made.id);
      assert.deepEqual(run.result, { edited: true, a: source.result.a });
      assert.deepEqual(arrivals(made.id), []);
      assert.deepEqual(await server.run(id), source);
    });
    it("at a call makes that call again, under a key of its own", async () => {
      const made = await fork({ at: 2, input: { url: sink.url, extra: 5 } });
      assert.deepEqual((await server.ended(made.id)).result, { edited: false, a: source.result.a, extra: 5 });
      assert.deepEqual(arrivals(made.id), ["b", "c"]);
    });
    it("an error as outcome is thrown", async () => {
      const made = await fork({ at: { position: 2 }, outcome: { error: { message: "made up", code: "service_error" } } });
      const run = await server.ended(made.id);
      assert.equal(run.status, "failed");
      assert.match(run.error.message, /made up/);
    });
    it("one whose input makes the past differ is refused with the difference", async () => {
      await server.publish("inputs", sinkTask(`await sink(input.name); await sink("then"); return 1;`));
      const run = await server.complete("inputs", { url: sink.url, name: "one" });
      const problem = await refused(`/runs/${run.id}/fork`, { at: 2, input: { url: sink.url, name: "two" } }, 409, "divergent");
      assert.match(problem.difference.replayed.args, /two/);
      await refused(`/runs/${run.id}/fork`, { at: { position: 9 } }, 422, "invalid_field");
      await refused(`/runs/${run.id}/fork`, { at: 1, outcome: {} }, 422, "invalid_field");
    });
    it("the same idempotency key makes it once", async () => {
      const body = { at: 2, options: { idempotency_key: "fork-once" } };
      const first = await fork(body);
      assert.equal((await fork(body, 200)).id, first.id);
      await refused(`/runs/${id}/fork`, { ...body, at: 1 }, 409, "idempotency_conflict");
    });
    it("the header Idempotency-Key makes it once, too, and is for one source", async () => {
      const headers = { "Idempotency-Key": "fork-header" };
      const send = (source, json = { at: 2 }) => server.request("POST", `/runs/${source}/fork`, { json, headers });
      const first = await send(id);
      const again = await send(id);
      assert.deepEqual([first.status, again.status, again.json().id], [201, 200, first.json().id], again.text);
      const other = await server.complete("forked", { url: sink.url });
      assert.equal((await send(other.id)).json().code, "idempotency_conflict");
      assert.equal((await send(id, { at: 2, options: { idempotency_key: "another" } })).status, 422);
    });
    it("keys and tags are checked as those of any run", async () => {
      for (const options of [{ idempotency_key: "sequential:start:99:1" }, { tags: { a: { b: 1 } } }, { tags: ["x:y", 5] },
        { tags: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`t${n}`, 1])) }]) {
        await refused(`/runs/${id}/fork`, { at: 2, options }, 422, "invalid_field");
      }
      const answer = await server.request("POST", `/runs/${id}/fork`, { json: { at: 2 }, headers: { "Idempotency-Key": "sequential:x" } });
      assert.equal(answer.status, 422);
    });
    it("by the command line", async () => {
      const made = await cli(server, ["--json", "runs", "fork", String(id), "--call", "2", "--result", `{"status":200,"body":"{\\"label\\":\\"edited\\"}"}`]);
      assert.equal(made.code, 0, made.stderr);
      assert.equal((await server.ended(made.json().id)).result.edited, true);
    });
  });

  it("the replays of a retry have one time for all of them", async () => {
    const hasty = new Server({ settings: { "engine.processes": 1, "server.replay_ms": 100, "services.http.allow_hosts": [sink.host] } });
    try {
      await hasty.start();
      sink.behave = () => "drop";
      const code = sinkTask(`await sink("a", ${ONCE}).catch(() => undefined);
        let n = 0;
        while (n < 4e8) n += 1;
        throw new Error("own words");`);
      await hasty.publish("slow", code);
      const id = await hasty.submit("slow", { url: sink.url });
      assert.equal((await hasty.ended(id)).error.message, "own words");
      await hasty.publish("slow", `${code}// two`);
      const answer = await hasty.request("POST", `/runs/${id}/retry`, { json: { version: 2 } });
      assert.equal(answer.json().code, "timeout", answer.text);
      assert.match(answer.text, /server.replay_ms/);
    } finally {
      sink.behave = undefined;
      await hasty.destroy();
    }
  });

  describe("many runs", () => {
    it("are counted, then changed, by a filter", async () => {
      sink.behave = (entry) => (entry.label === "flaky" && entry.arrival === 1 ? "drop" : undefined);
      await server.publish("flaky", sinkTask(`return (await sink("flaky", ${ONCE})).arrival;`));
      const ids = await Promise.all(Array.from({ length: 12 }, (_, n) =>
        server.submit("flaky", { url: sink.url }, { options: { tags: { group: n < 6 ? "a" : "b" } } })));
      for (const id of ids) assert.equal((await server.ended(id)).status, "failed");
      const filter = { task: "flaky" };
      const count = await ok("/runs/bulk", { action: "retry", filter, dry_run: true });
      assert.deepEqual([count.matched, count.done, count.next], [12, 0, null]);
      const part = await ok("/runs/bulk", { action: "retry", filter: { ...filter, tag: "group:a" }, limit: 4 });
      assert.deepEqual([part.matched, part.done, part.failures], [4, 4, 0]);
      assert.ok(part.next);
      const unasked = await cli(server, ["runs", "retry", "--task", "flaky"]);
      assert.equal(unasked.code, 2, unasked.stdout);
      const all = await cli(server, ["runs", "retry", "--task", "flaky", "--yes"]);
      assert.equal(all.code, 0, all.stderr);
      assert.match(all.stdout, /^retried 8 of 8 runs/);
      for (const id of ids) assert.equal((await server.ended(id)).result, 2);
      const none = await ok("/runs/bulk", { action: "retry", filter });
      assert.equal(none.matched, 0);
    });
    it("what cannot be done is told run by run", async () => {
      await server.publish("hopeless", "module.exports = async () => { throw new Error('no'); };");
      const id = await server.submit("hopeless", {});
      await server.ended(id);
      const answer = await ok("/runs/bulk", { action: "retry", filter: { task: "hopeless" } });
      assert.deepEqual([answer.matched, answer.done, answer.failures], [1, 0, 1]);
      assert.deepEqual([answer.failed[0].id, answer.failed[0].code], [id, "conflict"]);
      const usage = await cli(server, ["runs", "cancel"]);
      assert.equal(usage.code, 2);
    });
    it("a bad request names what is wrong", async () => {
      await refused("/runs/bulk", { action: "explode", filter: {} }, 422, "invalid_field");
      await refused("/runs/bulk", { action: "cancel" }, 422, "invalid_field");
      await refused("/runs/bulk", { action: "cancel", filter: { created_after: "yesterday" } }, 422, "invalid_field");
      const bulk = await post("/runs/bulk", { action: "cancel", filter: { after: "2026-01-31" } });
      const list = await server.request("GET", "/runs?after=2026-01-31");
      assert.deepEqual([bulk.status, bulk.json().detail], [list.status, list.json().detail]);
      const both = await cli(server, ["runs", "cancel", "1", "--task", "flaky"]);
      assert.equal(both.code, 2, both.stdout);
    });
  });
});

describe("bulk actions of a server that is busy", () => {
  it("what it cannot do just now is no failure of the run, and is said where nothing was done", { timeout: 120_000 }, async () => {
    const server = new Server({ settings: { "engine.processes": 1, "server.replays_max": 1 } });
    let hogging = true;
    let hog;
    try {
      await server.start();
      await server.publish("slow", "module.exports = async () => { for (let i = 0; i < 3e8; i++); throw new Error('x'); };");
      await server.publish("other", "module.exports = async () => { for (let i = 0; i < 3e8; i++); };");
      const id = await server.submit("slow", {});
      const other = await server.submit("other", {});
      for (const run of [id, other]) await server.ended(run);
      hog = (async () => {
        while (hogging) await server.request("GET", `/runs/${other}/replay`);
      })();
      const refused = await until("the places for replays to be taken", async () => {
        const answer = await server.request("POST", "/runs/bulk", { json: { action: "retry", filter: { task: "slow" }, version: 1 } });
        if (answer.status === 200) {
          const { failed } = answer.json();
          assert.ok(!failed.some((one) => one.code === "overloaded"), answer.text);
          await server.ended(id);
        }
        return answer.status !== 200 && answer;
      }, 60_000);
      assert.equal(refused.json().code, "overloaded", refused.text);
    } finally {
      hogging = false;
      await hog?.catch(() => undefined);
      await server.destroy();
    }
  });
});

const waitFor = (server, id, holds) => until(`run ${id} to wait`, async () => {
  const run = await server.run(id);
  return holds(run) && run.status === "suspended_waiting_child";
});
