// Engines that die, hang, lie or flood: the slice that did it is told so, every other is answered.

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "pool_fixture.h"

namespace sequential::engine {
namespace {

class PoolFault : public PoolTest {
 protected:
  // The slice is lost as described, the pool goes on.
  void expect_lost(const Result<SliceResult>& result, const std::string& cause,
                   const std::string& limit, int signal) {
    ASSERT_TRUE(result.has_error());
    EXPECT_EQ(result.error().code, Errc::engine_lost) << result.error().message;
    EXPECT_TRUE(check_json(result.error().detail).has_value()) << result.error().detail;
    EXPECT_EQ(detail(result, "cause"), "\"" + cause + "\"") << result.error().message;
    EXPECT_EQ(detail(result, "limit"), "\"" + limit + "\"");
    EXPECT_EQ(detail(result, "signal"), std::to_string(signal));
    EXPECT_EQ(member(run(request(1'000, "")), "cold"), "true");
    EXPECT_EQ(runtime_->stats().engine_deaths, 1);
  }
};

TEST_F(PoolFault, ADeadEngineCostsItsSliceAndIsReplaced) {
  open();
  const auto before = runtime_->engine_pids();
  expect_lost(run(request(1, "die")), "died", "", SIGABRT);
  EXPECT_NE(runtime_->engine_pids(), before);
}

TEST_F(PoolFault, AnExitIsADeathToo) {
  open();
  const auto result = run(request(1, "exit:9"));
  EXPECT_EQ(detail(result, "exit_code"), "9");
  expect_lost(result, "died", "", 0);
}

TEST_F(PoolFault, LastWordsNameTheLimit) {
  open();
  const auto result = run(request(1, "oom:memory_limit"));
  EXPECT_EQ(detail(result, "alone"), "false");
  expect_lost(result, "died", "memory_limit", 0);
}

TEST_F(PoolFault, LastWordsAreNotRepeatedUnlessKnown) {
  open();
  expect_lost(run(request(1, "oom:\"};drop")), "died", "", 0);
}

TEST_F(PoolFault, AKillFromOutsideIsADeath) {
  open();
  const Gate gate(dir_);
  auto answer = start(request(1, gate.word() + " hang"));
  gate.open();
  for (const int pid : runtime_->engine_pids()) ::kill(pid, SIGKILL);
  expect_lost(answer_of(answer), "died", "", SIGKILL);
}

TEST_F(PoolFault, ASliceThatHangsIsKilledAtTheWallLimit) {
  options_.limits.wall_ms = 50;
  options_.limits.hard_kill_ms = 40;
  open();
  expect_lost(run(request(1, "hang")), "killed_at_limit", "wall_limit", SIGKILL);
}

TEST_F(PoolFault, ASliceThatSpinsIsKilledAtTheCpuLimit) {
  options_.limits.cpu_ms = 100;
  options_.limits.hard_kill_ms = 60;
  open();
  expect_lost(run(request(1, "spin")), "killed_at_limit", "cpu_limit", SIGKILL);
}

TEST_F(PoolFault, ProgressGivesAReplayTimeButOnlyWhileItRises) {
  options_.limits.wall_ms = 60;
  options_.limits.hard_kill_ms = 40;
  open();
  expect_lost(run(resumed(1, "progress:5 hang", 20, 0)), "killed_at_limit", "wall_limit", SIGKILL);
}

TEST_F(PoolFault, OnlyTheFirstUnansweredSliceIsBlamed) {
  open();
  const Gate gate(dir_);
  std::vector<SliceFuture> answers;
  auto killer = start(request(1, gate.word() + " die"));
  // One of these has been sent to the dying engine, the others wait for it.
  for (std::int64_t i = 2; i <= 20; ++i) answers.push_back(start(request(i, "")));
  auto check = start_check("good");
  gate.open();
  EXPECT_EQ(answer_of(killer).error().code, Errc::engine_lost);
  for (auto& answer : answers) EXPECT_TRUE(answer_of(answer).has_value());
  EXPECT_TRUE(answer_of(check).has_value());
}

TEST_F(PoolFault, RunsWarmInADeadEngineAreReplayed) {
  open();
  ASSERT_TRUE(run(request(1, "calls:1")).has_value());
  ASSERT_TRUE(run(request(2, "die")).has_error());
  EXPECT_EQ(runtime_->warm_through(TaskRunId(1)), std::nullopt);
  const auto result = run(resumed(1, "calls:1", 1, 0));
  EXPECT_EQ(member(result, "cold"), "true");
  EXPECT_EQ(member(result, "code_sent"), "true");
}

TEST_F(PoolFault, ACheckThatKillsItsEngineIsToldSo) {
  open();
  auto check = start_check("die");
  EXPECT_EQ(answer_of(check).error().code, Errc::engine_lost);
  EXPECT_TRUE(run(request(1, "")).has_value());
}

// F36: a run that kills its engine each time leaves a hundred others unharmed.
TEST_F(PoolFault, ARunThatKillsAgainAndAgainHarmsNobodyElse) {
  options_.processes = 2;
  open();
  std::vector<SliceFuture> others;
  std::vector<SliceFuture> killers;
  for (std::int64_t i = 0; i < 100; ++i) {
    if (i % 10 == 0) killers.push_back(start(request(1'000 + i, "die")));
    others.push_back(start(request(1 + i, "calls:1")));
  }
  for (auto& killer : killers) EXPECT_EQ(answer_of(killer).error().code, Errc::engine_lost);
  for (auto& other : others) EXPECT_TRUE(answer_of(other).has_value());
  EXPECT_EQ(runtime_->stats().engine_deaths, 10);
}

TEST_F(PoolFault, WhenNoEngineCanBeStartedWhatWaitsIsToldWhy) {
  const auto engine = dir_.path() / "engine";
  std::filesystem::create_symlink(TEST_ENGINE, engine);
  options_.engine_path = engine.string();
  open();
  std::filesystem::remove(engine);
  ASSERT_EQ(run(request(1, "die")).error().code, Errc::engine_lost);
  const auto waiting = run(request(2, ""));
  ASSERT_TRUE(waiting.has_error());
  EXPECT_EQ(waiting.error().code, Errc::unavailable);
  EXPECT_NE(waiting.error().message.find(engine.string()), std::string::npos);
  std::filesystem::create_symlink(TEST_ENGINE, engine);
  // It is tried again by itself.
  for (int i = 0; i < 100; ++i) {
    if (run(request(3, "")).has_value()) return;
  }
  FAIL() << "the engine was not started again";
}

TEST_F(PoolFault, AStubbornRunIsGivenUpAloneOnlyOnce) {
  open();
  const auto result = run(request(1, "retry_alone:always"));
  expect_lost(result, "protocol", "", SIGKILL);
}

class PoolLies : public PoolFault, public ::testing::WithParamInterface<const char*> {};

TEST_P(PoolLies, ALyingEngineIsKilledAndReplaced) {
  options_.limits.payload_bytes = 100'000;
  options_.limits.calls_in_flight = 100;
  options_.limits.log_entries_per_slice = 10;
  open();
  expect_lost(run(request(1, std::string("lie:") + GetParam())), "protocol", "", SIGKILL);
}

INSTANTIATE_TEST_SUITE_P(Each, PoolLies,
                         ::testing::Values("run", "seq", "args_json", "args_object", "args_large",
                                           "options", "calls", "logs", "utf8", "not_warm",
                                           "checked", "ready", "garbage", "huge", "to_engine",
                                           "progress_falls", "progress_far", "evicted_flood"),
                         [](const auto& test) { return std::string(test.param); });

TEST_F(PoolFault, ASecondAnswerKillsTheEngineButNotTheFirst) {
  open();
  const auto result = run(request(1, "lie:twice"));
  // The first answer was good; the second comes when nothing is asked, or to the next slice.
  EXPECT_TRUE(result.has_value());
  const auto next = run(request(2, ""));
  if (next.has_error()) {
    EXPECT_EQ(next.error().code, Errc::engine_lost);
  }
  EXPECT_TRUE(run(request(3, "")).has_value());
}

}  // namespace
}  // namespace sequential::engine
