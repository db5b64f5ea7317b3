// A run's result, calls and logs do not depend on how it was resumed: from its warm context after
// every outcome, from its journal after every outcome, or from its journal in another process.

#include <gtest/gtest.h>

#include <string>

#include "v8_corpus.h"
#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

using protocol::SliceDoneStatus;

class V8Replay : public ::testing::TestWithParam<CorpusTask> {};

TEST_P(V8Replay, GivesWhatTheUndisturbedRunGave) {
  RunOptions options;
  options.input = R"({"n":5,"text":"für"})";
  options.order_seed = GetParam().order_seed;
  options.respond = [](const protocol::CallFrame& call) -> Answer {
    if (call.method == "fail") {
      return {true, R"({"name":"HostCallError","message":"no )" + std::to_string(call.seq) +
                        R"(","code":"service_error","status":500})"};
    }
    if (call.method == "sleep") return {false, "null"};
    return echo(call);
  };
  const Record warm = run_task(GetParam().code, options);
  EXPECT_EQ(warm.status, SliceDoneStatus::completed) << warm.payload;
  EXPECT_FALSE(warm.calls.empty());
  options.resume = Resume::replay_same_engine;
  EXPECT_EQ(to_text(run_task(GetParam().code, options)), to_text(warm));
  options.resume = Resume::replay_new_engine;
  EXPECT_EQ(to_text(run_task(GetParam().code, options)), to_text(warm));
}

INSTANTIATE_TEST_SUITE_P(Corpus, V8Replay, ::testing::ValuesIn(corpus()),
                         [](const auto& task) { return task.param.name; });

TEST(V8Determinism, TwoRunsOfOneSeedAreEqualAndOfAnotherAreNot) {
  const std::string code = R"js(
    module.exports = async () => {
      const first = [Math.random(), crypto.randomUUID(), Date.now(), performance.now()];
      crypto.getRandomValues(new Uint8Array(4)).forEach((b) => first.push(b));
      await services.s.m(first);
      return [...first, Math.random(), Date.now(), new Date().toISOString(), performance.now()];
    };)js";
  const Record one = run_task(code);
  EXPECT_EQ(to_text(run_task(code)), to_text(one));
  EXPECT_NE(to_text(run_task(code, {.seed = "fedcba9876543210"})), to_text(one));
  EXPECT_NE(to_text(run_task(code, {.started_at_ms = 1'600'000'000'000})), to_text(one));
}

TEST(V8Determinism, TimeStandsStillInATurnAndMovesToTheOutcomes) {
  const Record record = run_task(R"js(
    module.exports = async () => {
      const times = [Date.now()];
      for (let i = 0; i < 1e6; i++);
      times.push(Date.now(), new Date().getTime(), performance.now());
      await services.s.m();
      times.push(Date.now(), +new Date(), performance.now(), task.started);
      return times.map((t) => t > 1e12 ? t - task.started : t);
    };)js");
  EXPECT_EQ(record.payload, "[0,0,0,0,13,13,13,0]");
}

TEST(V8Determinism, TheTaskKnowsWhoItIsAndCannotChangeIt) {
  const Record record = run_task(R"js(
    'use strict';
    module.exports = async () => {
      let error; try { task.id = 9; } catch (e) { error = e.name; }
      return [task, error, Object.isFrozen(task)];
    };)js",
                                 {.name = "who", .id = 42});
  EXPECT_EQ(record.payload,
            R"([{"id":42,"name":"who","version":3,"started":1700000000000},"TypeError",true])");
}

TEST(V8Replay, TwentyThousandCallsReplayQuickly) {
  const std::string code =
      "module.exports = async (n) => {\n  let s = 0;\n"
      "  for (let i = 0; i < n; i++) s += (await services.s.m(i)).v;\n  return s;\n};";
  constexpr int kCalls = 20'000;
  EngineProcess engine;
  TestRun run(code, {.input = std::to_string(kCalls)});
  for (int seq = 1; seq <= kCalls; ++seq) {
    protocol::CallFrame call;
    call.seq = seq;
    call.service = "s";
    call.method = "m";
    call.args = "[" + std::to_string(seq - 1) + "]";
    run.rows.push_back({call, std::nullopt});
    run.record_outcome(seq, {false, R"({"v":1})"});
  }
  const auto done = engine.slice(run.cold_frame(true), run.pages(500));
  EXPECT_EQ(done.status, SliceDoneStatus::completed);
  EXPECT_EQ(done.payload, std::to_string(kCalls));
  EXPECT_TRUE(done.replayed);
  EXPECT_TRUE(done.calls.empty());
}

// --- divergence

