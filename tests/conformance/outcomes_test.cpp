// How calls end: recorded once, in order, never lost, never delivered twice.

#include <algorithm>
#include <utility>
#include <vector>

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class Outcomes : public StoreTest {};
SEQUENTIAL_ON_EVERY_BACKEND(Outcomes);

TEST_P(Outcomes, ARecordedResultIsFinalAndWakesTheWaitingRoot) {
  const Running running = start();
  const Work work = issue(running, 1, 1)[0];
  clock_.advance(Millis{7});
  OutcomeRecord record = outcome_of(work.grant, "{\"r\":1}");
  record.via = Via::chain;
  record.hop_us = 123;
  const OutcomeRecorded recorded = store().record_outcome(record).value();
  EXPECT_EQ(recorded.delivered_as, 1);
  EXPECT_EQ(recorded.at, clock_.now());
  ASSERT_TRUE(recorded.wake.has_value());
  EXPECT_EQ(recorded.wake->run, running.run);
  EXPECT_EQ(recorded.wake->root, running.root);
  EXPECT_FALSE(recorded.wake->work.has_value());
  EXPECT_EQ(status_of(running.root), StackStatus::pending);
  EXPECT_EQ(run_status(running.run), RunStatus::running);
  EXPECT_FALSE(run_row(running.run).waiting_on_stack_run_id);

  const StackRun call = row(work.grant.id);
  EXPECT_EQ(call.status, StackStatus::completed);
  EXPECT_EQ(call.result, "{\"r\":1}");
  EXPECT_EQ(call.delivered_as, 1);
  EXPECT_EQ(call.via, Via::chain);
  EXPECT_EQ(call.hop_us, 123);
  EXPECT_EQ(call.ended_at, clock_.now());
  const std::string before = database_->dump();
  record.payload = "\"another\"";
  EXPECT_TRUE(refused(store().record_outcome(record), Errc::fenced));
  EXPECT_TRUE(refused(store().record_outcome(failure_of(work.grant)), Errc::fenced));
  EXPECT_TRUE(refused(store().record_outcome(retry_of(work.grant, Millis{1})), Errc::fenced));
  EXPECT_FALSE(store().claim(work.grant.id, lease_of("b")).value().has_value());
  EXPECT_EQ(database_->dump(), before);
}

TEST_P(Outcomes, TimersThatAreDueAreJournalledInTheOrderInWhichTheyAreDue) {
  const Running running = start();
  std::vector<NewCall> calls;
  const std::vector<std::pair<int, int>> delays = {{1, 50}, {2, 30}, {3, 50}, {4, 900}, {5, 10}};
  for (const auto& [seq, delay] : delays) {
    NewCall call = call_of(seq);
    call.service_name = seq == 5 ? "echo" : "timer";
    call.delay = Millis{delay};
    calls.push_back(call);
  }
  const auto committed = store().commit_slice(slice_of(running.grant, calls)).value();
  clock_.advance(Millis{100});
  const Work first = store().claim(committed.calls[0].id, lease_of("a")).value().value();
  const Work third = store().claim(committed.calls[2].id, lease_of("b")).value().value();
  OutcomeRecord record = outcome_of(third.grant, "null");
  record.handoff = lease_of("b");
  const auto recorded = store().record_outcome(record).value();
  EXPECT_EQ(recorded.delivered_as, 3);
  ASSERT_TRUE(recorded.wake.has_value());
  ASSERT_TRUE(recorded.wake->work.has_value());
  EXPECT_EQ(recorded.wake->work->grant.epoch, running.grant.epoch + 1);
  std::vector<std::int64_t> order;
  const std::vector<Outcome> outcomes = store().outcomes(running.run, 0, 10).value();
  for (const Outcome& outcome : outcomes) {
    EXPECT_FALSE(outcome.failed);
    EXPECT_EQ(outcome.payload, "null");
    order.push_back(outcome.seq);
  }
  EXPECT_EQ(order, (std::vector<std::int64_t>{2, 1, 3}));
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(first.grant)), Errc::fenced));
  EXPECT_EQ(status_of(committed.calls[3].id), StackStatus::pending);
  EXPECT_EQ(status_of(committed.calls[4].id), StackStatus::pending);
}

