// Queues and runs that come back: what is retried or forked waits for its turn like what is new,
// and whoever ends a run is told that there is room.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sequential/storage/cancellation.h"
#include "sequential/storage/queues.h"
#include "sequential/storage/rewinds.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class QueueRewindsTest : public StoreTest {
 protected:
  Queues& queues() { return *store_->queues(); }

  Submitted enter(const std::string& key, int priority = 0) {
    Submission s = submission();
    s.queue_key = key;
    s.priority = priority;
    s.handoff = lease_of("a");
    return store().submit(s).value();
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
  QueueInfo info() {
    Answer<QueueInfo> answer;
    queues().queue_of("task", answer.done());
    return answer.get().value();
  }
  void change(const QueueChange& to) {
    Answer<QueueLimits> answer;
    queues().change_queue("task", to, answer.done());
    ASSERT_TRUE(answer.get().has_value());
  }
  void set_concurrency(std::optional<std::int64_t> limit) {
    QueueChange to;
    to.concurrency = true;
    to.to.concurrency = limit;
    change(to);
  }
  void set_rate(std::int64_t starts, Millis per) {
    QueueChange to;
    to.rate = true;
    to.to.rate = QueueRate{starts, per};
    change(to);
  }

  void end(const Grant& grant, SliceEnd how = SliceEnd::completed) {
    ASSERT_TRUE(store().commit_slice(end_of(grant, how, "{\"code\":\"x\"}")).has_value());
  }
  void fail(const Grant& grant) { end(grant, SliceEnd::failed); }

  RunOrigin origin(TaskRunId run) {
    Answer<RunOrigin> answer;
    store_->rewinds()->origin(run, answer.done());
    return answer.get().value();
  }
  RewindTo point_of(TaskRunId run, std::int64_t through = 0, std::int64_t calls = 0) {
    RewindTo to;
    to.through = through;
    to.calls = calls;
    to.function = function_;
    to.version = 1;
    to.rewinds = origin(run).rewinds;
    return to;
  }
  Rewound retry(TaskRunId run, std::int64_t through = 0, std::int64_t calls = 0) {
    Retry retry;
    retry.run = run;
    retry.to = point_of(run, through, calls);
    Answer<Rewound> answer;
    store_->rewinds()->retry_run(std::move(retry), answer.done());
    return made(answer.get());
  }
  Rewound fork(TaskRunId source, std::int64_t through = 0, std::int64_t calls = 0) {
    Fork fork;
    fork.source = source;
    fork.to = point_of(source, through, calls);
    Answer<Rewound> answer;
    store_->rewinds()->fork_run(std::move(fork), answer.done());
    return made(answer.get());
  }
  static Rewound made(const Result<Rewound>& result) {
    EXPECT_TRUE(result.has_value()) << result.error().message;
    return result.has_value() ? result.value() : Rewound{};
  }
  static bool waits(const Rewound& rewound) {
    return rewound.queued && (rewound.runnable.empty() || rewound.runnable.front() != rewound.root);
  }
  bool claimable(StackRunId id) { return store().claim(id, lease_of("b")).value().has_value(); }

  // Of the key: it made one call, which failed, as did the run. Its slot is free.
  struct Failed {
    TaskRunId run;
    StackRunId root, call;
  };
  Failed failed_with_a_call(const std::string& key) {
    const Submitted run = enter(key);
    const auto works = issue({run.run, run.root, run.work.value().grant}, 1, 1);
    OutcomeRecord failure = failure_of(works[0].grant);
    failure.handoff = lease_of("a");
    const auto woken = store().record_outcome(std::move(failure)).value();
    SliceCommit over = end_of(woken.wake->work->grant, SliceEnd::failed, "{\"code\":\"x\"}", 1);
    EXPECT_TRUE(store().commit_slice(std::move(over)).has_value());
    return {run.run, run.root, works[0].grant.id};
  }

  std::map<TaskRunId, Grant> held_;  // by admit()
};
SEQUENTIAL_ON_EVERY_BACKEND(QueueRewindsTest);

