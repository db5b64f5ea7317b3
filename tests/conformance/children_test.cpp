// Child tasks: started once whatever crashes, their end told to the call that waits in every state
// it can be in, cancelled after the run that waited for them.

#include "sequential/storage/children.h"

#include <algorithm>

#include "sequential/storage/search.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class ChildRuns : public StoreTest {
 protected:
  struct Tree {
    Running parent;
    Work call;
    Running child;
  };

  template <class T, class Method, class... Args>
  Result<T> ask(Method method, Args... args) {
    Answer<T> answer;
    (store_->children()->*method)(std::move(args)..., answer.done());
    return answer.get();
  }
  Result<Submitted> start_child(ChildStart start) {
    return ask<Submitted>(&Children::start_child, std::move(start));
  }
  OrphansCancelled cancel_orphans(int limit = 100) {
    return ask<OrphansCancelled>(&Children::cancel_orphans, limit).value();
  }
  std::vector<TaskRunId> cancel_all_orphans() {
    std::vector<TaskRunId> all;
    for (OrphansCancelled pass = cancel_orphans(3); pass.more; pass = cancel_orphans(3)) {
      all.insert(all.end(), pass.runs.begin(), pass.runs.end());
    }
    return all;
  }
  std::optional<ChildLink> parent_of(TaskRunId run) {
    return ask<std::optional<ChildLink>>(&Children::parent_of, run).value();
  }
  // Newest first.
  std::vector<TaskRunId> children_of(TaskRunId run) {
    RunQuery query;
    query.parent = run;
    Answer<RunPage> answer;
    store_->search()->find_runs(query, TaskRunId(), 100, 1'000, answer.done());
    const RunPage page = answer.get().value();
    std::vector<TaskRunId> ids;
    for (const TaskRun& child : page.runs) ids.push_back(child.id);
    return ids;
  }

  ChildStart child_of(const Work& call) {
    ChildStart start;
    start.call = call.grant;
    start.submission = submission();
    start.submission.handoff = lease_of("a");
    return start;
  }
  Running started(const Work& call) {
    const Submitted child = start_child(child_of(call)).value();
    EXPECT_FALSE(child.existing);
    return {child.run, child.root, child.work.value().grant};
  }
  Tree tree() {
    Tree t;
    t.parent = start();
    t.call = issue(t.parent, 1, 1)[0];
    t.child = started(t.call);
    return t;
  }
  // Nobody can take the call.
  void expect_waiting(const Work& call, StackStatus status = StackStatus::pending) {
    const StackRun waiting = row(call.grant.id);
    EXPECT_EQ(waiting.status, status);
    EXPECT_EQ(waiting.available_at, kWaitsForChild);
    EXPECT_FALSE(store().claim(call.grant.id, lease_of("z")).value().has_value());
    const auto due = store().due(100).value().ids;
    EXPECT_EQ(std::count(due.begin(), due.end(), call.grant.id), 0);
  }
  SliceCommitted end(const Running& running, SliceEnd how, std::string payload) {
    return store().commit_slice(end_of(running.grant, how, std::move(payload))).value();
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(ChildRuns);

TEST_P(ChildRuns, TheCallWaitsClaimedByNobodyAndTheChildIsClaimed) {
  const Tree t = tree();
  expect_waiting(t.call);
  EXPECT_EQ(run_status(t.child.run), RunStatus::running);
  EXPECT_EQ(run_row(t.child.run).parent_stack_run_id, t.call.grant.id);
  EXPECT_EQ(run_status(t.parent.run), RunStatus::suspended_waiting_child);
  EXPECT_EQ(run_row(t.parent.run).waiting_on_stack_run_id, t.call.grant.id);
  clock_.advance(kLease * 1'000);
  const auto due = store().due(9).value();
  EXPECT_EQ(due.ids, std::vector<StackRunId>{t.child.root}) << "the lease of the child only";
  expect_waiting(t.call);
  reopen();
  expect_waiting(t.call);
}

TEST_P(ChildRuns, OnlyTheHolderOfTheCallStartsOne) {
  const Running parent = start();
  const Work call = issue(parent, 1, 1)[0];
  const std::string before = database_->dump();
  for (const auto spoil : {0, 1, 2, 3}) {
    ChildStart start = child_of(call);
    if (spoil == 0) ++start.call.epoch;
    if (spoil == 1) --start.call.epoch;
    if (spoil == 2) start.call.run.value += 77;
    if (spoil == 3) start.call.id = parent.root;
    EXPECT_TRUE(refused(start_child(start), Errc::fenced)) << spoil;
  }
  ChildStart unknown = child_of(call);
  unknown.submission.task_function_id.value += 99;
  EXPECT_TRUE(refused(start_child(unknown), Errc::task_not_found));
  EXPECT_EQ(database_->dump(), before);

  clock_.advance(kLease + Millis{1});  // and another node takes the call over
  const Work again = store().claim(call.grant.id, lease_of("b")).value().value();
  EXPECT_TRUE(refused(start_child(child_of(call)), Errc::fenced));
  ASSERT_TRUE(start_child(child_of(again)).has_value());
  EXPECT_EQ(children_of(parent.run).size(), 1u);
}

TEST_P(ChildRuns, ACallThatWaitsStartsNoOther) {
  const Tree t = tree();
  EXPECT_TRUE(refused(start_child(child_of(t.call)), Errc::fenced));
  EXPECT_EQ(children_of(t.parent.run), std::vector<TaskRunId>{t.child.run});
}

TEST_P(ChildRuns, AClaimedCallWithAChildUnderWayWaitsOn) {
  // Whatever made the call claimable: its child is not started twice.
  const Tree t = tree();
  const WallTime now = clock_.now();
  clock_.set(kWaitsForChild);
  const Work again = store().claim(t.call.grant.id, lease_of("b")).value().value();
  clock_.set(now);
  const Submitted known = start_child(child_of(again)).value();
  EXPECT_TRUE(known.existing);
  EXPECT_EQ(known.run, t.child.run);
  EXPECT_FALSE(known.work.has_value());
  expect_waiting(t.call);
  EXPECT_EQ(end(t.child, SliceEnd::completed, "1").parent.value().run, t.parent.run);
}

TEST_P(ChildRuns, EveryEndOfTheChildEndsTheCallAndWakesTheParent) {
  for (const auto how : {SliceEnd::completed, SliceEnd::failed, SliceEnd::cancelled}) {
    const Tree t = tree();
    const auto committed = end(t.child, how, R"({"x":1})");
    ASSERT_TRUE(committed.parent.has_value());
    EXPECT_EQ(committed.parent->root, t.parent.root);
    const StackRun call = row(t.call.grant.id);
    const bool good = how == SliceEnd::completed;
    EXPECT_EQ(call.status, good ? StackStatus::completed : StackStatus::failed);
    EXPECT_EQ(good ? call.result : call.error, R"({"x":1})");
    EXPECT_EQ(status_of(t.parent.root), StackStatus::pending);
    EXPECT_EQ(store().outcomes(t.parent.run, 0, 9).value().at(0).payload, R"({"x":1})");
  }
  const Tree t = tree();
  const auto wake = store().cancel(t.child.run, R"({"code":"cancelled"})").value();
  ASSERT_TRUE(wake.has_value());
  EXPECT_EQ(wake->run, t.parent.run);
  EXPECT_EQ(row(t.call.grant.id).error, R"({"code":"cancelled"})");
}

TEST_P(ChildRuns, TheParentIsClaimedForTheNodeWhereTheChildEnded) {
  const Tree t = tree();
  SliceCommit commit = end_of(t.child.grant, SliceEnd::completed, "7");
  commit.handoff = lease_of("b");
  const auto wake = store().commit_slice(commit).value().parent.value();
  ASSERT_TRUE(wake.work.has_value());
  Running parent = t.parent;
  parent.grant = wake.work->grant;
  ASSERT_TRUE(store()
                  .commit_slice(end_of(parent.grant, SliceEnd::completed, "8", 1))
                  .has_value());
  EXPECT_EQ(run_row(parent.run).result, "8");
}

TEST_P(ChildRuns, AChildThatEndsWhileItsParentIsPausedIsSeenAfterTheResume) {
  const Tree t = tree();
  ASSERT_TRUE(store().pause(t.parent.run).has_value());
  expect_waiting(t.call, StackStatus::paused);
  EXPECT_FALSE(end(t.child, SliceEnd::completed, "1").parent.has_value());
  EXPECT_EQ(status_of(t.call.grant.id), StackStatus::completed);
  EXPECT_EQ(store().resume(t.parent.run).value(), std::vector<StackRunId>{t.parent.root});
}

TEST_P(ChildRuns, ResumingAParentMakesNoWaitingCallRunnable) {
  const Tree t = tree();
  ASSERT_TRUE(store().pause(t.parent.run).has_value());
  EXPECT_TRUE(store().resume(t.parent.run).value().empty());
  expect_waiting(t.call);
  EXPECT_EQ(status_of(t.parent.root), StackStatus::suspended_waiting_child);
  EXPECT_EQ(end(t.child, SliceEnd::completed, "1").parent.value().root, t.parent.root);
}

TEST_P(ChildRuns, AChildStartedWhileItsParentIsPausedWaitsPaused) {
  const Running parent = start();
  const Work call = issue(parent, 1, 1)[0];
  ASSERT_TRUE(store().pause(parent.run).has_value());
  const Running child = started(call);
  expect_waiting(call, StackStatus::paused);
  EXPECT_TRUE(store().resume(parent.run).value().empty());
  expect_waiting(call);
  EXPECT_EQ(end(child, SliceEnd::completed, "1").parent.value().root, parent.root);
}

TEST_P(ChildRuns, AChildThatEndsWhileItsParentRunsIsTheNextSlicesOutcome) {
  Running parent = start();
  const auto calls = issue(parent, 1, 2);
  OutcomeRecord record = outcome_of(calls[1].grant);
  record.handoff = lease_of("a");
  const Running child = started(calls[0]);
  parent.grant = store().record_outcome(record).value().wake.value().work.value().grant;
  EXPECT_FALSE(end(child, SliceEnd::completed, "1").parent.has_value());
  const auto committed = store().commit_slice(slice_of(parent.grant, {}, 1)).value();
  ASSERT_TRUE(committed.root.has_value());
  EXPECT_EQ(store().outcomes(parent.run, 1, 9).value().at(0).payload, "1");
}

TEST_P(ChildRuns, AChildThatWasNeverAwaitedGoesOnToItsEnd) {
  Running parent = start();
  const auto calls = issue(parent, 1, 2);
  const Running child = started(calls[0]);
  OutcomeRecord record = outcome_of(calls[1].grant);
  record.handoff = lease_of("a");
  parent.grant = store().record_outcome(record).value().wake.value().work.value().grant;
  ASSERT_TRUE(store()
                  .commit_slice(end_of(parent.grant, SliceEnd::completed, "1", 1))
                  .has_value());
  EXPECT_TRUE(cancel_all_orphans().empty());
  expect_waiting(calls[0]);
  reopen();
  EXPECT_FALSE(end(child, SliceEnd::completed, "2").parent.has_value());
  EXPECT_EQ(status_of(calls[0].grant.id), StackStatus::completed);
  EXPECT_EQ(run_row(parent.run).result, "1");
}

TEST_P(ChildRuns, ACancelledRunsChildrenAreCancelledDownTheTreeAlsoAfterARestart) {
  const Running top = start();
  const auto calls = issue(top, 1, 3);
  std::vector<Running> all;
  for (const auto& call : calls) all.push_back(started(call));
  ASSERT_TRUE(store().commit_slice(end_of(all[2].grant, SliceEnd::completed, "1")).has_value());
  const Work deeper = issue(all[0], 1, 1)[0];
  const Running grandchild = started(deeper);
  const Running stranger = start();

  ASSERT_TRUE(store().cancel(top.run, "{}").has_value());
  EXPECT_EQ(run_status(all[0].run), RunStatus::suspended_waiting_child) << "not yet";
  EXPECT_EQ(cancel_orphans(1).runs, std::vector<TaskRunId>{all[0].run});
  reopen();
  auto cancelled = cancel_all_orphans();
  std::sort(cancelled.begin(), cancelled.end());
  EXPECT_EQ(cancelled, (std::vector<TaskRunId>{all[1].run, grandchild.run}));
  for (const TaskRunId run : {all[0].run, all[1].run, grandchild.run}) {
    EXPECT_EQ(run_status(run), RunStatus::cancelled);
    EXPECT_EQ(run_row(run).error, kOrphanError);
  }
  EXPECT_EQ(run_status(all[2].run), RunStatus::completed);
  EXPECT_EQ(run_status(stranger.run), RunStatus::running);
  EXPECT_TRUE(refused(store().commit_slice(end_of(all[1].grant, SliceEnd::completed, "1")),
                      Errc::fenced));
  EXPECT_FALSE(cancel_orphans().more);
}

TEST_P(ChildRuns, AnEndAsCancelledCancelsTheChildrenToo) {
  Running parent = start();
  const auto calls = issue(parent, 1, 2);
  const Running child = started(calls[0]);
  OutcomeRecord record = outcome_of(calls[1].grant);
  record.handoff = lease_of("a");
  parent.grant = store().record_outcome(record).value().wake.value().work.value().grant;
  ASSERT_TRUE(store()
                  .commit_slice(end_of(parent.grant, SliceEnd::cancelled, "{}", 1))
                  .has_value());
  EXPECT_EQ(cancel_all_orphans(), std::vector<TaskRunId>{child.run});
}

TEST_P(ChildRuns, AChildThatEndsBeforeItIsCancelledKeepsItsEnd) {
  const Tree t = tree();
  ASSERT_TRUE(store().cancel(t.parent.run, "{}").has_value());
  end(t.child, SliceEnd::completed, "1");
  EXPECT_TRUE(cancel_orphans().runs.empty());
  EXPECT_FALSE(cancel_orphans().more);
  EXPECT_EQ(run_status(t.child.run), RunStatus::completed);
}

TEST_P(ChildRuns, AChildWhoseCallWasEndedOtherwiseIsCancelled) {
  const Tree t = tree();
  Submission other = submission();
  other.parent_stack_run_id = t.call.grant.id;
  EXPECT_TRUE(end(start(other), SliceEnd::completed, "1").parent.has_value());
  EXPECT_EQ(run_status(t.child.run), RunStatus::running);
  EXPECT_EQ(cancel_all_orphans(), std::vector<TaskRunId>{t.child.run});
  EXPECT_EQ(run_status(t.child.run), RunStatus::cancelled);
  EXPECT_EQ(row(t.call.grant.id).result, "1");
}

TEST_P(ChildRuns, AnOrdinarySubmitBelowACallIsNobodysOrphan) {
  const Running parent = start();
  issue(parent, 1, 1);
  const Running other = start();
  ASSERT_TRUE(store().cancel(parent.run, "{}").has_value());
  EXPECT_TRUE(cancel_all_orphans().empty());
  EXPECT_EQ(run_status(other.run), RunStatus::running);
}

TEST_P(ChildRuns, ThereIsABoundToHowDeepTheyAre) {
  Running run = start();
  for (int depth = 1; depth <= 3; ++depth) {
    ChildStart start = child_of(issue(run, 1, 1)[0]);
    start.depth_max = 3;
    const Submitted child = start_child(start).value();
    EXPECT_EQ(parent_of(child.run).value().depth, depth);
    run = {child.run, child.root, child.work.value().grant};
  }
  const Work call = issue(run, 1, 1)[0];
  const std::string before = database_->dump();
  ChildStart start = child_of(call);
  start.depth_max = 3;
  EXPECT_TRUE(refused(start_child(start), Errc::depth_limit));
  EXPECT_EQ(database_->dump(), before);
  ASSERT_TRUE(store().record_outcome(failure_of(call.grant)).has_value());
}

TEST_P(ChildRuns, TheParentAndTheChildrenAreFound) {
  const Running parent = start();
  const auto calls = issue(parent, 1, 3);
  std::vector<TaskRunId> newest_first;
  for (const auto& call : calls) newest_first.insert(newest_first.begin(), started(call).run);
  EXPECT_EQ(children_of(parent.run), newest_first);
  const auto link = parent_of(newest_first[0]).value();
  EXPECT_EQ(link.parent, parent.run);
  EXPECT_EQ(link.call, calls[2].grant.id);
  EXPECT_EQ(link.seq, 3);
  EXPECT_EQ(link.depth, 1);
  EXPECT_FALSE(parent_of(parent.run).has_value());
  EXPECT_TRUE(children_of(newest_first[0]).empty());
}

TEST_P(ChildRuns, PriorityIsTheParentsOrItsOwn) {
  Submission s = submission();
  s.priority = 7;
  const Running parent = start(s);
  const auto calls = issue(parent, 1, 2);
  EXPECT_EQ(run_row(started(calls[0]).run).priority, 7);
  ChildStart own = child_of(calls[1]);
  own.inherits_priority = false;
  own.submission.priority = -3;
  EXPECT_EQ(run_row(start_child(own).value().run).priority, -3);
}

TEST_P(ChildRuns, ADelayedChildStartsWhenItIsDue) {
  const Running parent = start();
  ChildStart later = child_of(issue(parent, 1, 1)[0]);
  later.submission.delay = Millis{5'000};
  const Submitted child = start_child(later).value();
  EXPECT_FALSE(child.work.has_value());
  EXPECT_EQ(run_status(child.run), RunStatus::queued);
  EXPECT_FALSE(store().claim(child.root, lease_of("a")).value().has_value());
  clock_.advance(Millis{5'000});
  EXPECT_TRUE(store().claim(child.root, lease_of("a")).value().has_value());
}

TEST_P(ChildRuns, ClearForgetsThem) {
  const Tree t = tree();
  ASSERT_TRUE(store().cancel(t.parent.run, "{}").has_value());
  ASSERT_TRUE(store().clear().has_value());
  EXPECT_FALSE(cancel_orphans().more);
  EXPECT_FALSE(parent_of(t.child.run).has_value());
  EXPECT_TRUE(children_of(t.parent.run).empty());
}

}  // namespace
}  // namespace sequential::storage::test
