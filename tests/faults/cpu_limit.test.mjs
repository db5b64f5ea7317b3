// F33: loops of every kind end at limits.cpu_ms as `cpu_limit`, and meanwhile others are served.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server } from "../support/js/server.mjs";

const CPU_MS = 250;

// Each is the body of an async task function.
const LOOPS = {
  "for": "for (;;) {}",
  "while with work": "let x = 0; while (true) x = (x * 31 + 1) % 1000003;",
  "try/finally that goes on": "for (;;) { try { for (;;) {} } finally { continue; } }",
  "catch around the loop": "for (;;) { try { for (;;) {} } catch (error) { continue; } }",
  "recursion with catch": "const f = () => { try { f(); } finally { f(); } }; f();",
  "catastrophic regexp": "return /^(a+)+$/.test('a'.repeat(60) + 'b');",
  "microtasks": "for (;;) await null;",
  "promise chain": "const again = () => Promise.resolve().then(again); await again();",
  "async generator": "async function* endless() { for (;;) yield 1; } for await (const one of endless()) void one;",
  "generator": "function* endless() { for (;;) yield 1; } for (const one of endless()) void one;",
  "getter in the result": "return { get x() { for (;;) {} } };",
  "toJSON of the result": "return { toJSON() { for (;;) {} } };",
  "Proxy as the result": "return new Proxy({}, { ownKeys() { for (;;) {} } });",
  "thenable as the result": "return { then(resolve) { for (;;) {} } };",
  "getter in call arguments": "await __callHostTool__('echo', 'echo', [{ get x() { for (;;) {} } }]);",
  "getter of a thrown error": "throw { get message() { for (;;) {} } };",
  "stack of a thrown error": "const error = new Error('x'); Object.defineProperty(error, 'stack', { get() { for (;;) {} } }); throw error;",
  "console argument": "console.log({ get [Symbol.toStringTag]() { for (;;) {} }, toString() { for (;;) {} } }); console.log(new Proxy([], { get() { for (;;) {} } })); for (;;) {}",
  "sort comparator": "Array.from({ length: 1e6 }, (_, i) => i).sort(() => { for (;;) {} });",
  "BigInt": "let x = 3n; for (;;) x = (x * x) % (1n << 20000n);",
  "after a call": "await __callHostTool__('echo', 'echo', [1]); for (;;) {}",
  "in a timer": "setTimeout(() => { for (;;) {} }, 1); await sleep(5000);",
  "queueMicrotask": "const again = () => queueMicrotask(again); again(); await sleep(5000);",
};

describe("F33 loops", () => {
  let server;
  before(async () => {
    server = new Server({ settings: { "limits.cpu_ms": CPU_MS, "limits.wall_ms": 5_000, "engine.processes": 2 } });
    await server.start();
    await server.publish("honest", "module.exports = async function (input) { return __callHostTool__('echo', 'echo', [input]); };");
  });
  after(() => server.destroy());

  it("every loop ends as cpu_limit while others are served", { timeout: 80_000 }, async () => {
    const ids = new Map();
    let index = 0;
    for (const [name, code] of Object.entries(LOOPS)) {
      const task = `loop-${++index}`;
      await server.publish(task, `module.exports = async function () { ${code} };`);
      ids.set(name, await server.submit(task, {}));
    }
    // Another client works all the while.
    const latencies = [];
    const lives = [];
    let done = false;
    const other = (async () => {
      for (let n = 0; !done; n++) {
        const asked = Date.now();
        await server.get("/livez");
        lives.push(Date.now() - asked);
        const run = await server.complete("honest", { n });
        assert.deepEqual(run.result, { n });
        latencies.push(Date.now() - asked);
      }
    })();
    const wrong = [];
    for (const [name, id] of ids) {
      const run = await server.ended(id, 60_000);
      if (run.status !== "failed" || run.error.code !== "cpu_limit") {
        wrong.push(`${name}: ${run.status} ${run.pause_reason ?? ""} ${JSON.stringify(run.error)}`);
      }
    }
    done = true;
    await other;
    assert.deepEqual(wrong, []);
    latencies.sort((a, b) => a - b);
    console.log(`${latencies.length} honest runs meanwhile: median ${latencies[latencies.length >> 1]} ms, slowest ${latencies.at(-1)} ms; slowest /livez ${Math.max(...lives)} ms`);
    // Both engines may be busy with loops, so an honest run may wait for the loops before it, but never a request.
    assert.ok(Math.max(...lives) < 1_000, `a /livez took ${Math.max(...lives)} ms`);
    assert.ok(latencies.at(-1) < 20_000, `an honest run took ${latencies.at(-1)} ms`);
    await server.check();
  });
});
