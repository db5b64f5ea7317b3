// Cold starts with a journal: paging, its end, its errors, and what the engine may not do
// meanwhile.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "pool_fixture.h"
#include "sequential/base/bytes.h"

namespace sequential::engine {
namespace {

// A journal whose answers are given by the test.
class HeldSource final : public JournalSource {
 public:
  void next(std::function<void(Result<RecordedPage>)> done) override {
    const std::lock_guard lock(mutex_);
    done_ = std::move(done);
    asked_.set_value();
  }
  // Waits until a page is asked for, then answers.
  void answer(Result<RecordedPage> page) {
    std::function<void(Result<RecordedPage>)> done;
    auto asked = asked_.get_future();
    if (asked.wait_for(kPatience) != std::future_status::ready) {
      ADD_FAILURE() << "no page was asked for";
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      asked_ = {};
      done = std::move(done_);
    }
    done(std::move(page));
  }

 private:
  std::mutex mutex_;
  std::promise<void> asked_;
  std::function<void(Result<RecordedPage>)> done_;
};

class PoolJournal : public PoolTest {
 protected:
  static SliceRequest replay(std::int64_t run, std::int64_t calls,
                             std::shared_ptr<JournalSource> source) {
    SliceRequest r = request(run, "");
    r.calls_recorded = r.delivered_through = calls;
    r.open_journal = [source] { return source; };
    return r;
  }
  static RecordedPage page(std::vector<RecordedCall> rows, bool more) {
    return {.rows = std::move(rows), .more = more};
  }
};

TEST_F(PoolJournal, EveryRowArrivesWhateverThePageSize) {
  open();
  std::int64_t hashes = 0;
  for (const auto& row : journal_of(1'000, 1'000)) {
    hashes ^= static_cast<std::int64_t>(fast_hash(row.args).low);
  }
  std::int64_t id = 0;
  for (const std::size_t page_rows : {1u, 7u, 500u, 1'000u, 5'000u}) {
    const auto result = run(
        replay(++id, 1'000, std::make_shared<PagesSource>(journal_of(1'000, 1'000), page_rows)));
    EXPECT_EQ(member(result, "journal_rows"), "1000");
    EXPECT_EQ(member(result, "outcomes"), "1000");
    EXPECT_EQ(member(result, "last"), "1000");
    EXPECT_EQ(member(result, "hash_sum"), std::to_string(hashes));
    EXPECT_TRUE(result.value().replayed);
  }
}

TEST_F(PoolJournal, ALargePageIsCutIntoFrames) {
  options_.limits.frame_bytes = 1 << 20;
  options_.limits.payload_bytes = 300'000;
  open();
  const auto result =
      run(replay(1, 40, std::make_shared<PagesSource>(journal_of(40, 40, 250'000), 40)));
  EXPECT_EQ(member(result, "journal_rows"), "40");
  EXPECT_GE(std::stoi(member(result, "journal_frames")), 10);
}

TEST_F(PoolJournal, CallsWithoutAnOutcomeArePartOfIt) {
  open();
  const auto result = run(replay(1, 10, std::make_shared<PagesSource>(journal_of(10, 4), 3)));
  EXPECT_EQ(member(result, "journal_rows"), "10");
  EXPECT_EQ(member(result, "outcomes"), "4");
}

// An outcome recorded after the slice was claimed is for the next slice.
TEST_F(PoolJournal, OutcomesBeyondThePositionAskedForAreHeldBack) {
  open();
  auto early = replay(1, 10, std::make_shared<PagesSource>(journal_of(10, 10), 3));
  early.delivered_through = 6;
  EXPECT_EQ(member(run(std::move(early)), "outcomes"), "6");
}

TEST_F(PoolJournal, AJournalThatFailsFailsTheSliceAndNothingElse) {
  open();
  const auto source = std::make_shared<HeldSource>();
  auto answer = start(replay(1, 4, source));
  auto behind = start(request(2, ""));
  source->answer(page(journal_of(2, 2), true));
  source->answer(make_error(Errc::unavailable, "the store is away"));
  const auto result = answer_of(answer);
  ASSERT_TRUE(result.has_error());
  EXPECT_EQ(result.error().code, Errc::unavailable);
  EXPECT_EQ(result.error().message, "the store is away");
  EXPECT_TRUE(answer_of(behind).has_value());
  // The run can be tried again in the same engine.
  const auto again = run(replay(1, 4, std::make_shared<PagesSource>(journal_of(4, 4), 2)));
  EXPECT_EQ(member(again, "journal_rows"), "4");
  EXPECT_EQ(runtime_->stats().engine_deaths, 0);
}

TEST_F(PoolJournal, AJournalWithAGapOrTheWrongEndIsCorrupt) {
  open();
  auto gap = journal_of(4, 4);
  gap.erase(gap.begin() + 1);
  for (const auto& rows : {gap, journal_of(3, 3), journal_of(5, 5), journal_of(0, 0)}) {
    const auto result = run(replay(1, 4, std::make_shared<PagesSource>(rows, 2)));
    ASSERT_TRUE(result.has_error());
    EXPECT_EQ(result.error().code, Errc::corrupt);
  }
  EXPECT_TRUE(run(request(2, "")).has_value());
  EXPECT_EQ(runtime_->stats().engine_deaths, 0);
}

TEST_F(PoolJournal, NoJournalWhereOneIsNeededIsAnError) {
  open();
  auto none = replay(1, 4, nullptr);
  EXPECT_EQ(run(std::move(none)).error().code, Errc::internal);
  auto no_way = request(2, "");
  no_way.calls_recorded = 1;
  EXPECT_EQ(run(std::move(no_way)).error().code, Errc::internal);
  EXPECT_TRUE(run(request(3, "")).has_value());
}

// The time that the store takes is not the engine's.
TEST_F(PoolJournal, AnEngineIsNotKilledForASlowJournal) {
  options_.limits.wall_ms = 10;
  options_.limits.hard_kill_ms = 20;
  open();
  const auto source = std::make_shared<HeldSource>();
  auto answer = start(replay(1, 2, source));
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(150)), std::future_status::timeout);
  source->answer(page(journal_of(2, 2), false));
  EXPECT_EQ(member(answer_of(answer), "journal_rows"), "2");
  EXPECT_EQ(runtime_->stats().engine_deaths, 0);
}

TEST_F(PoolJournal, AnEngineThatDiesWhileItReadsIsBlamedOnThatSlice) {
  open();
  const auto source = std::make_shared<HeldSource>();
  auto answer = start(replay(1, 4, source));
  source->answer(page(journal_of(2, 2), true));
  for (const int pid : runtime_->engine_pids()) ::kill(pid, SIGKILL);
  EXPECT_EQ(answer_of(answer).error().code, Errc::engine_lost);
  source->answer(page({}, true));  // late; nobody wants it
  EXPECT_TRUE(run(request(2, "")).has_value());
}

TEST_F(PoolJournal, AnAnswerBeforeTheJournalWasReadIsAViolation) {
  open();
  const auto source = std::make_shared<HeldSource>();
  auto early = replay(1, 4, source);
  early.input = "early";
  const auto result = run(std::move(early));
  ASSERT_TRUE(result.has_error());
  EXPECT_EQ(result.error().code, Errc::engine_lost);
  EXPECT_EQ(detail(result, "cause"), "\"protocol\"");
}

// Two pages at most are read ahead of what the engine takes.
TEST_F(PoolJournal, PagesAreNotReadFarAhead) {
  open();
  class Counting final : public JournalSource {
   public:
    void next(std::function<void(Result<RecordedPage>)> done) override {
      ++given;
      std::vector<RecordedCall> rows = journal_of(1, 1, 1 << 20);
      rows[0].seq = rows[0].outcome->seq = rows[0].outcome->delivered_as = given;
      done(RecordedPage{.rows = std::move(rows), .more = given < 30});
    }
    std::atomic<int> given{0};
  };
  const Gate gate(dir_);
  auto busy = start(request(1, gate.word()));
  const auto source = std::make_shared<Counting>();
  auto answer = start(replay(2, 30, source));  // sent ahead, behind the busy slice
  // What the socket holds is less than one page of 1 MiB.
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  EXPECT_LE(source->given, 3);
  gate.open();
  EXPECT_TRUE(answer_of(busy).has_value());
  EXPECT_EQ(member(answer_of(answer), "journal_rows"), "30");
}

}  // namespace
}  // namespace sequential::engine