TEST_P(QueueRewindsTest, ARetriedRunGoesToTheEndOfItsKeysLine) {
  const Submitted first = enter("k");
  fail(first.work->grant);
  const Submitted second = enter("k");
  const auto third = enter("k").run;
  ASSERT_TRUE(second.work.has_value());
  EXPECT_TRUE(waits(retry(first.run)));
  EXPECT_EQ(run_status(first.run), RunStatus::queued);
  EXPECT_FALSE(run_row(first.run).started_at.has_value());
  EXPECT_EQ(info().waiting, 2);
  EXPECT_FALSE(claimable(first.root));
  EXPECT_TRUE(admit().admitted.empty());
  end(second.work->grant);
  EXPECT_EQ(admitted(), std::vector{third});
  end(held_.at(third));
  EXPECT_EQ(admitted(), std::vector{first.run});
  EXPECT_EQ(run_status(first.run), RunStatus::running);
  EXPECT_TRUE(run_row(first.run).started_at.has_value());
  end(held_.at(first.run));
  EXPECT_TRUE(admit().admitted.empty());
  EXPECT_EQ(info().running, 0);
  EXPECT_EQ(info().waiting, 0);
}

TEST_P(QueueRewindsTest, ARetriedRunTakesAFreeSlotAtOnceAndOthersWaitForIt) {
  const Submitted first = enter("k");
  fail(first.work->grant);
  const Rewound again = retry(first.run);
  EXPECT_TRUE(again.queued);
  ASSERT_FALSE(waits(again));
  EXPECT_EQ(info().running, 1);
  const Submitted second = enter("k");
  EXPECT_FALSE(second.work.has_value());
  const auto work = store().claim(first.root, lease_of("b")).value();
  ASSERT_TRUE(work.has_value());
  EXPECT_EQ(run_status(first.run), RunStatus::running);
  EXPECT_TRUE(run_row(first.run).started_at.has_value());
  EXPECT_TRUE(admit().admitted.empty());
  end(work->grant);
  EXPECT_EQ(admitted(), std::vector{second.run});
}

TEST_P(QueueRewindsTest, PrioritiesAndTurnsHoldForRetriedRunsToo) {
  set_concurrency(1);
  const Submitted high = enter("h", 5);
  fail(high.work->grant);
  const Submitted at_work = enter("x");
  const auto low = enter("y").run;
  retry(high.run);
  end(at_work.work->grant);
  EXPECT_EQ(admitted(), std::vector{high.run});
  end(held_.at(high.run));
  EXPECT_EQ(admitted(), std::vector{low});
}

