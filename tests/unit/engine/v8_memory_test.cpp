// F35: code that allocates without end. The engine stops it with the limit's code or lets it meet a
// RangeError; where V8 gives up, the process ends with the run's name as last words. Not built with
// sanitizers, which count memory of their own.

#include <gtest/gtest.h>

#include <chrono>
#include <ostream>
#include <string>
#include <vector>

#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

using protocol::SliceDoneStatus;

// What may happen, all of it harmless to others.
enum class End { limit, error_or_result, dies };

struct MemoryCase {
  const char* body;
  std::vector<End> allowed;
};

void PrintTo(const MemoryCase& one, std::ostream* out) { *out << one.body; }

class V8Memory : public ::testing::TestWithParam<MemoryCase> {};

TEST_P(V8Memory, IsLimitedOrTheProcessSaysWhoKilledIt) {
  EngineOptions options = small_limits();
  options.hello.limits.cpu_ms = 1'500;
  EngineProcess engine(options);
  TestRun run(task(GetParam().body), {.id = 5});
  engine.send(run.cold_frame(true));
  const auto answer = engine.receive(std::chrono::seconds(12));
  std::string seen;
  End end = End::dies;
  if (answer && std::holds_alternative<protocol::SliceDone>(*answer)) {
    const auto& done = std::get<protocol::SliceDone>(*answer);
    seen = done.payload.substr(0, 300);
    const bool limit = has_code(done, "memory_limit") || has_code(done, "cpu_limit") ||
                       has_code(done, "wall_limit");
    end = limit ? End::limit : End::error_or_result;
    EXPECT_LT(engine.rss_bytes(), 700ll << 20);
  } else {
    if (answer && std::holds_alternative<protocol::Dying>(*answer)) {
      EXPECT_EQ(std::get<protocol::Dying>(*answer).run, 5);
      EXPECT_EQ(std::get<protocol::Dying>(*answer).limit, "memory_limit");
      seen = "last words";
    }
    const Exit ended = engine.kill();  // as the broker does with one that does not answer
    seen += " exit " + std::to_string(ended.code) + " signal " + std::to_string(ended.signal);
  }
  bool allowed = false;
  for (const End one : GetParam().allowed) allowed = allowed || one == end;
  EXPECT_TRUE(allowed) << GetParam().body << "\n" << seen;
}

const std::vector<End> kLimit = {End::limit};
const std::vector<End> kError = {End::error_or_result};
const std::vector<End> kAny = {End::limit, End::error_or_result, End::dies};

INSTANTIATE_TEST_SUITE_P(
    F35, V8Memory,
    ::testing::Values(
        MemoryCase{"const a = []; for (;;) a.push({ x: a.length });", kLimit},
        MemoryCase{"let s = 'x'; const a = []; for (;;) { s += 'y'; a.push(s + s.length); }",
                   kLimit},
        MemoryCase{"const m = new Map(); for (let i = 0; ; i++) m.set(i, i);",
                   {End::limit, End::error_or_result}},
        MemoryCase{"const a = []; for (;;) a.push(new Promise((r) => a.push(r)));", kLimit},
        MemoryCase{"const a = []; for (;;) a.push(() => a);", kLimit},
        MemoryCase{"const o = {}; for (let i = 0; ; i++) o['k' + i] = i;", kLimit},
        MemoryCase{"const a = []; for (;;) a.push(new ArrayBuffer(1 << 20));", kError},
        MemoryCase{"const a = []; for (;;) a.push(new ArrayBuffer(16));",
                   {End::limit, End::error_or_result}},
        MemoryCase{"const a = []; for (;;) a.push(new TextEncoder().encode('x'.repeat(100000)));",
                   kError},
        MemoryCase{"return new ArrayBuffer(2 ** 30).byteLength;", kError},
        MemoryCase{"for (let i = 0; i < 2000; i++) new ArrayBuffer(1 << 20);\nreturn 1;",
                   {End::limit, End::error_or_result}},
        MemoryCase{"return (function f() { return f() + 1; })();", kError},
        MemoryCase{"return Math.max(...new Array(5e6).fill(1));", kAny},
        MemoryCase{"return JSON.stringify(new Array(2e5).fill('x'.repeat(1000))).length;", kAny},
        MemoryCase{"let o = {}; for (let i = 0; i < 40; i++) o = { a: o, b: o };\nreturn o;",
                   {End::limit, End::error_or_result}},
        MemoryCase{"return new Array(1e8).fill(1).length;", kAny},
        MemoryCase{"return Array.from({ length: 5e8 }).length;", kAny},
        MemoryCase{"return 'a'.repeat(3e7).match(/a/g).length;", kAny},
        MemoryCase{"return '..'.repeat(1 << 26).split('').length;", kAny},
        MemoryCase{"Error.stackTraceLimit = 1e9; (function f(n) { if (!n) throw new Error('x'); "
                   "f(n - 1); })(5000);",
                   kAny},
        MemoryCase{"return structuredClone(new Array(1e6).fill('x'.repeat(500))).length;", kAny},
        MemoryCase{"return '\\u4e2d'.repeat(2 ** 28);", kAny},
        MemoryCase{"console.log('x'.repeat(2 ** 28)); return 1;", kAny},
        MemoryCase{"throw new Error('x'.repeat(2 ** 28));", kAny},
        MemoryCase{"await services.s.m('y'.repeat(2e8));", kAny}));

