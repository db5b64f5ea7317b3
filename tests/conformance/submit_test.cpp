// Publishing task functions and accepting runs.

#include <set>
#include <thread>

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class Submit : public StoreTest {};
SEQUENTIAL_ON_EVERY_BACKEND(Submit);

TEST_P(Submit, VersionsCountUpPerNameAndIdenticalCodeIsTheSameVersion) {
  Publication p;
  p.name = "report";
  p.code = "one";
  p.code_sha256 = "aa";
  p.description = "first";
  p.input_schema = "{\"type\":\"object\"}";
  p.options = "{}";
  const Published one = store().publish(p).value();
  EXPECT_EQ(one.version, 1);
  EXPECT_TRUE(one.created);
  const Published same = store().publish(p).value();
  EXPECT_EQ(same.version, 1);
  EXPECT_EQ(same.id, one.id);
  EXPECT_FALSE(same.created);
  p.code = "two";
  p.code_sha256 = "bb";
  const Published two = store().publish(p).value();
  EXPECT_EQ(two.version, 2);
  EXPECT_TRUE(two.created);
  // Back to the old code is a new version: the newest is what runs.
  p.code = "one";
  p.code_sha256 = "aa";
  EXPECT_EQ(store().publish(p).value().version, 3);

  const TaskFunction newest = store().task_function("report", 0).value();
  EXPECT_EQ(newest.version, 3);
  EXPECT_EQ(newest.code, "one");
  const TaskFunction second = store().task_function("report", 2).value();
  EXPECT_EQ(second.id, two.id);
  EXPECT_EQ(second.code, "two");
  EXPECT_EQ(second.code_sha256, "bb");
  EXPECT_EQ(second.description, "first");
  EXPECT_EQ(second.input_schema, "{\"type\":\"object\"}");
  EXPECT_EQ(second.options, "{}");
  EXPECT_EQ(second.created_at, clock_.now());
  EXPECT_EQ(store().task_function_by_id(one.id).value().version, 1);
  EXPECT_TRUE(refused(store().task_function("report", 4), Errc::task_not_found));
  EXPECT_TRUE(refused(store().task_function("nothing", 0), Errc::task_not_found));
  EXPECT_TRUE(refused(store().task_function_by_id(TaskFunctionId(99)), Errc::task_not_found));
}

TEST_P(Submit, FunctionsAreListedByNameNewestOfEachOrAllOfOne) {
  publish("b", "1");
  publish("b", "2");
  publish("a", "1");
  auto all = store().task_functions("").value();
  ASSERT_EQ(all.size(), 3u);  // and the fixture's "task"
  EXPECT_EQ(all[0].name, "a");
  EXPECT_EQ(all[1].name, "b");
  EXPECT_EQ(all[1].version, 2);
  EXPECT_EQ(all[1].code, "");
  auto of_b = store().task_functions("b").value();
  ASSERT_EQ(of_b.size(), 2u);
  std::set<int> versions{of_b[0].version, of_b[1].version};
  EXPECT_EQ(versions, (std::set<int>{1, 2}));
  EXPECT_TRUE(store().task_functions("none").value().empty());
}

TEST_P(Submit, EverythingSubmittedIsStored) {
  Submission s = submission();
  s.idempotency_key = "key-1";
  s.request_hash = "h";
  s.priority = -7;
  s.queue_key = "q";
  s.tags = "[\"t\"]";
  s.seed = std::string("\0\xff\x01 seed of 16 b", 16);
  const Submitted submitted = store().submit(s).value();
  EXPECT_FALSE(submitted.existing);
  EXPECT_EQ(submitted.created_at, clock_.now());
  const TaskRun run = run_row(submitted.run);
  EXPECT_EQ(run.id, submitted.run);
  EXPECT_EQ(run.root, submitted.root);
  EXPECT_EQ(run.task_function_id, function_);
  EXPECT_EQ(run.task_name, "task");
  EXPECT_EQ(run.task_version, 1);
  EXPECT_EQ(run.input, s.input);
  EXPECT_EQ(run.idempotency_key, "key-1");
  EXPECT_EQ(run.priority, -7);
  EXPECT_EQ(run.queue_key, "q");
  EXPECT_EQ(run.tags, s.tags);
  EXPECT_EQ(run.seed, s.seed);
  EXPECT_EQ(run.created_at, clock_.now());
  EXPECT_FALSE(run.started_at.has_value());
  EXPECT_FALSE(run.ended_at.has_value());
  EXPECT_EQ(run.call_count, 0);
  EXPECT_EQ(run.journal_length, 0);
  EXPECT_EQ(run.log_count, 0);
  EXPECT_EQ(run.crashes, 0);
  const StackRun root = row(submitted.root);
  EXPECT_EQ(root.seq, 0);
  EXPECT_EQ(root.task_run_id, submitted.run);
  EXPECT_EQ(root.epoch, 0);
  EXPECT_EQ(root.attempt, 0);
  EXPECT_EQ(root.available_at, clock_.now());
}