TEST_P(Outcomes, HandoffClaimsTheWokenRootInTheSameCommit) {
  const Running running = start();
  const Work call = issue(running, 1, 1)[0];
  OutcomeRecord record = outcome_of(call.grant);
  record.handoff = lease_of("b");
  const auto recorded = store().record_outcome(record).value();
  const Work work = recorded.wake.value().work.value();
  EXPECT_EQ(work.grant.id, running.root);
  EXPECT_EQ(work.grant.run, running.run);
  EXPECT_EQ(work.grant.epoch, running.grant.epoch + 1);
  EXPECT_EQ(work.seq, 0);
  EXPECT_EQ(work.attempt, 1);
  EXPECT_EQ(work.lease_until, clock_.now() + kLease);
  EXPECT_EQ(work.task_function_id, function_);
  EXPECT_EQ(work.task_name, "task");
  const StackRun root = row(running.root);
  EXPECT_EQ(root.status, StackStatus::processing);
  EXPECT_EQ(root.lease_owner, "b");
  EXPECT_FALSE(store().claim_next(lease_of("c")).value().has_value());
}

TEST_P(Outcomes, AFailureIsDeliveredLikeAResult) {
  const Running running = start();
  const Work work = issue(running, 1, 1)[0];
  const auto recorded = store().record_outcome(failure_of(work.grant, "{\"e\":1}")).value();
  EXPECT_EQ(recorded.delivered_as, 1);
  EXPECT_TRUE(recorded.wake.has_value());
  EXPECT_EQ(row(work.grant.id).status, StackStatus::failed);
  EXPECT_EQ(row(work.grant.id).error, "{\"e\":1}");
  const auto outcomes = store().outcomes(running.run, 0, 10).value();
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_TRUE(outcomes[0].failed);
  EXPECT_EQ(outcomes[0].payload, "{\"e\":1}");
}

TEST_P(Outcomes, ARetryWaitsItsTimeAndCountsTheTries) {
  const Running running = start();
  Grant grant = issue(running, 1, 1)[0].grant;
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const auto recorded =
        store().record_outcome(retry_of(grant, Millis{100 * attempt}, "{\"try\":1}")).value();
    EXPECT_EQ(recorded.delivered_as, 0);
    EXPECT_FALSE(recorded.wake.has_value());
    EXPECT_EQ(recorded.available_at, clock_.now() + Millis{100 * attempt});
    EXPECT_EQ(run_status(running.run), RunStatus::suspended_waiting_child);
    EXPECT_EQ(status_of(grant.id), StackStatus::pending);
    clock_.advance(Millis{100 * attempt - 1});
    EXPECT_FALSE(store().claim(grant.id, lease_of("a")).value().has_value());
    clock_.advance(Millis{1});
    const Work work = store().claim_next(lease_of("a")).value().value();
    EXPECT_EQ(work.grant.id, grant.id);
    EXPECT_EQ(work.grant.epoch, grant.epoch + 1);
    EXPECT_EQ(work.attempt, attempt + 1);
    EXPECT_TRUE(refused(store().record_outcome(outcome_of(grant)), Errc::fenced));
    grant = work.grant;
  }
  ASSERT_TRUE(store().record_outcome(outcome_of(grant)).has_value());
  const auto attempts = store().attempts(grant.id).value();
  ASSERT_EQ(attempts.size(), 3u);
  for (std::size_t i = 0; i < attempts.size(); ++i) {
    EXPECT_EQ(attempts[i].attempt, static_cast<int>(i) + 1);
    EXPECT_EQ(attempts[i].outcome, "failed");
    EXPECT_EQ(attempts[i].error, "{\"try\":1}");
    EXPECT_EQ(attempts[i].node, "a");
  }
  EXPECT_EQ(row(grant.id).attempt, 4);
}

TEST_P(Outcomes, AnAtMostOnceCallThatIsKnownToHaveFailedMayBeRetried) {
  const Running running = start();
  NewCall call = call_of(1);
  call.delivery = Delivery::at_most_once;
  SliceCommit commit = slice_of(running.grant, {call});
  commit.handoff = lease_of("a");
  const Work work = store().commit_slice(commit).value().calls[0].work.value();
  ASSERT_TRUE(store().record_outcome(retry_of(work.grant, Millis{5})).has_value());
  clock_.advance(Millis{5});
  const Work again = store().claim_next(lease_of("a")).value().value();
  EXPECT_FALSE(again.outcome_unknown);
  EXPECT_EQ(again.attempt, 2);
}

