// A run that is asked to end, and calls that it stops waiting for.

#include <gtest/gtest.h>

#include <string>

#include "v8_harness.h"

namespace sequential::engine::v8test {
namespace {

using protocol::SliceDone;
using protocol::SliceDoneStatus;

const Answer kRequest{true, R"({"name":"CancelledError","code":"cancelled","message":"so"})"};

// The code until it waits, then told to end, in its warm context or from its journal.
SliceDone told(const std::string& code, bool warm) {
  EngineProcess engine;
  TestRun run(code, {});
  EXPECT_EQ(run.begin_cold(engine).status, SliceDoneStatus::suspended);
  run.ask_to_end(kRequest);
  return warm ? run.deliver_warm(engine) : run.begin_cold(engine, false);
}

class V8Cancel : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Resumed, V8Cancel, ::testing::Bool(),
                         [](const auto& warm) { return warm.param ? "Warm" : "Cold"; });

TEST_P(V8Cancel, WhoeverWaitsForACallLearnsOfItAndTheErrorIsTheRuns) {
  const SliceDone done = told(R"js(
    module.exports = async () => {
      await services.s.m(1);
    };)js", GetParam());
  EXPECT_EQ(done.status, SliceDoneStatus::cancelled);
  EXPECT_NE(done.payload.find(R"("name":"CancelledError","message":"so","code":"cancelled")"),
            std::string::npos)
      << done.payload;
  EXPECT_NE(done.payload.find("task.js:3"), std::string::npos) << done.payload;
  ASSERT_EQ(done.dropped.size(), 1u);
  EXPECT_EQ(done.dropped[0].seq, 1);
}

TEST_P(V8Cancel, FinallyBlocksMayMakeCalls) {
  const SliceDone done = told(R"js(
    module.exports = async () => {
      try { await Promise.all([sleep(5), services.s.m()]); } finally { await services.s.cleanup(); }
    };)js", GetParam());
  EXPECT_EQ(done.status, SliceDoneStatus::suspended);
  ASSERT_EQ(done.calls.size(), 1u);
  EXPECT_EQ(done.calls[0].seq, 3);
  EXPECT_EQ(done.calls[0].method, "cleanup");
  EXPECT_EQ(done.dropped.size(), 2u);
}

TEST_P(V8Cancel, AValueCompletesAndAnotherErrorFails) {
  const std::string head = "module.exports = async () => { try { await sleep(5); } catch (e) { ";
  EXPECT_EQ(told(head + "return e.code; } }", GetParam()).payload, "\"cancelled\"");
  EXPECT_EQ(told(head + "throw new Error('x'); } }", GetParam()).status, SliceDoneStatus::failed);
  EXPECT_EQ(told(head + "throw task.signal.reason; } }", GetParam()).status,
            SliceDoneStatus::cancelled);
}

TEST_P(V8Cancel, NothingLeftToWaitForEndsIt) {
  const SliceDone done = told(
      "module.exports = () => new Promise((resolve) => setTimeout(resolve, 5));", GetParam());
  EXPECT_EQ(done.status, SliceDoneStatus::cancelled);
}

TEST(V8CancelError, WithoutARequestIsAFailureLikeAnyOther) {
  const Record record = run_task(R"js(
    module.exports = async () => {
      const error = new CancelledError("mine");
      error.code = "cancelled";
      throw error;
    };)js");
  EXPECT_EQ(record.status, SliceDoneStatus::failed);
}

// The harness answers every call, dropped ones too.
TEST(V8Drop, AnOutcomeOfADroppedCallIsIgnoredHoweverTheRunIsResumed) {
  const std::string code = R"js(
    module.exports = async () => {
      const own = new AbortController();
      const seen = [];
      const dropped = __callHostTool__("s", "m", [1], { signal: own.signal, timeoutMs: 5 })
          .then(() => seen.push("came"), (error) => seen.push(error.name));
      const id = setTimeout(() => seen.push("fired"), 5);
      own.abort();
      clearTimeout(id);
      await dropped;
      for (let i = 0; i < 3; i++) seen.push((await services.s.m(i)).seq);
      return seen;
    };)js";
  RunOptions options;
  const Record warm = run_task(code, options);
  EXPECT_EQ(warm.payload, R"(["AbortError",3,4,5])");
  ASSERT_FALSE(warm.calls.empty());
  EXPECT_EQ(warm.calls[0].options, R"({"timeoutMs":5})");
  for (const Resume resume : {Resume::replay_same_engine, Resume::replay_new_engine}) {
    options.resume = resume;
    for (const std::uint32_t seed : {0u, 1u, 2u}) {
      options.order_seed = seed;
      EXPECT_EQ(run_task(code, options).payload, warm.payload);
    }
  }
}

TEST(V8Drop, ASignalForgetsCallsThatHaveEnded) {
  EngineProcess engine;
  TestRun run(R"js(
    module.exports = async () => {
      const own = new AbortController();
      await __callHostTool__("s", "m", [], { signal: own.signal });
      own.abort();
      await services.s.m();
    };)js", {});
  run.begin_cold(engine);
  run.record_outcome(1, {});
  EXPECT_TRUE(run.deliver_warm(engine).dropped.empty());
}

// Earlier slices have told of theirs already; a replay drops them all again.
TEST(V8Drop, WhatIsDroppedLastIsToldIfThereIsMoreThanMayBe) {
  EngineOptions small;
  small.hello.limits.calls_in_flight = 10;
  EngineProcess engine(small);
  TestRun run(R"js(
    module.exports = async () => {
      const own = new AbortController();
      sleep(1e9, { signal: own.signal }).catch(() => {});
      for (let i = 0; i < 6; i++) {
        for (let k = 0; k < 5; k++) clearTimeout(setTimeout(() => {}, 5));
        await services.s.m();
      }
      own.abort();
      await services.s.m();
    };)js", {});
  SliceDone done = run.begin_cold(engine);
  for (std::int64_t seq = 7; seq <= 37; seq += 6) {
    ASSERT_EQ(done.status, SliceDoneStatus::suspended) << done.payload;
    EXPECT_EQ(done.dropped.size(), 5u) << seq;
    run.record_outcome(seq, {});
    if (seq < 37) done = run.deliver_warm(engine);
  }
  EngineProcess other(small);
  done = run.begin_cold(other);
  ASSERT_EQ(done.dropped.size(), 10u);
  EXPECT_EQ(done.dropped[0].seq, 1);  // before the last nine of the timers
  EXPECT_EQ(done.dropped[1].seq, 27);
}

}  // namespace
}  // namespace sequential::engine::v8test
