// Slices: warm and cold, queues, choice of the engine.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pool_fixture.h"

namespace sequential::engine {
namespace {

using PoolSlice = PoolTest;

TEST_F(PoolSlice, ARunGoesFromCallToCallInItsWarmContext) {
  open();
  constexpr std::int64_t kCalls = 50;
  for (std::int64_t n = 0; n < kCalls; ++n) {
    const auto result = run(resumed(1, "calls:50", n, n == 0 ? 0 : n - 1));
    ASSERT_TRUE(result.has_value()) << result.error().message;
    ASSERT_EQ(result.value().status, SliceStatus::suspended);
    ASSERT_EQ(result.value().calls.size(), 1u);
    EXPECT_EQ(result.value().calls[0].seq, n + 1);
    EXPECT_EQ(result.value().calls[0].args, "[" + std::to_string(n + 1) + "]");
    EXPECT_EQ(result.value().calls[0].source_line, 12);
    EXPECT_FALSE(result.value().replayed);
    EXPECT_EQ(runtime_->warm_through(TaskRunId(1)), n);
  }
  const auto last = run(resumed(1, "calls:50", kCalls, kCalls - 1));
  EXPECT_EQ(last.value().status, SliceStatus::completed);
  EXPECT_EQ(member(last, "cold"), "false");
  EXPECT_EQ(member(last, "outcomes"), "50");
  EXPECT_EQ(member(last, "last"), "50");
  EXPECT_EQ(runtime_->warm_through(TaskRunId(1)), std::nullopt);
  EXPECT_EQ(runtime_->stats().replays, 0);
  EXPECT_EQ(runtime_->stats().slices, kCalls + 1);
}

TEST_F(PoolSlice, ARunThatIsNotWarmIsReplayedFromItsJournal) {
  open();
  const auto result = run(resumed(7, "calls:3", 3, 2));
  EXPECT_EQ(member(result, "cold"), "true");
  EXPECT_EQ(member(result, "journal_rows"), "3");
  EXPECT_EQ(member(result, "last"), "3");
  EXPECT_TRUE(result.value().replayed);
  EXPECT_EQ(runtime_->stats().replays, 1);
}

TEST_F(PoolSlice, EvictionCostsAReplayOnly) {
  open();
  ASSERT_TRUE(run(request(1, "calls:2 evicts")).has_value());
  // The Evicted frame comes after the answer; either way the next slice is right.
  const auto result = run(resumed(1, "calls:2", 1, 0));
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result.value().replayed);
  EXPECT_EQ(result.value().calls.at(0).seq, 2);
}

TEST_F(PoolSlice, AnEngineThatForgotIsAskedAgainCold) {
  open();
  ASSERT_TRUE(run(request(1, "calls:2 forgetful")).has_value());
  EXPECT_EQ(runtime_->warm_through(TaskRunId(1)), 0);
  const auto result = run(resumed(1, "calls:2", 1, 0));
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result.value().replayed);
}

TEST_F(PoolSlice, AForgottenRunIsDroppedByTheEngineToo) {
  open();
  for (std::int64_t i = 1; i <= 3; ++i) ASSERT_TRUE(run(request(i, "calls:1")).has_value());
  EXPECT_EQ(runtime_->stats().warm_runs, 3);
  runtime_->forget(TaskRunId(2));
  EXPECT_EQ(runtime_->warm_through(TaskRunId(2)), std::nullopt);
  EXPECT_EQ(runtime_->stats().warm_runs, 2);
  // The engine counts 1 and 3, and this one while it runs.
  EXPECT_EQ(member(run(request(9, "")), "warm_runs"), "3");
}

TEST_F(PoolSlice, ARunForgottenWhileItRunsIsNotKept) {
  open();
  const Gate gate(dir_);
  auto answer = start(request(1, "calls:1 " + gate.word()));
  runtime_->forget(TaskRunId(1));
  gate.open();
  ASSERT_TRUE(answer_of(answer).has_value());
  EXPECT_EQ(runtime_->warm_through(TaskRunId(1)), std::nullopt);
  EXPECT_EQ(member(run(request(2, "")), "warm_runs"), "1");
}

