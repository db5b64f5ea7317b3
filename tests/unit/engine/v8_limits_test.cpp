// F33, F34: code that computes, logs or calls without end. What V8 lets the engine stop, it stops with
// the limit's code; what V8 does not, must be killed from outside. Memory: v8_memory_test.cpp.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <string>
#include <vector>

#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

using protocol::SliceDoneStatus;

// --- F33: loops

class V8Loops : public ::testing::TestWithParam<const char*> {};

TEST_P(V8Loops, AreStoppedAtTheCpuLimitAndOtherRunsGoOn) {
  EngineProcess engine(small_limits());
  TestRun hostile(task(GetParam()), {.input = "0", .id = 1});
  const auto done = hostile.begin_cold(engine);
  EXPECT_EQ(done.status, SliceDoneStatus::failed);
  EXPECT_TRUE(has_code(done, "cpu_limit")) << done.payload;
  EXPECT_FALSE(done.warm);
  EXPECT_FALSE(done.retry_alone);
  TestRun other("module.exports = async () => (await services.s.m(1)).args[0];",
                {.id = 2, .function_id = 2});
  EXPECT_EQ(other.finish(engine).payload, "1");
}

INSTANTIATE_TEST_SUITE_P(
    F33, V8Loops,
    ::testing::Values("for (;;);", "try { for (;;); } finally { for (;;); }",
                      "for (;;) { try { for (;;); } catch {} }",
                      "return /^(a+)+$/.test('a'.repeat(40) + 'b');",
                      "(function f() { Promise.resolve().then(f); })(); await services.s.m();",
                      "for (;;) await 0;",
                      "async function* g() { for (;;) yield 1; }\nfor await (const x of g());",
                      "return { get a() { for (;;); } };", "return { toJSON() { for (;;); } };",
                      "const t = { then(f) { f(t); } };\nawait t;",
                      "[3, 2, 1].sort(() => { for (;;); });",
                      "JSON.parse('[1]', () => { for (;;); });",
                      "let b = 3n ** 200000n;\nfor (;;) b = b * b % (7n ** 300000n);",
                      "queueMicrotask(function f() { queueMicrotask(f); }); await services.s.m();",
                      "throw { get message() { for (;;); } };",
                      "Object.defineProperty(Error, 'prepareStackTrace', { value() { for (;;); } "
                      "});\nthrow new Error('x');",
                      "for (;;) console.log('x');",
                      "for (;;) console.log(new Array(1000).fill({ a: [1, 2, { b: 3 }] }));"));

TEST(V8Limits, ALoopAfterAnOutcomeIsStoppedInTheWarmSliceAndInTheReplay) {
  const std::string code = task("await services.s.m();\nfor (;;);");
  EngineProcess engine(small_limits());
  TestRun run(code, {});
  ASSERT_TRUE(run.begin_cold(engine).warm);
  run.record_outcome(1, {});
  const auto warm = engine.slice(run.warm_frame());
  EXPECT_TRUE(has_code(warm, "cpu_limit")) << warm.payload;
  const auto cold = engine.slice(run.cold_frame(false), run.pages());
  EXPECT_TRUE(has_code(cold, "cpu_limit")) << cold.payload;
}

TEST(V8Limits, TheBudgetIsPerTurnSoALongReplayIsNoLoop) {
  EngineOptions options = small_limits();
  options.hello.limits.cpu_ms = 150;
  // About 20 ms each, 30 of them: more than the limit together.
  const std::string code = task(
      "let s = 0;\nfor (let i = 0; i < 30; i++) {\n"
      "  for (let k = 0, t = performance.now(); k < 2e6; k++) s = (s * 31 + k) | 0;\n"
      "  await services.s.m(i);\n}\nreturn 'done';");
  EngineProcess engine(options);
  TestRun run(code, {});
  auto done = run.begin_cold(engine);
  while (done.status == SliceDoneStatus::suspended) {
    run.record_outcome(static_cast<std::int64_t>(run.rows.size()), {});
    done = run.deliver_warm(engine);
  }
  ASSERT_EQ(done.status, SliceDoneStatus::completed) << done.payload;
  EngineProcess other(options);
  const auto replayed = other.slice(run.cold_frame(true), run.pages());
  EXPECT_EQ(replayed.status, SliceDoneStatus::completed) << replayed.payload;
  EXPECT_TRUE(replayed.replayed);
  std::int64_t last = 0;
  for (const auto& report : other.progress) {
    EXPECT_GT(report.delivered, last);
    last = report.delivered;
  }
}

TEST(V8Limits, LoadingCodeIsLimitedToo) {
  EngineProcess engine(small_limits());
  const auto checked = engine.check("for (;;);\nmodule.exports = () => 1;");
  EXPECT_FALSE(checked.ok);
  EXPECT_NE(checked.message.find("too long"), std::string::npos) << checked.message;
  TestRun run("for (;;);\nmodule.exports = () => 1;", {});
  EXPECT_TRUE(has_code(run.begin_cold(engine), "cpu_limit"));
  EXPECT_TRUE(engine.check("module.exports = () => 1;").ok);
}

