// The corpus (tests/corpus) with kill -9 of the server under every call: what tasks answer, log and call is the same byte for
// byte as undisturbed and as with their memory thrown away at every suspension.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assertExpected, assertSame, EVICTED, expectationOf, play, SHAPES } from "../corpus/shapes.mjs";

describe("tasks suspended in every shape of code, the server killed under every call", () => {
  let undisturbed;
  let evicted;
  let killed;
  it("all at once, undisturbed, evicted and killed", { timeout: 110_000 }, async () => {
    undisturbed = await play();
    evicted = await play({ settings: EVICTED });
    killed = await play({ killed: true });
  });

  for (const shape of SHAPES) {
    it(shape.name, { timeout: 20_000 }, async () => {
      const run = killed.runs.get(shape.name);
      assertKilledUnderEveryCall(run);
      assertExpected(run, await expectationOf(shape));
      assertSame(run, undisturbed.runs.get(shape.name));
      assertSame(run, evicted.runs.get(shape.name));
    });
  }

  it("as often as the longest chain of calls is long", () => {
    console.log(`${SHAPES.length} shapes, ${killed.calls.size} calls, ${killed.kills.length} kills`);
    assert.ok(killed.kills.length >= 7, `${killed.kills.length}`);
    assert.equal(killed.calls.size, undisturbed.calls.size);
  });

  function assertKilledUnderEveryCall({ id, ended, rows }) {
    for (const { seq, service, method, attempts, created_at } of rows) {
      const call = killed.calls.get(`${id}:${seq}`);
      if (call) {
        assert.ok(call.first < call.answered, `call ${seq} was answered in the life of the server in which it was made`);
        assert.equal(attempts[0].outcome, "lost", `call ${seq}`);
      } else {
        // A timer, or a service that is the server's own: nothing holds it up, so it may be over when the server is killed.
        assert.notEqual(`${service}.${method}`, "http.fetch");
        const made = Date.parse(created_at);
        assert.ok(killed.kills.some((at) => made <= at && at < ended), `the server was not killed between call ${seq} and the run's end`);
      }
    }
  }
});
