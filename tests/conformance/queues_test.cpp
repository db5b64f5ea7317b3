// Queues: who begins next, and that limits are exact.

#include "sequential/storage/queues.h"

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class QueuesTest : public StoreTest {
 protected:
  Queues& queues() { return *store().async().queues(); }

  Submission keyed(std::string key, int priority = 0) {
    Submission s = submission();
    s.queue_key = std::move(key);
    s.priority = priority;
    s.handoff = lease_of("a");
    return s;
  }
  Submitted enter(std::string key, int priority = 0) {
    return store().submit(keyed(std::move(key), priority)).value();
  }
  std::vector<TaskRunId> enter_many(const std::string& key, int count) {
    std::vector<TaskRunId> runs;
    for (int i = 0; i < count; ++i) runs.push_back(enter(key).run);
    return runs;
  }

  Admission admit(int claims_max = 100) {
    Answer<Admission> answer;
    queues().admit("task", lease_of("a"), claims_max, answer.done());
    Admission admission = answer.get().value();
    for (const Wake& wake : admission.admitted) {
      if (wake.work) held_[wake.run] = wake.work->grant;
    }
    return admission;
  }
  std::vector<TaskRunId> admitted() {
    std::vector<TaskRunId> runs;
    for (const Wake& wake : admit().admitted) runs.push_back(wake.run);
    return runs;
  }

  QueueLimits change(const QueueChange& change) {
    Answer<QueueLimits> answer;
    queues().change_queue("task", change, answer.done());
    return answer.get().value();
  }
  void set_concurrency(std::optional<std::int64_t> limit) {
    QueueChange to;
    to.concurrency = true;
    to.to.concurrency = limit;
    change(to);
  }
  void set_key_concurrency(std::optional<std::int64_t> limit) {
    QueueChange to;
    to.key_concurrency = true;
    to.to.key_concurrency = limit;
    change(to);
  }
  void set_rate(std::int64_t starts, Millis per) {
    QueueChange to;
    to.rate = true;
    to.to.rate = QueueRate{starts, per};
    change(to);
  }

  QueueInfo info() {
    Answer<QueueInfo> answer;
    queues().queue_of("task", answer.done());
    return answer.get().value();
  }

  void end(const Grant& grant) {
    ASSERT_TRUE(store().commit_slice(end_of(grant, SliceEnd::completed, "1")).has_value());
  }
  void end(const Submitted& submitted) { end(submitted.work.value().grant); }
  void end(TaskRunId run) { end(held_.at(run)); }

  std::map<TaskRunId, Grant> held_;  // by admit()
};

TEST_P(QueuesTest, RunsOfOneKeyGoOneAtATimeInTheOrderOfTheirSubmission) {
  const Submitted first = enter("k");
  ASSERT_TRUE(first.work.has_value());
  const auto rest = enter_many("k", 5);
  EXPECT_EQ(run_status(rest[0]), RunStatus::queued);
  EXPECT_TRUE(admit().admitted.empty());
  end(first);
  for (const TaskRunId run : rest) {
    EXPECT_EQ(admitted(), std::vector{run});
    EXPECT_TRUE(admit().admitted.empty());
    EXPECT_EQ(run_status(run), RunStatus::running);
    end(run);
  }
  EXPECT_TRUE(admit().admitted.empty());
  EXPECT_EQ(info().running, 0);
  EXPECT_EQ(info().waiting, 0);
}

TEST_P(QueuesTest, AKeyThatIsFreeCostsNoSecondTransaction) {
  for (int i = 0; i < 5; ++i) {
    const Submitted run = enter("k" + std::to_string(i % 2));
    EXPECT_EQ(run.work.has_value(), i < 2);
    EXPECT_EQ(run.status, i < 2 ? RunStatus::running : RunStatus::queued);
  }
}