TEST(V8Limits, AttributesAreRefusedRatherThanCut) {
  EngineOptions options = small_limits();
  options.hello.limits.log_message_bytes = 256;
  options.hello.limits.log_entries_per_slice = 3;
  EngineProcess engine(options);
  TestRun run(task("const told = [], set = (values) => {\n"
                   "  try { setAttributes(values); } catch (e) { told.push(e.name); } };\n"
                   "set({ a: 'x'.repeat(200), b: 'x'.repeat(100) });\n"
                   "set({ a: 'ü'.repeat(130) });\nset({ a: 'x'.repeat(240) });\n"
                   "console.log(1);\nconsole.log(2);\nset({ b: 1 });\nreturn told;"),
              {});
  const auto done = run.begin_cold(engine);
  EXPECT_EQ(done.payload, R"(["RangeError","RangeError","RangeError"])");
  ASSERT_EQ(done.logs.size(), 3u);
  EXPECT_EQ(done.logs[0].message, R"({"a":")" + std::string(240, 'x') + "\"}");
}

TEST(V8Limits, CallsThatAreDroppedAtOnceAreLimitedToo) {
  EngineOptions options = small_limits();
  options.hello.limits.calls_in_flight = 10;
  EngineProcess engine(options);
  TestRun run(task("for (let i = 0; i < 11; i++) clearTimeout(setTimeout(() => {}, 5));"), {});
  const auto done = run.begin_cold(engine);
  EXPECT_TRUE(has_code(done, "calls_limit")) << done.payload;
  EXPECT_TRUE(done.calls.empty());
}

// --- F34: what cannot be interrupted

class V8Unstoppable : public ::testing::TestWithParam<const char*> {};

