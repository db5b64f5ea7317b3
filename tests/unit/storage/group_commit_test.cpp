// Group commit: what is asked for at one moment shares one commit and one flush.

#include <atomic>
#include <future>
#include <optional>
#include <thread>
#include <vector>

#include "sqlite/sqlite_store.h"
#include "sqlite_files.h"

namespace sequential::storage::test {
namespace {

class GroupCommitTest : public SqliteTest {
 protected:
  void SetUp() override {
    options_.queue_max = 100;
    options_.batch_max = 64;
    // No checkpoint: what it writes last is between two commits, and a caller's would wait for it.
    options_.wal_checkpoint_pages = SqliteOptions{}.wal_checkpoint_pages;
    open();
    function_ = publish();
  }
  sqlite::Writer::Counts counts() {
    return dynamic_cast<sqlite::SqliteStore&>(*store_).counts();
  }
  // Keeps the writer in an answer until `release` is called, so that a queue can build up.
  void hold_writer() {
    std::promise<void> held;
    Submission s = submission(function_);
    store_->submit(s, [this, &held](Result<Submitted>) {
      held.set_value();
      released_.get_future().wait();
    });
    held.get_future().wait();
  }
  void release_writer() { released_.set_value(); }

  TaskFunctionId function_;
  std::promise<void> released_;
};

TEST_F(GroupCommitTest, AQueueIsCommittedInGroupsOfAtMostBatchMax) {
  hold_writer();
  const auto before = counts();
  std::vector<Answer<Submitted>> answers(100);
  for (auto& answer : answers) store_->submit(submission(function_), answer.done());
  release_writer();
  for (auto& answer : answers) EXPECT_TRUE(answer.get().has_value());
  const auto after = counts();
  EXPECT_EQ(after.transitions - before.transitions, 100);
  EXPECT_EQ(after.commits - before.commits, 2);
  EXPECT_EQ(after.durable_commits - before.durable_commits, 2);
}

TEST_F(GroupCommitTest, OnlyLazyTransitionsAreCommittedWithoutAFlush) {
  Submission s = submission(function_);
  s.handoff = lease_of("a");
  const auto lazy_root = store().submit(s).value().work.value().grant;
  const auto durable_root = store().submit(s).value().work.value().grant;
  const auto unknown_root = store().submit(s).value().work.value().grant;
  const auto ended_root = store().submit(s).value().work.value().grant;
  const auto flushes_of = [&](SliceCommit commit) {
    const auto before = counts();
    EXPECT_TRUE(store().commit_slice(std::move(commit)).has_value());
    const auto after = counts();
    EXPECT_EQ(after.commits - before.commits, 1);
    return after.durable_commits - before.durable_commits;
  };
  SliceCommit commit = slice_of(lazy_root, {call_of(1)});
  EXPECT_EQ(flushes_of(commit), 0);
  commit = slice_of(durable_root, {call_of(1)});
  commit.flush = Flush::durable;
  EXPECT_EQ(flushes_of(commit), 1);
  commit = slice_of(unknown_root, {call_of(1)});
  commit.calls[0].delivery = Delivery::at_most_once;
  EXPECT_EQ(flushes_of(commit), 1);
  EXPECT_EQ(flushes_of(end_of(ended_root, SliceEnd::completed, "1")), 1);
}

TEST_F(GroupCommitTest, ACallerThatMayBlockGetsItsAnswerBeforeTheCallReturns) {
  Submission s = submission(function_);
  s.may_block = true;
  s.handoff = lease_of("a");
  std::optional<Grant> root;
  std::thread::id answered_on;
  store_->submit(s, [&](Result<Submitted> submitted) {
    root = submitted.value().work.value().grant;
    answered_on = std::this_thread::get_id();
  });
  ASSERT_TRUE(root.has_value());
  EXPECT_EQ(answered_on, std::this_thread::get_id());

  const auto before = counts();
  SliceCommit commit = end_of(*root, SliceEnd::completed, "1");
  commit.may_block = true;
  std::optional<RunStatus> status;
  store_->commit_slice(commit, [&](auto committed) { status = committed.value().status; });
  EXPECT_EQ(status, RunStatus::completed);
  EXPECT_EQ(counts().durable_commits - before.durable_commits, 1);
  EXPECT_EQ(store().run(root->run).value().status, RunStatus::completed);
}

TEST_F(GroupCommitTest, ACallerThatMayBlockWaitsBehindWhatIsQueued) {
  hold_writer();
  Answer<Submitted> first, second;
  store_->submit(submission(function_), first.done());
  Submission s = submission(function_);
  s.may_block = true;
  store_->submit(s, second.done());
  release_writer();
  EXPECT_LT(first.get().value().run, second.get().value().run);
}

TEST_F(GroupCommitTest, CallersThatMayBlockAndTheWriterTakeTurns) {
  constexpr int kCallers = 4, kEach = 50;
  std::vector<std::thread> callers;
  std::atomic<int> stored{0};
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([this, i, &stored] {
      for (int n = 0; n < kEach; ++n) {
        Submission s = submission(function_);
        s.may_block = i % 2 == 0;
        Answer<Submitted> answer;
        store_->submit(s, answer.done());
        stored += answer.get().has_value() ? 1 : 0;
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(stored, kCallers * kEach);
  RunFilter all;
  all.limit = 1000;
  EXPECT_EQ(store().runs(all).value().size(), static_cast<std::size_t>(kCallers * kEach));
}

TEST_F(GroupCommitTest, AFullQueueRefusesWhatComesAndKeepsWhatItHas) {
  hold_writer();
  std::vector<Answer<Submitted>> answers(130);
  for (auto& answer : answers) store_->submit(submission(function_), answer.done());
  release_writer();
  int accepted = 0, refusals = 0;
  for (auto& answer : answers) {
    const auto result = answer.get();
    if (result.has_value()) {
      ++accepted;
    } else {
      EXPECT_TRUE(refused(result, Errc::overloaded));
      ++refusals;
    }
  }
  EXPECT_EQ(accepted, 100);
  EXPECT_EQ(refusals, 30);
  EXPECT_EQ(ask_file(options_.path, "SELECT count(*) FROM task_runs"), "101");
}

TEST_F(GroupCommitTest, ARefusedTransitionDoesNotTouchTheOthersOfItsGroup) {
  hold_writer();
  const auto before = counts();
  std::vector<Answer<Submitted>> answers(20);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    Submission s = submission(i % 2 == 0 ? function_ : TaskFunctionId(4711));
    store_->submit(s, answers[i].done());
  }
  release_writer();
  for (std::size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i].get().has_value(), i % 2 == 0);
  }
  EXPECT_EQ(counts().commits - before.commits, 1);
}

TEST_F(GroupCommitTest, TheLogStaysBoundedWhileWritingGoesOn) {
  close();
  options_.wal_checkpoint_pages = 64;
  options_.queue_max = 100'000;
  open();
  const auto wal_bytes = [&] {
    return static_cast<std::int64_t>(std::filesystem::file_size(options_.path + "-wal"));
  };
  std::int64_t largest = 0;
  for (int round = 0; round < 60; ++round) {
    std::vector<Answer<Submitted>> answers(40);
    for (auto& answer : answers) store_->submit(submission(function_), answer.done());
    for (auto& answer : answers) ASSERT_TRUE(answer.get().has_value());
    // Readers come and go meanwhile.
    ASSERT_TRUE(store().runs({}).has_value());
    largest = std::max(largest, wal_bytes());
  }
  EXPECT_LT(largest, 64 * 16 * 4'096) << "the log was not started over";
}

}  // namespace
}  // namespace sequential::storage::test
