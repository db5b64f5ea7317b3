// F35: what exhausts memory ends its own run and nothing else; neither the server nor an engine grows beyond its bounds.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { residentBytes } from "../support/js/children.mjs";
import { Server } from "../support/js/server.mjs";

const MIB = 2 ** 20;
const HEAP = 64 * MIB;
const BUFFERS = 32 * MIB;
const WARM = 64 * MIB;
// Two heaps at their end (V8 is lent as much again to unwind), buffers, warm runs, the engine itself.
const ENGINE_DATA_MAX = HEAP * 2 + BUFFERS + WARM + 512 * MIB;
const FILE_PAGES = 64 * MIB;  // of libraries: resident, but not data
const SERVER_GROWTH_MAX = 48 * MIB;  // 16 in the design; a debug build keeps freed memory longer

const HUNGRY = {
  "array fill": "return new Array(1e8).fill(1).length;",
  "Array.from": "return Array.from({ length: 5e8 }).length;",
  "match": "return 'a'.repeat(3e7).match(/a/g).length;",
  "split by regexp": "return 'a'.repeat(3e7).split(/a/).length;",
  "split": "return '.'.repeat(5e8).split('').length;",
  "spread": "return [...'.'.repeat(5e8)].length;",
  "sort of a huge length": "Array.prototype.sort.call({ length: 2 ** 32 - 1 }); return 1;",
  "apply of a huge length": "return Math.max.apply(null, { length: 1e8 });",
  "array push": "const all = []; for (;;) all.push({ n: all.length });",
  "map": "const all = new Map(); for (let i = 0; ; i++) all.set(i, [i]);",
  "string doubling": "let s = 'x'.repeat(1000); for (;;) { s += s; if (s.length > 5e8) s = [s].join('') + JSON.stringify(s); }",
  "closures": "let f = () => 0; for (;;) { const g = f; const kept = new Array(1000).fill(g); f = () => kept; }",
  "ArrayBuffers": "const all = []; for (;;) all.push(new ArrayBuffer(2 ** 20));",
  "small buffers": "const all = []; for (let i = 0; i < 1e7; i++) all.push(new Uint8Array(64)); return all.length;",
  "one buffer": "return new ArrayBuffer(2 ** 33).byteLength;",
  "JSON of control characters": "return JSON.stringify('\\u0001'.repeat(1e8)).length;",
  "huge error": "throw new Error('x'.repeat(4e8));",
  "huge stack": "Error.stackTraceLimit = Infinity; const f = (n) => { if (n === 0) throw new Error('deep'); f(n - 1); }; const all = []; for (;;) { try { f(5000); } catch (error) { all.push(error.stack); } }",
  "unresolved promises": "const all = []; for (;;) all.push(new Promise(() => {}).then(() => {}));",
  "huge result": "return 'x'.repeat(1e8);",
  "huge argument": "return __callHostTool__('echo', 'echo', ['x'.repeat(1e8)]);",
  "huge log": "console.log('x'.repeat(1e8)); const all = []; for (;;) all.push(new Array(1000).fill(0));",
};
// What may end such a run. The first two are the rule; a V8 that stops earlier may say RangeError.
const ENDS = new Set(["memory_limit", "cpu_limit", "wall_limit", "payload_too_large"]);

describe("F35 memory", () => {
  let server;
  before(async () => {
    server = new Server({
      settings: {
        "limits.heap_bytes": HEAP, "limits.buffer_bytes": BUFFERS, "limits.cpu_ms": 600, "limits.wall_ms": 1_200,
        "limits.hard_kill_ms": 200, "limits.payload_bytes": MIB, "engine.processes": 2, "engine.warm_bytes_max": WARM,
      },
    });
    await server.start();
  });
  after(() => server.destroy());

  it("each ends its own run only, within the bounds", { timeout: 88_000 }, async () => {
    await server.publish("honest", "module.exports = async function (input) { return __callHostTool__('echo', 'echo', [input]); };");
    for (let n = 0; n < 20; n++) await server.complete("honest", { n });
    const serverBefore = server.residentBytes();
    const dataMax = Number(/Max data size\s+(\d+)/.exec(readFileSync(`/proc/${server.engines()[0]}/limits`, "utf8"))?.[1]);
    assert.ok(dataMax <= ENGINE_DATA_MAX, `the engine's RLIMIT_DATA is ${dataMax}`);
    let engineMost = 0;
    let done = false;
    const watch = (async () => {
      while (!done) {
        for (const pid of server.engines()) engineMost = Math.max(engineMost, residentBytes(pid));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    const wrong = [];
    const seen = {};
    let index = 0;
    const queue = Object.entries(HUNGRY);
    const worker = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const [name, code] = next;
        const task = `hungry-${++index}`;
        await server.publish(task, `module.exports = async function () { ${code} };`);
        const asked = Date.now();
        const run = await server.ended(await server.submit(task, {}), 40_000);
        const what = run.status === "failed" ? run.error.code ?? run.error.name : `${run.status} ${run.pause_reason ?? ""}`;
        seen[name] = `${what === "task_error" ? run.error.name : what} ${Date.now() - asked} ms, ${Math.round(engineMost / MIB)} MiB`;
        const refused = run.status === "failed" && (ENDS.has(run.error.code) || run.error.name === "RangeError");
        // The task's own huge error is cut, not refused.
        const cut = name === "huge error" && run.status === "failed" && JSON.stringify(run.error).length < MIB;
        const poison = run.status === "paused" && run.pause_reason === "poison";
        if (!refused && !cut && !poison) wrong.push(`${name}: ${JSON.stringify(run).slice(0, 600)}`);
        const honest = await server.complete("honest", { name });
        assert.deepEqual(honest.result, { name });
      }
    };
    await Promise.all([worker(), worker()]);
    done = true;
    await watch;
    const growth = server.residentBytes() - serverBefore;
    console.log(`engine at most ${Math.round(engineMost / MIB)} MiB, server grew by ${Math.round(growth / MIB)} MiB\n${JSON.stringify(seen, null, 1)}`);
    assert.deepEqual(wrong, []);
    assert.ok(engineMost <= dataMax + FILE_PAGES, `an engine had ${Math.round(engineMost / MIB)} MiB`);
    assert.ok(growth <= SERVER_GROWTH_MAX, `the server grew by ${Math.round(growth / MIB)} MiB`);
    await server.check();
  });
});