TEST_P(V8Unstoppable, NeedsTheBrokersKill) {
  EngineProcess engine(small_limits());
  TestRun run(task(GetParam()), {});
  engine.send(run.cold_frame(true));
  // Soft limit, hard limit, and more: it does not answer (if a later V8 does, so much the better).
  const auto answer = engine.receive(std::chrono::milliseconds(1'500));
  if (answer) {
    ASSERT_TRUE(std::holds_alternative<protocol::SliceDone>(*answer));
    EXPECT_TRUE(has_code(std::get<protocol::SliceDone>(*answer), "cpu_limit"));
    return;
  }
  EXPECT_EQ(engine.kill().signal, SIGKILL);
}

INSTANTIATE_TEST_SUITE_P(
    F34, V8Unstoppable,
    ::testing::Values("return Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1);",
                      "return Array.prototype.includes.call({ length: 2 ** 53 - 1 }, 1);",
                      "return Array.prototype.reverse.call({ length: 2 ** 53 - 1 });",
                      "return String.raw({ raw: { length: 2 ** 53 - 1 } });",
                      "return Array.prototype.copyWithin.call({ length: 2 ** 53 - 1 }, 0, 1);"));

// --- other limits

TEST(V8Limits, BuffersOfANeighbourAreNotMyRangeError) {
  EngineProcess engine(small_limits());
  const std::string code = task(
      "globalThis.kept = new ArrayBuffer(20 << 20);\nawait services.s.m();\nreturn "
      "kept.byteLength;");
  TestRun first(code, {.id = 1});
  TestRun second(code, {.id = 2});
  ASSERT_TRUE(first.begin_cold(engine).warm);
  const auto shared = second.begin_cold(engine, false);
  EXPECT_TRUE(shared.retry_alone) << shared.payload;
  auto frame = second.cold_frame(false);
  frame.alone = true;
  EXPECT_EQ(engine.slice(frame).status, SliceDoneStatus::suspended);
}

TEST(V8Limits, MoreCallsInFlightThanAllowedEndTheRun) {
  EngineOptions options = small_limits();
  options.hello.limits.calls_in_flight = 100;
  EngineProcess engine(options);
  TestRun flood(task("for (;;) services.s.m(1);"), {.id = 1});
  const auto done = flood.begin_cold(engine);
  EXPECT_TRUE(has_code(done, "calls_limit")) << done.payload;
  EXPECT_TRUE(done.calls.empty());
  TestRun many(task("await Promise.all(Array.from({ length: 100 }, (_, i) => services.s.m(i)));"),
               {.id = 2, .function_id = 2});
  EXPECT_EQ(many.begin_cold(engine).calls.size(), 100u);
}

TEST(V8Limits, TheCallsOfOneSliceFitIntoOneFrame) {
  EngineOptions options = small_limits();
  options.hello.limits.payload_bytes = 1 << 20;
  options.hello.limits.frame_bytes = 8 << 20;
  EngineProcess engine(options);
  TestRun flood(task("for (let i = 0; i < 20; i++) services.s.m('x'.repeat(900000));"), {});
  const auto done = flood.begin_cold(engine);
  EXPECT_TRUE(has_code(done, "payload_too_large")) << done.payload;
}

TEST(V8Limits, AResultOverThePayloadLimitFailsTheRun) {
  EngineOptions options = small_limits();
  options.hello.limits.payload_bytes = 1 << 16;
  EngineProcess engine(options);
  TestRun large(task("return 'x'.repeat(70000);"), {.id = 1});
  EXPECT_TRUE(has_code(large.begin_cold(engine), "payload_too_large"));
  TestRun wide(task("return '\\u4e2d'.repeat(30000);"), {.id = 2, .function_id = 2});
  EXPECT_TRUE(has_code(wide.begin_cold(engine), "payload_too_large"));
  TestRun error(task("throw new Error('x'.repeat(70000));"), {.id = 3, .function_id = 3});
  const auto thrown = error.begin_cold(engine);
  EXPECT_EQ(thrown.status, SliceDoneStatus::failed);
  EXPECT_LE(thrown.payload.size(), 1u << 16);
  TestRun deep(task("let a = []; for (let i = 0; i < 1e5; i++) a = [a];\nreturn a;"),
               {.id = 4, .function_id = 4});
  const auto nested = deep.begin_cold(engine);
  EXPECT_EQ(nested.status, SliceDoneStatus::failed);
  TestRun shallow(task("let a = []; for (let i = 0; i < 600; i++) a = [a];\nreturn a;"),
                  {.id = 5, .function_id = 5});
  EXPECT_EQ(shallow.begin_cold(engine).status, SliceDoneStatus::failed);
}

TEST(V8Limits, LogsAreCutAndCounted) {
  EngineOptions options = small_limits();
  options.hello.limits.log_entries_per_slice = 10;
  options.hello.limits.log_message_bytes = 100;
  EngineProcess engine(options);
  TestRun run(task("for (let i = 0; i < 50; i++) console.log('n', i, '\\u4e2d'.repeat(200));\n"
                   "await services.s.m();\nconsole.log('after');\nreturn 1;"),
              {});
  const auto first = run.begin_cold(engine);
  ASSERT_EQ(first.logs.size(), 11u);
  EXPECT_TRUE(first.warm);
  for (const auto& log : first.logs) {
    EXPECT_LE(log.message.size(), 100u + protocol::kLogMessageSlackBytes);
  }
  EXPECT_NE(first.logs.back().message.find("limits.log_entries_per_slice is 10"),
            std::string::npos);
  run.record_outcome(1, {});
  const auto warm = engine.slice(run.warm_frame());
  ASSERT_EQ(warm.logs.size(), 1u);
  const auto cold = engine.slice(run.cold_frame(false), run.pages());
  ASSERT_EQ(cold.logs.size(), 1u);
  EXPECT_EQ(cold.logs[0].message, "after");
}

TEST(V8Limits, LogsOfManyTurnsInOneSliceComeWholeAndOnceThoughNotAllAtOnce) {
  EngineOptions options = small_limits();
  options.hello.limits.log_entries_per_slice = 10;
  EngineProcess engine(options);
  TestRun run(task("await Promise.all([1, 2, 3].map(async (n) => {\n  await services.s.m(n);\n"
                   "  for (let i = 0; i < 8; i++) console.log(`${n}.${i}`);\n}));\n"
                   "await services.s.last();\nreturn 1;"),
              {});
  run.begin_cold(engine);
  for (int seq = 1; seq <= 3; ++seq) run.record_outcome(seq, {});
  auto done = run.deliver_warm(engine);
  std::size_t slices = 1;
  EXPECT_EQ(done.logs.size(), 11u);
  EXPECT_FALSE(done.warm);
  while (done.status == SliceDoneStatus::suspended && !done.warm && slices < 10) {
    done = run.begin_cold(engine, false);
    ++slices;
  }
  run.record_outcome(4, {});
  done = run.deliver_warm(engine);
  EXPECT_EQ(done.status, SliceDoneStatus::completed);
  ASSERT_EQ(run.logs.size(), 24u);
  for (std::size_t i = 0; i < run.logs.size(); ++i) {
    EXPECT_EQ(run.logs[i].message, std::to_string(i / 8 + 1) + "." + std::to_string(i % 8));
  }
}

TEST(V8Limits, WarmRunsStayWithinTheirNumberAndTheOldestGoesFirst) {
  EngineOptions options = small_limits();
  options.hello.warm_runs_max = 5;
  options.hello.runs_per_isolate = 2;
  EngineProcess engine(options);
  const std::string code = task("await services.s.m();\nreturn input;");
  for (int id = 1; id <= 8; ++id) {
    TestRun run(code, {.input = std::to_string(id), .id = id});
    EXPECT_TRUE(run.begin_cold(engine, id == 1).warm);
  }
  EXPECT_EQ(engine.evicted, (std::vector<std::int64_t>{1, 2, 3}));
}

}  // namespace
}  // namespace sequential::engine::v8test
