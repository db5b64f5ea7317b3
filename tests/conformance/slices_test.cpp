// What a committed slice does to its run, and what a lost one does.

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class Slices : public StoreTest {};
SEQUENTIAL_ON_EVERY_BACKEND(Slices);

TEST_P(Slices, ASuspendedSliceStoresItsCallsLogsAndTheWaitingRoot) {
  const Running running = start();
  clock_.advance(Millis{5});
  NewCall call = call_of(1, "[{\"a\":1}]");
  call.options = "{\"timeoutMs\":5}";
  call.source_line = 42;
  SliceCommit commit = slice_of(running.grant, {call});
  commit.logs = {{"info", "hello", "{\"k\":1}"}, {"error", "", ""}};
  commit.resume_kind = ResumeKind::replay;
  commit.resume_us = 77;
  const SliceCommitted committed = store().commit_slice(commit).value();
  EXPECT_EQ(committed.status, RunStatus::suspended_waiting_child);
  EXPECT_FALSE(committed.root.has_value());
  EXPECT_FALSE(committed.parent.has_value());
  ASSERT_EQ(committed.calls.size(), 1u);
  EXPECT_EQ(committed.calls[0].seq, 1);
  EXPECT_FALSE(committed.calls[0].work.has_value());  // no handoff: whoever gets the hint claims
  EXPECT_FALSE(committed.calls[0].available_at.has_value());

  const StackRun stored = row(committed.calls[0].id);
  EXPECT_EQ(stored.task_run_id, running.run);
  EXPECT_EQ(stored.parent_stack_run_id, running.root);
  EXPECT_EQ(stored.seq, 1);
  EXPECT_EQ(stored.service_name, "echo");
  EXPECT_EQ(stored.method_name, "echo");
  EXPECT_EQ(stored.args, call.args);
  EXPECT_EQ(stored.options, call.options);
  EXPECT_EQ(stored.status, StackStatus::pending);
  EXPECT_EQ(stored.epoch, 0);
  EXPECT_EQ(stored.attempt, 0);
  EXPECT_EQ(stored.delivered_as, 0);
  EXPECT_EQ(stored.slice, 1);
  EXPECT_EQ(stored.source_line, 42);
  EXPECT_EQ(stored.resume_kind, ResumeKind::replay);
  EXPECT_EQ(stored.resume_us, 77);
  EXPECT_EQ(stored.created_at, clock_.now());

  const TaskRun run = run_row(running.run);
  EXPECT_EQ(run.status, RunStatus::suspended_waiting_child);
  EXPECT_EQ(run.waiting_on_stack_run_id, stored.id);
  EXPECT_EQ(run.call_count, 1);
  EXPECT_EQ(run.log_count, 2);
  EXPECT_EQ(run.updated_at, clock_.now());
  EXPECT_EQ(status_of(running.root), StackStatus::suspended_waiting_child);
  const auto logs = store().logs(running.run, 0, 10).value();
  ASSERT_EQ(logs.size(), 2u);
  EXPECT_EQ(logs[0].n, 1);
  EXPECT_EQ(logs[0].level, "info");
  EXPECT_EQ(logs[0].message, "hello");
  EXPECT_EQ(logs[0].fields, "{\"k\":1}");
  EXPECT_EQ(logs[0].at, clock_.now());
  EXPECT_EQ(logs[1].n, 2);
}

TEST_P(Slices, HandoffClaimsEachNewCallInTheSameCommit) {
  const Running running = start();
  const auto works = issue(running, 1, 3);
  for (std::size_t i = 0; i < works.size(); ++i) {
    EXPECT_EQ(works[i].seq, static_cast<std::int64_t>(i) + 1);
    EXPECT_EQ(works[i].grant.epoch, 1);
    EXPECT_EQ(works[i].grant.run, running.run);
    EXPECT_EQ(works[i].attempt, 1);
    EXPECT_EQ(works[i].service_name, "echo");
    EXPECT_EQ(works[i].method_name, "echo");
    EXPECT_EQ(works[i].args, "[1]");
    EXPECT_EQ(works[i].lease_until, clock_.now() + kLease);
    EXPECT_EQ(works[i].task_function_id, function_);
    EXPECT_EQ(works[i].task_name, "task");
    const StackRun stored = row(works[i].grant.id);
    EXPECT_EQ(stored.status, StackStatus::processing);
    EXPECT_EQ(stored.lease_owner, "a");
    EXPECT_EQ(stored.args, "[1]");
  }
  EXPECT_FALSE(store().claim_next(lease_of("b")).value().has_value());
  EXPECT_FALSE(run_row(running.run).waiting_on_stack_run_id);  // three, not one
}

