// Fault test F15: many claimers of several nodes at work on one queue, under the plans that claim
// too much. A claim that locks its row in a subquery which the planner may run again (once per row
// of a nested loop) takes many rows with one statement; measured: all of them.

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

#include "pg_store_test.h"

namespace sequential::storage::test {
namespace {

constexpr int kRuns = 1'000, kClaimers = 16;  // claimers of each of two nodes

class Claimers : public PgStoreTest {
 protected:
  Claimers() {
    // What is left is a nested loop that runs its inner side again for each row.
    options_.url +=
        " options='-c enable_hashjoin=off -c enable_mergejoin=off"
        " -c enable_material=off -c enable_hashagg=off -c enable_sort=off"
        " -c plan_cache_mode=force_generic_plan'";
    options_.connections = 8;
  }

  void submit_runs(Opened& store) {
    const TaskFunctionId function = publish(store.sync);
    std::vector<Answer<Submitted>> answers(kRuns);
    for (auto& answer : answers) store.store->submit(submission(function), answer.done());
    for (auto& answer : answers) ASSERT_TRUE(answer.get().has_value());
  }

  // All claimers at once, until none finds anything more. Counts the claims of each stack run.
  template <class Claim>
  void drain(Opened& a, Opened& b, const Claim& claim) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 2 * kClaimers; ++i) {
      SyncStore& store = i % 2 == 0 ? a.sync : b.sync;
      threads.emplace_back([&, i] {
        while (const auto work = claim(store, i)) {
          const std::lock_guard lock(mutex_);
          const int claims = ++claims_[work->grant.id];
          EXPECT_EQ(work->grant.epoch, claims);
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }

  // What the database says is what the claimers were told.
  void check(int claims_each) {
    EXPECT_EQ(claims_.size(), static_cast<std::size_t>(kRuns));
    for (const auto& [id, claims] : claims_) EXPECT_EQ(claims, claims_each) << id.value;
    EXPECT_EQ(ask("SELECT count(*) || ' rows, ' || sum(epoch) || ' claims, at most ' ||"
                  " max(epoch) FROM stack_runs"),
              std::to_string(kRuns) + " rows, " + std::to_string(kRuns * claims_each) +
                  " claims, at most " + std::to_string(claims_each));
    EXPECT_EQ(ask("SELECT count(*) FROM stack_runs WHERE status <> 'processing'"), "0");
  }

  std::mutex mutex_;
  std::map<StackRunId, int> claims_;  // guarded by mutex_
};

Lease long_lease(int node) { return {"node-" + std::to_string(node), Millis{600'000}}; }

TEST_F(Claimers, WorkUnderPlansThatDoClaimTooMuchWhereTheClaimAllowsIt) {
  Opened a = open();
  const TaskFunctionId function = publish(a.sync);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(a->submit(submission(function)).has_value());
  pqxx::connection session(options_.url);
  pqxx::work tx(session);
  const auto careless =
      tx.exec("WITH claimed AS (UPDATE " + options_.schema +
              ".stack_runs SET epoch = epoch + 1 WHERE id IN"
              " (SELECT id FROM " +
              options_.schema +
              ".stack_runs WHERE epoch = 0 ORDER BY id LIMIT 1"
              " FOR UPDATE SKIP LOCKED) RETURNING 1) SELECT count(*) FROM claimed");
  EXPECT_GT(careless[0][0].as<int>(), 1);
}

TEST_F(Claimers, OfTwoNodesTakeOneRowWithEachClaimWhateverThePlan) {
  Opened a = open(), b = open();
  submit_runs(a);
  ASSERT_EQ(ask("SELECT count(*) FROM stack_runs WHERE epoch = 0"), std::to_string(kRuns));
  drain(a, b, [](SyncStore& store, int i) { return store.claim_next(long_lease(i)).value(); });
  check(1);
}

TEST_F(Claimers, TakeOverEachAbandonedRowOnceWhateverThePlan) {
  Opened a = open(), b = open();
  submit_runs(a);
  drain(a, b, [](SyncStore& store, int i) {
    return store.claim_next({"dead-" + std::to_string(i), Millis{600'000}}).value();
  });
  // Their nodes die, all at the same time, and so long ago that looks for work are past it: a full
  // look finds some, and beside it others note that they saw none.
  ask("UPDATE stack_runs SET lease_until = 1, watch_at = 1");
  for (int looks = 0; looks < 5; ++looks) {
    ask("SELECT setval('look_full_again', 0)");
    drain(a, b, [](SyncStore& store, int i) { return store.claim_next(long_lease(i)).value(); });
  }
  check(2);
  EXPECT_EQ(ask("SELECT count(*) || ' ' || count(DISTINCT stack_run_id) FROM attempts"
                " WHERE outcome = 'lost'"),
            std::to_string(kRuns) + " " + std::to_string(kRuns));
}

TEST_F(Claimers, ByNameAndByQueueTogetherStillTakeEachRowOnce) {
  Opened a = open(), b = open();
  submit_runs(a);
  const std::int64_t first = std::stoll(ask("SELECT min(id) FROM stack_runs"));
  std::atomic<int> next = 0;
  drain(a, b, [&](SyncStore& store, int i) {
    // As hints do it: the id is known, and somebody else may be faster.
    for (int n = next++; i % 4 == 0 && n < kRuns; n = next++) {
      auto work = store.claim(StackRunId(first + n), long_lease(i)).value();
      if (work) return work;
    }
    return store.claim_next(long_lease(i)).value();
  });
  check(1);
}

}  // namespace
}  // namespace sequential::storage::test
