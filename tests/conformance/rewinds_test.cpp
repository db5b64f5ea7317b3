// Rewinds: going on from an earlier point, on other code, or as a copy.

#include "sequential/storage/rewinds.h"

#include <optional>

#include "sequential/storage/cancellation.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class RewindsTest : public StoreTest {
 protected:
  Rewinds& rewinds() { return *store_->rewinds(); }

  Result<Rewound> resume_on(TaskRunId run, RewindTo to) {
    Answer<Rewound> answer;
    rewinds().resume_on(run, to, answer.done());
    return answer.get();
  }
  Result<Rewound> retry(Retry retry) {
    Answer<Rewound> answer;
    rewinds().retry_run(std::move(retry), answer.done());
    return answer.get();
  }
  Result<Rewound> fork(Fork fork) {
    Answer<Rewound> answer;
    rewinds().fork_run(std::move(fork), answer.done());
    return answer.get();
  }
  RunOrigin origin(TaskRunId run) {
    Answer<RunOrigin> answer;
    rewinds().origin(run, answer.done());
    return answer.get().value();
  }
  RewindTo to(std::int64_t through, std::int64_t calls, std::int64_t logs = 0) const {
    RewindTo point;
    point.through = through;
    point.calls = calls;
    point.logs = logs;
    point.function = function_;
    point.version = 1;
    return point;
  }

  static Fork fork_of(TaskRunId source, RewindTo point) {
    Fork fork;
    fork.source = source;
    fork.to = point;
    return fork;
  }

  OutcomeRecorded record(OutcomeRecord outcome) {
    outcome.handoff = lease_of("a");
    return store().record_outcome(std::move(outcome)).value();
  }
  // Suspends with these calls, claimed for node "a".
  std::vector<Work> suspend(const Grant& root, std::int64_t first_seq, int count,
                            std::int64_t delivered) {
    SliceCommit commit = slice_of(root, {}, delivered);
    for (int i = 0; i < count; ++i) commit.calls.push_back(call_of(first_seq + i));
    commit.logs = {{"info", "slice", ""}};
    commit.handoff = lease_of("a");
    std::vector<Work> works;
    auto committed = store().commit_slice(std::move(commit)).value();
    for (auto& call : committed.calls) {
      works.push_back(std::move(call.work).value());
    }
    if (committed.root) woken_ = committed.root->work->grant;
    return works;
  }
  std::vector<StackRun> stack(TaskRunId run) { return store().stack(run, 0, 100).value(); }
  std::vector<Outcome> outcomes(TaskRunId run) { return store().outcomes(run, 0, 100).value(); }

  // Call 1 succeeded (position 1); 2, 3 and 4 issued then: 3 failed (2), 2 succeeded (3), which
  // issued 5; the run failed. 4 succeeded after that. Five calls, three log entries.
  struct Failed {
    TaskRunId run;
    StackRunId root;
    std::vector<Work> works;
  };
  Failed failed_run() {
    const Running running = start();
    Failed failed{running.run, running.root, suspend(running.grant, 1, 1, 0)};
    Grant root = record(outcome_of(failed.works[0].grant, "1")).wake->work->grant;
    for (auto& work : suspend(root, 2, 3, 1)) failed.works.push_back(std::move(work));
    root = record(failure_of(failed.works[2].grant, "{\"code\":\"down\"}")).wake->work->grant;
    record(outcome_of(failed.works[1].grant, "2"));
    for (auto& work : suspend(root, 5, 1, 2)) failed.works.push_back(std::move(work));
    EXPECT_TRUE(store()
                    .commit_slice(end_of(woken_, SliceEnd::failed, "{\"code\":\"down\"}", 3))
                    .has_value());
    EXPECT_EQ(record(outcome_of(failed.works[3].grant, "4")).delivered_as, 0);
    return failed;
  }

  Grant woken_;  // a root that had more to see when it was suspended
};
SEQUENTIAL_ON_EVERY_BACKEND(RewindsTest);