TEST_F(PoolSlice, EvictAlwaysMakesEverySliceAReplay) {
  options_.evict_always = true;
  open();
  for (std::int64_t n = 0; n < 5; ++n) {
    const auto result = run(resumed(1, "calls:5", n, n == 0 ? 0 : n - 1));
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result.value().replayed, n > 0);
    EXPECT_EQ(runtime_->warm_through(TaskRunId(1)), std::nullopt);
  }
  EXPECT_EQ(member(run(request(2, "")), "warm_runs"), "1");
}

// The slice's commit failed: its context issued a call that the store never saw.
TEST_F(PoolSlice, AContextAheadOfTheStoreIsNotResumed) {
  open();
  ASSERT_EQ(run(request(1, "calls:1")).value().calls.size(), 1u);
  const auto again = run(request(1, "calls:1"));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again.value().calls.at(0).seq, 1);
  EXPECT_EQ(runtime_->stats().warm_runs, 1);
}

TEST_F(PoolSlice, OutcomesThatTheContextHasSeenAreNotSentTwice) {
  open();
  ASSERT_TRUE(run(request(1, "calls:3")).has_value());
  ASSERT_TRUE(run(resumed(1, "calls:3", 1, 0)).has_value());
  ASSERT_TRUE(run(resumed(1, "calls:3", 2, 0)).has_value());  // with the first again
  const auto result = run(resumed(1, "calls:3", 3, 0));
  EXPECT_EQ(member(result, "cold"), "false");
  EXPECT_EQ(member(result, "outcomes"), "3");
}

TEST_F(PoolSlice, OutcomesWithAGapMakeAColdStart) {
  open();
  ASSERT_TRUE(run(request(1, "calls:1")).has_value());
  auto gap = resumed(1, "calls:1", 1, 1);  // no outcomes, though one is new
  EXPECT_EQ(member(run(std::move(gap)), "cold"), "true");
}

TEST_F(PoolSlice, CodeIsSentToAnEngineOnce) {
  open();
  EXPECT_EQ(member(run(request(1, "")), "code_sent"), "true");
  EXPECT_EQ(member(run(request(2, "")), "code_sent"), "false");
  auto other = request(3, "");
  other.code = code(2);
  EXPECT_EQ(member(run(std::move(other)), "code_sent"), "true");
}

TEST_F(PoolSlice, ASuspectedRunIsAloneAndSoIsOneThatMustBeStartedAgain) {
  open();
  auto suspected = request(1, "");
  suspected.alone = true;
  EXPECT_EQ(member(run(std::move(suspected)), "alone"), "true");
  EXPECT_EQ(member(run(request(2, "")), "alone"), "false");
  EXPECT_EQ(member(run(request(3, "retry_alone")), "alone"), "true");
  EXPECT_EQ(runtime_->stats().slices, 3);
}

TEST_F(PoolSlice, AllOfManyAreAnsweredInOrderOfArrivalByOneEngine) {
  open();
  std::vector<SliceFuture> answers;
  for (std::int64_t i = 1; i <= 500; ++i) answers.push_back(start(request(i, "")));
  for (std::size_t i = 0; i < answers.size(); ++i) {
    ASSERT_EQ(member(answer_of(answers[i]), "served"), std::to_string(i + 1));
  }
}

TEST_F(PoolSlice, BeyondTheQueueBoundSlicesAreRefused) {
  options_.queue_max = 3;
  open();
  const Gate gate(dir_);
  std::vector<SliceFuture> answers;
  answers.push_back(start(request(1, gate.word())));
  // One more goes ahead to the engine, three wait.
  for (std::int64_t i = 2; i <= 5; ++i) answers.push_back(start(request(i, "")));
  const auto refused = run(request(6, ""));
  ASSERT_TRUE(refused.has_error());
  EXPECT_EQ(refused.error().code, Errc::overloaded);
  gate.open();
  for (auto& answer : answers) EXPECT_TRUE(answer_of(answer).has_value());
  EXPECT_TRUE(run(request(7, "")).has_value());
}

