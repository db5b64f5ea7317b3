// pause, resume and cancel, in every state a run can be in; clear.

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class Control : public StoreTest {
 protected:
  void expect_nothing_runnable() {
    EXPECT_TRUE(store().due(100).value().ids.empty());
    EXPECT_FALSE(store().claim_next(lease_of("z")).value().has_value());
  }
  Grant wake(const Work& call) {
    OutcomeRecord record = outcome_of(call.grant);
    record.handoff = lease_of("a");
    return store().record_outcome(record).value().wake.value().work.value().grant;
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(Control);

TEST_P(Control, AnUnknownRunIsNotFound) {
  EXPECT_TRUE(refused(store().pause(TaskRunId(5)), Errc::run_not_found));
  EXPECT_TRUE(refused(store().resume(TaskRunId(5)), Errc::run_not_found));
  EXPECT_TRUE(refused(store().cancel(TaskRunId(5), "{}"), Errc::run_not_found));
}

TEST_P(Control, ATerminalRunIsLeftAsItIs) {
  const Running running = start();
  ASSERT_TRUE(store().commit_slice(end_of(running.grant, SliceEnd::failed, "{}")).has_value());
  const std::string before = database_->dump();
  EXPECT_TRUE(refused(store().pause(running.run), Errc::conflict));
  EXPECT_TRUE(refused(store().resume(running.run), Errc::conflict));
  EXPECT_TRUE(refused(store().cancel(running.run, "{}"), Errc::conflict));
  EXPECT_EQ(database_->dump(), before);
}

TEST_P(Control, OnlyWhatIsPausedResumesAndOnlyWhatIsNotPauses) {
  const Submitted submitted = submit();
  EXPECT_TRUE(refused(store().resume(submitted.run), Errc::conflict));
  ASSERT_TRUE(store().pause(submitted.run).has_value());
  EXPECT_TRUE(refused(store().pause(submitted.run), Errc::conflict));
  ASSERT_TRUE(store().resume(submitted.run).has_value());
  EXPECT_TRUE(refused(store().resume(submitted.run), Errc::conflict));
}

TEST_P(Control, AQueuedRunPausesAndResumesAsQueued) {
  const Submitted submitted = submit();
  ASSERT_TRUE(store().pause(submitted.run, "operator", "{\"by\":\"me\"}").has_value());
  TaskRun run = run_row(submitted.run);
  EXPECT_EQ(run.status, RunStatus::paused);
  EXPECT_EQ(run.pause_reason, "operator");
  EXPECT_EQ(run.pause_detail, "{\"by\":\"me\"}");
  EXPECT_EQ(status_of(submitted.root), StackStatus::paused);
  EXPECT_FALSE(store().claim(submitted.root, lease_of("a")).value().has_value());
  expect_nothing_runnable();
  EXPECT_EQ(store().resume(submitted.run).value(), std::vector<StackRunId>{submitted.root});
  run = run_row(submitted.run);
  EXPECT_EQ(run.status, RunStatus::queued);
  EXPECT_EQ(run.pause_reason, "");
  EXPECT_EQ(run.pause_detail, "");
  EXPECT_EQ(store().claim_next(lease_of("a")).value().value().grant.id, submitted.root);
}

TEST_P(Control, APausedRunSubmittedForLaterStillWaitsForItsTime) {
  Submission s = submission();
  s.delay = Millis{1'000};
  const Submitted submitted = store().submit(s).value();
  ASSERT_TRUE(store().pause(submitted.run).has_value());
  EXPECT_TRUE(store().resume(submitted.run).value().empty());
  expect_nothing_runnable();
  EXPECT_EQ(store().due(9).value().next_due, ManualClock::kStart + Millis{1'000});
}

TEST_P(Control, ASuspendedRunStaysPausedThroughOutcomesAndThenSeesThem) {
  const Running running = start();
  const auto works = issue(running, 1, 2);
  ASSERT_TRUE(store().pause(running.run).has_value());
  EXPECT_EQ(status_of(running.root), StackStatus::paused);
  EXPECT_EQ(status_of(works[0].grant.id), StackStatus::processing);  // goes on
  OutcomeRecord record = outcome_of(works[0].grant);
  record.handoff = lease_of("a");
  const auto recorded = store().record_outcome(record).value();
  EXPECT_EQ(recorded.delivered_as, 1);
  EXPECT_FALSE(recorded.wake.has_value());
  EXPECT_EQ(status_of(running.root), StackStatus::paused);
  EXPECT_EQ(run_status(running.run), RunStatus::paused);
  expect_nothing_runnable();
  EXPECT_EQ(store().resume(running.run).value(), std::vector<StackRunId>{running.root});
  EXPECT_EQ(run_status(running.run), RunStatus::running);
  EXPECT_TRUE(store().claim(running.root, lease_of("a")).value().has_value());
}

TEST_P(Control, ASuspendedRunWithNothingNewResumesToWaiting) {
  const Running running = start();
  const Work call = issue(running, 1, 1)[0];
  ASSERT_TRUE(store().pause(running.run).has_value());
  EXPECT_TRUE(store().resume(running.run).value().empty());
  EXPECT_EQ(status_of(running.root), StackStatus::suspended_waiting_child);
  EXPECT_EQ(run_status(running.run), RunStatus::suspended_waiting_child);
  EXPECT_EQ(run_row(running.run).waiting_on_stack_run_id, call.grant.id);
  EXPECT_TRUE(store().record_outcome(outcome_of(call.grant)).value().wake.has_value());
}

TEST_P(Control, ARunWokenBeforeThePauseIsRunnableAfterIt) {
  const Running running = start();
  const Work call = issue(running, 1, 1)[0];
  ASSERT_TRUE(store().record_outcome(outcome_of(call.grant)).value().wake.has_value());
  ASSERT_TRUE(store().pause(running.run).has_value());
  expect_nothing_runnable();
  EXPECT_EQ(store().resume(running.run).value(), std::vector<StackRunId>{running.root});
}

TEST_P(Control, PendingCallsPauseAndResumeWithTheirTimes) {
  const Running running = start();
  std::vector<NewCall> calls = {call_of(1), call_of(2)};
  calls[1].delay = Millis{60'000};
  const auto committed = store().commit_slice(slice_of(running.grant, calls)).value();
  ASSERT_TRUE(store().pause(running.run).has_value());
  for (const auto& call : committed.calls) {
    EXPECT_EQ(status_of(call.id), StackStatus::paused);
    EXPECT_FALSE(store().claim(call.id, lease_of("a")).value().has_value());
  }
  expect_nothing_runnable();
  EXPECT_FALSE(store().due(9).value().next_due.has_value());
  EXPECT_EQ(store().resume(running.run).value(),
            std::vector<StackRunId>{committed.calls[0].id});
  EXPECT_EQ(status_of(committed.calls[1].id), StackStatus::pending);
  EXPECT_EQ(store().due(9).value().next_due, ManualClock::kStart + Millis{60'000});
}

TEST_P(Control, ASliceUnderWayStoresItsCallsPausedAndItsRootToo) {
  const Running running = start();
  ASSERT_TRUE(store().pause(running.run).has_value());
  EXPECT_EQ(status_of(running.root), StackStatus::processing);
  SliceCommit commit = slice_of(running.grant, {call_of(1)});
  commit.handoff = lease_of("a");
  const auto committed = store().commit_slice(commit).value();
  EXPECT_EQ(committed.status, RunStatus::paused);
  EXPECT_FALSE(committed.root.has_value());
  EXPECT_FALSE(committed.calls[0].work.has_value());
  EXPECT_EQ(status_of(committed.calls[0].id), StackStatus::paused);
  EXPECT_EQ(status_of(running.root), StackStatus::paused);
  clock_.advance(kLease);
  expect_nothing_runnable();
  EXPECT_EQ(store().resume(running.run).value(),
            std::vector<StackRunId>{committed.calls[0].id});
  EXPECT_EQ(status_of(running.root), StackStatus::suspended_waiting_child);
  EXPECT_EQ(run_row(running.run).waiting_on_stack_run_id, committed.calls[0].id);
}

TEST_P(Control, ASliceUnderWayThatWasOvertakenByAnOutcomePausesRunnable) {
  const Running running = start();
  const auto works = issue(running, 1, 2);
  const Grant root = wake(works[0]);
  ASSERT_TRUE(store().pause(running.run).has_value());
  ASSERT_TRUE(store().record_outcome(outcome_of(works[1].grant)).has_value());
  SliceCommit commit = slice_of(root, {}, 1);
  commit.handoff = lease_of("a");
  EXPECT_EQ(store().commit_slice(commit).value().status, RunStatus::paused);
  EXPECT_EQ(store().resume(running.run).value(), std::vector<StackRunId>{running.root});
}

TEST_P(Control, ASliceUnderWayThatEndsTheRunEndsIt) {
  const Running running = start();
  const auto committed = store().commit_slice(slice_of(running.grant, {call_of(1), call_of(2)}));
  const auto& calls = committed.value().calls;
  const Work first = store().claim(calls[0].id, lease_of("a")).value().value();
  const Grant root = wake(first);
  ASSERT_TRUE(store().pause(running.run).has_value());
  EXPECT_EQ(status_of(calls[1].id), StackStatus::paused);
  EXPECT_EQ(store().commit_slice(end_of(root, SliceEnd::completed, "1", 1)).value().status,
            RunStatus::completed);
  const TaskRun run = run_row(running.run);
  EXPECT_EQ(run.status, RunStatus::completed);
  EXPECT_EQ(run.pause_reason, "");
  // What the pause held back goes on to its end, as after any completion.
  EXPECT_EQ(store().claim_next(lease_of("a")).value().value().grant.id, calls[1].id);
  EXPECT_TRUE(refused(store().resume(running.run), Errc::conflict));
}

TEST_P(Control, ALostSliceOfAPausedRunWaitsForTheResume) {
  const Running running = start();
  ASSERT_TRUE(store().pause(running.run).has_value());
  SliceLost lost;
  lost.root = running.grant;
  EXPECT_FALSE(store().slice_lost(lost).value().paused);
  EXPECT_EQ(status_of(running.root), StackStatus::paused);
  expect_nothing_runnable();
  EXPECT_EQ(store().resume(running.run).value(), std::vector<StackRunId>{running.root});

  const Running other = start();
  ASSERT_TRUE(store().pause(other.run).has_value());
  ASSERT_TRUE(store().release(other.grant).has_value());
  EXPECT_EQ(status_of(other.root), StackStatus::paused);
}

TEST_P(Control, ARetryOfAPausedRunWaitsForTheResume) {
  const Running running = start();
  const Work call = issue(running, 1, 1)[0];
  ASSERT_TRUE(store().pause(running.run).has_value());
  ASSERT_TRUE(store().record_outcome(retry_of(call.grant, Millis{10})).has_value());
  EXPECT_EQ(status_of(call.grant.id), StackStatus::paused);
  clock_.advance(Millis{10});
  expect_nothing_runnable();
  EXPECT_EQ(store().resume(running.run).value(), std::vector<StackRunId>{call.grant.id});
}

TEST_P(Control, AbandonedWorkOfAPausedRunIsTakenOverOnlyAfterTheResume) {
  const Running running = start();
  const Work call = issue(running, 1, 1)[0];
  const Running root_held = start();
  ASSERT_TRUE(store().pause(running.run).has_value());
  ASSERT_TRUE(store().pause(root_held.run).has_value());
  clock_.advance(kLease);
  EXPECT_FALSE(store().claim(call.grant.id, lease_of("b")).value().has_value());
  EXPECT_FALSE(store().claim(root_held.root, lease_of("b")).value().has_value());
  expect_nothing_runnable();
  ASSERT_TRUE(store().resume(running.run).has_value());
  ASSERT_TRUE(store().resume(root_held.run).has_value());
  EXPECT_EQ(store().due(10).value().ids.size(), 2u);
  EXPECT_TRUE(store().claim(call.grant.id, lease_of("b")).value().has_value());
  EXPECT_TRUE(store().claim(root_held.root, lease_of("b")).value().has_value());
}

TEST_P(Control, APauseSurvivesARestart) {
  const Running running = start();
  issue(running, 1, 1);
  ASSERT_TRUE(store().pause(running.run).has_value());
  reopen();
  ASSERT_TRUE(store().recover("b").has_value());
  expect_nothing_runnable();
  ASSERT_TRUE(store().resume(running.run).has_value());
  if (GetParam().name == "sqlite") {
    EXPECT_EQ(store().due(10).value().ids.size(), 1u);  // the call, freed by recover
  }
}

TEST_P(Control, CancelEndsARunInEveryStateWithAllItsUnfinishedWork) {
  enum class State { queued, running, suspended, woken, paused, timer };
  for (const State state : {State::queued, State::running, State::suspended, State::woken,
                            State::paused, State::timer}) {
    SCOPED_TRACE(static_cast<int>(state));
    TaskRunId run;
    std::vector<StackRunId> finished;
    if (state == State::queued) {
      run = submit().run;
    } else {
      const Running running = start();
      run = running.run;
      if (state == State::timer) {
        NewCall timer = call_of(1);
        timer.delay = Millis{1'000'000};
        ASSERT_TRUE(store().commit_slice(slice_of(running.grant, {timer})).has_value());
      } else if (state != State::running) {
        const auto works = issue(running, 1, 3);
        if (state == State::woken) {
          ASSERT_TRUE(store().record_outcome(outcome_of(works[1].grant)).has_value());
          finished.push_back(works[1].grant.id);
        }
        if (state == State::paused) {
          ASSERT_TRUE(store().pause(run).has_value());
        }
      }
    }
    clock_.advance(Millis{1});
    EXPECT_FALSE(store().cancel(run, "{\"code\":\"cancelled\"}").value().has_value());
    const TaskRun row = run_row(run);
    EXPECT_EQ(row.status, RunStatus::cancelled);
    EXPECT_EQ(row.error, "{\"code\":\"cancelled\"}");
    EXPECT_EQ(row.ended_at, clock_.now());
    EXPECT_FALSE(row.waiting_on_stack_run_id);
    const auto rows = store().stack(run, 0, 100).value();
    for (const StackRun& s : rows) {
      const bool was_finished = !finished.empty() && s.id == finished[0];
      EXPECT_EQ(s.status, was_finished ? StackStatus::completed : StackStatus::cancelled) << s.seq;
      EXPECT_TRUE(s.ended_at.has_value());
    }
    clock_.advance(kLease);
    expect_nothing_runnable();
    EXPECT_TRUE(refused(store().cancel(run, "{}"), Errc::conflict));
  }
}

TEST_P(Control, ClearDeletesRunsAndKeepsFunctionsAndSecrets) {
  const Running running = start();
  SliceCommit commit = slice_of(running.grant, {call_of(1)});
  commit.logs = {{"info", "x", ""}};
  commit.handoff = lease_of("a");
  const auto call = store().commit_slice(commit).value().calls[0].work.value();
  ASSERT_TRUE(store().record_outcome(retry_of(call.grant, Millis{1})).has_value());
  Submission with_key = submission();
  with_key.idempotency_key = "k";
  ASSERT_TRUE(store().submit(with_key).has_value());
  ASSERT_TRUE(store().keystore_put("n", "k", "id", [](std::int64_t) { return "s"; }).has_value());

  EXPECT_EQ(store().clear().value(), 2);
  EXPECT_TRUE(store().runs({}).value().empty());
  EXPECT_TRUE(refused(store().run(running.run), Errc::run_not_found));
  EXPECT_TRUE(refused(store().stack_run(running.root), Errc::not_found));
  EXPECT_TRUE(store().attempts(call.grant.id).value().empty());
  EXPECT_TRUE(store().logs(running.run, 0, 10).value().empty());
  expect_nothing_runnable();
  clock_.advance(kLease);
  expect_nothing_runnable();
  EXPECT_TRUE(store().task_function("task", 0).has_value());
  EXPECT_EQ(store().keystore_get("n", "k").value().sealed, "s");
  EXPECT_FALSE(store().submit(with_key).value().existing);  // the key is free again
  EXPECT_EQ(store().clear().value(), 1);
  EXPECT_EQ(store().clear().value(), 0);
}

}  // namespace
}  // namespace sequential::storage::test