TEST_P(Outcomes, ParallelOutcomesAreNumberedAsTheyCameAndWakeTheRootOnce) {
  constexpr int kCalls = 50;
  const Running running = start();
  const auto works = issue(running, 1, kCalls);
  int wakes = 0;
  for (int i = kCalls - 1; i >= 0; --i) {
    const auto recorded =
        store().record_outcome(outcome_of(works[static_cast<std::size_t>(i)].grant,
                                          std::to_string(i + 1))).value();
    EXPECT_EQ(recorded.delivered_as, kCalls - i);
    wakes += recorded.wake.has_value() ? 1 : 0;
  }
  EXPECT_EQ(wakes, 1);
  const auto outcomes = store().outcomes(running.run, 0, 1'000).value();
  ASSERT_EQ(outcomes.size(), static_cast<std::size_t>(kCalls));
  for (int i = 0; i < kCalls; ++i) {
    const auto& outcome = outcomes[static_cast<std::size_t>(i)];
    EXPECT_EQ(outcome.delivered_as, i + 1);
    EXPECT_EQ(outcome.seq, kCalls - i);
    EXPECT_EQ(outcome.payload, std::to_string(kCalls - i));
  }
  EXPECT_EQ(store().outcomes(running.run, 10, 5).value().front().delivered_as, 11);
  EXPECT_EQ(store().outcomes(running.run, 10, 5).value().size(), 5u);
  EXPECT_TRUE(store().outcomes(running.run, kCalls, 5).value().empty());
}

TEST_P(Outcomes, TheWaitedForCallIsNamedWheneverExactlyOneIsUnfinished) {
  const Running running = start();
  const auto works = issue(running, 1, 3);
  Grant root = running.grant;
  for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
    OutcomeRecord record = outcome_of(works[i].grant);
    record.handoff = lease_of("a");
    root = store().record_outcome(record).value().wake.value().work.value().grant;
    EXPECT_FALSE(run_row(running.run).waiting_on_stack_run_id);
    ASSERT_TRUE(store().commit_slice(slice_of(root, {}, static_cast<std::int64_t>(i))).has_value());
  }
  EXPECT_EQ(run_row(running.run).waiting_on_stack_run_id, works[0].grant.id);
  reopen();
  EXPECT_EQ(run_row(running.run).waiting_on_stack_run_id, works[0].grant.id);
}

TEST_P(Outcomes, ARunsRecordedTimeNeverGoesBack) {
  const Running running = start();
  const auto works = issue(running, 1, 2);
  clock_.advance(Millis{1'000});
  const WallTime first = store().record_outcome(outcome_of(works[0].grant)).value().at;
  clock_.set(ManualClock::kStart);
  const WallTime second = store().record_outcome(outcome_of(works[1].grant)).value().at;
  EXPECT_GE(second, first);
  const auto outcomes = store().outcomes(running.run, 0, 9).value();
  EXPECT_EQ(outcomes[0].at, first);
  EXPECT_EQ(outcomes[1].at, second);
}

TEST_P(Outcomes, ARootIsNotRecordedAsACall) {
  const Running running = start();
  const std::string before = database_->dump();
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(running.grant)), Errc::fenced));
  EXPECT_EQ(database_->dump(), before);
}

// --- child tasks ---------------------------------------------------------------------------------