TEST_P(QueueRewindsTest, ARetryCountsForTheRateInTheSameMomentToo) {
  set_rate(2, Millis{1'000});
  const Submitted first = enter("");
  fail(first.work->grant);
  ASSERT_FALSE(waits(retry(first.run)));  // the second start, in the same millisecond
  const auto work = store().claim(first.root, lease_of("a")).value();
  fail(work.value().grant);
  EXPECT_TRUE(waits(retry(first.run)));
  EXPECT_EQ(admit().next_in, Millis{1'000});
  clock_.advance(Millis{1'000});
  EXPECT_EQ(admitted(), std::vector{first.run});
}

TEST_P(QueueRewindsTest, ACallThatIsMadeAgainWaitsWithItsRun) {
  const Failed failed = failed_with_a_call("k");
  const Submitted other = enter("k");
  const Rewound again = retry(failed.run, 0, 1);
  EXPECT_TRUE(waits(again));
  EXPECT_TRUE(again.runnable.empty());
  EXPECT_FALSE(claimable(failed.call));
  EXPECT_FALSE(store().claim_next(lease_of("b")).value().has_value());
  end(other.work.value().grant);
  const Admission admission = admit();
  ASSERT_EQ(admission.admitted.size(), 1U);
  EXPECT_EQ(admission.calls, std::vector{failed.call});
  EXPECT_TRUE(claimable(failed.call));
}

TEST_P(QueueRewindsTest, ATimerOfARetriedRunGoesOnWhileItWaits) {
  const Submitted first = enter("k");
  SliceCommit commit = slice_of(first.work->grant, {call_of(1)});
  commit.calls[0].delay = Millis{5'000};
  const StackRunId timer = store().commit_slice(std::move(commit)).value().calls[0].id;
  ASSERT_TRUE(store().cancel(first.run, "{}").has_value());
  const Submitted other = enter("k");
  EXPECT_TRUE(waits(retry(first.run, 0, 1)));
  clock_.advance(Millis{5'000});
  EXPECT_TRUE(claimable(timer));
  end(other.work.value().grant);
  EXPECT_EQ(admitted(), std::vector{first.run});
}

TEST_P(QueueRewindsTest, AForkTakesAPlaceOfItsOwn) {
  const Failed failed = failed_with_a_call("k");
  const Submitted other = enter("k");
  const Rewound made = fork(failed.run, 0, 1);
  EXPECT_TRUE(waits(made));
  EXPECT_TRUE(made.runnable.empty());
  EXPECT_EQ(run_status(made.run), RunStatus::queued);
  EXPECT_FALSE(claimable(made.root));
  EXPECT_EQ(info().waiting, 1);
  end(other.work.value().grant);
  const Admission admission = admit();
  ASSERT_EQ(admission.admitted.size(), 1U);
  EXPECT_EQ(admission.admitted[0].run, made.run);
  ASSERT_TRUE(admission.admitted[0].work.has_value());
  EXPECT_EQ(admission.calls.size(), 1U);
  EXPECT_FALSE(enter("k").work.has_value());
}

TEST_P(QueueRewindsTest, ARunOfATaskThatWasLimitedSinceIsCountedOnceItIsRetried) {
  const Submitted first = enter("");
  fail(first.work->grant);
  set_concurrency(1);
  ASSERT_FALSE(waits(retry(first.run)));
  EXPECT_FALSE(enter("").work.has_value());
  set_concurrency(std::nullopt);
  const Submitted free = enter("");
  fail(free.work.value().grant);
  EXPECT_FALSE(retry(free.run).queued);
}

TEST_P(QueueRewindsTest, WhatWaitsAfterARetryIsCancelledAtOnceAndCanBeRetriedAgain) {
  const Failed failed = failed_with_a_call("k");
  const Submitted other = enter("k");
  retry(failed.run, 0, 1);
  Answer<CancelRequested> asked;
  store_->cancellation()->request_cancel({failed.run, "{}", Millis{30'000}}, asked.done());
  EXPECT_TRUE(asked.get().value().over);
  EXPECT_TRUE(admit().admitted.empty());
  EXPECT_EQ(info().waiting, 0);
  end(other.work.value().grant);
  const Rewound again = retry(failed.run, 0, 1);
  EXPECT_EQ(again.runnable, (std::vector{failed.root, failed.call}));
  EXPECT_TRUE(claimable(failed.call));
  EXPECT_TRUE(claimable(failed.root));
}

TEST_P(QueueRewindsTest, WhatIsPausedAfterARetryGoesOnWaitingWhateverCodeItIsResumedOn) {
  const Failed failed = failed_with_a_call("k");
  const Submitted other = enter("k");
  retry(failed.run, 0, 1);
  ASSERT_TRUE(store().pause(failed.run, "operator", "").has_value());
  ASSERT_TRUE(store().resume(failed.run).value().empty());
  EXPECT_EQ(run_status(failed.run), RunStatus::queued);
  EXPECT_FALSE(claimable(failed.root));
  ASSERT_TRUE(store().pause(failed.run, "operator", "").has_value());
  Answer<Rewound> resumed;
  store_->rewinds()->resume_on(failed.run, point_of(failed.run), resumed.done());
  EXPECT_TRUE(resumed.get().value().runnable.empty());
  EXPECT_FALSE(claimable(failed.root));
  EXPECT_FALSE(claimable(failed.call));
  // Admitted while it is paused, it begins when it is resumed.
  ASSERT_TRUE(store().pause(failed.run, "operator", "").has_value());
  end(other.work.value().grant);
  const Admission admission = admit();
  ASSERT_EQ(admission.admitted.size(), 1U);
  EXPECT_FALSE(admission.admitted[0].work.has_value());
  EXPECT_TRUE(admission.calls.empty());
  EXPECT_FALSE(claimable(failed.call));
  EXPECT_EQ(store().resume(failed.run).value(), (std::vector{failed.root, failed.call}));
  EXPECT_TRUE(claimable(failed.root));
}

TEST_P(QueueRewindsTest, ARunCancelledWhileItWaitedCanBeRetried) {
  const Submitted first = enter("k");
  const Submitted second = enter("k");
  ASSERT_TRUE(store().cancel(second.run, "{}").has_value());
  EXPECT_TRUE(waits(retry(second.run)));
  end(first.work->grant);
  EXPECT_EQ(admitted(), std::vector{second.run});
  fail(held_.at(second.run));
  EXPECT_FALSE(waits(retry(second.run)));
  EXPECT_TRUE(claimable(second.root));
}

TEST_P(QueueRewindsTest, ARetriedRunKeepsItsPlaceOverARestart) {
  const Submitted first = enter("k");
  fail(first.work->grant);
  const Submitted second = enter("k");
  retry(first.run);
  reopen();
  EXPECT_TRUE(admit().admitted.empty());
  end(second.work.value().grant);
  reopen();
  EXPECT_EQ(admitted(), std::vector{first.run});
}

// Many at once submit, admit, fail and retry: at no moment more are at work than the limit says,
// and all of them get their turn.
TEST_P(QueueRewindsTest, LimitsAreExactWhoeverRetries) {
  constexpr int kThreads = 4, kRuns = 8;
  set_concurrency(2);
  std::mutex mutex;
  std::set<TaskRunId> failed;
  int at_work = 0, most = 0, ended = 0;
  const auto begin = [&] {
    const std::lock_guard lock(mutex);
    most = std::max(most, ++at_work);
  };
  // The first time it fails, and is retried. Whether it is at work again, under which claim.
  const auto finish = [&](TaskRunId run, const Grant& grant) -> std::optional<Grant> {
    bool fails = false;
    {
      const std::lock_guard lock(mutex);  // before the end: nobody may begin before it
      --at_work;
      fails = failed.insert(run).second;
      if (!fails) ++ended;
    }
    end(grant, fails ? SliceEnd::failed : SliceEnd::completed);
    if (!fails || waits(retry(run))) return std::nullopt;
    const auto work = store().claim(grant.id, lease_of("a")).value();
    return work ? std::optional(work->grant) : std::nullopt;
  };
  const auto work_on = [&](TaskRunId run, const Grant& grant) {  // it has begun
    for (auto again = finish(run, grant); again; again = finish(run, *again)) begin();
  };
  const auto admit_some = [&] {
    Answer<Admission> answer;
    queues().admit("task", lease_of("a"), 100, answer.done());
    const auto admission = answer.get();
    ASSERT_TRUE(admission.has_value()) << admission.error().message;
    const auto& admitted = admission.value().admitted;
    for (std::size_t i = 0; i < admitted.size(); ++i) begin();
    for (const Wake& wake : admitted) work_on(wake.run, wake.work.value().grant);
  };
  const auto work = [&](int n) {
    for (int i = 0; i < kRuns; ++i) {
      const Submitted run = enter("k" + std::to_string((n + i) % 3));
      if (run.work) {
        begin();
        work_on(run.run, run.work->grant);
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
  EXPECT_LE(most, 2);
  (void)admit();
  EXPECT_EQ(info().running, 0);
}

// Whatever ends a run, the next can be asked for at once: nobody needs to have known of the queue.
TEST_P(QueueRewindsTest, WhoeverEndsARunOfAQueueIsToldOfTheRoom) {
  std::mutex mutex;
  std::condition_variable news;
  std::vector<std::string> told;
  queues().on_room([&](const std::string& task) {
    const std::lock_guard lock(mutex);
    told.push_back(task);
    news.notify_one();
  });
  const auto heard = [&] {
    std::unique_lock lock(mutex);
    news.wait_for(lock, std::chrono::seconds{5}, [&] { return !told.empty(); });
    return std::exchange(told, {});
  };
  const Submitted free = enter("");
  end(free.work.value().grant);  // in no queue
  set_concurrency(1);
  const Submitted first = enter("");
  end(first.work.value().grant);
  EXPECT_EQ(heard(), std::vector<std::string>{"task"});
  const Submitted second = enter("");
  ASSERT_TRUE(second.work.has_value());
  ASSERT_TRUE(store().cancel(second.run, "{}").has_value());
  EXPECT_EQ(heard(), std::vector<std::string>{"task"});
  const Submitted third = enter("");
  ASSERT_TRUE(third.work.has_value());
  Answer<CancelRequested> asked;
  store_->cancellation()->request_cancel({third.run, "{}", Millis{0}}, asked.done());
  ASSERT_TRUE(asked.get().value().over);
  EXPECT_EQ(heard(), std::vector<std::string>{"task"});
  queues().on_room({});
}

}  // namespace
}  // namespace sequential::storage::test
