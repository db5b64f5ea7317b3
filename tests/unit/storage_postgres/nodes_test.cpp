// Several stores on one database: nothing is claimed twice (fault test F15), and word gets around.

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "pg_store_test.h"

namespace sequential::storage::test {
namespace {

class Nodes : public PgStoreTest {};

TEST_F(Nodes, TwoStoresWithEightClaimersEachTakeEveryRunOnce) {
  constexpr int kRuns = 1'000, kClaimers = 8;
  Opened a = open(), b = open();
  const TaskFunctionId function = publish(a.sync);
  std::vector<Answer<Submitted>> answers(kRuns);
  for (auto& answer : answers) a.store->submit(submission(function), answer.done());
  for (auto& answer : answers) ASSERT_TRUE(answer.get().has_value());
  std::mutex mutex;
  std::map<StackRunId, int> claimed;  // guarded by mutex
  std::vector<std::thread> threads;
  for (int i = 0; i < 2 * kClaimers; ++i) {
    SyncStore& store = i % 2 == 0 ? a.sync : b.sync;
    threads.emplace_back([&, i] {
      for (;;) {
        const auto work = store.claim_next(lease_of("node-" + std::to_string(i))).value();
        if (!work) return;
        EXPECT_EQ(work->grant.epoch, 1);
        const std::lock_guard lock(mutex);
        ++claimed[work->grant.id];
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(claimed.size(), static_cast<std::size_t>(kRuns));
  for (const auto& [id, times] : claimed) EXPECT_EQ(times, 1);
}

TEST_F(Nodes, ClaimersReapersFinishersAndControllersDoNotStandInEachOthersWay) {
  // Everything at once on a few runs, leases so short that they end in the middle: each answer is
  // a value, a fence or a conflict, never a deadlock that was not resolved.
  constexpr int kThreads = 12, kSteps = 60;
  Opened a = open(), b = open();
  const TaskFunctionId function = publish(a.sync);
  std::vector<TaskRunId> runs;
  for (int i = 0; i < 6; ++i) runs.push_back(a->submit(submission(function)).value().run);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      SyncStore& store = t % 2 == 0 ? a.sync : b.sync;
      const Lease lease{"node-" + std::to_string(t), Millis{5}};
      const auto fine = [](const auto& result) {
        if (result.has_value()) return;
        const Errc code = result.error().code;
        EXPECT_TRUE(code == Errc::fenced || code == Errc::conflict) << result.error().message;
      };
      for (int i = 0; i < kSteps; ++i) {
        const TaskRunId run = runs[static_cast<std::size_t>(t + i) % runs.size()];
        if (i % 9 == 7) fine(store.pause(run));
        if (i % 9 == 8) fine(store.resume(run));
        fine(store.due(10));
        const auto work = store.claim_next(lease).value();
        if (!work) continue;
        fine(store.extend({work->grant, {StackRunId(1), runs[0], 1}}, lease));
        if (work->seq > 0) {
          OutcomeRecord record = i % 3 == 0 ? retry_of(work->grant, Millis{0})
                                            : outcome_of(work->grant);
          fine(store.record_outcome(record));
          continue;
        }
        const TaskRun head = store.journal_head(work->grant.run).value();
        SliceCommit commit = slice_of(work->grant, {}, head.journal_length);
        for (int c = 1; c <= 3; ++c) commit.calls.push_back(call_of(head.call_count + c));
        if (i % 2 == 0) commit.handoff = lease;
        fine(store.commit_slice(commit));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const TaskRunId run : runs) {
    static_cast<void>(a->resume(run).has_value());
    EXPECT_TRUE(a->cancel(run, "1").has_value());
  }
}

// What a store's listener hears.
struct Heard {
  News news() {
    return {[this](StackRunId id) { add(runnable, id); },
            [this](TaskRunId run) { add(ended, run); }};
  }
  template <class Set, class Id>
  void add(Set& set, Id id) {
    const std::lock_guard lock(mutex);
    set.insert(id);
    changed.notify_all();
  }
  template <class Set, class Id>
  bool hears(const Set& set, Id id) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, kPatience, [&] { return set.contains(id); });
  }
  std::mutex mutex;
  std::condition_variable changed;
  std::set<StackRunId> runnable;  // guarded by mutex
  std::set<TaskRunId> ended;      // guarded by mutex
};

TEST_F(Nodes, WhatBecameRunnableForAnyoneAndWhatEndedIsHeardByTheOthers) {
  Heard at_a, at_b;
  Opened a = open(), b = open();
  a.store->listen(at_a.news());
  b.store->listen(at_b.news());
  const TaskFunctionId function = publish(a.sync);
  // Until they have heard of each other nothing is told: then word of a run gets through.
  StackRunId root;
  do {
    root = a->submit(submission(function)).value().root;
    std::unique_lock lock(at_b.mutex);
    at_b.changed.wait_for(lock, Millis{20}, [&] { return !at_b.runnable.empty(); });
  } while (at_b.runnable.empty());

  root = a->submit(submission(function)).value().root;
  EXPECT_TRUE(at_b.hears(at_b.runnable, root));
  const Work work = b->claim(root, lease_of("b")).value().value();
  const Work call = issue_one(b.sync, work.grant, 1);
  ASSERT_TRUE(b->record_outcome(outcome_of(call.grant)).has_value());  // wakes the root for anyone
  EXPECT_TRUE(at_a.hears(at_a.runnable, root));
  const Work again = a->claim(root, lease_of("a")).value().value();
  ASSERT_TRUE(a->commit_slice(end_of(again.grant, SliceEnd::completed, "1", 1)).has_value());
  EXPECT_TRUE(at_b.hears(at_b.ended, again.grant.run));
  const TaskRunId paused = b->submit(submission(function)).value().run;
  ASSERT_TRUE(b->pause(paused).has_value());
  EXPECT_TRUE(at_a.hears(at_a.ended, paused));
  // Nobody hears themselves, and nobody of what was handed on by its own node.
  const std::lock_guard lock(at_a.mutex);
  EXPECT_FALSE(at_a.ended.contains(again.grant.run));
  EXPECT_FALSE(at_a.runnable.contains(call.grant.id));
}

TEST_F(Nodes, ACallHandedFromTransitionToTransitionOnOneNodeWritesToNoIndexButForItsInsertion) {
  Opened a = open();
  const Running running = start(a.sync, publish(a.sync));
  Grant root = running.grant;
  for (int seq = 1; seq <= 100; ++seq) {
    const Work call = issue_one(a.sync, root, seq);
    OutcomeRecord record = outcome_of(call.grant);
    record.handoff = lease_of("a");
    root = a->record_outcome(record).value().wake->work->grant;
  }
  a.store.reset();  // its sessions send what they have counted when they end
  const std::string updates =
      "SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'stack_runs'"
      " AND schemaname = '" + options_.schema + "' AND n_tup_upd >= 300";
  std::string not_hot;
  while ((not_hot = ask(updates)).empty()) {
  }
  EXPECT_LE(std::stoi(not_hot), 6);
}

}  // namespace
}  // namespace sequential::storage::test