class ChildTasks : public StoreTest {
 protected:
  struct Family {
    Running parent;
    Work call;
    Running child;
  };
  Family family() {
    Family f;
    f.parent = start();
    f.call = issue(f.parent, 1, 1)[0];
    Submission s = submission();
    s.parent_stack_run_id = f.call.grant.id;
    f.child = start(s);
    return f;
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(ChildTasks);

TEST_P(ChildTasks, AChildsEndIsItsParentCallsOutcomeAndWakesTheParent) {
  for (const bool ok : {true, false}) {
    for (const bool handoff : {true, false}) {
      const Family f = family();
      EXPECT_EQ(run_row(f.child.run).parent_stack_run_id, f.call.grant.id);
      SliceCommit commit =
          end_of(f.child.grant, ok ? SliceEnd::completed : SliceEnd::failed, "{\"v\":2}");
      if (handoff) commit.handoff = lease_of("a");
      const auto committed = store().commit_slice(commit).value();
      ASSERT_TRUE(committed.parent.has_value());
      EXPECT_EQ(committed.parent->run, f.parent.run);
      EXPECT_EQ(committed.parent->root, f.parent.root);
      EXPECT_EQ(committed.parent->work.has_value(), handoff);
      const StackRun call = row(f.call.grant.id);
      EXPECT_EQ(call.status, ok ? StackStatus::completed : StackStatus::failed);
      EXPECT_EQ(ok ? call.result : call.error, "{\"v\":2}");
      EXPECT_EQ(call.delivered_as, 1);
      EXPECT_EQ(run_row(f.parent.run).journal_length, 1);
      // Whoever held the call has nothing more to say.
      EXPECT_TRUE(refused(store().record_outcome(outcome_of(f.call.grant)), Errc::fenced));
      if (!handoff) {
        ASSERT_TRUE(store().claim(f.parent.root, lease_of("a")).value().has_value());
      }
    }
  }
}

TEST_P(ChildTasks, AChildThatEndsWhileItsParentWorksIsSeenByTheNextSlice) {
  Running parent = start();
  const auto calls = issue(parent, 1, 2);
  Submission s = submission();
  s.parent_stack_run_id = calls[0].grant.id;
  const Running child = start(s);
  OutcomeRecord record = outcome_of(calls[1].grant);
  record.handoff = lease_of("a");
  parent.grant = store().record_outcome(record).value().wake.value().work.value().grant;
  EXPECT_FALSE(
      store().commit_slice(end_of(child.grant, SliceEnd::completed, "1")).value().parent);
  const auto committed = store().commit_slice(slice_of(parent.grant, {}, 1)).value();
  EXPECT_TRUE(committed.root.has_value());
  EXPECT_EQ(store().outcomes(parent.run, 1, 9).value().at(0).payload, "1");
}

TEST_P(ChildTasks, AChildSettlesAParentCallThatWaitsForItsTurnOrIsPaused) {
  const Family f = family();
  ASSERT_TRUE(store().release(f.call.grant).has_value());
  EXPECT_TRUE(store().commit_slice(end_of(f.child.grant, SliceEnd::completed, "1")).value().parent);
  EXPECT_EQ(status_of(f.call.grant.id), StackStatus::completed);

  const Family g = family();
  ASSERT_TRUE(store().release(g.call.grant).has_value());
  ASSERT_TRUE(store().pause(g.parent.run).has_value());
  const auto ended = store().commit_slice(end_of(g.child.grant, SliceEnd::completed, "1"));
  EXPECT_FALSE(ended.value().parent.has_value());
  EXPECT_EQ(status_of(g.call.grant.id), StackStatus::completed);
  EXPECT_EQ(store().resume(g.parent.run).value(), std::vector<StackRunId>{g.parent.root});
}

TEST_P(ChildTasks, CancellingAChildFailsItsParentCall) {
  const Family f = family();
  const auto wake = store().cancel(f.child.run, "{\"code\":\"cancelled\"}").value();
  ASSERT_TRUE(wake.has_value());
  EXPECT_EQ(wake->root, f.parent.root);
  EXPECT_EQ(row(f.call.grant.id).status, StackStatus::failed);
  EXPECT_EQ(row(f.call.grant.id).error, "{\"code\":\"cancelled\"}");
  EXPECT_EQ(status_of(f.parent.root), StackStatus::pending);
}

TEST_P(ChildTasks, AChildOfARunThatIsOverEndsByItself) {
  const Family f = family();
  ASSERT_TRUE(store().cancel(f.parent.run, "{}").has_value());
  const auto committed = store().commit_slice(end_of(f.child.grant, SliceEnd::completed, "1"));
  EXPECT_FALSE(committed.value().parent.has_value());
  EXPECT_EQ(run_status(f.child.run), RunStatus::completed);
  EXPECT_EQ(status_of(f.call.grant.id), StackStatus::cancelled);
}

}  // namespace
}  // namespace sequential::storage::test
