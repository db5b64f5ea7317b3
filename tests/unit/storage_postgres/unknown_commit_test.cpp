// A connection that breaks before a statement got through, or after its commit and before the
// answer (fault test F21): the caller gets the true answer, and the database shows it once.

#include "cut_proxy.h"
#include "pg_store_test.h"
#include "sequential/storage/schedules.h"

namespace sequential::storage::test {
namespace {

using When = CutProxy::When;

class UnknownCommit : public PgStoreTest, public ::testing::WithParamInterface<When> {
 protected:
  UnknownCommit() {
    options_.prepare = false;  // the proxy tells statements by their text
    options_.listen = false;
    options_.use_given_clock = true;
    direct_ = std::make_unique<Opened>(open(options_));
    function_ = publish(direct_->sync);
    PostgresOptions through = options_;
    through.url = "host='" + proxy_.folder() + "' port=5432 user=test dbname=postgres";
    through_ = std::make_unique<Opened>(open(through));
  }
  void TearDown() override {
    EXPECT_EQ(proxy_.cuts(), cuts_) << "the fault did not happen";
    PgStoreTest::TearDown();
  }

  // The store through the proxy, which cuts the next call of this function.
  SyncStore& cut(const std::string& function) {
    proxy_.cut_at(function, GetParam());
    ++cuts_;
    return through_->sync;
  }
  SyncStore& store() { return direct_->sync; }
  std::string count(const std::string& from) { return ask("SELECT count(*) FROM " + from); }
  Running start() { return PgStoreTest::start(store(), function_); }
  Submission submission() { return PgStoreTest::submission(function_); }

