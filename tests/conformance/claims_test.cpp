// Who may work on what: claims, leases, release, recovery, the sweep's view.

#include <algorithm>

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class Claims : public StoreTest {};
SEQUENTIAL_ON_EVERY_BACKEND(Claims);

TEST_P(Claims, ASubmittedRunIsPendingAndItsClaimCarriesAllThatASliceNeeds) {
  const Submitted submitted = submit();
  EXPECT_EQ(submitted.status, RunStatus::queued);
  EXPECT_FALSE(submitted.work.has_value());
  EXPECT_EQ(run_status(submitted.run), RunStatus::queued);
  EXPECT_EQ(status_of(submitted.root), StackStatus::pending);

  const Work work = store().claim(submitted.root, lease_of("a")).value().value();
  EXPECT_EQ(work.grant.id, submitted.root);
  EXPECT_EQ(work.grant.run, submitted.run);
  EXPECT_EQ(work.grant.epoch, 1);
  EXPECT_EQ(work.seq, 0);
  EXPECT_EQ(work.attempt, 1);
  EXPECT_EQ(work.task_function_id, function_);
  EXPECT_EQ(work.task_name, "task");
  EXPECT_EQ(work.lease_until, clock_.now() + kLease);
  const TaskRun run = run_row(submitted.run);
  EXPECT_EQ(run.status, RunStatus::running);
  EXPECT_EQ(run.started_at, clock_.now());
  const StackRun root = row(submitted.root);
  EXPECT_EQ(root.status, StackStatus::processing);
  EXPECT_EQ(root.lease_owner, "a");
  EXPECT_EQ(root.lease_until, work.lease_until);
}

TEST_P(Claims, WhatIsClaimedIsNotClaimedAgainBeforeItsLeaseEnds) {
  const Submitted submitted = submit();
  ASSERT_TRUE(store().claim(submitted.root, lease_of("a")).value().has_value());
  EXPECT_FALSE(store().claim(submitted.root, lease_of("b")).value().has_value());
  EXPECT_FALSE(store().claim_next(lease_of("b")).value().has_value());
  clock_.advance(kLease - Millis{1});
  EXPECT_FALSE(store().claim(submitted.root, lease_of("b")).value().has_value());
  EXPECT_FALSE(store().claim_next(lease_of("b")).value().has_value());
}

TEST_P(Claims, AnIdThatDoesNotExistIsNotClaimed) {
  EXPECT_FALSE(store().claim(StackRunId(77), lease_of("a")).value().has_value());
  EXPECT_FALSE(store().claim_next(lease_of("a")).value().has_value());
}

TEST_P(Claims, AnExpiredClaimIsTakenOverWithAHigherEpochAndTheLostTryIsKept) {
  const Submitted submitted = submit();
  const Work old = store().claim(submitted.root, lease_of("a")).value().value();
  clock_.advance(kLease);
  const Work fresh = store().claim_next(lease_of("b")).value().value();
  EXPECT_EQ(fresh.grant.id, old.grant.id);
  EXPECT_GT(fresh.grant.epoch, old.grant.epoch);
  EXPECT_EQ(fresh.attempt, 2);
  const auto attempts = store().attempts(submitted.root).value();
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].outcome, "lost");
  EXPECT_EQ(attempts[0].attempt, 1);
  EXPECT_EQ(attempts[0].epoch, old.grant.epoch);
  EXPECT_EQ(attempts[0].node, "a");
  EXPECT_EQ(attempts[0].ended_at, clock_.now());
}

TEST_P(Claims, AnExpiredCallIsTriedAgainWithTheSameArguments) {
  const Running running = start();
  const Work old = issue(running, 1, 1)[0];
  clock_.advance(kLease);
  const Work fresh = store().claim(old.grant.id, lease_of("b")).value().value();
  EXPECT_EQ(fresh.attempt, 2);
  EXPECT_FALSE(fresh.outcome_unknown);
  EXPECT_EQ(fresh.args, old.args);
  EXPECT_EQ(fresh.service_name, "echo");
  EXPECT_EQ(fresh.method_name, "echo");
  EXPECT_EQ(fresh.seq, 1);
}