TEST_P(Submit, HandoffClaimsTheRootInTheSameCommit) {
  Submission s = submission();
  s.handoff = lease_of("a");
  const Submitted submitted = store().submit(s).value();
  EXPECT_EQ(submitted.status, RunStatus::running);
  const Work work = submitted.work.value();
  EXPECT_EQ(work.grant.id, submitted.root);
  EXPECT_EQ(work.grant.run, submitted.run);
  EXPECT_EQ(work.grant.epoch, 1);
  EXPECT_EQ(work.attempt, 1);
  EXPECT_EQ(work.lease_until, clock_.now() + kLease);
  EXPECT_EQ(work.task_function_id, function_);
  EXPECT_EQ(work.task_name, "task");
  EXPECT_EQ(status_of(submitted.root), StackStatus::processing);
  EXPECT_EQ(run_row(submitted.run).started_at, clock_.now());
  EXPECT_FALSE(store().claim_next(lease_of("b")).value().has_value());
}

TEST_P(Submit, AnUnknownTaskFunctionIsRefusedAndLeavesNothing) {
  const std::string before = database_->dump();
  Submission s = submission();
  s.task_function_id = TaskFunctionId(4711);
  EXPECT_TRUE(refused(store().submit(s), Errc::task_not_found));
  EXPECT_EQ(database_->dump(), before);
}

TEST_P(Submit, AnUnknownParentCallIsRefusedAndLeavesNothing) {
  const std::string before = database_->dump();
  Submission s = submission();
  s.parent_stack_run_id = StackRunId(4711);
  EXPECT_TRUE(refused(store().submit(s), Errc::not_found));
  EXPECT_EQ(database_->dump(), before);
}

TEST_P(Submit, TheSameKeyAndRequestIsTheSameRunAndChangesNothing) {
  Submission s = submission();
  s.idempotency_key = "k";
  s.request_hash = "h";
  const Submitted first = store().submit(s).value();
  const std::string before = database_->dump();
  clock_.advance(Millis{5'000});
  s.handoff = lease_of("a");
  const Submitted again = store().submit(s).value();
  EXPECT_TRUE(again.existing);
  EXPECT_EQ(again.run, first.run);
  EXPECT_EQ(again.root, first.root);
  EXPECT_EQ(again.created_at, first.created_at);
  EXPECT_FALSE(again.work.has_value());
  EXPECT_EQ(database_->dump(), before);
  reopen();
  EXPECT_EQ(store().submit(s).value().run, first.run);
}

TEST_P(Submit, TheSameKeyTellsTheRunsPresentStatus) {
  Submission s = submission();
  s.idempotency_key = "k";
  const Running running = start(s);
  issue(running, 1, 1);
  EXPECT_EQ(store().submit(s).value().status, RunStatus::suspended_waiting_child);
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  EXPECT_EQ(store().submit(s).value().status, RunStatus::cancelled);
}

TEST_P(Submit, TheSameKeyWithAnotherRequestIsAConflictAndChangesNothing) {
  Submission s = submission();
  s.idempotency_key = "k";
  s.request_hash = "h";
  ASSERT_TRUE(store().submit(s).has_value());
  const std::string before = database_->dump();
  s.request_hash = "other";
  EXPECT_TRUE(refused(store().submit(s), Errc::idempotency_conflict));
  EXPECT_EQ(database_->dump(), before);
}

TEST_P(Submit, OfManyRacingSubmissionsWithOneKeyOneCreatesAndAllAgree) {
  constexpr int kThreads = 8, kEach = 25;
  std::vector<std::thread> threads;
  std::vector<std::vector<Submitted>> answers(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        Submission s = submission();
        s.idempotency_key = "key-" + std::to_string(i);
        answers[static_cast<std::size_t>(t)].push_back(store().submit(s).value());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (std::size_t i = 0; i < kEach; ++i) {
    int created = 0;
    for (const auto& of_thread : answers) {
      EXPECT_EQ(of_thread[i].run, answers[0][i].run);
      created += of_thread[i].existing ? 0 : 1;
    }
    EXPECT_EQ(created, 1) << i;
  }
  RunFilter all;
  all.limit = 1'000;
  EXPECT_EQ(store().runs(all).value().size(), static_cast<std::size_t>(kEach));
}

TEST_P(Submit, WhatWasAnsweredSurvivesAReopening) {
  const Submitted submitted = submit();
  const std::string before = database_->dump();
  reopen();
  EXPECT_EQ(database_->dump(), before);
  EXPECT_EQ(run_status(submitted.run), RunStatus::queued);
  const Submitted next = submit();
  EXPECT_GT(next.run, submitted.run);
  EXPECT_GT(next.root, submitted.root);
}

}  // namespace
}  // namespace sequential::storage::test
