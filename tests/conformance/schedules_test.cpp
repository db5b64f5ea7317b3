// Schedules: a tick is started once, whoever tries; what waits, waits; nothing is lost at a
// restart.

#include "sequential/storage/schedules.h"

#include <atomic>
#include <thread>

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

using What = ScheduleFired::What;
constexpr Millis kPeriod{60'000};

class SchedulesTest : public StoreTest {
 protected:
  Schedules& schedules() { return *store_->schedules(); }

  Result<Schedule> put(SchedulePut p) {
    Answer<Schedule> answer;
    schedules().put(std::move(p), answer.done());
    return answer.get();
  }
  Result<Schedule> get(const std::string& name) {
    Answer<Schedule> answer;
    schedules().get(name, answer.done());
    return answer.get();
  }
  std::vector<Schedule> list(const std::string& after = "", int limit = 100) {
    Answer<std::vector<Schedule>> answer;
    schedules().list(after, limit, answer.done());
    return answer.get().value();
  }
  DueSchedules due(int limit = 100) {
    Answer<DueSchedules> answer;
    schedules().due(limit, answer.done());
    return answer.get().value();
  }
  Result<ScheduleFired> fire(ScheduleFire f) {
    Answer<ScheduleFired> answer;
    schedules().fire(std::move(f), answer.done());
    return answer.get();
  }
  bool remove(const std::string& name) {
    Answer<bool> answer;
    schedules().remove(name, answer.done());
    return answer.get().value();
  }

  // One that is due in `in`.
  Schedule make(const std::string& name, Overlap overlap, Millis in = Millis{0}) {
    SchedulePut p;
    p.name = name;
    p.spec = "{\"of\":\"" + name + "\"}";
    p.overlap = overlap;
    p.next_tick = p.due_at = clock_.now() + in;
    const auto made = put(std::move(p));
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return made.value();
  }
  ScheduleFire tick_of(const Schedule& s) {
    ScheduleFire f;
    f.name = s.name;
    f.revision = s.revision;
    f.expected = s.next_tick;
    f.tick = *s.next_tick;
    f.next_tick = f.due_at = f.tick + kPeriod;
    f.overlap = s.overlap;
    f.submission = submission();
    f.submission.idempotency_key = "\xff/" + s.name + "/" + std::to_string(f.tick.ms);
    return f;
  }
  std::size_t run_count() { return store().runs({}).value().size(); }
  void end(TaskRunId run) { ASSERT_TRUE(store().cancel(run, "{}").has_value()); }
};
SEQUENTIAL_ON_EVERY_BACKEND(SchedulesTest);

TEST_P(SchedulesTest, WhatIsPutIsKeptAndListedByName) {
  SchedulePut p;
  p.name = "b";
  p.spec = std::string("{\"x\":\"\0\xff\"}", 11);
  p.overlap = Overlap::queue;
  p.next_tick = WallTime{5};
  p.due_at = WallTime{6};
  const Schedule put_first = put(p).value();
  EXPECT_EQ(put_first.revision, 1);
  make("a", Overlap::skip);
  const Schedule b = get("b").value();
  EXPECT_EQ(b.spec, p.spec);
  EXPECT_EQ(b.overlap, Overlap::queue);
  EXPECT_EQ(b.next_tick, p.next_tick);
  EXPECT_EQ(b.due_at, p.due_at);
  EXPECT_FALSE(b.paused);
  EXPECT_EQ(b.created_at, clock_.now());
  ASSERT_EQ(list().size(), 2u);
  EXPECT_EQ(list()[0].name, "a");
  EXPECT_EQ(list("a").at(0).name, "b");
  EXPECT_EQ(list("", 1).size(), 1u);
  EXPECT_TRUE(refused(get("c"), Errc::schedule_not_found));
  EXPECT_TRUE(remove("b"));
  EXPECT_FALSE(remove("b"));
}

TEST_P(SchedulesTest, APutReplacesOnlyTheRevisionItKnows) {
  make("s", Overlap::skip);
  SchedulePut p;
  p.name = "s";
  p.spec = "{}";
  EXPECT_TRUE(refused(put(p), Errc::conflict));
  p.revision = 1;
  p.paused = true;
  const Schedule paused = put(p).value();
  EXPECT_EQ(paused.revision, 2);
  EXPECT_TRUE(paused.paused);
  EXPECT_EQ(paused.next_tick, std::nullopt);
  EXPECT_TRUE(refused(put(p), Errc::conflict));
  p.name = "t";
  EXPECT_TRUE(refused(put(p), Errc::conflict));
}

TEST_P(SchedulesTest, ThereAreNoMoreThanMayBe) {
  make("s", Overlap::skip);
  SchedulePut p;
  p.name = "t";
  p.count_max = 1;
  EXPECT_TRUE(refused(put(p), Errc::conflict));
}

TEST_P(SchedulesTest, WhatIsDueIsFoundInOrderAndTheNextIsKnown) {
  make("later", Overlap::skip, kPeriod);
  make("now", Overlap::skip);
  clock_.advance(Millis{5});
  make("just", Overlap::skip);
  const DueSchedules found = due();
  EXPECT_EQ(found.now, clock_.now());
  ASSERT_EQ(found.due.size(), 2u);
  EXPECT_EQ(found.due[0].name, "now");
  EXPECT_EQ(found.due[1].name, "just");
  EXPECT_EQ(found.next_due, ManualClock::kStart + kPeriod);
  EXPECT_EQ(due(1).due.size(), 1u);
}

TEST_P(SchedulesTest, FiringStartsTheRunAndMovesTheScheduleOnAtOnce) {
  const Schedule s = make("s", Overlap::skip);
  ScheduleFire f = tick_of(s);
  f.missed = 3;
  f.submission.handoff = lease_of("a");
  const ScheduleFired fired = fire(f).value();
  EXPECT_EQ(fired.what, What::started);
  ASSERT_TRUE(fired.submitted && fired.submitted->work);
  EXPECT_EQ(fired.submitted->work->grant.epoch, 1);
  EXPECT_EQ(run_status(fired.submitted->run), RunStatus::running);
  const Schedule after = get("s").value();
  EXPECT_EQ(after.next_tick, f.next_tick);
  EXPECT_EQ(after.due_at, f.due_at);
  EXPECT_EQ(after.last_tick, f.tick);
  EXPECT_EQ(after.last_run, fired.submitted->run);
  EXPECT_EQ(after.last_started_at, clock_.now());
  EXPECT_EQ(after.started, 1);
  EXPECT_EQ(after.missed, 3);
  EXPECT_FALSE(after.last_run_over);
  EXPECT_EQ(after.revision, s.revision);
  EXPECT_TRUE(due().due.empty());
}

TEST_P(SchedulesTest, ATickIsFiredOnceAndOnlyWhenItIsDue) {
  const Schedule s = make("s", Overlap::allow);
  const ScheduleFire f = tick_of(s);
  EXPECT_EQ(fire(f).value().what, What::started);
  EXPECT_TRUE(refused(fire(f), Errc::fenced));
  ScheduleFire early = tick_of(get("s").value());
  EXPECT_TRUE(refused(fire(early), Errc::fenced));
  clock_.advance(kPeriod);
  ScheduleFire old = early;
  old.revision = 7;
  EXPECT_TRUE(refused(fire(old), Errc::fenced));
  EXPECT_EQ(fire(early).value().what, What::started);
  early.name = "nobody";
  EXPECT_TRUE(refused(fire(early), Errc::schedule_not_found));
  EXPECT_EQ(run_count(), 2u);
}

TEST_P(SchedulesTest, OfManyWhoFireATickAtOnceOneStartsIt) {
  for (int round = 0; round < 10; ++round) {
    const Schedule s = make("s" + std::to_string(round), Overlap::allow);
    std::atomic<int> started{0}, fenced{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, f = tick_of(s)] {
        const auto fired = fire(f);
        if (fired.has_value() && fired.value().what == What::started) ++started;
        if (fired.has_error() && fired.error().code == Errc::fenced) ++fenced;
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(started, 1);
    EXPECT_EQ(fenced, 3);
  }
  EXPECT_EQ(run_count(), 10u);
}

TEST_P(SchedulesTest, ARefusedRunLeavesTheScheduleWhereItWas) {
  const Schedule s = make("s", Overlap::skip);
  ScheduleFire f = tick_of(s);
  f.submission.task_function_id = TaskFunctionId(999);
  EXPECT_TRUE(refused(fire(f), Errc::task_not_found));
  EXPECT_EQ(get("s").value().next_tick, s.next_tick);
  EXPECT_EQ(due().due.size(), 1u);
  EXPECT_EQ(run_count(), 0u);
}

TEST_P(SchedulesTest, ATickThatARunBearsTheKeyOfIsThatRuns) {
  const Schedule s = make("s", Overlap::skip);
  ScheduleFire f = tick_of(s);
  const Submitted earlier = store().submit(f.submission).value();
  const ScheduleFired fired = fire(f).value();
  EXPECT_EQ(fired.what, What::started);
  EXPECT_EQ(fired.submitted->run, earlier.run);
  EXPECT_TRUE(fired.submitted->existing);
  EXPECT_EQ(run_count(), 1u);
  EXPECT_EQ(get("s").value().next_tick, f.next_tick);
}

TEST_P(SchedulesTest, SkipPassesATickOverWhileTheRunBeforeGoesOn) {
  const TaskRunId first = fire(tick_of(make("s", Overlap::skip))).value().submitted->run;
  clock_.advance(kPeriod);
  ScheduleFire second = tick_of(get("s").value());
  const ScheduleFired skipped = fire(second).value();
  EXPECT_EQ(skipped.what, What::skipped);
  EXPECT_EQ(skipped.previous, first);
  const Schedule after = get("s").value();
  EXPECT_EQ(after.next_tick, second.next_tick);
  EXPECT_EQ(after.skipped, 1);
  EXPECT_EQ(after.last_skipped_at, second.tick);
  EXPECT_EQ(after.last_run, first);
  end(first);
  clock_.advance(kPeriod);
  EXPECT_EQ(fire(tick_of(get("s").value())).value().what, What::started);
}

TEST_P(SchedulesTest, QueueAndCancelWaitForTheEndAndAreFoundThen) {
  for (const Overlap overlap : {Overlap::queue, Overlap::cancel}) {
    const std::string name(overlap_name(overlap));
    const TaskRunId first = fire(tick_of(make(name, overlap))).value().submitted->run;
    clock_.advance(kPeriod);
    DueSchedules found = due();
    EXPECT_TRUE(found.due.empty());
    ASSERT_EQ(found.blocked.size(), 1u);
    EXPECT_EQ(found.blocked[0].last_run, first);
    const ScheduleFire second = tick_of(found.blocked[0]);
    const ScheduleFired waits = fire(second).value();
    EXPECT_EQ(waits.what, What::blocked);
    EXPECT_EQ(waits.previous, first);
    EXPECT_EQ(get(name).value().next_tick, second.expected);
    clock_.advance(Millis{7});
    end(first);
    found = due();
    EXPECT_TRUE(found.blocked.empty());
    ASSERT_EQ(found.due.size(), 1u);
    EXPECT_EQ(found.due[0].last_run_ended_at, clock_.now());
    EXPECT_EQ(fire(second).value().what, What::started);
    remove(name);
  }
}

TEST_P(SchedulesTest, AllowStartsBesideTheRunBefore) {
  fire(tick_of(make("s", Overlap::allow))).value();
  clock_.advance(kPeriod);
  EXPECT_EQ(due().due.size(), 1u);
  EXPECT_EQ(fire(tick_of(get("s").value())).value().what, What::started);
  EXPECT_EQ(run_count(), 2u);
}

TEST_P(SchedulesTest, ARunBesideTheTicksMovesNothingOn) {
  const Schedule s = make("s", Overlap::skip, kPeriod);
  ScheduleFire f = tick_of(s);
  f.expected.reset();
  f.tick = clock_.now();
  f.submission.idempotency_key.clear();
  const ScheduleFired fired = fire(f).value();
  EXPECT_EQ(fired.what, What::started);
  const Schedule after = get("s").value();
  EXPECT_EQ(after.next_tick, s.next_tick);
  EXPECT_EQ(after.due_at, s.due_at);
  EXPECT_EQ(after.last_tick, std::nullopt);
  EXPECT_EQ(after.last_run, fired.submitted->run);
  EXPECT_EQ(fire(f).value().what, What::skipped);
  EXPECT_EQ(get("s").value().skipped, 0);
}

TEST_P(SchedulesTest, TicksArePassedOverWithoutARun) {
  ScheduleFire f = tick_of(make("s", Overlap::skip));
  f.start = false;
  f.missed = 5;
  EXPECT_EQ(fire(f).value().what, What::moved);
  EXPECT_EQ(get("s").value().missed, 5);
  EXPECT_EQ(get("s").value().next_tick, f.next_tick);
  EXPECT_EQ(run_count(), 0u);
}

TEST_P(SchedulesTest, APausedOneIsNeverDue) {
  const Schedule s = make("s", Overlap::skip);
  SchedulePut p;
  p.name = "s";
  p.spec = s.spec;
  p.paused = true;
  p.revision = s.revision;
  put(p).value();
  EXPECT_TRUE(due().due.empty());
  EXPECT_EQ(due().next_due, std::nullopt);
  EXPECT_TRUE(refused(fire(tick_of(s)), Errc::fenced));
}

TEST_P(SchedulesTest, AllIsKeptWhenTheStoreIsOpenedAgain) {
  const TaskRunId run = fire(tick_of(make("s", Overlap::skip))).value().submitted->run;
  const Schedule before = get("s").value();
  reopen();
  const Schedule after = get("s").value();
  EXPECT_EQ(after.next_tick, before.next_tick);
  EXPECT_EQ(after.last_run, run);
  EXPECT_EQ(after.started, 1);
  EXPECT_EQ(due().next_due, before.due_at);
}

TEST_P(SchedulesTest, ClearKeepsSchedulesAndTheirLastRunCountsAsOver) {
  fire(tick_of(make("s", Overlap::queue))).value();
  clock_.advance(kPeriod);
  EXPECT_EQ(due().blocked.size(), 1u);
  EXPECT_TRUE(store().clear().has_value());
  EXPECT_EQ(due().due.size(), 1u);
  EXPECT_EQ(fire(tick_of(get("s").value())).value().what, What::started);
}

}  // namespace
}  // namespace sequential::storage::test
