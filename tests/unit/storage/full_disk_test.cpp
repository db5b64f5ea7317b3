// A full disk: refused whole, nothing half-stored, and on it goes when there is room again.

#include "sqlite_files.h"

namespace sequential::storage::test {
namespace {

class FullDiskTest : public SqliteTest {
 protected:
  void SetUp() override {
    options_.size_bytes_max = 1 << 20;
    open();
    function_ = publish();
  }
  Submission large(std::size_t bytes = 50'000) {
    Submission s = submission(function_);
    s.input = "\"" + std::string(bytes, 'x') + "\"";
    return s;
  }
  // Submits until there is no more room. Answers the runs accepted.
  int fill() {
    for (int accepted = 0; accepted < 1'000; ++accepted) {
      const auto result = store().submit(large());
      if (result.has_value()) continue;
      EXPECT_TRUE(refused(result, Errc::unavailable));
      return accepted;
    }
    ADD_FAILURE() << "never full";
    return 0;
  }
  std::size_t runs() {
    RunFilter filter;
    filter.limit = 1'000;
    return store().runs(filter).value().size();
  }

  TaskFunctionId function_;
};

TEST_F(FullDiskTest, WhatDoesNotFitIsUnavailableAndLeavesNothing) {
  const int accepted = fill();
  EXPECT_GT(accepted, 5);
  EXPECT_EQ(runs(), static_cast<std::size_t>(accepted));
  const std::string rows = ask_file(options_.path, "SELECT count(*) FROM stack_runs");
  EXPECT_EQ(rows, std::to_string(accepted));
  EXPECT_TRUE(refused(store().submit(large()), Errc::unavailable));
  EXPECT_EQ(ask_file(options_.path, "PRAGMA integrity_check"), "ok");
  EXPECT_EQ(ask_file(options_.path, "SELECT count(*) FROM pragma_foreign_key_check"), "0");
}

TEST_F(FullDiskTest, InAGroupOnlyWhatDoesNotFitIsRefused) {
  fill();
  ASSERT_TRUE(store().clear().has_value());
  // Two thirds of the room are taken; of a group of small and huge ones the small fit.
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(store().submit(large()).has_value());
  std::vector<Answer<Submitted>> answers(20);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    store_->submit(large(i % 5 == 0 ? 900'000 : 100), answers[i].done());
  }
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto result = answers[i].get();
    EXPECT_EQ(result.has_value(), i % 5 != 0) << i;
    EXPECT_TRUE(result.has_value() || refused(result, Errc::unavailable));
  }
  EXPECT_EQ(runs(), 8u + 16u);
}

TEST_F(FullDiskTest, WorkGoesOnWhenThereIsRoomAgain) {
  Submission s = submission(function_);
  s.handoff = lease_of("a");
  const Work root = store().submit(s).value().work.value();
  fill();
  SliceCommit commit = slice_of(root.grant, {call_of(1, std::string(200'000, 'y'))});
  commit.handoff = lease_of("a");
  EXPECT_TRUE(refused(store().commit_slice(commit), Errc::unavailable));
  EXPECT_EQ(store().run(root.grant.run).value().call_count, 0);
  // The refused slice is not fenced: its claim holds, and it may be tried again.
  close();
  options_.size_bytes_max = 8 << 20;
  open();
  const auto committed = store().commit_slice(commit);
  ASSERT_TRUE(committed.has_value()) << committed.error().message;
  const auto& call = committed.value().calls.at(0);
  EXPECT_TRUE(store().record_outcome(outcome_of(call.work->grant)).has_value());
}

TEST_F(FullDiskTest, ClearMakesRoomWithoutARestart) {
  const int accepted = fill();
  EXPECT_EQ(store().clear().value(), accepted);
  EXPECT_EQ(fill(), accepted);
}

TEST_F(FullDiskTest, LeasesAreAsTheRowsSayAfterRefusals) {
  Submission s = submission(function_);
  s.handoff = lease_of("a");
  const Work root = store().submit(s).value().work.value();
  fill();
  Submission held = large();
  held.handoff = lease_of("a");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(refused(store().submit(held), Errc::unavailable));
  // One that is refused after it gave up the root's lease in memory.
  SliceCommit commit = slice_of(root.grant, {call_of(1, std::string(200'000, 'y'))});
  EXPECT_TRUE(refused(store().commit_slice(commit), Errc::unavailable));
  ASSERT_EQ(store().recover("b").value(), 1);
  EXPECT_EQ(store().claim(root.grant.id, lease_of("b")).value().value().grant.epoch, 2);
}

}  // namespace
}  // namespace sequential::storage::test
