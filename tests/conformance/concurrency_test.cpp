// Many callers at once: nothing is done twice, nothing is lost, order is kept per caller and run.

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class Concurrency : public StoreTest {
 protected:
  template <class Work>
  static void on_threads(int count, Work work) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back([&work, i] { work(i); });
    for (auto& thread : threads) thread.join();
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(Concurrency);

TEST_P(Concurrency, OfAThousandRunsEachIsClaimedExactlyOnceByThirtyTwoClaimers) {
  constexpr int kRuns = 1'000, kClaimers = 32;
  std::vector<Answer<Submitted>> answers(kRuns);
  for (auto& answer : answers) store().async().submit(submission(), answer.done());
  std::set<StackRunId> submitted;
  for (auto& answer : answers) submitted.insert(answer.get().value().root);
  ASSERT_EQ(submitted.size(), static_cast<std::size_t>(kRuns));

  std::mutex mutex;
  std::map<StackRunId, int> claimed;
  on_threads(kClaimers, [&](int i) {
    for (;;) {
      const auto work = store().claim_next(lease_of("node-" + std::to_string(i))).value();
      if (!work) return;
      EXPECT_EQ(work->grant.epoch, 1);
      const std::lock_guard lock(mutex);
      ++claimed[work->grant.id];
    }
  });
  EXPECT_EQ(claimed.size(), submitted.size());
  for (const auto& [id, times] : claimed) EXPECT_EQ(times, 1);
}

TEST_P(Concurrency, OfManyClaimsOfOneStackRunOneSucceeds) {
  const Submitted submitted = submit();
  std::atomic<int> claims{0};
  on_threads(16, [&](int i) {
    const auto work = store().claim(submitted.root, lease_of(std::to_string(i))).value();
    if (work) ++claims;
  });
  EXPECT_EQ(claims, 1);
}

TEST_P(Concurrency, OfManyRecordingsUnderOneGrantOneCounts) {
  const Running running = start();
  const Work call = issue(running, 1, 1)[0];
  std::atomic<int> recorded{0};
  on_threads(16, [&](int i) {
    const auto result = store().record_outcome(outcome_of(call.grant, std::to_string(i)));
    if (result.has_value()) {
      ++recorded;
    } else {
      EXPECT_TRUE(refused(result, Errc::fenced));
    }
  });
  EXPECT_EQ(recorded, 1);
  EXPECT_EQ(run_row(running.run).journal_length, 1);
}

TEST_P(Concurrency, ManyRunsInParallelEachKeepTheirOwnOrder) {
  constexpr int kRuns = 32, kCalls = 20;
  on_threads(kRuns, [&](int) {
    const Running running = start();
    Grant root = running.grant;
    for (int seq = 1; seq <= kCalls; ++seq) {
      SliceCommit commit = slice_of(root, {call_of(seq)}, seq - 1);
      commit.handoff = lease_of("a");
      const auto call = store().commit_slice(commit).value().calls[0].work.value();
      OutcomeRecord record = outcome_of(call.grant, std::to_string(seq));
      record.handoff = lease_of("a");
      const auto recorded = store().record_outcome(record).value();
      EXPECT_EQ(recorded.delivered_as, seq);
      root = recorded.wake.value().work.value().grant;
    }
    ASSERT_TRUE(
        store().commit_slice(end_of(root, SliceEnd::completed, "1", kCalls)).has_value());
    const auto journal = store().journal(running.run, 0, 1 << 20).value();
    ASSERT_EQ(journal.rows.size(), static_cast<std::size_t>(kCalls));
    for (int i = 0; i < kCalls; ++i) {
      const auto& row = journal.rows[static_cast<std::size_t>(i)];
      EXPECT_EQ(row.seq, i + 1);
      EXPECT_EQ(row.outcome->payload, std::to_string(i + 1));
    }
  });
}

TEST_P(Concurrency, OutcomesThatArriveWhileTheRootWorksAreEachSeenOnce) {
  constexpr int kCalls = 64;
  const Running running = start();
  const auto works = issue(running, 1, kCalls);
  std::mutex mutex;
  std::condition_variable woken;
  std::vector<Grant> grants;  // guarded by mutex
  std::thread driver([&] {
    std::int64_t seen = 0;
    while (seen < kCalls) {
      Grant root;
      {
        std::unique_lock lock(mutex);
        ASSERT_TRUE(woken.wait_for(lock, kPatience, [&] { return !grants.empty(); }));
        ASSERT_EQ(grants.size(), 1u);  // never two slices of one run at a time
        root = grants.back();
        grants.pop_back();
      }
      const auto outcomes = store().outcomes(running.run, seen, 3).value();
      for (const Outcome& o : outcomes) {
        EXPECT_EQ(o.delivered_as, ++seen);
      }
      SliceCommit commit = slice_of(root, {}, seen);
      if (seen == kCalls) commit = end_of(root, SliceEnd::completed, "1", seen);
      commit.handoff = lease_of("a");
      const auto committed = store().commit_slice(commit).value();
      if (!committed.root) continue;
      const std::lock_guard lock(mutex);
      grants.push_back(committed.root->work->grant);
      woken.notify_one();
    }
  });
  on_threads(16, [&](int t) {
    for (int i = t; i < kCalls; i += 16) {
      OutcomeRecord record = outcome_of(works[static_cast<std::size_t>(i)].grant);
      record.handoff = lease_of("a");
      const auto recorded = store().record_outcome(record).value();
      if (!recorded.wake) continue;
      const std::lock_guard lock(mutex);
      grants.push_back(recorded.wake->work->grant);
      woken.notify_one();
    }
  });
  driver.join();
  EXPECT_EQ(run_row(running.run).journal_length, kCalls);
  EXPECT_EQ(status_of(running.root), StackStatus::completed);
}

TEST_P(Concurrency, TransitionsOfOneRunByOneCallerAreAppliedInTheirOrder) {
  constexpr int kRuns = 4, kTransitions = 100;
  std::vector<TaskRunId> runs;
  for (int i = 0; i < kRuns; ++i) runs.push_back(submit().run);
  std::vector<Answer<void>> paused(kRuns * kTransitions);
  std::vector<Answer<std::vector<StackRunId>>> resumed(kRuns * kTransitions);
  for (std::size_t i = 0; i < paused.size(); ++i) {  // out of order, each would be a conflict
    const TaskRunId run = runs[i % runs.size()];
    store().async().pause(run, "operator", "", paused[i].done());
    store().async().resume(run, resumed[i].done());
  }
  for (std::size_t i = 0; i < paused.size(); ++i) {
    EXPECT_TRUE(paused[i].get().has_value());
    EXPECT_TRUE(resumed[i].get().has_value());
  }
}

TEST_P(Concurrency, ClosingCompletesWhatWasAskedAndWhatTheAnswersAsk) {
  std::atomic<int> answered{0};
  Store& async = store().async();
  for (int i = 0; i < 50; ++i) {
    async.submit(submission(), [&, this](Result<Submitted> submitted) {
      ++answered;
      async.claim(submitted.value().root, lease_of("a"), [&](Result<std::optional<Work>> work) {
        ++answered;
        async.run(work.value().value().grant.run, [&](Result<TaskRun> run) {
          ++answered;
          EXPECT_EQ(run.value().status, RunStatus::running);
          async.due(10, [&](Result<DueWork>) { ++answered; });
        });
      });
    });
  }
  close();
  EXPECT_EQ(answered, 200);
  open();
}

}  // namespace
}  // namespace sequential::storage::test
