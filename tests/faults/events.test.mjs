// Watchers of a run whose server is killed: what they are sent in all is every log entry once, and one end.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { watch } from "../support/js/events.mjs";
import { crashSettings, Server } from "../support/js/server.mjs";
import { gate, openSink, sinkTask } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

const CALLS = 30;
const TALKING = sinkTask(`
  for (let i = 1; i <= input.calls; i++) {
    console.log("before " + i);
    progress(i - 1, input.calls);
    await sink("t-" + i);
    console.log("after " + i);
  }
  setStatus("done");
  return "end";`);

describe("event streams of a server that is killed", () => {
  it("every log once, in order, and one end, over kill -9 again and again", { timeout: 90_000 }, async () => {
    const sink = await openSink();
    const server = new Server({ settings: crashSettings(sink, { "server.event_pace_ms": 5 }) });
    try {
      const gates = new Map([3, 8, 14, 20].map((call) => [`t-${call}`, gate()]));
      sink.behave = ({ label }) => gates.get(label)?.passed.then(() => undefined);
      await server.start();
      await server.publish("talking", TALKING);
      const id = await server.submit("talking", { url: sink.url, calls: CALLS });
      const parts = [];
      let lastEventId;
      const lastSeen = () => parts.findLast((part) => part.lastId)?.lastId;
      // By us when it has been sent so much, or by itself before or after it stores a slice.
      for (const [after, faults] of [[3], [8], [14, "suspend.before_commit"], [20, "suspend.after_commit"]]) {
        const seen = await watch(server, id, { lastEventId });
        parts.push(seen);
        await until(`the log before call ${after}`, () => parts.flatMap((part) => part.logs()).includes(`before ${after}`));
        await server.kill9();
        await seen.ended();
        lastEventId = lastSeen();
        gates.get(`t-${after}`).open();
        if (faults) {
          await server.start({ faults: `${faults}=kill9@3` });
          await server.crashed();
        }
        await server.start();
      }
      const rest = await watch(server, id, { lastEventId });
      parts.push(rest);
      await rest.ended(40_000);
      const logs = parts.flatMap((part) => part.of("log"));
      assert.deepEqual(logs.map((entry) => entry.n), logs.map((_, i) => i + 1));
      const said = Array.from({ length: CALLS }, (_, i) => [`before ${i + 1}`, `after ${i + 1}`]).flat();
      assert.deepEqual(logs.map((entry) => entry.message), said);
      assert.equal(parts.flatMap((part) => part.of("end")).length, 1);
      assert.deepEqual([rest.last("end").result, rest.last("end").state.status], ["end", "done"]);
      const done = parts.flatMap((part) => part.of("state")).map((state) => state.progress.done);
      assert.deepEqual(done, [...done].sort((a, b) => a - b));
    } finally {
      await server.destroy();
      await sink.close();
    }
  });
});