TEST(V8MemoryLimits, AHeapLimitInASharedIsolateIsTriedAgainAloneAndEvictsTheNeighbours) {
  EngineOptions options = small_limits();
  options.hello.limits.cpu_ms = 20'000;
  options.hello.limits.wall_ms = 20'000;
  EngineProcess engine(options);
  const std::string code = task(
      "await services.s.m();\nif (input === 'grow') { const a = []; for (;;) a.push({ x: a.length "
      "}); }\n"
      "return 'ok';");
  TestRun neighbour(code, {.input = "\"calm\"", .id = 1});
  TestRun grower(code, {.input = "\"grow\"", .id = 2});
  ASSERT_TRUE(neighbour.begin_cold(engine).warm);
  ASSERT_TRUE(grower.begin_cold(engine, false).warm);
  grower.record_outcome(1, {});
  const auto shared = engine.slice(grower.warm_frame());
  EXPECT_TRUE(shared.retry_alone);
  EXPECT_TRUE(shared.calls.empty());
  EXPECT_EQ(engine.evicted, std::vector<std::int64_t>{1});
  auto frame = grower.cold_frame(false);
  frame.alone = true;
  const auto alone = engine.slice(frame, grower.pages());
  EXPECT_FALSE(alone.retry_alone);
  EXPECT_EQ(alone.status, SliceDoneStatus::failed);
  EXPECT_TRUE(has_code(alone, "memory_limit")) << alone.payload;
  neighbour.record_outcome(1, {});
  EXPECT_EQ(engine.slice(neighbour.warm_frame()).status, SliceDoneStatus::not_warm);
  EXPECT_EQ(neighbour.begin_cold(engine, false).payload, "\"ok\"");
}

TEST(V8MemoryLimits, WarmRunsStayWithinTheirMemory) {
  EngineOptions options = small_limits();
  options.hello.warm_bytes_max = 60ll << 20;
  options.hello.runs_per_isolate = 4;
  EngineProcess engine(options);
  const std::string code = task(
      "const keep = 'x'.repeat(1000).split('').map((c, i) => ({ c, i }));\n"
      "const more = Array.from({ length: 20000 }, (_, i) => ({ i }));\n"
      "await services.s.m();\nreturn keep.length + more.length;");
  std::int64_t heap = 0;
  for (int id = 1; id <= 120; ++id) {
    TestRun run(code, {.id = id});
    heap = run.begin_cold(engine, id == 1).heap_bytes;
  }
  EXPECT_FALSE(engine.evicted.empty());
  EXPECT_LT(heap, 90ll << 20);
  // 120 of them unbounded would take 700 MB. Measured: 180 MB with V8 10.2, 210 MB with 11.3.
  EXPECT_LT(engine.rss_bytes(), 280ll << 20);
}

}  // namespace
}  // namespace sequential::engine::v8test