  CutProxy proxy_{cluster().socket_path()};
  std::unique_ptr<Opened> direct_, through_;
  TaskFunctionId function_;
  int cuts_ = 0;
};
INSTANTIATE_TEST_SUITE_P(
    At, UnknownCommit,
    ::testing::Values(When::before_it_is_sent, When::after_it_is_committed),
    [](const auto& when) {
      return when.param == When::before_it_is_sent ? "TheRequest" : "TheAnswer";
    });

TEST_P(UnknownCommit, ASubmitWithoutKeyMakesOneRun) {
  Submission s = submission();
  s.handoff = lease_of("a");
  const Submitted submitted = cut("submit_v1").submit(s).value();
  EXPECT_FALSE(submitted.existing);
  EXPECT_EQ(submitted.status, RunStatus::running);
  ASSERT_TRUE(submitted.work.has_value());
  EXPECT_EQ(count("task_runs"), "1");
  EXPECT_EQ(count("stack_runs"), "1");
  EXPECT_TRUE(store().commit_slice(end_of(submitted.work->grant, SliceEnd::completed, "1")));
}

TEST_P(UnknownCommit, ASubmitWithKeyIsNotTakenForARepetition) {
  Submission s = submission();
  s.idempotency_key = "key";
  const Submitted submitted = cut("submit_v1").submit(s).value();
  EXPECT_FALSE(submitted.existing);
  EXPECT_EQ(submitted.status, RunStatus::queued);
  EXPECT_EQ(count("task_runs"), "1");
  EXPECT_EQ(store().submit(s).value().run, submitted.run);
}

TEST_P(UnknownCommit, APublishSaysThatItMadeTheVersion) {
  Publication p;
  p.name = "other";
  p.code = "2";
  p.code_sha256 = "sha of 2";
  const Published published = cut("publish_v1").publish(p).value();
  EXPECT_TRUE(published.created);
  EXPECT_EQ(published.version, 1);
  EXPECT_EQ(count("task_functions"), "2");
}

TEST_P(UnknownCommit, AClaimIsAnsweredWithWhatItTook) {
  const StackRunId root = store().submit(submission()).value().root;
  const Work work = cut("claim_v1").claim(root, lease_of("a")).value().value();
  EXPECT_EQ(work.grant.epoch, 1);
  EXPECT_EQ(work.attempt, 1);
  EXPECT_EQ(work.task_name, "task");
  EXPECT_EQ(count("attempts"), "0");
  EXPECT_TRUE(store().commit_slice(end_of(work.grant, SliceEnd::completed, "1")));
}

TEST_P(UnknownCommit, ClaimNextTakesOneAndIsAnsweredWithIt) {
  ASSERT_TRUE(store().submit(submission()));
  ASSERT_TRUE(store().submit(submission()));
  const Work work = cut("claim_next_v1").claim_next(lease_of("a")).value().value();
  EXPECT_EQ(work.grant.epoch, 1);
  EXPECT_EQ(count("stack_runs WHERE status = 'processing'"), "1");
  EXPECT_TRUE(store().commit_slice(end_of(work.grant, SliceEnd::completed, "1")));
}

TEST_P(UnknownCommit, ASliceStoresItsCallsOnceAndHandsThemOver) {
  const Running running = start();
  SliceCommit commit = slice_of(running.grant, {call_of(1), call_of(2), call_of(3)});
  commit.calls[1].delay = Millis{500};
  commit.logs = {{"info", "once", ""}};
  commit.handoff = lease_of("a");
  const auto committed = cut("commit_slice_v1").commit_slice(commit).value();
  EXPECT_EQ(committed.status, RunStatus::suspended_waiting_child);
  ASSERT_EQ(committed.calls.size(), 3u);
  EXPECT_EQ(committed.calls[1].available_at, clock_.now() + Millis{500});
  EXPECT_FALSE(committed.calls[1].work.has_value());
  EXPECT_EQ(count("stack_runs"), "4");
  EXPECT_EQ(count("task_logs"), "1");
  for (const std::size_t i : {0u, 2u}) {
    const Work& work = committed.calls[i].work.value();
    EXPECT_EQ(work.args, "[1]");
    EXPECT_EQ(work.task_name, "task");
    EXPECT_TRUE(store().record_outcome(outcome_of(work.grant)));
  }
}

TEST_P(UnknownCommit, ASliceThatWakesItsRootIsAnsweredWithTheRoot) {
  const Running running = start();
  const Work first = issue_one(store(), running.grant, 1);
  OutcomeRecord record = outcome_of(first.grant);
  record.handoff = lease_of("a");
  const Grant root = store().record_outcome(record).value().wake->work->grant;
  SliceCommit commit = slice_of(root, {call_of(2)}, 0);  // has not seen the outcome
  commit.handoff = lease_of("a");
  const auto committed = cut("commit_slice_v1").commit_slice(commit).value();
  ASSERT_TRUE(committed.root && committed.root->work);
  EXPECT_EQ(committed.root->work->grant.epoch, root.epoch + 1);
  EXPECT_TRUE(store().commit_slice(end_of(committed.root->work->grant, SliceEnd::failed, "1", 1)));
}

TEST_P(UnknownCommit, TheEndOfAChildIsDeliveredToItsParentOnce) {
  const Running parent = start();
  const Work call = issue_one(store(), parent.grant, 1);
  Submission s = submission();
  s.parent_stack_run_id = call.grant.id;
  s.handoff = lease_of("a");
  const Grant child = store().submit(s).value().work->grant;
  SliceCommit end = end_of(child, SliceEnd::completed, "\"done\"");
  end.handoff = lease_of("a");
  const auto committed = cut("commit_slice_v1").commit_slice(end).value();
  EXPECT_EQ(committed.status, RunStatus::completed);
  ASSERT_TRUE(committed.parent && committed.parent->work);
  EXPECT_EQ(committed.parent->run, parent.run);
  EXPECT_EQ(store().outcomes(parent.run, 0, 10).value().at(0).payload, "\"done\"");
  EXPECT_TRUE(store().commit_slice(
      end_of(committed.parent->work->grant, SliceEnd::completed, "1", 1)));
}

TEST_P(UnknownCommit, ASliceThatPausesIsAnsweredSo) {
  const Running running = start();
  SliceCommit commit = end_of(running.grant, SliceEnd::paused, "{}");
  commit.reason = "divergent";
  EXPECT_EQ(cut("commit_slice_v1").commit_slice(commit).value().status, RunStatus::paused);
}

TEST_P(UnknownCommit, AnOutcomeIsRecordedOnceAndTheRootHandedOver) {
  const Running running = start();
  const Work call = issue_one(store(), running.grant, 1);
  OutcomeRecord record = outcome_of(call.grant, "\"once\"");
  record.handoff = lease_of("a");
  const auto recorded = cut("record_outcome_v1").record_outcome(record).value();
  EXPECT_EQ(recorded.delivered_as, 1);
  EXPECT_EQ(recorded.at, clock_.now());
  ASSERT_TRUE(recorded.wake && recorded.wake->work);
  EXPECT_EQ(recorded.wake->work->attempt, 1);
  EXPECT_EQ(store().journal_head(running.run).value().journal_length, 1);
  EXPECT_TRUE(store().commit_slice(
      end_of(recorded.wake->work->grant, SliceEnd::completed, "1", 1)));
}

TEST_P(UnknownCommit, ARetryIsScheduledOnce) {
  const Running running = start();
  const Work call = issue_one(store(), running.grant, 1);
  const auto recorded =
      cut("record_outcome_v1").record_outcome(retry_of(call.grant, Millis{700})).value();
  EXPECT_EQ(recorded.available_at, clock_.now() + Millis{700});
  EXPECT_EQ(count("attempts"), "1");
  EXPECT_EQ(store().stack_run(call.grant.id).value().status, StackStatus::pending);
}

TEST_P(UnknownCommit, AnEngineDeathIsCountedOnce) {
  const Running running = start();
  SliceLost lost;
  lost.root = running.grant;
  const auto result = cut("slice_lost_v1").slice_lost(lost).value();
  EXPECT_EQ(result.crashes, 1);
  EXPECT_FALSE(result.paused);
  EXPECT_EQ(store().run(running.run).value().crashes, 1);
}

TEST_P(UnknownCommit, AReleaseAndAnExtensionHold) {
  const Running running = start();
  EXPECT_TRUE(cut("extend_v1").extend({running.grant}, lease_of("a")).value().empty());
  EXPECT_TRUE(cut("release_v1").release(running.grant).has_value());
  EXPECT_EQ(count("attempts"), "1");
  EXPECT_TRUE(store().claim(running.root, lease_of("b")).value().has_value());
}

TEST_P(UnknownCommit, ACancellationIsNoConflictWithItself) {
  const Running parent = start();
  const Work call = issue_one(store(), parent.grant, 1);
  Submission s = submission();
  s.parent_stack_run_id = call.grant.id;
  const TaskRunId child = store().submit(s).value().run;
  const auto wake = cut("cancel_v1").cancel(child, "\"no\"").value();
  ASSERT_TRUE(wake.has_value());
  EXPECT_EQ(wake->run, parent.run);
  EXPECT_TRUE(refused(store().cancel(child, "\"no\""), Errc::conflict));
}

TEST_P(UnknownCommit, PauseAndResumeAreNoConflictsWithThemselves) {
  const StackRunId root = store().submit(submission()).value().root;
  const TaskRunId run = store().stack_run(root).value().task_run_id;
  EXPECT_TRUE(cut("pause_v1").pause(run).has_value());
  EXPECT_EQ(cut("resume_v1").resume(run).value(), std::vector<StackRunId>{root});
}

TEST_P(UnknownCommit, ClearTellsHowManyRunsItDeleted) {
  start();
  start();
  EXPECT_EQ(cut("clear_v1").clear().value(), 2);
  EXPECT_EQ(count("task_runs"), "0");
}

TEST_P(UnknownCommit, AKeyIsPutOnceAndItsDeletionIsTold) {
  const auto seal = [](std::int64_t version) { return "sealed " + std::to_string(version); };
  EXPECT_EQ(cut("keystore_put_v1").keystore_put("ns", "key", "id", seal).value(), 1);
  EXPECT_EQ(cut("keystore_put_v1").keystore_put("ns", "key", "id", seal).value(), 2);
  EXPECT_EQ(store().keystore_get("ns", "key").value().sealed, "sealed 2");
  EXPECT_TRUE(cut("DELETE FROM").keystore_delete("ns", "key").value());
  EXPECT_FALSE(store().keystore_delete("ns", "key").value());
}

TEST_P(UnknownCommit, AScheduleIsPutAndFiredOnceAndItsRunHandedOver) {
  SchedulePut put;
  put.name = "s";
  put.spec = "{}";
  put.next_tick = put.due_at = clock_.now();
  Answer<Schedule> made;
  cut("schedule_put_v1").async().schedules()->put(put, made.done());
  EXPECT_EQ(made.get().value().revision, 1);

  ScheduleFire fire;
  fire.name = "s";
  fire.revision = 1;
  fire.expected = put.next_tick;
  fire.tick = *put.next_tick;
  fire.next_tick = fire.due_at = fire.tick + Millis{60'000};
  fire.submission = submission();
  fire.submission.handoff = lease_of("a");
  Answer<ScheduleFired> answer;
  cut("schedule_fire_v1").async().schedules()->fire(fire, answer.done());
  const ScheduleFired fired = answer.get().value();
  EXPECT_EQ(fired.what, ScheduleFired::What::started);
  ASSERT_TRUE(fired.submitted && fired.submitted->work);
  EXPECT_FALSE(fired.submitted->existing);
  EXPECT_EQ(count("task_runs"), "1");
  EXPECT_EQ(ask("SELECT started FROM schedules"), "1");
  EXPECT_TRUE(store().commit_slice(end_of(fired.submitted->work->grant, SliceEnd::completed, "1")));
}

TEST_P(UnknownCommit, WhatAnotherNodeHasTakenOverSinceIsFencedOrItsOwn) {
  // The slice was not committed (the request was lost), its lease ended, another node took it.
  const Running running = start();
  clock_.advance(kLease);
  const Work other = store().claim(running.root, lease_of("b")).value().value();
  SliceCommit stale = slice_of(running.grant, {call_of(1)});
  EXPECT_TRUE(refused(cut("commit_slice_v1").commit_slice(stale), Errc::fenced));
  EXPECT_EQ(count("stack_runs"), "1");
  EXPECT_TRUE(store().commit_slice(end_of(other.grant, SliceEnd::completed, "1")));
}

}  // namespace
}  // namespace sequential::storage::test