TEST_F(PoolSlice, LargeFramesPassBothWays) {
  options_.limits.payload_bytes = 60 << 20;
  open();
  auto large = request(1, "big:41943040 ");
  large.input.append(30 << 20, ' ');
  const auto result = run(std::move(large));
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result.value().payload.size(), 41'943'040u);
}

TEST_F(PoolSlice, ARequestOverTheFrameLimitIsRefusedAlone) {
  options_.limits.frame_bytes = 1 << 20;
  open();
  auto large = request(1, "");
  large.input.assign(2 << 20, ' ');
  EXPECT_EQ(run(std::move(large)).error().code, Errc::payload_too_large);
  EXPECT_TRUE(run(request(2, "")).has_value());
  EXPECT_EQ(runtime_->stats().engine_deaths, 0);
}

// More outcomes than one frame holds go by the journal, which takes many.
TEST_F(PoolSlice, OutcomesBeyondOneFrameMakeAColdStart) {
  options_.limits.frame_bytes = 1 << 20;
  options_.limits.payload_bytes = 500'000;
  open();
  ASSERT_TRUE(run(request(1, "calls:1")).has_value());
  auto big = request(1, "calls:1");
  big.calls_recorded = 1;
  big.delivered_through = 4;
  for (std::int64_t n = 1; n <= 4; ++n) {
    big.outcomes.push_back({.seq = 1,
                            .delivered_as = n,
                            .failed = false,
                            .payload = std::string(400'000, '1'),
                            .at_ms = 0});
  }
  big.open_journal = [] { return std::make_shared<PagesSource>(journal_of(1, 1), 10); };
  EXPECT_EQ(member(run(std::move(big)), "cold"), "true");
}

TEST_F(PoolSlice, CodeIsChecked) {
  open();
  auto good = start_check("good");
  EXPECT_EQ(answer_of(good).value(), std::nullopt);
  auto bad = start_check("line:7");
  const auto problem = answer_of(bad);
  EXPECT_EQ(problem.value()->message, "bad");
  EXPECT_EQ(problem.value()->line, 7);
}

// A slow slice must not hold up what another engine could do, not even what was sent behind it.
TEST_F(PoolSlice, WhatWaitsBehindASlowSliceGoesToAnotherEngine) {
  options_.processes = 2;
  open();
  await_all_engines();
  // All three begin in the engine that has the function loaded.
  ASSERT_TRUE(run(request(1, "calls:1")).has_value());
  ASSERT_TRUE(run(request(2, "calls:1")).has_value());
  const Gate gate(dir_);
  auto slow = start(request(3, gate.word()));
  auto sent = start(resumed(1, "calls:1", 1, 0));
  auto queued = start(resumed(2, "calls:1", 1, 0));
  const auto first = answer_of(sent);
  const auto second = answer_of(queued);
  gate.open();
  const auto third = answer_of(slow);
  EXPECT_EQ(member(first, "cold"), "true");
  EXPECT_EQ(member(first, "journal_rows"), "1");
  EXPECT_EQ(member(first, "pid"), member(second, "pid"));
  EXPECT_NE(member(first, "pid"), member(third, "pid"));
  EXPECT_EQ(runtime_->stats().engine_deaths, 0);
}

// Requests from many threads, each answered once.
TEST_F(PoolSlice, EveryRequestOfManyThreadsIsAnsweredOnce) {
  options_.processes = 2;
  open();
  constexpr int kThreads = 4;
  constexpr int kRuns = 150;
  std::atomic<int> answered{0};
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRuns; ++i) {
        const std::int64_t id = 1 + t * kRuns + i;
        for (std::int64_t n = 0; n <= 2; ++n) {
          const auto result = run(resumed(id, "calls:2", n, n == 0 ? 0 : n - 1));
          ++answered;
          if (result.has_value()) ++good;
          if (i % 7 == 0) runtime_->forget(TaskRunId(id));
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(answered, kThreads * kRuns * 3);
  EXPECT_EQ(good, answered);
  EXPECT_EQ(runtime_->stats().engine_deaths, 0);
}

}  // namespace
}  // namespace sequential::engine