TEST_P(RewindsTest, AForkWithAKnownKeyIsThatForkWhateverBecameOfItsSource) {
  const Failed failed = failed_run();
  Fork wanted = fork_of(failed.run, to(1, 1, 0));
  wanted.idempotency_key = "once";
  wanted.request_hash = "h";
  const TaskRunId made = fork(wanted).value().run;
  Retry again;
  again.run = failed.run;
  again.to = to(0, 0, 0);
  ASSERT_TRUE(retry(again).has_value());
  const Rewound same = fork(wanted).value();
  EXPECT_TRUE(same.existing);
  EXPECT_EQ(same.run, made);
  wanted.source = TaskRunId(999'999);
  EXPECT_EQ(fork(wanted).value().run, made);
  wanted.request_hash = "other";
  EXPECT_TRUE(refused(fork(wanted), Errc::idempotency_conflict));
}

TEST_P(RewindsTest, ARetryMakesTheFailedCallAgainAndKeepsWhatSucceeded) {
  const Failed failed = failed_run();
  const StackRun before = row(failed.works[2].grant.id);
  const Rewound rewound = retry({failed.run, to(1, 4, 2)}).value();
  EXPECT_EQ(rewound.root, failed.root);
  EXPECT_EQ(rewound.runnable, (std::vector<StackRunId>{failed.root, before.id}));
  const TaskRun run = run_row(failed.run);
  EXPECT_EQ(run.status, RunStatus::running);
  EXPECT_EQ(run.error, "");
  EXPECT_FALSE(run.ended_at.has_value());
  EXPECT_EQ(run.call_count, 4);
  EXPECT_EQ(run.journal_length, 3);
  EXPECT_EQ(run.log_count, 2);
  EXPECT_EQ(store().logs(failed.run, 0, 10).value().size(), 2u);
  const StackRun again = row(before.id);
  EXPECT_EQ(again.status, StackStatus::pending);
  EXPECT_EQ(again.attempt, 0);
  EXPECT_EQ(again.error, "");
  EXPECT_EQ(again.delivered_as, 0);
  EXPECT_GT(again.epoch, before.epoch);
  const auto history = store().attempts(before.id).value();
  ASSERT_EQ(history.size(), 1u);
  EXPECT_EQ(history[0].outcome, "retried");
  EXPECT_EQ(history[0].attempt, 1);
  EXPECT_EQ(history[0].error, "{\"code\":\"down\"}");
  // 1 as before; then what came later, in the old order; what came after the end last.
  const auto journal = outcomes(failed.run);
  ASSERT_EQ(journal.size(), 3u);
  EXPECT_EQ(journal[0].payload, "1");
  EXPECT_EQ(journal[1].payload, "2");
  EXPECT_EQ(journal[2].payload, "4");
  EXPECT_LE(journal[1].at, journal[2].at);
  EXPECT_EQ(stack(failed.run).size(), 5u);  // the root and four calls
  EXPECT_EQ(origin(failed.run).rewinds, 1);
}

TEST_P(RewindsTest, ARetriedRunGoesOnToItsEnd) {
  const Failed failed = failed_run();
  ASSERT_TRUE(retry({failed.run, to(1, 4, 2)}).has_value());
  EXPECT_EQ(database_->damage(), "");
  const Work root = store().claim(failed.root, lease_of("b")).value().value();
  EXPECT_EQ(root.attempt, 1);
  ASSERT_TRUE(store().commit_slice(slice_of(root.grant, {call_of(5)}, 3)).has_value());
  const Work call = store().claim(failed.works[2].grant.id, lease_of("b")).value().value();
  EXPECT_EQ(call.attempt, 1);
  EXPECT_EQ(record(outcome_of(call.grant, "3")).delivered_as, 4);
  EXPECT_EQ(run_row(failed.run).call_count, 5);
}

TEST_P(RewindsTest, WhatWasUnderWayBeforeARetryIsFencedOrKept) {
  const Running running = start();
  auto works = suspend(running.grant, 1, 2, 0);
  const Grant root = record(failure_of(works[0].grant)).wake->work->grant;
  SliceCommit end = end_of(root, SliceEnd::failed, "{}", 1);
  end.calls = {call_of(3)};
  end.handoff = lease_of("a");
  const Work third = store().commit_slice(std::move(end)).value().calls[0].work.value();
  ASSERT_TRUE(retry({running.run, to(0, 2)}).has_value());
  // The second call was issued before the point: its try goes on. The third is no more.
  EXPECT_EQ(store().record_outcome(outcome_of(works[1].grant)).value().delivered_as, 1);
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(third.grant)), Errc::fenced));
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(works[0].grant)), Errc::fenced));
  EXPECT_TRUE(refused(store().commit_slice(slice_of(root, {}, 1)), Errc::fenced));
}