TEST_P(Claims, TheOrderIsPriorityThenDueTimeThenAge) {
  std::vector<StackRunId> expected;
  const auto add = [&](int priority, Millis delay) {
    Submission s = submission();
    s.priority = priority;
    s.delay = delay;
    return store().submit(std::move(s)).value().root;
  };
  const StackRunId low_old = add(-5, Millis{0});
  const StackRunId late = add(0, Millis{20});
  const StackRunId early = add(0, Millis{10});
  const StackRunId first = add(0, Millis{0});
  const StackRunId second = add(0, Millis{0});
  const StackRunId high = add(7, Millis{30});
  const StackRunId never = add(9, Millis{60'000});
  clock_.advance(Millis{100});
  for (const StackRunId id : {high, first, second, early, late, low_old}) {
    EXPECT_EQ(store().claim_next(lease_of("a")).value().value().grant.id, id);
  }
  EXPECT_FALSE(store().claim_next(lease_of("a")).value().has_value());
  EXPECT_EQ(status_of(never), StackStatus::pending);
}

TEST_P(Claims, AbandonedWorkTakesItsPlaceInTheOrder) {
  Submission s = submission();
  s.priority = 1;
  const StackRunId abandoned = store().submit(s).value().root;
  ASSERT_TRUE(store().claim(abandoned, lease_of("a")).value().has_value());
  s.priority = 2;
  const StackRunId high = store().submit(s).value().root;
  s.priority = 0;
  const StackRunId low = store().submit(s).value().root;
  clock_.advance(kLease);
  for (const StackRunId id : {high, abandoned, low}) {
    EXPECT_EQ(store().claim_next(lease_of("b")).value().value().grant.id, id);
  }
}

TEST_P(Claims, ADelayedRunIsNotClaimedBeforeItsTime) {
  Submission s = submission();
  s.delay = Millis{500};
  s.handoff = lease_of("a");  // does not make it start earlier
  const Submitted submitted = store().submit(s).value();
  EXPECT_FALSE(submitted.work.has_value());
  clock_.advance(Millis{499});
  EXPECT_FALSE(store().claim(submitted.root, lease_of("a")).value().has_value());
  EXPECT_FALSE(store().claim_next(lease_of("a")).value().has_value());
  clock_.advance(Millis{1});
  EXPECT_TRUE(store().claim(submitted.root, lease_of("a")).value().has_value());
}

TEST_P(Claims, AnAtMostOnceCallWhoseTryWasLostIsHandedOutOnlyAsUnknown) {
  const Running running = start();
  NewCall call = call_of(1);
  call.delivery = Delivery::at_most_once;
  SliceCommit commit = slice_of(running.grant, {call});
  commit.handoff = lease_of("a");
  const auto committed = store().commit_slice(commit).value();
  const Work first = committed.calls[0].work.value();
  EXPECT_EQ(first.delivery, Delivery::at_most_once);
  EXPECT_FALSE(first.outcome_unknown);
  EXPECT_EQ(first.attempt, 1);

  clock_.advance(kLease);
  const Work second = store().claim(first.grant.id, lease_of("b")).value().value();
  EXPECT_TRUE(second.outcome_unknown);
  EXPECT_EQ(second.attempt, 1);  // no further try begins
  EXPECT_EQ(store().attempts(first.grant.id).value().at(0).outcome, "lost");

  // However it is given back, it is never to be sent again.
  ASSERT_TRUE(store().release(second.grant).has_value());
  const Work third = store().claim(first.grant.id, lease_of("c")).value().value();
  EXPECT_TRUE(third.outcome_unknown);
  clock_.advance(kLease);
  const Work fourth = store().claim_next(lease_of("d")).value().value();
  EXPECT_TRUE(fourth.outcome_unknown);
  const auto recorded =
      store().record_outcome(failure_of(fourth.grant, "{\"code\":\"outcome_unknown\"}")).value();
  EXPECT_EQ(recorded.delivered_as, 1);
}

TEST_P(Claims, AnAtMostOnceCallThatNobodyBeganIsSentOnce) {
  const Running running = start();
  NewCall call = call_of(1);
  call.delivery = Delivery::at_most_once;
  const auto committed = store().commit_slice(slice_of(running.grant, {call})).value();
  clock_.advance(Millis{100'000});  // pending, however long, is not lost
  const Work work = store().claim(committed.calls[0].id, lease_of("a")).value().value();
  EXPECT_FALSE(work.outcome_unknown);
  EXPECT_EQ(work.attempt, 1);
}

TEST_P(Claims, ReleaseGivesBackUntouchedAndCountsNoTry) {
  const Running running = start();
  const Work work = issue(running, 1, 1)[0];
  ASSERT_TRUE(store().release(work.grant).has_value());
  EXPECT_EQ(status_of(work.grant.id), StackStatus::pending);
  EXPECT_TRUE(refused(store().release(work.grant), Errc::fenced));
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(work.grant)), Errc::fenced));
  const Work again = store().claim_next(lease_of("b")).value().value();
  EXPECT_EQ(again.grant.id, work.grant.id);
  EXPECT_EQ(again.attempt, 1);
  EXPECT_EQ(again.grant.epoch, work.grant.epoch + 1);
  EXPECT_EQ(store().attempts(work.grant.id).value().at(0).outcome, "released");
}

TEST_P(Claims, ExtendKeepsALeaseAndNamesTheGrantsThatNoLongerHold) {
  const Running running = start();
  const auto works = issue(running, 1, 2);
  clock_.advance(kLease);
  // The second was taken over meanwhile; the first was not and still counts.
  const Work taken = store().claim(works[1].grant.id, lease_of("b")).value().value();
  const auto fenced =
      store().extend({works[0].grant, works[1].grant, running.grant}, lease_of("a")).value();
  ASSERT_EQ(fenced.size(), 2u);
  EXPECT_EQ(fenced[0].id, works[1].grant.id);
  EXPECT_EQ(fenced[1].id, running.root);
  EXPECT_FALSE(store().claim_next(lease_of("c")).value().has_value());
  EXPECT_EQ(row(works[0].grant.id).lease_until, clock_.now() + kLease);
  EXPECT_TRUE(store().record_outcome(outcome_of(works[0].grant)).has_value());
  EXPECT_TRUE(store().record_outcome(outcome_of(taken.grant)).has_value());
}

TEST_P(Claims, DueListsWhatIsRunnableOrAbandonedOldestFirstAndWhenToLookAgain) {
  Submission s = submission();
  s.delay = Millis{50};
  const StackRunId later = store().submit(s).value().root;
  s.delay = Millis{90'000};
  s.priority = 5;
  ASSERT_TRUE(store().submit(s).has_value());
  s.delay = Millis{80'000};
  s.priority = -3;
  ASSERT_TRUE(store().submit(s).has_value());
  clock_.advance(Millis{1});
  const Running held = start();
  clock_.advance(Millis{1});
  const StackRunId now_due = submit().root;

  DueWork due = store().due(100).value();
  EXPECT_EQ(due.ids, std::vector<StackRunId>{now_due});
  EXPECT_EQ(due.next_due, ManualClock::kStart + Millis{50});
  EXPECT_EQ(due.now, clock_.now());

  clock_.advance(kLease);
  due = store().due(100).value();
  EXPECT_EQ(due.ids, (std::vector<StackRunId>{held.root, now_due, later}));
  EXPECT_EQ(due.next_due, ManualClock::kStart + Millis{80'000});
  due = store().due(2).value();
  EXPECT_EQ(due.ids, (std::vector<StackRunId>{held.root, now_due}));
}

TEST_P(Claims, DueChangesNothing) {
  submit();
  start();
  clock_.advance(kLease);
  const std::string before = database_->dump();
  ASSERT_TRUE(store().due(10).has_value());
  EXPECT_EQ(database_->dump(), before);
}

TEST_P(Claims, AReopenedStoreKnowsWhatWasHeldAndFreesItForANewNode) {
  const Running running = start();
  const auto works = issue(running, 1, 3);
  ASSERT_TRUE(store().record_outcome(outcome_of(works[1].grant)).has_value());
  const Running other = start();
  reopen();
  // Leases outlive the process. The run's root was woken by the outcome: pending, not held.
  EXPECT_EQ(store().due(10).value().ids, std::vector<StackRunId>{running.root});
  EXPECT_EQ(store().recover("a").value(), 0);  // its own
  if (GetParam().name == "sqlite") {
    EXPECT_EQ(store().recover("b").value(), 3);
  } else {  // shared by nodes: only what a node held that is known to be dead
    EXPECT_EQ(store().recover("b").value(), 0);
    EXPECT_EQ(store().recover("b", "c").value(), 0);
    EXPECT_EQ(store().recover("b", "a").value(), 3);
    EXPECT_EQ(store().recover("b", "a").value(), 0);
  }
  auto ids = store().due(10).value().ids;
  std::vector<StackRunId> expected{works[0].grant.id, works[2].grant.id, other.root,
                                   running.root};
  std::sort(ids.begin(), ids.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(ids, expected);
  const Work work = store().claim(works[0].grant.id, lease_of("b")).value().value();
  EXPECT_EQ(work.attempt, 2);
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(works[0].grant)), Errc::fenced));
}

TEST_P(Claims, WorkThatOutlivedItsRunIsFoundAgainAfterARestart) {
  const Running running = start();
  SliceCommit commit = end_of(running.grant, SliceEnd::completed, "1");
  commit.calls = {call_of(1)};
  commit.handoff = lease_of("a");
  const StackRunId call = store().commit_slice(commit).value().calls[0].id;
  reopen();
  clock_.advance(kLease);
  EXPECT_EQ(store().due(10).value().ids, std::vector<StackRunId>{call});
  const Work work = store().claim_next(lease_of("b")).value().value();
  EXPECT_EQ(work.grant.id, call);
  const auto recorded = store().record_outcome(outcome_of(work.grant, "2")).value();
  EXPECT_EQ(recorded.delivered_as, 0);
  EXPECT_FALSE(recorded.wake.has_value());
  EXPECT_EQ(row(call).result, "2");
  reopen();
  clock_.advance(kLease);
  EXPECT_TRUE(store().due(10).value().ids.empty());
}

TEST_P(Claims, AClockSetBackDoesNotLoseALease) {
  const Running running = start();
  clock_.advance(kLease);
  EXPECT_EQ(store().due(10).value().ids.size(), 1u);
  clock_.set(ManualClock::kStart);
  EXPECT_TRUE(store().due(10).value().ids.empty());
  EXPECT_FALSE(store().claim_next(lease_of("b")).value().has_value());
  clock_.advance(kLease);
  EXPECT_EQ(store().claim_next(lease_of("b")).value().value().grant.id, running.root);
}

}  // namespace
}  // namespace sequential::storage::test
