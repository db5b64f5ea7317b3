// The decision core, exhaustively: what the end of a call or slice does to its run.
#include "work/decide.h"

#include <gtest/gtest.h>

namespace sequential::server {
namespace {

storage::Work call(storage::Delivery delivery, int attempt) {
  storage::Work work;
  work.grant = {StackRunId{2}, TaskRunId{1}, 1};
  work.seq = 1;
  work.service_name = "svc";
  work.method_name = "act";
  work.delivery = delivery;
  work.attempt = attempt;
  return work;
}

services::CallReply failure(Errc code, bool retryable, Millis retry_after = Millis{0}) {
  services::CallError error;
  error.errc = code;
  error.message = "no luck";
  error.retryable = retryable;
  error.retry_after = retry_after;
  return services::CallReply::fail(error);
}

constexpr std::int64_t kPayloadMax = 100;

TEST(DecideCall, AResultIsRecordedByteForByte) {
  const std::string odd = "{\"b\":1,\"a\":1.0, \"a\":2}";
  const auto decision = decide_call(services::CallReply::ok(odd),
                                    call(storage::Delivery::at_least_once, 1), {}, kPayloadMax, 0);
  EXPECT_EQ(decision.end, storage::CallEnd::completed);
  EXPECT_EQ(decision.payload, odd);
}

TEST(DecideCall, AResultOverTheLimitFailsTheCallAndIsNeverRetried) {
  const auto decision =
      decide_call(services::CallReply::ok("\"" + std::string(200, 'x') + "\""),
                  call(storage::Delivery::at_least_once, 1), {}, kPayloadMax, 0);
  EXPECT_EQ(decision.end, storage::CallEnd::failed);
  EXPECT_NE(decision.payload.find("response_too_large"), std::string::npos);
}

// Every combination of delivery, retryability, attempts used and kind of error.
TEST(DecideCall, OnlyAtLeastOnceCallsWithTriesLeftAreRetriedAndOnlyForRetryableErrors) {
  services::CallPolicy policy;
  policy.attempts_max = 3;
  for (const auto delivery :
       {storage::Delivery::at_least_once, storage::Delivery::at_most_once}) {
    for (const bool retryable : {false, true}) {
      for (int attempt = 1; attempt <= 4; ++attempt) {
        for (const auto code : {Errc::service_error, Errc::service_unavailable, Errc::timeout,
                                Errc::response_invalid, Errc::invalid_arguments}) {
          const auto decision = decide_call(failure(code, retryable), call(delivery, attempt),
                                            policy, kPayloadMax, 0.5);
          const bool once = delivery == storage::Delivery::at_most_once;
          const bool retry = !once && retryable && attempt < 3;
          EXPECT_EQ(decision.end, retry ? storage::CallEnd::retry : storage::CallEnd::failed);
          const bool unknown = once && (code == Errc::timeout || code == Errc::response_invalid);
          EXPECT_EQ(decision.payload.find("outcome_unknown") != std::string::npos, unknown);
          EXPECT_EQ(decision.retry_after > Millis{0}, retry);
        }
      }
    }
  }
}

TEST(DecideCall, TheCalleesWishToWaitIsHonoured) {
  services::CallPolicy policy;
  const auto decision =
      decide_call(failure(Errc::service_unavailable, true, Millis{7'000}),
                  call(storage::Delivery::at_least_once, 1), policy, kPayloadMax, 0.0);
  EXPECT_GE(decision.retry_after, Millis{7'000});
}

SliceFacts facts(std::int64_t delivered, std::int64_t calls) {
  return {{StackRunId{1}, TaskRunId{1}, 5}, delivered, calls};
}

TEST(DecideCall, AnOutcomeThatIsNeverStoredFailsTheCall) {
  const Error refusal(Errc::internal, "the database refused the data");
  for (const auto delivery : {storage::Delivery::at_least_once, storage::Delivery::at_most_once}) {
    const auto decision = decide_refused(refusal, call(delivery, 1));
    EXPECT_EQ(decision.end, storage::CallEnd::failed);
    EXPECT_NE(decision.payload.find("\"code\":\"internal\""), std::string::npos);
    EXPECT_NE(decision.payload.find(refusal.message), std::string::npos);
  }
}

TEST(DecideSlice, ASliceThatIsNeverStoredFailsItsRunAndStoresNoneOfItsCalls) {
  storage::SliceCommit commit;
  commit.root = {StackRunId{2}, TaskRunId{1}, 7};
  commit.delivered_through = 3;
  commit.calls.resize(2);
  commit.logs.resize(1);
  decide_refused(Error(Errc::internal, "the database refused the data"), commit);
  EXPECT_EQ(commit.end, storage::SliceEnd::failed);
  EXPECT_TRUE(commit.calls.empty() && commit.logs.empty());
  EXPECT_EQ(commit.root.epoch, 7);
  EXPECT_EQ(commit.delivered_through, 3);
  EXPECT_NE(commit.payload.find("\"code\":\"internal\""), std::string::npos);
}

TEST(DecideSlice, ASuspendedSliceCommitsItsCallsInOrderWithoutWaitingForTheDisk) {
  engine::SliceResult slice;
  slice.calls = {{1, "a", "b", "[]", "", 7}, {2, "c", "d", "[1]", "{}", 8}};
  slice.logs = {{"info", "hello"}};
  const auto decision = decide_slice(std::move(slice), facts(0, 0), 3);
  ASSERT_EQ(decision.verdict, SliceVerdict::commit);
  EXPECT_EQ(decision.commit.end, storage::SliceEnd::suspended);
  EXPECT_EQ(decision.commit.flush, storage::Flush::lazy);
  ASSERT_EQ(decision.commit.calls.size(), 2u);
  EXPECT_EQ(decision.commit.calls[1].service_name, "c");
  EXPECT_EQ(decision.commit.calls[1].source_line, 8);
  ASSERT_EQ(decision.commit.logs.size(), 1u);
  EXPECT_FALSE(decision.commit.resume_kind.has_value());
}

TEST(DecideSlice, AnEndIsDurable) {
  for (const auto status : {engine::SliceStatus::completed, engine::SliceStatus::failed,
                            engine::SliceStatus::divergent}) {
    engine::SliceResult slice;
    slice.status = status;
    slice.payload = "{}";
    EXPECT_EQ(decide_slice(std::move(slice), facts(1, 1), 3).commit.flush,
              storage::Flush::durable);
  }
}

TEST(DecideSlice, ADivergentReplayPausesTheRunAndStoresNoneOfItsCalls) {
  engine::SliceResult slice;
  slice.status = engine::SliceStatus::divergent;
  slice.payload = "{\"seq\":3}";
  slice.calls = {{4, "a", "b", "[]", "", 1}};
  const auto decision = decide_slice(std::move(slice), facts(3, 3), 3);
  EXPECT_EQ(decision.commit.end, storage::SliceEnd::paused);
  EXPECT_EQ(decision.commit.reason, "divergent");
  EXPECT_TRUE(decision.commit.calls.empty());
}

TEST(DecideSlice, AResumedSliceSaysHowItWasResumed) {
  for (const bool replayed : {false, true}) {
    engine::SliceResult slice;
    slice.replayed = replayed;
    slice.resume_us = 42;
    const auto decision = decide_slice(std::move(slice), facts(1, 1), 3);
    ASSERT_TRUE(decision.commit.resume_kind.has_value());
    EXPECT_EQ(*decision.commit.resume_kind,
              replayed ? storage::ResumeKind::replay : storage::ResumeKind::warm);
    EXPECT_EQ(decision.commit.resume_us, 42);
  }
}

TEST(DecideSlice, ALostEngineCountsAgainstTheRunUnlessTheRunWasAloneOutOfMemory) {
  Error error{Errc::engine_lost, "the engine was killed"};
  error.detail = R"({"cause":"killed_at_limit","signal":9,"limit":"wall_limit"})";
  const auto lost = decide_slice(error, facts(2, 2), 3);
  ASSERT_EQ(lost.verdict, SliceVerdict::lost);
  EXPECT_EQ(lost.lost.crashes_max, 3);
  EXPECT_EQ(lost.lost.root.epoch, 5);

  error.detail = R"({"cause":"died","limit":"memory_limit","alone":true})";
  const auto memory = decide_slice(error, facts(2, 2), 3);
  ASSERT_EQ(memory.verdict, SliceVerdict::commit);
  EXPECT_EQ(memory.commit.end, storage::SliceEnd::failed);
  EXPECT_NE(memory.commit.payload.find("memory_limit"), std::string::npos);

  error.detail = R"({"cause":"died","limit":"memory_limit","alone":false})";
  EXPECT_EQ(decide_slice(error, facts(2, 2), 3).verdict, SliceVerdict::lost);
}

TEST(DecideSlice, AnEngineThatCouldNotTakeTheSliceLeavesTheRunAsItWas) {
  for (const auto code : {Errc::overloaded, Errc::shutting_down, Errc::unavailable}) {
    EXPECT_EQ(decide_slice(Error{code, "x"}, facts(0, 0), 3).verdict, SliceVerdict::retry);
  }
}

}  // namespace
}  // namespace sequential::server
