// The corpus (tests/corpus): a task answers the same whether its memory was kept at every suspension or thrown away, and what it
// would answer in Node, where it is never suspended.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assertExpected, assertSame, EVICTED, expectationOf, play, SHAPES } from "../corpus/shapes.mjs";
import { withHelpers } from "../corpus/world.mjs";
import { residentBytes } from "../support/js/children.mjs";
import { crashSettings, withServer } from "../support/js/server.mjs";
import { openSink } from "../support/js/sink.mjs";
import { until } from "../support/js/wait.mjs";

describe("tasks suspended in every shape of code", () => {
  let warm;
  let evicted;
  it("all at once, warm and evicted", { timeout: 110_000 }, async () => {
    warm = await play();
    evicted = await play({ settings: EVICTED });
  });

  for (const shape of SHAPES) {
    it(shape.name, { timeout: 20_000 }, async () => {
      assertExpected(warm.runs.get(shape.name), await expectationOf(shape));
      assertSame(evicted.runs.get(shape.name), warm.runs.get(shape.name));
    });
  }

  it("there are 40 shapes and more, and each was suspended in its middle", () => {
    assert.ok(SHAPES.length >= 40, `${SHAPES.length}`);
    for (const [name, { root, rows }] of warm.runs) assert.ok(root.slice >= 3 && rows.length >= 2, `${name}: ${root.slice} slices`);
  });

  it("undisturbed, every resume was warm and no engine ended", () => {
    assert.deepEqual([warm.engine.replays, warm.engine.evictions, warm.engine.deaths], [0, 0, 0]);
    for (const [name, run] of warm.runs) assert.deepEqual(resumes(run), ["warm"], name);
  });

  it("evicted, every resume was a replay", () => {
    assert.equal(evicted.engine.deaths, 0);
    for (const [name, run] of evicted.runs) assert.deepEqual(resumes(run), ["replay"], name);
  });

  it("one of them holds 50 MB", { timeout: 30_000 }, async () => {
    const sink = await openSink();
    try {
      await withServer({ settings: crashSettings(sink) }, async (server) => {
        const memory = () => Math.max(...server.engines().map(residentBytes));
        const shape = SHAPES.find(({ name }) => name === "heap-50mb");
        await server.publish(shape.name, withHelpers(shape.code, sink.url));
        const empty = memory();
        sink.behave = () => "hang";
        await server.submit(shape.name, {});
        await until("its call", () => sink.entries.length === 1);
        assert.ok(memory() - empty > 50e6, `${memory() - empty} bytes`);
      });
    } finally {
      await sink.close();
    }
  });
});

/** How the slices of a run were resumed, without its first one. */
const resumes = ({ root, rows }) => [...new Set([root, ...rows].filter((row) => row.slice > 1).map((row) => row.resume_kind))];
