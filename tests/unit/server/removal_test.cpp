#include "work/removal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "background.h"

namespace sequential::server {
namespace {

// A store that cannot remove some runs, nor any batch with one of them.
class Stubborn final : public storage::Search {
 public:
  std::set<std::int64_t> bad;
  bool all_bad = false;
  std::vector<std::int64_t> removed;
  int asked = 0;
  std::size_t largest = 0;

  void remove_runs(std::vector<TaskRunId> runs, WallTime, int,
                   storage::Done<storage::Removed> done) override {
    ++asked;
    largest = std::max(largest, runs.size());
    const bool fails = all_bad || std::any_of(runs.begin(), runs.end(), [this](TaskRunId run) {
                         return bad.contains(run.value);
                       });
    if (fails) return done(Error{Errc::unavailable, "it takes too long"});
    for (const TaskRunId run : runs) removed.push_back(run.value);
    done(storage::Removed{std::ssize(runs), 2 * std::ssize(runs)});
  }

  void find_runs(storage::RunQuery, TaskRunId, int, int,
                 storage::Done<storage::RunPage>) override {}
  void count_runs(storage::RunQuery, int, storage::Done<storage::RunCount>) override {}
  void run_tags(TaskRunId, storage::Done<std::vector<storage::RunTag>>) override {}
  void set_retention(storage::Retention, storage::Done<void>) override {}
  void retentions(storage::Done<std::vector<storage::Retention>>) override {}
};

RemovedRuns remove(Stubborn& store, std::int64_t count, int batch) {
  net::io_context io;
  std::vector<TaskRunId> runs;
  for (std::int64_t id = 1; id <= count; ++id) runs.emplace_back(id);
  RemovedRuns sum;
  const auto work = [&]() -> net::awaitable<void> {
    sum = co_await remove_in_parts(store, runs, WallTime{1}, batch);
  };
  net::co_spawn(io, work(), log_escaped);
  io.run();
  return sum;
}

TEST(RemoveInParts, RunsThatCannotBeRemovedKeepNoOthers) {
  Stubborn store;
  store.bad = {1, 42, 43, 100};
  const RemovedRuns sum = remove(store, 100, 100);
  ASSERT_EQ(sum.failed.size(), 4u);
  EXPECT_EQ(sum.failed[1].run.value, 42);
  EXPECT_EQ(sum.failed[1].error.message, "it takes too long");
  EXPECT_FALSE(sum.gave_up);
  EXPECT_EQ(sum.removed.runs, 96);
  EXPECT_EQ(sum.removed.rows, 192);
  EXPECT_TRUE(std::is_sorted(store.removed.begin(), store.removed.end()));
  EXPECT_EQ(store.removed.size(), 96u);
}

TEST(RemoveInParts, TakesNoMoreThanABatchAtOnce) {
  Stubborn store;
  EXPECT_EQ(remove(store, 25, 10).removed.runs, 25);
  EXPECT_EQ(store.asked, 3);
  EXPECT_EQ(store.largest, 10u);
  EXPECT_EQ(remove(store, 0, 10).removed.runs, 0);
}

TEST(RemoveInParts, GivesUpOnAStoreThatTakesNothing) {
  Stubborn store;
  store.all_bad = true;
  const RemovedRuns sum = remove(store, 1'000, 100);
  ASSERT_TRUE(sum.gave_up);
  EXPECT_EQ(sum.gave_up->code, Errc::unavailable);
  EXPECT_LT(store.asked, 50);
}

}  // namespace
}  // namespace sequential::server