TEST_P(Slices, ADelayedCallWaitsForItsTimeWhateverTheHandoff) {
  const Running running = start();
  NewCall timer = call_of(1);
  timer.delay = Millis{1'000};
  SliceCommit commit = slice_of(running.grant, {timer});
  commit.handoff = lease_of("a");
  const auto committed = store().commit_slice(commit).value();
  EXPECT_FALSE(committed.calls[0].work.has_value());
  EXPECT_EQ(committed.calls[0].available_at, clock_.now() + Millis{1'000});
  EXPECT_EQ(store().due(9).value().next_due, clock_.now() + Millis{1'000});
  clock_.advance(Millis{999});
  EXPECT_FALSE(store().claim(committed.calls[0].id, lease_of("a")).value().has_value());
  clock_.advance(Millis{1});
  EXPECT_TRUE(store().claim(committed.calls[0].id, lease_of("a")).value().has_value());
}

TEST_P(Slices, CallsThatDoNotContinueTheNumberingAreRefusedWhole) {
  const Running running = start();
  const std::string before = database_->dump();
  for (const auto& numbers : std::vector<std::vector<std::int64_t>>{
           {2}, {0}, {1, 3}, {1, 1}, {1, 2, 4}, {2, 1}}) {
    SliceCommit commit = slice_of(running.grant, {});
    for (const std::int64_t seq : numbers) commit.calls.push_back(call_of(seq));
    commit.logs = {{"info", "x", ""}};
    EXPECT_TRUE(refused(store().commit_slice(commit), Errc::conflict));
  }
  EXPECT_EQ(database_->dump(), before);
  issue(running, 1, 2);  // and the claim still holds
}

TEST_P(Slices, ASliceCannotHaveSeenMoreOrLessThanTheJournalHolds) {
  const Running running = start();
  const auto works = issue(running, 1, 2);
  OutcomeRecord record = outcome_of(works[0].grant);
  record.handoff = lease_of("a");
  const Grant root = store().record_outcome(record).value().wake.value().work.value().grant;
  EXPECT_TRUE(refused(store().commit_slice(slice_of(root, {}, 2)), Errc::conflict));
  ASSERT_TRUE(store().commit_slice(slice_of(root, {}, 1)).has_value());
  record = outcome_of(works[1].grant);
  record.handoff = lease_of("a");
  const Grant again = store().record_outcome(record).value().wake.value().work.value().grant;
  EXPECT_TRUE(refused(store().commit_slice(slice_of(again, {}, 0)), Errc::conflict));
}

TEST_P(Slices, CompletionAndFailureEndTheRunAndItsRootTogether) {
  for (const bool ok : {true, false}) {
    const Running running = start();
    clock_.advance(Millis{3});
    SliceCommit commit = end_of(running.grant, ok ? SliceEnd::completed : SliceEnd::failed,
                                "{\"x\":1}");
    commit.logs = {{"info", "last words", ""}};
    const auto committed = store().commit_slice(commit).value();
    EXPECT_EQ(committed.status, ok ? RunStatus::completed : RunStatus::failed);
    const TaskRun run = run_row(running.run);
    EXPECT_EQ(run.status, committed.status);
    EXPECT_EQ(ok ? run.result : run.error, "{\"x\":1}");
    EXPECT_EQ(ok ? run.error : run.result, "");
    EXPECT_EQ(run.ended_at, clock_.now());
    EXPECT_EQ(run.log_count, 1);
    EXPECT_EQ(status_of(running.root), ok ? StackStatus::completed : StackStatus::failed);
    EXPECT_EQ(row(running.root).ended_at, clock_.now());
    EXPECT_TRUE(refused(store().commit_slice(commit), Errc::fenced));  // terminal is final
    clock_.advance(kLease);
    EXPECT_FALSE(store().claim(running.root, lease_of("b")).value().has_value());
    EXPECT_TRUE(store().due(10).value().ids.empty());
  }
}

TEST_P(Slices, AnOutcomeThatCameDuringTheSliceMakesTheRootRunnableAtOnce) {
  for (const bool handoff : {true, false}) {
    const Running running = start();
    const auto works = issue(running, 1, 3);
    OutcomeRecord first = outcome_of(works[0].grant, "1");
    first.handoff = lease_of("a");
    const Grant root = store().record_outcome(first).value().wake.value().work.value().grant;
    // While the root is at work on the first, the second arrives.
    EXPECT_FALSE(store().record_outcome(outcome_of(works[1].grant, "2")).value().wake);
    SliceCommit commit = slice_of(root, {}, 1);
    if (handoff) commit.handoff = lease_of("a");
    const SliceCommitted committed = store().commit_slice(commit).value();
    EXPECT_EQ(committed.status, RunStatus::running);
    ASSERT_TRUE(committed.root.has_value());
    EXPECT_EQ(committed.root->root, running.root);
    EXPECT_EQ(committed.root->work.has_value(), handoff);
    Grant next;
    if (handoff) {
      next = committed.root->work->grant;
    } else {
      EXPECT_EQ(status_of(running.root), StackStatus::pending);
      next = store().claim(running.root, lease_of("a")).value().value().grant;
    }
    EXPECT_EQ(next.epoch, root.epoch + 1);
    const auto seen = store().outcomes(running.run, 1, 10).value();
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen[0].payload, "2");
    const auto last = store().commit_slice(slice_of(next, {}, 2)).value();
    EXPECT_EQ(last.status, RunStatus::suspended_waiting_child);
    EXPECT_EQ(run_row(running.run).waiting_on_stack_run_id, works[2].grant.id);
  }
}

TEST_P(Slices, WhatARunLeavesUnfinishedGoesOnToItsRecordedEnd) {
  const Running running = start();
  const auto works = issue(running, 1, 3);
  OutcomeRecord record = outcome_of(works[0].grant, "\"winner\"");
  record.handoff = lease_of("a");
  const Grant root = store().record_outcome(record).value().wake.value().work.value().grant;
  SliceCommit commit = end_of(root, SliceEnd::completed, "\"done\"", 1);
  commit.calls = {call_of(4)};  // started and not waited for
  const auto committed = store().commit_slice(commit).value();

  const auto late = store().record_outcome(outcome_of(works[1].grant, "\"late\"")).value();
  EXPECT_EQ(late.delivered_as, 0);
  EXPECT_FALSE(late.wake.has_value());
  EXPECT_EQ(row(works[1].grant.id).status, StackStatus::completed);
  EXPECT_EQ(row(works[1].grant.id).result, "\"late\"");
  EXPECT_EQ(row(works[1].grant.id).delivered_as, 0);
  const auto failed = store().record_outcome(failure_of(works[2].grant)).value();
  EXPECT_EQ(failed.delivered_as, 0);
  const Work fourth = store().claim(committed.calls[0].id, lease_of("b")).value().value();
  ASSERT_TRUE(store().record_outcome(retry_of(fourth.grant, Millis{10})).has_value());
  clock_.advance(Millis{10});
  const Work again = store().claim_next(lease_of("b")).value().value();
  EXPECT_EQ(again.grant.id, fourth.grant.id);
  ASSERT_TRUE(store().record_outcome(outcome_of(again.grant)).has_value());
  const TaskRun run = run_row(running.run);
  EXPECT_EQ(run.status, RunStatus::completed);
  EXPECT_EQ(run.result, "\"done\"");
  EXPECT_EQ(run.journal_length, 1);
}

TEST_P(Slices, ADivergentSlicePausesTheRunAndStoresNothingElse) {
  const Running running = start();
  const auto works = issue(running, 1, 2);
  OutcomeRecord record = outcome_of(works[0].grant);
  record.handoff = lease_of("a");
  const Grant root = store().record_outcome(record).value().wake.value().work.value().grant;
  SliceCommit commit = end_of(root, SliceEnd::paused, "{\"seq\":1}");
  commit.reason = "divergent";
  commit.calls = {call_of(3)};
  EXPECT_TRUE(refused(store().commit_slice(commit), Errc::conflict));
  commit.calls.clear();
  commit.logs = {{"info", "x", ""}};
  EXPECT_TRUE(refused(store().commit_slice(commit), Errc::conflict));
  commit.logs.clear();
  EXPECT_EQ(store().commit_slice(commit).value().status, RunStatus::paused);
  const TaskRun run = run_row(running.run);
  EXPECT_EQ(run.status, RunStatus::paused);
  EXPECT_EQ(run.pause_reason, "divergent");
  EXPECT_EQ(run.pause_detail, "{\"seq\":1}");
  EXPECT_EQ(run.call_count, 2);
  EXPECT_EQ(status_of(running.root), StackStatus::paused);
  EXPECT_TRUE(refused(store().commit_slice(commit), Errc::fenced));
  // The call under way still records, and nothing wakes the run.
  EXPECT_FALSE(store().record_outcome(outcome_of(works[1].grant)).value().wake.has_value());
  clock_.advance(kLease);
  EXPECT_TRUE(store().due(10).value().ids.empty());
  // After the code was put right: both outcomes are still to be seen.
  EXPECT_EQ(store().resume(running.run).value(), std::vector<StackRunId>{running.root});
  EXPECT_EQ(store().outcomes(running.run, 0, 10).value().size(), 2u);
}

TEST_P(Slices, ASliceWhoseEngineDiedIsRunnableAgainUntilItIsPoison) {
  const Running running = start();
  SliceLost lost;
  lost.root = running.grant;
  lost.crashes_max = 3;
  lost.detail = "{\"signal\":9}";
  auto result = store().slice_lost(lost).value();
  EXPECT_EQ(result.crashes, 1);
  EXPECT_FALSE(result.paused);
  EXPECT_TRUE(refused(store().slice_lost(lost), Errc::fenced));
  EXPECT_EQ(run_row(running.run).crashes, 1);
  auto work = store().claim_next(lease_of("a")).value().value();
  EXPECT_EQ(work.grant.id, running.root);
  EXPECT_EQ(work.attempt, 2);
  lost.root = work.grant;
  EXPECT_EQ(store().slice_lost(lost).value().crashes, 2);
  lost.root = store().claim_next(lease_of("a")).value().value().grant;
  result = store().slice_lost(lost).value();
  EXPECT_EQ(result.crashes, 3);
  EXPECT_TRUE(result.paused);
  const TaskRun run = run_row(running.run);
  EXPECT_EQ(run.status, RunStatus::paused);
  EXPECT_EQ(run.pause_reason, "poison");
  EXPECT_EQ(run.pause_detail, "{\"signal\":9}");
  EXPECT_EQ(store().attempts(running.root).value().size(), 3u);
  clock_.advance(kLease);
  EXPECT_FALSE(store().claim_next(lease_of("a")).value().has_value());
  // A person may try again, with all lives back.
  EXPECT_EQ(store().resume(running.run).value(), std::vector<StackRunId>{running.root});
  EXPECT_EQ(run_row(running.run).crashes, 0);
}

TEST_P(Slices, ACommittedSliceForgivesEarlierCrashes) {
  Running running = start();
  for (int i = 0; i < 2; ++i) {
    SliceLost lost;
    lost.root = running.grant;
    ASSERT_TRUE(store().slice_lost(lost).has_value());
    running.grant = store().claim_next(lease_of("a")).value().value().grant;
  }
  EXPECT_EQ(run_row(running.run).crashes, 2);
  issue(running, 1, 1);
  EXPECT_EQ(run_row(running.run).crashes, 0);
}

TEST_P(Slices, AReleasedSliceCountsNeitherCrashNorTry) {
  const Running running = start();
  SliceLost lost;
  lost.root = running.grant;
  lost.why = Lost::released;
  const auto result = store().slice_lost(lost).value();
  EXPECT_EQ(result.crashes, 0);
  EXPECT_FALSE(result.paused);
  const Work again = store().claim_next(lease_of("b")).value().value();
  EXPECT_EQ(again.grant.id, running.root);
  EXPECT_EQ(again.attempt, 1);
}

}  // namespace
}  // namespace sequential::storage::test