// A run of two calls a(1), b(2), the first of which has an outcome; then `change` falsifies the
// journal.
protocol::SliceDone replay_changed(const std::function<void(TestRun&)>& change,
                                   std::size_t rows_per_page = 3) {
  EngineProcess engine;
  TestRun run(
      "module.exports = async () => { console.log('s'); const a = await services.s.a(1);\n"
      "const p = services.s.b(2); await p; return a; };",
      {});
  run.begin_cold(engine);
  run.record_outcome(1, {});
  run.deliver_warm(engine);
  change(run);
  return engine.slice(run.cold_frame(false), run.pages(rows_per_page));
}

TEST(V8Divergence, TheSameJournalDoesNotDiverge) {
  EXPECT_EQ(replay_changed([](TestRun&) {}).status, SliceDoneStatus::suspended);
}

TEST(V8Divergence, AnotherServiceMethodOrArgumentIsOne) {
  for (const std::size_t rows_per_page : {1u, 5u}) {
    const auto service =
        replay_changed([](TestRun& r) { r.rows[1].call.service = "t"; }, rows_per_page);
    EXPECT_EQ(service.status, SliceDoneStatus::divergent);
    EXPECT_EQ(service.payload, R"({"seq":2,"recorded":{"service":"t","method":"b"},)"
                               R"("replayed":{"service":"s","method":"b","args":"[2]"}})");
    const auto method =
        replay_changed([](TestRun& r) { r.rows[0].call.method = "z"; }, rows_per_page);
    EXPECT_EQ(method.status, SliceDoneStatus::divergent);
    const auto args =
        replay_changed([](TestRun& r) { r.rows[0].call.args = "[7]"; }, rows_per_page);
    EXPECT_EQ(args.status, SliceDoneStatus::divergent);
    EXPECT_TRUE(args.calls.empty());
    EXPECT_FALSE(args.warm);
  }
}

TEST(V8Divergence, ARecordedCallThatIsNotMadeIsOne) {
  const auto done = replay_changed([](TestRun& r) {
    r.rows.push_back(r.rows[1]);
    r.rows[2].call.seq = 3;
    r.rows[2].call.method = "c";
  });
  EXPECT_EQ(done.status, SliceDoneStatus::divergent);
  EXPECT_EQ(done.payload, R"({"seq":3,"recorded":{"service":"s","method":"c"},"replayed":null})");
}

TEST(V8Divergence, AnOutcomeOfACallThatWasNotMadeIsOne) {
  EngineProcess engine;
  TestRun run("module.exports = async () => { await services.s.a(1); await services.s.b(2); };",
              {});
  run.begin_cold(engine);
  protocol::CallFrame early;
  early.seq = 2;
  early.service = "s";
  early.method = "b";
  early.args = "[2]";
  run.rows.push_back({early, std::nullopt});
  run.record_outcome(2, {});
  const auto done = engine.slice(run.cold_frame(false), run.pages());
  EXPECT_EQ(done.status, SliceDoneStatus::divergent);
  EXPECT_EQ(done.payload, R"({"seq":2,"recorded":{"service":"s","method":"b"},"replayed":null})");
}

TEST(V8Divergence, NothingOfANewCodeVersionSneaksIn) {  // F39
  EngineProcess engine;
  TestRun old_run(
      "module.exports = async () => { const r = await services.s.a(1); return services.s.b(r); };",
      {});
  old_run.begin_cold(engine);
  old_run.record_outcome(1, {});
  old_run.deliver_warm(engine);
  EngineProcess other;
  auto frame = old_run.cold_frame(true);
  frame.code =
      "module.exports = async () => { services.s.extra(); const r = await services.s.a(1); };";
  const auto done = other.slice(frame, old_run.pages());
  EXPECT_EQ(done.status, SliceDoneStatus::divergent);
  EXPECT_TRUE(done.calls.empty());
}

TEST(V8Divergence, ARunThatEndsBeforeItsRecordedCallsIsOne) {
  EngineProcess engine;
  TestRun run("module.exports = async () => { await services.s.a(1); };", {});
  run.begin_cold(engine);
  EngineProcess other;
  auto frame = run.cold_frame(true);
  frame.code = "module.exports = async () => 1;";
  EXPECT_EQ(other.slice(frame, run.pages()).status, SliceDoneStatus::divergent);
}

TEST(V8Replay, AnAbandonedJournalLeavesTheEngineUsable) {
  EngineProcess engine;
  TestRun run("module.exports = async () => (await services.s.a(1)).seq;", {});
  run.begin_cold(engine);
  run.record_outcome(1, echo(run.rows[0].call));
  protocol::Journal page;
  page.run = 7;
  page.abandoned = true;
  EXPECT_EQ(engine.slice(run.cold_frame(false), {page}).status, SliceDoneStatus::not_warm);
  EXPECT_EQ(engine.slice(run.cold_frame(false), run.pages()).payload, "1");
}

}  // namespace
}  // namespace sequential::engine::v8test
