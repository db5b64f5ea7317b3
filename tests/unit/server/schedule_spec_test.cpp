// What a schedule's text may say, and which of its ticks is started after some were missed.
#include <gtest/gtest.h>

#include <string>

#include "schedules/spec.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

constexpr std::int64_t kMinute = 60'000;

std::string body(const std::string& more) {
  return R"({"task":"t","cron":"* * * * *")" + more + "}";
}
ScheduleSpec spec_with(const std::string& more) { return read_spec(body(more), 1'000).value(); }

TEST(ScheduleSpec, IsReadAsItWasWritten) {
  const auto spec = spec_with(
      R"(,"version":3,"input":{"a": "\ud800"},"tags":{"team":"x"},"priority":-4,)"
      R"("time_zone":"Europe/Berlin","overlap":"queue","jitter_ms":5000,"catch_up":"all",)"
      R"("catch_up_window_ms":60000,"input_with_tick":true,"description":"d",)"
      R"("queue_key":"nightly")");
  const auto again = read_spec(spec_text(spec), 1'000).value();
  EXPECT_EQ(spec_text(again), spec_text(spec));
  EXPECT_EQ(again.input, R"({"a": "\ud800"})");
  EXPECT_EQ(again.overlap, storage::Overlap::queue);
  EXPECT_EQ(again.catch_up, CatchUp::all);
  EXPECT_EQ(again.jitter, Millis{5'000});
  EXPECT_TRUE(again.input_with_tick);
  EXPECT_EQ(again.queue_key, "nightly");
  EXPECT_EQ(submission_of("report", again, {kMinute}, true).queue_key, "nightly");
}

TEST(ScheduleSpec, NamesTheFieldThatIsWrong) {
  const std::pair<const char*, const char*> wrong[] = {
      {R"({"cron":"@daily"})", "task"},
      {R"({"task":"t"})", "cron"},
      {R"({"task":"t","cron":7})", "cron"},
      {R"({"task":"t","cron":"@daily","overlap":"never"})", "overlap"},
      {R"({"task":"t","cron":"@daily","catch_up":1})", "catch_up"},
      {R"({"task":"t","cron":"@daily","jitter_ms":-1})", "jitter_ms"},
      {R"({"task":"t","cron":"@daily","jitter_ms":1.5})", "jitter_ms"},
      {R"({"task":"t","cron":"@daily","catch_up_window_ms":1})", "catch_up_window_ms"},
      {R"({"task":"t","cron":"@daily","tags":["a"]})", "tags"},
      {R"({"task":"t","cron":"@daily","queue_key":""})", "queue_key"},
      {R"({"task":"t","cron":"@daily","queue_key":7})", "queue_key"},
      {R"({"task":"t","cron":"@daily","timezone":"UTC"})", "timezone"},
      {R"([])", ""},
  };
  for (const auto& [json, field] : wrong) {
    const auto read = read_spec(json, 1'000);
    ASSERT_TRUE(read.has_error()) << json;
    EXPECT_EQ(read.error().field, field) << json;
  }
}

TEST(ScheduleSpec, ATicksRunNamesScheduleAndTickAndHasAKeyThatNoUserCanHave) {
  const auto spec = spec_with(R"(,"tags":{"team":"x"},"input":[1],"input_with_tick":true)");
  const auto submission = submission_of("report", spec, {kMinute}, true);
  EXPECT_EQ(submission.tags,
            R"({"schedule":"report","team":"x","tick":"1970-01-01T00:01:00.000Z"})");
  EXPECT_EQ(submission.input,
            R"({"schedule":"report","tick":"1970-01-01T00:01:00.000Z","input":[1]})");
  EXPECT_TRUE(is_tick_key(submission.idempotency_key));
  EXPECT_FALSE(is_valid_utf8(submission.idempotency_key));
  EXPECT_NE(submission_of("report", spec, {2 * kMinute}, true).idempotency_key,
            submission.idempotency_key);
  EXPECT_EQ(submission_of("report", spec, {kMinute}, false).idempotency_key, "");
}

struct Planned {
  bool start;
  std::int64_t tick, missed, next;  // in minutes
  friend bool operator==(const Planned&, const Planned&) = default;
};
// Every minute; the tick of minute 10 is next, and it is `now_ms`.
Planned plan(const std::string& more, std::int64_t now_ms, int catch_up_max = 1'000,
             std::int64_t last_ended_ms = 0) {
  const auto spec = spec_with(more);
  storage::Schedule schedule;
  schedule.name = "s";
  schedule.revision = 1;
  schedule.next_tick = WallTime{10 * kMinute};
  schedule.due_at = due_at("s", spec, *schedule.next_tick);
  if (last_ended_ms > 0) schedule.last_run_ended_at = WallTime{last_ended_ms};
  const auto ticks = ticks_of(spec).value();
  const auto fire = plan_fire(schedule, spec, ticks, {now_ms}, catch_up_max);
  EXPECT_EQ(fire.expected, schedule.next_tick);
  return {fire.start, fire.tick.ms / kMinute, fire.missed, fire.next_tick->ms / kMinute};
}

TEST(PlanFire, ATickInTimeIsStartedWhateverThePolicy) {
  for (const char* policy : {"latest", "all", "none"}) {
    EXPECT_EQ(plan(",\"catch_up\":\"" + std::string(policy) + "\"", 10 * kMinute + 700),
              (Planned{true, 10, 0, 11}));
  }
}

TEST(PlanFire, LatestStartsTheNewestThatWasMissed) {
  EXPECT_EQ(plan("", 15 * kMinute + 1), (Planned{true, 15, 5, 16}));
  EXPECT_EQ(plan(R"(,"catch_up_window_ms":20000)", 15 * kMinute + 30'000),
            (Planned{false, 15, 6, 16}));
}

TEST(PlanFire, AllStartsTheOldestThatIsStillWanted) {
  const std::string all = R"(,"catch_up":"all")";
  EXPECT_EQ(plan(all, 15 * kMinute), (Planned{true, 10, 0, 11}));
  EXPECT_EQ(plan(all, 15 * kMinute, 3), (Planned{true, 13, 0, 14}));
  EXPECT_EQ(plan(all + R"(,"catch_up_window_ms":120000)", 15 * kMinute),
            (Planned{true, 13, 3, 14}));
  EXPECT_EQ(plan(all + R"(,"catch_up_window_ms":10000)", 15 * kMinute + 30'000),
            (Planned{false, 15, 6, 16}));
}

TEST(PlanFire, NoneStartsNothingThatIsLate) {
  EXPECT_EQ(plan(R"(,"catch_up":"none")", 10 * kMinute + 30'000), (Planned{false, 10, 1, 11}));
}

TEST(PlanFire, WhatWaitedForTheRunBeforeIsNotLate) {
  const std::string queue = R"(,"overlap":"queue","catch_up":"none")";
  EXPECT_EQ(plan(queue, 10 * kMinute + 30'000, 1'000, 10 * kMinute + 29'000),
            (Planned{true, 10, 0, 11}));
}

TEST(PlanFire, ATickThatItsJitterPutsOffWaits) {
  const std::string jitter = R"(,"jitter_ms":50000)";
  const auto spec = spec_with(jitter);
  const auto due = due_at("s", spec, {11 * kMinute});
  ASSERT_GT(due.ms, 11 * kMinute);
  EXPECT_EQ(plan(jitter, due.ms - 1).tick, 10);
  EXPECT_EQ(plan(jitter, due.ms).tick, 11);
}

TEST(NewestTicks, OfYearsOfSecondsAreFoundAtOnce) {
  const auto ticks = Ticks::make("* * * * * *", "Europe/Berlin").value();
  const WallTime now{1'790'000'000'000};
  const auto found = newest_ticks(ticks, {1'000}, now, 100);
  ASSERT_EQ(found.ticks.size(), 100u);
  EXPECT_EQ(found.ticks.back(), now);
  EXPECT_TRUE(found.more);
  const auto few = newest_ticks(ticks, {now.ms - 2'000}, now, 100);
  EXPECT_EQ(few.ticks.size(), 3u);
  EXPECT_FALSE(few.more);
}

}  // namespace
}  // namespace sequential::server
