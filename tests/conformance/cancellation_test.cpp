// Asking runs to end: the entry in the journal, the deadline, and calls that nobody waits for.

#include "sequential/storage/cancellation.h"

#include "sequential/storage/rewinds.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

const std::string kError = R"({"name":"CancelledError","code":"cancelled","message":"so"})";

class Cancellations : public StoreTest {
 protected:
  Cancellation& contract() { return *store().async().cancellation(); }
  Result<CancelRequested> ask(TaskRunId run, Millis grace = Millis{5'000}) {
    Answer<CancelRequested> answer;
    contract().request_cancel({run, kError, grace}, answer.done());
    return answer.get();
  }
  std::int64_t drop(const Grant& root, std::vector<std::int64_t> seqs) {
    Answer<std::int64_t> answer;
    contract().drop_calls(root, std::move(seqs), answer.done());
    return answer.get().value();
  }
  CancelsDue due() {
    Answer<CancelsDue> answer;
    contract().cancels_due(10, answer.done());
    return answer.get().value();
  }
  std::optional<Cancelling> cancelling(TaskRunId run) {
    Answer<std::optional<Cancelling>> answer;
    contract().cancelling(run, answer.done());
    return answer.get().value();
  }
  Grant claim_root(const Running& running) {
    return store().claim(running.root, lease_of("a")).value().value().grant;
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(Cancellations);

TEST_P(Cancellations, AWaitingRunIsWokenWithTheRequestInItsJournal) {
  const Running running = start();
  const auto works = issue(running, 1, 3);
  OutcomeRecord first = outcome_of(works[1].grant);
  first.handoff = lease_of("a");
  const Grant second = store().record_outcome(first).value().wake.value().work.value().grant;
  ASSERT_TRUE(store().commit_slice(slice_of(second, {}, 1)).has_value());
  clock_.advance(Millis{7});

  const CancelRequested asked = ask(running.run).value();
  EXPECT_FALSE(asked.over);
  EXPECT_EQ(asked.deadline, clock_.now() + Millis{5'000});
  EXPECT_EQ(asked.left, Millis{5'000});
  EXPECT_EQ(asked.root.value().root, running.root);
  EXPECT_EQ(cancelling(running.run).value().error, kError);

  EXPECT_EQ(status_of(running.root), StackStatus::pending);
  EXPECT_EQ(status_of(works[0].grant.id), StackStatus::cancelled);
  EXPECT_EQ(status_of(works[1].grant.id), StackStatus::completed);
  EXPECT_EQ(status_of(works[2].grant.id), StackStatus::cancelled);
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(works[0].grant)), Errc::fenced));
  EXPECT_EQ(store().due(9).value().ids, std::vector<StackRunId>{running.root});

  const auto outcomes = store().outcomes(running.run, 1, 10).value();
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].seq, 0);
  EXPECT_EQ(outcomes[0].delivered_as, 2);
  EXPECT_TRUE(outcomes[0].failed);
  EXPECT_EQ(outcomes[0].payload, kError);
  EXPECT_EQ(outcomes[0].at, clock_.now());
  EXPECT_EQ(store().outcomes(running.run, 0, 10).value().size(), 2u);
  EXPECT_EQ(run_row(running.run).journal_length, 2);
}

TEST_P(Cancellations, TheWholeJournalBeginsWithTheRequest) {
  const Running running = start();
  issue(running, 1, 2);
  EXPECT_EQ(store().journal(running.run, -1, 1'000).value().rows.at(0).seq, 1);
  ASSERT_TRUE(ask(running.run).has_value());
  const auto whole = store().journal(running.run, -1, 1'000).value();
  ASSERT_EQ(whole.rows.size(), 3u);
  EXPECT_EQ(whole.rows[0].seq, 0);
  EXPECT_EQ(whole.rows[0].outcome.value().payload, kError);
  EXPECT_EQ(whole.rows[0].outcome.value().delivered_as, 1);
  EXPECT_FALSE(whole.rows[1].outcome.has_value());
  EXPECT_FALSE(whole.more);
  EXPECT_TRUE(store().journal(running.run, -1, 1).value().more);
  EXPECT_EQ(store().journal(running.run, 0, 1'000).value().rows.at(0).seq, 1);
}

TEST_P(Cancellations, ASliceUnderWaySeesItNextAndMayStillIssueCalls) {
  const Running running = start();
  const auto works = issue(running, 1, 1);
  OutcomeRecord record = outcome_of(works[0].grant);
  record.handoff = lease_of("a");
  const Grant root = store().record_outcome(record).value().wake.value().work.value().grant;
  const CancelRequested asked = ask(running.run).value();
  EXPECT_FALSE(asked.root.has_value());
  SliceCommit commit = slice_of(root, {call_of(2)}, 1);
  commit.handoff = lease_of("a");
  const SliceCommitted committed = store().commit_slice(commit).value();
  const Grant next = committed.root.value().work.value().grant;
  EXPECT_EQ(drop(running.grant, {2}), 1);
  const auto calls = store().commit_slice(slice_of(next, {call_of(3)}, 2)).value().calls;
  EXPECT_EQ(status_of(calls.at(0).id), StackStatus::pending);
  const Work third = store().claim(calls.at(0).id, lease_of("a")).value().value();
  EXPECT_EQ(store().record_outcome(outcome_of(third.grant)).value().delivered_as, 3);
}

TEST_P(Cancellations, TheRunEndsAsItsCodeHasIt) {
  for (const SliceEnd end : {SliceEnd::completed, SliceEnd::failed, SliceEnd::cancelled}) {
    const Running running = start();
    issue(running, 1, 1);
    ASSERT_TRUE(ask(running.run).has_value());
    const Grant root = claim_root(running);
    ASSERT_TRUE(store().commit_slice(end_of(root, end, "{\"a\":1}", 1)).has_value());
    const TaskRun run = run_row(running.run);
    EXPECT_EQ(end == SliceEnd::completed ? run.result : run.error, "{\"a\":1}");
    EXPECT_EQ(run.status, end == SliceEnd::completed ? RunStatus::completed
                          : end == SliceEnd::failed  ? RunStatus::failed
                                                     : RunStatus::cancelled);
    EXPECT_FALSE(cancelling(running.run).has_value());
  }
  clock_.advance(Millis{5'000});
  EXPECT_TRUE(due().runs.empty());
  EXPECT_FALSE(due().next_in.has_value());
}

TEST_P(Cancellations, ARunThatCannotSeeItIsCancelledAtOnce) {
  const Submitted queued = submit();
  EXPECT_TRUE(ask(queued.run).value().over);
  EXPECT_EQ(run_row(queued.run).status, RunStatus::cancelled);
  EXPECT_EQ(run_row(queued.run).error, kError);

  const Running first_slice = start();
  EXPECT_TRUE(ask(first_slice.run).value().over);
  EXPECT_TRUE(
      refused(store().commit_slice(slice_of(first_slice.grant, {call_of(1)})), Errc::fenced));

  const Running paused = start();
  issue(paused, 1, 1);
  ASSERT_TRUE(store().pause(paused.run).has_value());
  EXPECT_TRUE(ask(paused.run).value().over);

  const Running forced = start();
  const auto works = issue(forced, 1, 1);
  EXPECT_TRUE(ask(forced.run, Millis{0}).value().over);
  EXPECT_EQ(status_of(works[0].grant.id), StackStatus::cancelled);
  EXPECT_EQ(run_row(forced.run).journal_length, 0);
  EXPECT_TRUE(store().due(9).value().ids.empty());
}

TEST_P(Cancellations, AnEndedRunIsLeftAsItIsAndAnUnknownOneNotFound) {
  const Running running = start();
  ASSERT_TRUE(store().commit_slice(end_of(running.grant, SliceEnd::failed, "{}")).has_value());
  const std::string before = database_->dump();
  EXPECT_TRUE(refused(ask(running.run), Errc::conflict));
  EXPECT_TRUE(refused(ask(TaskRunId(999)), Errc::run_not_found));
  EXPECT_EQ(drop({StackRunId(999), TaskRunId(999), 1}, {1}), 0);
  EXPECT_EQ(database_->dump(), before);
}

TEST_P(Cancellations, AskedAgainTheDeadlineOnlyComesCloser) {
  const Running running = start();
  issue(running, 1, 1);
  const WallTime deadline = ask(running.run).value().deadline;
  EXPECT_EQ(ask(running.run, Millis{9'000}).value().deadline, deadline);
  EXPECT_EQ(run_row(running.run).journal_length, 1);
  const CancelRequested closer = ask(running.run, Millis{100}).value();
  EXPECT_EQ(closer.left, Millis{100});
  EXPECT_EQ(cancelling(running.run).value().deadline, clock_.now() + Millis{100});
  EXPECT_TRUE(ask(running.run, Millis{0}).value().over);
  EXPECT_EQ(run_row(running.run).status, RunStatus::cancelled);
  EXPECT_TRUE(refused(ask(running.run), Errc::conflict));
}

TEST_P(Cancellations, ADeadlineOutlivesTheProcessAndIsDueWhenItHasPassed) {
  const Running running = start();
  issue(running, 1, 1);
  ASSERT_TRUE(ask(running.run).has_value());
  clock_.advance(Millis{1'000});
  reopen();
  EXPECT_TRUE(due().runs.empty());
  EXPECT_EQ(due().next_in.value(), Millis{4'000});
  clock_.advance(Millis{4'000});
  EXPECT_EQ(due().runs, std::vector<TaskRunId>{running.run});
  ASSERT_TRUE(store().cancel(running.run, kError).has_value());
  EXPECT_TRUE(due().runs.empty());
  EXPECT_EQ(run_row(running.run).status, RunStatus::cancelled);
}

TEST_P(Cancellations, NothingIsDueOnceEverythingIsCleared) {
  const Running running = start();
  issue(running, 1, 1);
  ASSERT_TRUE(ask(running.run).has_value());
  ASSERT_TRUE(store().clear().has_value());
  EXPECT_FALSE(due().next_in.has_value());
  clock_.advance(Millis{5'000});
  EXPECT_TRUE(due().runs.empty());
}

TEST_P(Cancellations, DroppedCallsAreFencedAndNothingIsDeliveredForThem) {
  const Running running = start();
  const auto works = issue(running, 1, 4);
  ASSERT_TRUE(store().record_outcome(outcome_of(works[3].grant)).has_value());
  EXPECT_EQ(drop(running.grant, {0, 1, 3, 4, 5}), 2);
  EXPECT_EQ(drop(running.grant, {1, 3}), 0);
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(works[0].grant)), Errc::fenced));
  EXPECT_EQ(status_of(works[2].grant.id), StackStatus::cancelled);
  EXPECT_EQ(status_of(works[3].grant.id), StackStatus::completed);
  EXPECT_EQ(store().record_outcome(outcome_of(works[1].grant)).value().delivered_as, 2);
}

TEST_P(Cancellations, ARunThatWaitsForTheLastCallShowsWhich) {
  const Running running = start();
  const auto works = issue(running, 1, 2);
  EXPECT_EQ(drop(running.grant, {1}), 1);
  EXPECT_EQ(run_row(running.run).waiting_on_stack_run_id, works[1].grant.id);
}

TEST_P(Cancellations, ARootThatHasNothingLeftToWaitForIsWoken) {
  const Running running = start();
  issue(running, 1, 2);
  EXPECT_EQ(drop(running.grant, {1, 2}), 2);
  EXPECT_EQ(status_of(running.root), StackStatus::pending);
  EXPECT_EQ(store().due(9).value().ids, std::vector<StackRunId>{running.root});
  EXPECT_FALSE(run_row(running.run).waiting_on_stack_run_id);
  claim_root(running);

  const Running paused = start();
  issue(paused, 1, 1);
  ASSERT_TRUE(store().pause(paused.run).has_value());
  EXPECT_EQ(drop(paused.grant, {1}), 1);
  EXPECT_EQ(run_status(paused.run), RunStatus::paused);
  EXPECT_EQ(store().resume(paused.run).value(), std::vector<StackRunId>{paused.root});
  claim_root(paused);
}

TEST_P(Cancellations, LaterSlicesDoNotKeepCallsFromBeingDropped) {
  const Running running = start();
  const auto works = issue(running, 1, 3);
  ASSERT_TRUE(store().record_outcome(outcome_of(works[0].grant)).has_value());
  const Grant next = claim_root(running);
  EXPECT_EQ(drop(running.grant, {2}), 1);
  ASSERT_TRUE(store().commit_slice(slice_of(next, {}, 1)).has_value());
  EXPECT_EQ(run_row(running.run).waiting_on_stack_run_id, works[2].grant.id);
  EXPECT_EQ(drop(next, {2}), 0);
}

// The node was stopped after the commit of the slice that waits for them no more.
TEST_P(Cancellations, ASliceFromBeforeARewindDropsNothing) {
  const Running retried = start();
  const auto works = issue(retried, 1, 1);
  ASSERT_TRUE(store().record_outcome(outcome_of(works[0].grant)).has_value());
  const Grant second = claim_root(retried);
  ASSERT_TRUE(store().commit_slice(slice_of(second, {call_of(2), call_of(3)}, 1)).has_value());
  ASSERT_TRUE(store().cancel(retried.run, kError).has_value());
  Retry retry;
  retry.run = retried.run;
  retry.to = {1, 1, 0, function_, 1, 0};
  Answer<Rewound> again;
  store_->rewinds()->retry_run(retry, again.done());
  ASSERT_TRUE(again.get().has_value());
  const Grant third = claim_root(retried);
  ASSERT_TRUE(store().commit_slice(slice_of(third, {call_of(2), call_of(3)}, 1)).has_value());
  EXPECT_EQ(drop(second, {2, 3}), 0);
  EXPECT_EQ(drop(third, {3}), 1);
  EXPECT_EQ(status_of(retried.root), StackStatus::suspended_waiting_child);

  const Running moved = start();
  issue(moved, 1, 2);
  ASSERT_TRUE(store().pause(moved.run).has_value());
  Answer<Rewound> on;
  store_->rewinds()->resume_on(moved.run, {0, 0, 0, function_, 1, 0}, on.done());
  ASSERT_TRUE(on.get().has_value());
  EXPECT_EQ(drop(moved.grant, {1, 2}), 0);
  const Grant other_code = claim_root(moved);
  ASSERT_TRUE(store().commit_slice(slice_of(other_code, {}, 0)).has_value());
  EXPECT_EQ(drop(moved.grant, {1, 2}), 0);
  EXPECT_EQ(drop(other_code, {1}), 1);
}

TEST_P(Cancellations, CallsLeftOverByAnEndedRunAreDroppedToo) {
  const Running running = start();
  NewCall timer = call_of(1);
  timer.delay = Millis{60'000};
  SliceCommit commit = slice_of(running.grant, {timer});
  commit.end = SliceEnd::completed;
  commit.payload = "1";
  ASSERT_TRUE(store().commit_slice(commit).has_value());
  EXPECT_EQ(drop(running.grant, {1}), 1);
  clock_.advance(Millis{60'000});
  EXPECT_TRUE(store().due(9).value().ids.empty());
  EXPECT_FALSE(store().due(9).value().next_due.has_value());
}

}  // namespace
}  // namespace sequential::storage::test