TEST_P(QueuesTest, NobodyCanClaimARunThatWaits) {
  enter("k");
  const Submitted second = enter("k");
  ASSERT_FALSE(second.work.has_value());
  clock_.advance(Millis{10'000'000'000});
  EXPECT_FALSE(store().claim(second.root, lease_of("b")).value().has_value());
  const auto next = store().claim_next(lease_of("b")).value();
  EXPECT_TRUE(!next || next->grant.run != second.run);
}

TEST_P(QueuesTest, HigherPriorityGoesFirstWithinAKeyAndAcrossKeys) {
  set_concurrency(1);
  const Submitted first = enter("x");
  const auto low = enter("k").run;
  const auto high = enter("k", 5).run;
  const auto middle = enter("other", 3).run;
  end(first);
  for (const TaskRunId expected : {high, middle, low}) {
    ASSERT_EQ(admitted(), std::vector{expected});
    end(expected);
  }
}

TEST_P(QueuesTest, KeysTakeTurnsSoThatALongLineStarvesNobody) {
  set_concurrency(1);
  const Submitted first = enter("big");
  const auto big = enter_many("big", 20);
  const auto small = enter_many("small", 3);
  const auto third = enter_many("third", 1);
  end(first);
  std::vector<TaskRunId> order;
  for (int i = 0; i < 8; ++i) {
    const auto next = admitted();
    ASSERT_EQ(next.size(), 1U);
    order.push_back(next[0]);
    end(next[0]);
  }
  EXPECT_EQ(order,
            (std::vector{big[0], small[0], third[0], big[1], small[1], big[2], small[2], big[3]}));
}

TEST_P(QueuesTest, ASlotIsHeldUntilTheEndWhateverTheRunDoesInBetween) {
  const Submitted first = enter("k");
  const auto second = enter("k").run;
  const Running running{first.run, first.root, first.work->grant};
  const auto calls = issue(running, 1, 1);
  EXPECT_TRUE(admit().admitted.empty());  // suspended
  ASSERT_TRUE(store().pause(first.run, "operator", "").has_value());
  EXPECT_TRUE(admit().admitted.empty());  // paused
  ASSERT_TRUE(store().resume(first.run).has_value());
  EXPECT_TRUE(admit().admitted.empty());
  ASSERT_TRUE(store().cancel(first.run, "{}").has_value());
  EXPECT_EQ(admitted(), std::vector{second});
}

TEST_P(QueuesTest, ACancelledRunLeavesItsPlace) {
  const Submitted first = enter("k");
  const auto rest = enter_many("k", 3);
  ASSERT_TRUE(store().cancel(rest[0], "{}").has_value());
  EXPECT_TRUE(admit().admitted.empty());
  EXPECT_EQ(info().waiting, 2);
  end(first);
  EXPECT_EQ(admitted(), std::vector{rest[1]});
}

TEST_P(QueuesTest, ARunPausedWhileItWaitsKeepsItsPlaceAndBeginsWhenResumed) {
  const Submitted first = enter("k");
  const auto second = enter("k");
  const auto third = enter("k").run;
  ASSERT_TRUE(store().pause(second.run, "operator", "").has_value());
  ASSERT_TRUE(store().resume(second.run).has_value());
  EXPECT_FALSE(store().claim(second.root, lease_of("b")).value().has_value());  // still waits
  ASSERT_TRUE(store().pause(second.run, "operator", "").has_value());
  end(first);
  const Admission admission = admit();
  ASSERT_EQ(admission.admitted.size(), 1U);
  EXPECT_EQ(admission.admitted[0].run, second.run);
  EXPECT_FALSE(admission.admitted[0].work.has_value());
  EXPECT_FALSE(store().claim(second.root, lease_of("b")).value().has_value());
  EXPECT_TRUE(admit().admitted.empty());
  ASSERT_TRUE(store().resume(second.run).has_value());
  const auto work = store().claim(second.root, lease_of("b")).value();
  ASSERT_TRUE(work.has_value());
  end(work->grant);
  EXPECT_EQ(admitted(), std::vector{third});
}

TEST_P(QueuesTest, LimitsChangeLiveUpAndDown) {
  const auto first = enter_many("k", 6);
  set_key_concurrency(3);
  EXPECT_EQ(admitted(), (std::vector{first[1], first[2]}));
  set_key_concurrency(std::nullopt);
  end(first[1]);
  end(first[2]);
  EXPECT_TRUE(admit().admitted.empty());  // the very first is still at work
  ASSERT_TRUE(store().cancel(first[0], "{}").has_value());
  EXPECT_EQ(admitted(), std::vector{first[3]});
  set_concurrency(0);
  end(first[3]);
  EXPECT_TRUE(admit().admitted.empty());
  EXPECT_FALSE(enter("free").work.has_value());
  set_concurrency(std::nullopt);
  EXPECT_EQ(admitted().size(), 2U);
}

TEST_P(QueuesTest, ATasksConcurrencyCountsRunsWithAndWithoutAKey) {
  set_concurrency(2);
  const Submitted keyed_run = enter("k");
  const Submitted plain = enter("");
  EXPECT_TRUE(keyed_run.work.has_value() && plain.work.has_value());
  const Submitted third = enter("");
  EXPECT_FALSE(third.work.has_value());
  end(plain);
  EXPECT_EQ(admitted(), std::vector{third.run});
  set_concurrency(std::nullopt);
  EXPECT_TRUE(enter("").work.has_value());  // in no queue any more
}

TEST_P(QueuesTest, NeverMoreStartsInAnyWindowThanTheRateAllows) {
  set_rate(3, Millis{1'000});
  std::vector<std::int64_t> starts;
  const auto runs = enter_many("", 2);  // at once
  starts.insert(starts.end(), 2, clock_.now().ms);
  clock_.advance(Millis{600});
  enter_many("", 10);  // one of them at once
  starts.push_back(clock_.now().ms);
  for (int i = 0; i < 40 && starts.size() < 12; ++i) {
    const Admission admission = admit();
    starts.insert(starts.end(), admission.admitted.size(), clock_.now().ms);
    if (starts.size() == 12) break;
    ASSERT_TRUE(admission.next_in.has_value());
    clock_.advance(*admission.next_in - Millis{1});
    EXPECT_TRUE(admit().admitted.empty());  // a millisecond early
    clock_.advance(Millis{1});
  }
  ASSERT_EQ(starts.size(), 12U);
  for (std::size_t i = 3; i < starts.size(); ++i) EXPECT_GE(starts[i] - starts[i - 3], 1'000);
  EXPECT_EQ(starts.back() - starts.front(), 3'600);  // and none later than need be
}

TEST_P(QueuesTest, ARateThatIsChangedHoldsFromThatMoment) {
  set_rate(1, Millis{1'000});
  EXPECT_TRUE(enter("").work.has_value());
  const auto waiting = enter_many("", 3);
  EXPECT_EQ(admit().next_in, Millis{1'000});
  set_rate(2, Millis{1'000});  // one start of the last second counts
  EXPECT_EQ(admitted(), std::vector{waiting[0]});
  set_rate(2, Millis{60'000});
  clock_.advance(Millis{59'999});
  EXPECT_TRUE(admit().admitted.empty());
  QueueChange none;
  none.rate = true;
  change(none);
  EXPECT_EQ(admitted(), (std::vector{waiting[1], waiting[2]}));
}

TEST_P(QueuesTest, AKeysRateHoldsUpThatKeyOnly) {
  QueueChange to;
  to.key_rate = to.key_concurrency = true;
  to.to.key_rate = QueueRate{1, Millis{500}};
  to.to.key_concurrency = 10;
  change(to);
  EXPECT_TRUE(enter("a").work.has_value());
  const auto second = enter("a").run;
  EXPECT_TRUE(enter("b").work.has_value());
  EXPECT_EQ(admit().next_in, Millis{500});
  clock_.advance(Millis{500});
  EXPECT_EQ(admitted(), std::vector{second});
}

TEST_P(QueuesTest, AClockSetBackDelaysTheNextStartByOneWindowAtMost) {
  set_rate(1, Millis{1'000});
  enter("");
  const auto second = enter("").run;
  clock_.advance(Millis{-3'600'000});
  EXPECT_TRUE(admit().admitted.empty());
  clock_.advance(Millis{1'000});
  EXPECT_EQ(admitted(), std::vector{second});
}

TEST_P(QueuesTest, ADelayedRunWaitsForItsTimeAndThenQueues) {
  Submission s = keyed("k");
  s.delay = Millis{1'000};
  const Submitted delayed = store().submit(s).value();
  EXPECT_FALSE(delayed.work.has_value());
  EXPECT_EQ(admit().next_in, Millis{1'000});
  const Submitted first = enter("k");
  EXPECT_TRUE(first.work.has_value());
  const auto third = enter("k").run;
  clock_.advance(Millis{1'000});
  EXPECT_TRUE(admit().admitted.empty());
  const auto fourth = enter("k").run;
  end(first);
  for (const TaskRunId expected : {third, delayed.run, fourth}) {
    ASSERT_EQ(admitted(), std::vector{expected});
    end(expected);
  }
}

TEST_P(QueuesTest, AResubmittedKeyTakesNoSecondPlace) {
  Submission s = keyed("k");
  s.idempotency_key = "once";
  const Submitted first = store().submit(s).value();
  EXPECT_TRUE(store().submit(s).value().existing);
  EXPECT_EQ(info().running, 1);
  EXPECT_EQ(info().waiting, 0);
  end(first);
  EXPECT_TRUE(store().submit(s).value().existing);
  EXPECT_TRUE(admit().admitted.empty());
  EXPECT_EQ(info().running, 0);
}

TEST_P(QueuesTest, ALostSliceKeepsItsSlot) {
  const Submitted first = enter("k");
  enter("k");
  SliceLost lost;
  lost.root = first.work->grant;
  ASSERT_TRUE(store().slice_lost(lost).has_value());
  EXPECT_TRUE(admit().admitted.empty());
  EXPECT_TRUE(store().claim(first.root, lease_of("b")).value().has_value());
}

TEST_P(QueuesTest, ClearEmptiesTheQueuesAndKeepsTheirLimits) {
  set_concurrency(1);
  enter_many("k", 5);
  ASSERT_TRUE(store().clear().has_value());
  EXPECT_EQ(info().running, 0);
  EXPECT_EQ(info().waiting, 0);
  EXPECT_TRUE(enter("k").work.has_value());
  EXPECT_FALSE(enter("l").work.has_value());
}

TEST_P(QueuesTest, WhatIsNotClaimedCanBeClaimedByAnybody) {
  const Submitted first = enter("k");
  const Submitted second = enter("k");
  end(first);
  const Admission admission = admit(0);
  ASSERT_EQ(admission.admitted.size(), 1U);
  EXPECT_FALSE(admission.admitted[0].work.has_value());
  EXPECT_TRUE(store().claim(second.root, lease_of("b")).value().has_value());
}

TEST_P(QueuesTest, AQueueSurvivesARestart) {
  const Submitted first = enter("k");
  const auto second = enter("k").run;
  reopen();
  EXPECT_TRUE(admit().admitted.empty());
  end(first);
  reopen();
  EXPECT_EQ(admitted(), std::vector{second});
}

TEST_P(QueuesTest, TheKeysAreListedInPages) {
  for (const char* key : {"c", "a", "b"}) enter_many(key, 3);
  std::vector<std::string> seen;
  std::optional<std::string> after;
  for (;;) {
    Answer<std::vector<QueueKey>> answer;
    queues().queue_keys("task", after, 2, answer.done());
    const auto page = answer.get().value();
    for (const QueueKey& key : page) {
      EXPECT_EQ(key.running, 1);
      EXPECT_EQ(key.waiting, 2);
      seen.push_back(key.key);
    }
    if (page.size() < 2) break;
    after = page.back().key;
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"a", "b", "c"}));
  Answer<std::vector<QueueInfo>> list;
  queues().queue_list("", 10, list.done());
  const auto infos = list.get().value();
  ASSERT_EQ(infos.size(), 1U);
  EXPECT_EQ(infos[0].task, "task");
  EXPECT_EQ(infos[0].waiting, 6);
}

TEST_P(QueuesTest, TheSweepFindsQueuesWithSomethingToDo) {
  const auto due = [this] {
    Answer<std::vector<QueueDue>> answer;
    queues().queues_due(answer.done());
    return answer.get().value();
  };
  EXPECT_TRUE(due().empty());
  const Submitted first = enter("k");
  ASSERT_EQ(due().size(), 1U);
  EXPECT_FALSE(due()[0].open);
  enter("k");
  EXPECT_TRUE(due()[0].open);
  end(first);
  EXPECT_TRUE(due()[0].open);
}

// Many at once submit, admit and end: at no moment more are at work than the limits say, and a
// key's runs begin in the order of their submission.
TEST_P(QueuesTest, LimitsAreExactWhoeverDecides) {
  constexpr int kThreads = 6, kRuns = 15;
  set_concurrency(4);
  std::mutex mutex;
  std::map<std::string, int> at_work;
  std::map<std::string, std::vector<TaskRunId>> begun;
  int all = 0, most = 0, most_of_key = 0, ended = 0;
  const auto begin = [&](const std::string& key, TaskRunId run) {
    const std::lock_guard lock(mutex);
    most = std::max(most, ++all);
    most_of_key = std::max(most_of_key, ++at_work[key]);
    begun[key].push_back(run);
  };
  std::map<TaskRunId, std::string> keys;
  const auto finish = [&](const Grant& grant, const std::string& key) {
    {
      const std::lock_guard lock(mutex);  // before the end: nobody may begin before it
      --all;
      --at_work[key];
      ++ended;
    }
    EXPECT_TRUE(store().commit_slice(end_of(grant, SliceEnd::completed, "1")).has_value());
  };
  const auto key_of_run = [&](TaskRunId run) { return store().run(run).value().queue_key; };
  const auto work = [&](int n) {
    const auto admit_some = [&] {
      Answer<Admission> answer;
      queues().admit("task", lease_of("a"), 100, answer.done());
      const auto admission = answer.get();
      if (admission.has_error()) return;
      std::vector<std::pair<Grant, std::string>> mine;
      for (const Wake& wake : admission.value().admitted) {
        mine.emplace_back(wake.work.value().grant, key_of_run(wake.run));
        begin(mine.back().second, wake.run);
      }
      for (const auto& [grant, key] : mine) finish(grant, key);
    };
    for (int i = 0; i < kRuns; ++i) {
      const std::string key = "k" + std::to_string((n + i) % 3);
      const auto submitted = store().submit(keyed(key));
      if (submitted.has_value() && submitted.value().work) {
        begin(key, submitted.value().run);
        std::this_thread::yield();
        finish(submitted.value().work->grant, key);
      }
      admit_some();
    }
    for (int i = 0; i < 2'000; ++i) {
      {
        const std::lock_guard lock(mutex);
        if (ended == kThreads * kRuns) return;
      }
      admit_some();
    }
  };
  std::vector<std::thread> threads;
  for (int n = 0; n < kThreads; ++n) threads.emplace_back(work, n);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(ended, kThreads * kRuns);
  EXPECT_LE(most, 4);
  EXPECT_EQ(most_of_key, 1);
  for (const auto& [key, runs] : begun) {
    EXPECT_TRUE(std::is_sorted(runs.begin(), runs.end(),
                               [](TaskRunId a, TaskRunId b) { return a.value < b.value; }) ||
                GetParam().name != "sqlite");  // PostgreSQL: numbers are taken before the place is
  }
}

SEQUENTIAL_ON_EVERY_BACKEND(QueuesTest);

}  // namespace
}  // namespace sequential::storage::test