TEST_P(RewindsTest, OnlyOneOfTwoRetriesTakesEffect) {
  const Failed failed = failed_run();
  ASSERT_TRUE(retry({failed.run, to(1, 4)}).has_value());
  EXPECT_TRUE(refused(retry({failed.run, to(1, 4)}), Errc::conflict));
  // Nor does one that was decided before the other, once the run has failed again.
  const Grant root = store().claim(failed.root, lease_of("b")).value().value().grant;
  ASSERT_TRUE(store().commit_slice(end_of(root, SliceEnd::failed, "{}", 3)).has_value());
  EXPECT_TRUE(refused(retry({failed.run, to(1, 4)}), Errc::conflict));
  RewindTo newer = to(1, 4);
  newer.rewinds = 1;
  EXPECT_TRUE(retry({failed.run, newer}).has_value());
}

TEST_P(RewindsTest, OnlyWhatHasFailedOrWasCancelledIsRetried) {
  EXPECT_TRUE(refused(retry({TaskRunId(5), to(0, 0)}), Errc::run_not_found));
  const Running running = start();
  EXPECT_TRUE(refused(retry({running.run, to(0, 0)}), Errc::conflict));
  ASSERT_TRUE(
      store().commit_slice(end_of(running.grant, SliceEnd::completed, "1")).has_value());
  const std::string before = database_->dump();
  EXPECT_TRUE(refused(retry({running.run, to(0, 0)}), Errc::conflict));
  EXPECT_EQ(database_->dump(), before);
}

