// The parts of the pool that need no process: validation, the warm map, the restart policy.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>

#include "restart_policy.h"
#include "sequential/engine/protocol.h"
#include "validate.h"
#include "warm_map.h"

namespace sequential::engine::pool {
namespace {

using protocol::SliceDone;
using protocol::SliceDoneStatus;

Limits small_limits() {
  Limits limits;
  limits.payload_bytes = 100;
  limits.calls_in_flight = 3;
  limits.log_entries_per_slice = 2;
  limits.log_message_bytes = 10;
  limits.status_bytes = 20;
  return limits;
}
SliceDone good() {
  SliceDone done;
  done.calls = {
      {.seq = 6,
       .service = "svc",
       .method = "a.b",
       .args = " [1]",
       .options = "{}",
       .source_line = 3},
      {.seq = 7, .service = "svc", .method = "c", .args = "[]", .options = "", .source_line = 0}};
  done.logs = {{.level = "info", .message = "hello"}};
  done.warm = true;
  done.cpu_us = -5;
  done.resume_us = 17;
  return done;
}
Result<SliceResult> checked(const std::function<void(SliceDone&)>& change) {
  SliceDone done = good();
  change(done);
  return to_slice_result(std::move(done), 5, small_limits());
}

TEST(Validate, AGoodSliceArrivesWhole) {
  const auto result = checked([](SliceDone&) {});
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result.value().status, SliceStatus::suspended);
  ASSERT_EQ(result.value().calls.size(), 2u);
  EXPECT_EQ(result.value().calls[0].seq, 6);
  EXPECT_EQ(result.value().calls[0].args, " [1]");
  EXPECT_EQ(result.value().calls[1].method, "c");
  ASSERT_EQ(result.value().logs.size(), 1u);
  EXPECT_EQ(result.value().resume_us, 17);
  EXPECT_EQ(result.value().cpu_us, 0);
}

TEST(Validate, WhatIsNotAsPromisedIsRefused) {
  const std::pair<const char*, std::function<void(SliceDone&)>> lies[] = {
      {"gap in seq", [](SliceDone& d) { d.calls[1].seq = 8; }},
      {"seq not after the recorded", [](SliceDone& d) { d.calls[0].seq = 5; }},
      {"args not JSON", [](SliceDone& d) { d.calls[0].args = "[1"; }},
      {"args empty", [](SliceDone& d) { d.calls[0].args = ""; }},
      {"args no array", [](SliceDone& d) { d.calls[0].args = "{}"; }},
      {"args two values", [](SliceDone& d) { d.calls[0].args = "[] []"; }},
      {"args not UTF-8", [](SliceDone& d) { d.calls[0].args = "[\"\xc0\x80\"]"; }},
      {"args too large", [](SliceDone& d) { d.calls[0].args = "[" + std::string(100, ' ') + "]"; }},
      {"args too deep",
       [](SliceDone& d) { d.calls[0].args = std::string(50, '[') + "}" + std::string(49, ']'); }},
      {"options no object", [](SliceDone& d) { d.calls[0].options = "[]"; }},
      {"options a text", [](SliceDone& d) { d.calls[0].options = "\"{}\""; }},
      {"service not UTF-8", [](SliceDone& d) { d.calls[0].service = "\xff"; }},
      {"method too long",
       [](SliceDone& d) { d.calls[0].method.assign(protocol::kNameBytesMax + 1, 'm'); }},
      {"line negative", [](SliceDone& d) { d.calls[0].source_line = -1; }},
      {"line too large", [](SliceDone& d) { d.calls[0].source_line = 1ll << 40; }},
      {"too many calls", [](SliceDone& d) { d.calls.resize(4, d.calls[0]); }},
      {"too many logs", [](SliceDone& d) { d.logs.resize(4, d.logs[0]); }},
      {"two statuses",
       [](SliceDone& d) { d.logs = {{"status", "1"}, {"status", "2"}}; }},
      {"status not JSON", [](SliceDone& d) { d.logs.push_back({"status", "{"}); }},
      {"status too large",
       [](SliceDone& d) { d.logs.push_back({"status", std::string(40, '1')}); }},
      {"progress no object", [](SliceDone& d) { d.logs.push_back({"progress", "1"}); }},
      {"log level", [](SliceDone& d) { d.logs[0].level = "In fo"; }},
      {"log level empty", [](SliceDone& d) { d.logs[0].level = ""; }},
      {"log too long", [](SliceDone& d) { d.logs[0].message.assign(100, 'x'); }},
      {"log not UTF-8", [](SliceDone& d) { d.logs[0].message = "\xed\xa0\x80"; }},
      {"a dropped call that is none", [](SliceDone& d) { d.dropped = {{0}}; }},
      {"a dropped call to come", [](SliceDone& d) { d.dropped = {{8}}; }},
      {"dropped calls out of order", [](SliceDone& d) { d.dropped = {{7}, {1}}; }},
      {"a dropped call twice", [](SliceDone& d) { d.dropped = {{7}, {7}}; }},
      {"payload when suspended", [](SliceDone& d) { d.payload = "1"; }},
      {"warm at its end",
       [](SliceDone& d) {
         d.status = SliceDoneStatus::completed;
         d.payload = "1";
       }},
      {"not_warm has no result", [](SliceDone& d) { d.status = SliceDoneStatus::not_warm; }},
  };
  for (const auto& [name, lie] : lies) {
    const auto result = checked(lie);
    ASSERT_TRUE(result.has_error()) << name;
    EXPECT_EQ(result.error().code, Errc::corrupt) << name;
  }
}

TEST(Validate, EachEndHasThePayloadOfItsKind) {
  const auto ended = [](SliceDoneStatus status, std::string payload) {
    return checked([&](SliceDone& done) {
      done.warm = false;
      if (status == SliceDoneStatus::divergent) done.calls.clear();
      done.status = status;
      done.payload = payload;
    });
  };
  EXPECT_EQ(ended(SliceDoneStatus::completed, "null").value().payload, "null");
  EXPECT_TRUE(ended(SliceDoneStatus::completed, "").has_error());
  EXPECT_TRUE(ended(SliceDoneStatus::completed, "undefined").has_error());
  EXPECT_TRUE(ended(SliceDoneStatus::completed, std::string(101, '1')).has_error());
  EXPECT_EQ(ended(SliceDoneStatus::failed, "{\"name\":\"Error\"}").value().status,
            SliceStatus::failed);
  EXPECT_TRUE(ended(SliceDoneStatus::failed, "\"Error\"").has_error());
  EXPECT_EQ(ended(SliceDoneStatus::cancelled, "{}").value().status, SliceStatus::cancelled);
  EXPECT_TRUE(ended(SliceDoneStatus::cancelled, "1").has_error());
  EXPECT_EQ(ended(SliceDoneStatus::divergent, "{}").value().status, SliceStatus::divergent);
  EXPECT_TRUE(ended(SliceDoneStatus::divergent, "[]").has_error());
  EXPECT_TRUE(checked([](SliceDone& done) {
                done.warm = false;
                done.status = SliceDoneStatus::divergent;
                done.payload = "{}";
              }).has_error());
}

TEST(Validate, ACodeProblemIsPassedOnIfItIsOne) {
  EXPECT_FALSE(to_code_problem({.ok = true, .message = ""}, small_limits()).value().has_value());
  const auto problem = to_code_problem({.message = "no", .line = 4, .column = 2}, small_limits());
  EXPECT_EQ(problem.value()->line, 4);
  EXPECT_TRUE(to_code_problem({.message = "\xff"}, small_limits()).has_error());
  EXPECT_TRUE(to_code_problem({.message = "no", .line = -1}, small_limits()).has_error());
  EXPECT_TRUE(to_code_problem({.message = std::string(101, 'x')}, small_limits()).has_error());
  const auto source_of = [](std::string source) {
    return to_code_problem({.message = "no", .line = 1, .source = std::move(source)},
                           small_limits());
  };
  EXPECT_EQ(source_of("src/a.ts").value()->source, "src/a.ts");
  EXPECT_TRUE(source_of("\xff").has_error());
  EXPECT_TRUE(source_of(std::string(protocol::kSourceNameBytesMax + 1, 'x')).has_error());
}

TEST(WarmMap, AnEngineKeepsItsShareAndLosesAllWhenItDies) {
  WarmMap map(2, 8);  // and slack
  std::int64_t kept = 0;
  for (std::int64_t run = 1; run <= 1'000; ++run) {
    if (map.put(TaskRunId(run), {.engine = 0, .through = run})) ++kept;
  }
  EXPECT_GE(kept, 8);
  EXPECT_LE(kept, 100);
  EXPECT_TRUE(map.put(TaskRunId(5'000), {.engine = 1}));
  EXPECT_EQ(map.find(TaskRunId(1))->through, 1);
  map.erase_engine(0);
  EXPECT_EQ(map.find(TaskRunId(1)), nullptr);
  EXPECT_EQ(map.size(), 1u);
  EXPECT_EQ(map.count(1), 1u);
  EXPECT_TRUE(map.put(TaskRunId(1), {.engine = 0}));
}

TEST(WarmMap, MovingARunToAnotherEngineKeepsTheCounts) {
  WarmMap map(2, 8);
  map.put(TaskRunId(1), {.engine = 0});
  map.put(TaskRunId(1), {.engine = 1});
  EXPECT_EQ(map.count(0), 0u);
  EXPECT_EQ(map.count(1), 1u);
  EXPECT_TRUE(map.erase(TaskRunId(1)));
  EXPECT_FALSE(map.erase(TaskRunId(1)));
  EXPECT_EQ(map.size(), 0u);
}

TEST(RestartPolicy, AnEngineThatWorkedIsReplacedAtOnce) {
  RestartPolicy policy(600);
  const MonoTime now{};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(policy.delay(true, now), Millis(0));
}

TEST(RestartPolicy, OneThatNeverComesUpIsRetriedEverMoreSlowly) {
  RestartPolicy policy(600);
  const MonoTime now{};
  Millis last{0};
  for (int i = 0; i < 20; ++i) {
    const Millis delay = policy.delay(false, now);
    EXPECT_GE(delay, last);
    EXPECT_LE(delay, Millis(2'000));
    last = delay;
  }
  EXPECT_EQ(last, Millis(2'000));
  EXPECT_EQ(policy.delay(true, now), Millis(0));
}

TEST(RestartPolicy, TheRateIsKept) {
  RestartPolicy policy(3);
  const MonoTime start{};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(policy.delay(true, start), Millis(0));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(policy.delay(true, start), Millis(60'000));
  EXPECT_EQ(policy.delay(true, start + Millis(1'000)), Millis(119'000));
  EXPECT_EQ(policy.delay(true, start + Millis(300'000)), Millis(0));
}

}  // namespace
}  // namespace sequential::engine::pool