TEST_P(RewindsTest, ACancelledRunGoesOnWithTheCallsThatWereUnderWay) {
  const Running running = start();
  SliceCommit commit = slice_of(running.grant, {call_of(1), call_of(2)});
  commit.calls[1].delay = Millis{60'000};
  commit.handoff = lease_of("a");
  const auto calls = store().commit_slice(std::move(commit)).value().calls;
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(calls[0].work->grant)), Errc::fenced));
  const Rewound rewound = retry({running.run, to(0, 2)}).value();
  EXPECT_EQ(rewound.runnable, (std::vector<StackRunId>{running.root, calls[0].id}));
  EXPECT_EQ(row(calls[1].id).available_at, ManualClock::kStart + Millis{60'000});
  EXPECT_EQ(store().due(9).value().next_due, ManualClock::kStart + Millis{60'000});
}

TEST_P(RewindsTest, ACallWhoseOutcomeIsUnknownIsMadeAgainOnlyIfThatIsSaid) {
  const Running running = start();
  SliceCommit commit = slice_of(running.grant, {call_of(1)});
  commit.calls[0].delivery = Delivery::at_most_once;
  commit.handoff = lease_of("a");
  const auto calls = store().commit_slice(std::move(commit)).value().calls;
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  const std::string before = database_->dump();
  EXPECT_TRUE(refused(retry({running.run, to(0, 1)}), Errc::outcome_unknown));
  EXPECT_EQ(database_->dump(), before);
  Retry again{running.run, to(0, 1)};
  again.unknown_again = true;
  EXPECT_TRUE(retry(again).has_value());
  EXPECT_FALSE(store().claim(calls[0].id, lease_of("b")).value().value().outcome_unknown);
}

TEST_P(RewindsTest, ARunResumesOnOtherCodeAndItsOldSliceIsFenced) {
  const Running running = start();
  const auto works = suspend(running.grant, 1, 1, 0);
  const Grant root = record(outcome_of(works[0].grant)).wake->work->grant;
  const TaskFunctionId other = publish("task", "module.exports = async () => 2");
  RewindTo point = to(0, 0);
  point.function = other;
  point.version = 2;
  EXPECT_TRUE(refused(resume_on(running.run, point), Errc::conflict));
  ASSERT_TRUE(store().pause(running.run).has_value());
  const Rewound rewound = resume_on(running.run, point).value();
  EXPECT_EQ(rewound.runnable, std::vector<StackRunId>{running.root});
  EXPECT_TRUE(refused(store().commit_slice(slice_of(root, {}, 1)), Errc::fenced));
  const TaskRun run = run_row(running.run);
  EXPECT_EQ(run.status, RunStatus::running);
  EXPECT_EQ(run.task_version, 2);
  EXPECT_EQ(run.journal_length, 1);
  const Work work = store().claim(running.root, lease_of("b")).value().value();
  EXPECT_EQ(work.task_function_id, other);
  EXPECT_TRUE(store().commit_slice(slice_of(work.grant, {call_of(2)}, 1)).has_value());
}

TEST_P(RewindsTest, ARewoundRunThatIsPausedBeforeItsReplayIsReplayedAfterwards) {
  const Running running = start();
  const auto works = suspend(running.grant, 1, 1, 0);
  const Grant root = record(outcome_of(works[0].grant)).wake->work->grant;
  ASSERT_TRUE(store().commit_slice(end_of(root, SliceEnd::failed, "{}", 1)).has_value());
  ASSERT_TRUE(retry({running.run, to(1, 1, 1)}).has_value());
  ASSERT_TRUE(store().pause(running.run).has_value());
  EXPECT_EQ(store().resume(running.run).value(), std::vector<StackRunId>{running.root});
}

TEST_P(RewindsTest, AForkHasTheJournalUpToItsPointAndLeavesItsSourceAlone) {
  const Failed failed = failed_run();
  clock_.advance(Millis{5'000});
  const auto source = stack(failed.run);
  const TaskRun source_run = run_row(failed.run);
  Fork wanted = fork_of(failed.run, to(2, 4, 1));
  wanted.input = "{\"q\":2}";
  wanted.delays = {{4, Millis{1'000}}};
  const Rewound forked = fork(wanted).value();
  const TaskRun run = run_row(forked.run);
  EXPECT_EQ(run.status, RunStatus::queued);
  EXPECT_EQ(run.input, "{\"q\":2}");
  EXPECT_EQ(run.seed, source_run.seed);
  EXPECT_EQ(run.call_count, 4);
  EXPECT_EQ(run.journal_length, 2);
  EXPECT_EQ(run.log_count, 1);
  EXPECT_EQ(run.created_at, ManualClock::kStart + Millis{5'000});
  // Its time is the source's.
  EXPECT_EQ(store().journal_head(forked.run).value().created_at, source_run.created_at);
  const auto calls = stack(forked.run);
  ASSERT_EQ(calls.size(), 5u);
  EXPECT_EQ(calls[1].result, "1");
  EXPECT_EQ(calls[3].error, "{\"code\":\"down\"}");
  EXPECT_EQ(calls[2].status, StackStatus::pending);
  EXPECT_EQ(calls[4].status, StackStatus::pending);
  EXPECT_EQ(calls[4].result, "");
  EXPECT_EQ(calls[4].available_at, run.created_at + Millis{1'000});
  EXPECT_EQ(forked.runnable, (std::vector<StackRunId>{forked.root, calls[2].id}));
  EXPECT_EQ(origin(forked.run).forked_from, failed.run);
  EXPECT_EQ(origin(forked.run).forked_at, 2);
  EXPECT_EQ(stack(failed.run).size(), source.size());
  EXPECT_EQ(run_row(failed.run).updated_at, source_run.updated_at);
  const Grant root = store().claim(forked.root, lease_of("b")).value().value().grant;
  EXPECT_TRUE(store().commit_slice(slice_of(root, {call_of(5)}, 2)).has_value());
}

TEST_P(RewindsTest, AForkCanHaveAnOutcomeOfItsOwn) {
  const Failed failed = failed_run();
  Fork wanted = fork_of(failed.run, to(1, 4));
  wanted.outcome = EditedOutcome{3, false, "\"edited\""};
  const Rewound forked = fork(wanted).value();
  const auto journal = outcomes(forked.run);
  ASSERT_EQ(journal.size(), 2u);
  EXPECT_EQ(journal[1].payload, "\"edited\"");
  EXPECT_FALSE(journal[1].failed);
  EXPECT_LE(journal[0].at, journal[1].at);
  // A call that has its outcome by then, or is not issued yet, is not waiting for one.
  wanted.outcome->seq = 1;
  EXPECT_TRUE(refused(fork(wanted), Errc::conflict));
  wanted.outcome->seq = 5;
  EXPECT_TRUE(refused(fork(wanted), Errc::conflict));
}

TEST_P(RewindsTest, AForkIsBoundedAndMadeOncePerKey) {
  const Failed failed = failed_run();
  Fork wanted = fork_of(failed.run, to(2, 4));
  wanted.calls_max = 3;
  const std::string before = database_->dump();
  EXPECT_TRUE(refused(fork(wanted), Errc::payload_too_large));
  EXPECT_EQ(database_->dump(), before);
  wanted.calls_max = 4;
  wanted.idempotency_key = "k";
  wanted.request_hash = "h";
  const Rewound first = fork(wanted).value();
  EXPECT_FALSE(first.existing);
  const Rewound second = fork(wanted).value();
  EXPECT_TRUE(second.existing);
  EXPECT_EQ(second.run, first.run);
  wanted.request_hash = "other";
  EXPECT_TRUE(refused(fork(wanted), Errc::idempotency_conflict));
}

TEST_P(RewindsTest, ARewindSurvivesARestart) {
  const Failed failed = failed_run();
  ASSERT_TRUE(retry({failed.run, to(1, 4, 2)}).has_value());
  reopen();
  EXPECT_EQ(database_->damage(), "");
  EXPECT_EQ(store().due(9).value().ids,
            (std::vector<StackRunId>{failed.root, failed.works[2].grant.id}));
}

// --- what had been given up, and requests to end -------------------------------------------------

class RewoundRequests : public RewindsTest {
 protected:
  // Call 1 succeeded (position 1), then 2 and 3 were made; the run was asked to end (2), made 4
  // upon that, which failed (3), and failed with it.
  struct Asked {
    TaskRunId run;
    StackRunId root;
    std::vector<Work> works;
  };
  Asked asked_run() {
    const Running running = start();
    Asked asked{running.run, running.root, suspend(running.grant, 1, 1, 0)};
    Grant root = record(outcome_of(asked.works[0].grant, "1")).wake->work->grant;
    for (auto& work : suspend(root, 2, 2, 1)) asked.works.push_back(std::move(work));
    Answer<CancelRequested> answer;
    store_->cancellation()->request_cancel({asked.run, "{\"code\":\"cancelled\"}", Millis{5'000}},
                                           answer.done());
    EXPECT_FALSE(answer.get().value().over);
    root = store().claim(asked.root, lease_of("a")).value().value().grant;
    asked.works.push_back(suspend(root, 4, 1, 2)[0]);
    root = record(failure_of(asked.works[3].grant, "{\"code\":\"down\"}")).wake->work->grant;
    EXPECT_TRUE(store()
                    .commit_slice(end_of(root, SliceEnd::failed, "{\"code\":\"down\"}", 3))
                    .has_value());
    clock_.advance(Millis{5'000});
    return asked;
  }
  std::optional<Cancelling> cancelling(TaskRunId run) {
    Answer<std::optional<Cancelling>> answer;
    store_->cancellation()->cancelling(run, answer.done());
    return answer.get().value();
  }
  std::vector<TaskRunId> overdue() {
    Answer<CancelsDue> answer;
    store_->cancellation()->cancels_due(10, answer.done());
    return answer.get().value().runs;
  }
  Retry retry_of(TaskRunId run, RewindTo point, std::vector<std::int64_t> dropped) {
    Retry wish{run, point};
    wish.dropped = std::move(dropped);
    return wish;
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(RewoundRequests);

TEST_P(RewoundRequests, ARequestFromBeforeThePointIsReplayedInItsPlaceAndHasNoDeadline) {
  const Asked asked = asked_run();
  ASSERT_TRUE(retry(retry_of(asked.run, to(2, 4), {2, 3})).has_value());
  EXPECT_FALSE(cancelling(asked.run).has_value());
  EXPECT_TRUE(overdue().empty());
  const auto journal = outcomes(asked.run);
  ASSERT_EQ(journal.size(), 2u);
  EXPECT_EQ(journal[1].seq, 0);
  EXPECT_EQ(journal[1].delivered_as, 2);
  EXPECT_EQ(store().journal(asked.run, -1, 10'000).value().rows.at(0).seq, 0);
  // What the request cut off stays so; what failed after it is made again.
  EXPECT_EQ(status_of(asked.works[1].grant.id), StackStatus::cancelled);
  EXPECT_EQ(status_of(asked.works[2].grant.id), StackStatus::cancelled);
  const Work again = store().claim(asked.works[3].grant.id, lease_of("a")).value().value();
  EXPECT_EQ(record(outcome_of(again.grant, "4")).delivered_as, 3);
  reopen();
  EXPECT_EQ(outcomes(asked.run).size(), 3u);
  EXPECT_FALSE(cancelling(asked.run).has_value());
}

TEST_P(RewoundRequests, ARequestFromAfterThePointIsForgottenAndMayBeMadeAnew) {
  const Asked asked = asked_run();
  ASSERT_TRUE(retry(retry_of(asked.run, to(1, 3), {})).has_value());
  EXPECT_FALSE(cancelling(asked.run).has_value());
  EXPECT_TRUE(overdue().empty());
  EXPECT_EQ(outcomes(asked.run).size(), 1u);
  EXPECT_EQ(store().journal(asked.run, -1, 10'000).value().rows.at(0).seq, 1);
  EXPECT_EQ(status_of(asked.works[1].grant.id), StackStatus::pending);
  EXPECT_EQ(status_of(asked.works[2].grant.id), StackStatus::pending);
  Answer<CancelRequested> answer;
  store_->cancellation()->request_cancel({asked.run, "{}", Millis{7'000}}, answer.done());
  EXPECT_EQ(answer.get().value().deadline, clock_.now() + Millis{7'000});
  EXPECT_EQ(outcomes(asked.run).size(), 2u);
}

TEST_P(RewoundRequests, ARunRetriedPastItsRequestCanBeGivenATimeToEndAgain) {
  const Asked asked = asked_run();
  ASSERT_TRUE(retry(retry_of(asked.run, to(2, 4), {2, 3})).has_value());
  Answer<CancelRequested> answer;
  store_->cancellation()->request_cancel({asked.run, "{}", Millis{7'000}}, answer.done());
  EXPECT_EQ(answer.get().value().deadline, clock_.now() + Millis{7'000});
  EXPECT_EQ(outcomes(asked.run).size(), 2u) << "the journal has one request";
  clock_.advance(Millis{7'000});
  EXPECT_EQ(overdue(), std::vector<TaskRunId>{asked.run});
}

TEST_P(RewoundRequests, AForkTakesAlongTheRequestAndWhatWasGivenUpByThen) {
  const Asked asked = asked_run();
  Fork wish = fork_of(asked.run, to(2, 4));
  wish.dropped = {2, 3};
  const Rewound forked = fork(wish).value();
  const auto journal = outcomes(forked.run);
  ASSERT_EQ(journal.size(), 2u);
  EXPECT_EQ(journal[1].seq, 0);
  EXPECT_EQ(journal[1].payload, "{\"code\":\"cancelled\"}");
  const auto calls = stack(forked.run);
  EXPECT_EQ(calls[2].status, StackStatus::cancelled);
  EXPECT_EQ(calls[3].status, StackStatus::cancelled);
  EXPECT_EQ(calls[4].status, StackStatus::pending);
  EXPECT_EQ(forked.runnable, (std::vector<StackRunId>{forked.root, calls[4].id}));
  EXPECT_FALSE(cancelling(forked.run).has_value());
  clock_.advance(Millis{60'000});
  EXPECT_TRUE(overdue().empty());

  const Rewound earlier = fork(fork_of(asked.run, to(1, 3))).value();
  EXPECT_EQ(outcomes(earlier.run).size(), 1u);
  EXPECT_EQ(stack(earlier.run)[2].status, StackStatus::pending);
}

}  // namespace
}  // namespace sequential::storage::test
