// Children whose parent is asked to end, is cancelled or goes back to before their call: they are
// asked too, as long as it has, and nothing of theirs reaches a call that is not theirs any more.

#include "sequential/storage/cancellation.h"
#include "sequential/storage/children.h"
#include "sequential/storage/rewinds.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

constexpr Millis kGrace{5'000};
const std::string kError = R"({"name":"CancelledError","code":"cancelled","message":"so"})";

class ChildEnds : public StoreTest {
 protected:
  struct Tree {
    Running parent;
    std::vector<Work> calls;
    std::vector<Running> children;
    std::vector<Work> own;  // each child's call
  };

  template <class T, class Contract, class Method, class... Args>
  Result<T> ask(Contract* contract, Method method, Args... args) {
    Answer<T> answer;
    (contract->*method)(std::move(args)..., answer.done());
    return answer.get();
  }
  CancelRequested request(TaskRunId run, Millis grace = kGrace) {
    CancelRequest wish{run, kError, grace};
    return ask<CancelRequested>(store_->cancellation(), &Cancellation::request_cancel, wish)
        .value();
  }
  std::optional<Cancelling> cancelling(TaskRunId run) {
    return ask<std::optional<Cancelling>>(store_->cancellation(), &Cancellation::cancelling, run)
        .value();
  }
  // Until there are no notes; what one pass after the other did.
  OrphansCancelled work_off() {
    OrphansCancelled all;
    for (bool more = true; more;) {
      auto pass = ask<OrphansCancelled>(store_->children(), &Children::cancel_orphans, 2).value();
      all.runs.insert(all.runs.end(), pass.runs.begin(), pass.runs.end());
      for (auto& asked : pass.asked) all.asked.push_back(std::move(asked));
      more = pass.more;
    }
    return all;
  }
  Result<Rewound> retry(TaskRunId run, std::int64_t through, std::int64_t calls,
                        std::vector<std::int64_t> dropped = {}, int rewinds = 0) {
    Retry wish;
    wish.run = run;
    wish.to.through = through;
    wish.to.calls = calls;
    wish.to.function = function_;
    wish.to.version = 1;
    wish.to.rewinds = rewinds;
    wish.grace = kGrace;
    wish.dropped = std::move(dropped);
    return ask<Rewound>(store_->rewinds(), &Rewinds::retry_run, wish);
  }

  Submitted start_child(const Work& call) {
    ChildStart wish;
    wish.call = call.grant;
    wish.submission = submission();
    wish.submission.handoff = lease_of("a");
    return ask<Submitted>(store_->children(), &Children::start_child, wish).value();
  }
  Running child_of(const Work& call) {
    const Submitted child = start_child(call);
    EXPECT_FALSE(child.existing);
    return {child.run, child.root, child.work.value().grant};
  }
  std::optional<ChildLink> parent_of(TaskRunId run) {
    return ask<std::optional<ChildLink>>(store_->children(), &Children::parent_of, run).value();
  }
  // A parent with so many children, each of which has begun: a call of its own is open.
  Tree tree(int count) {
    Tree t;
    t.parent = start();
    t.calls = issue(t.parent, 1, count);
    for (const Work& call : t.calls) {
      t.children.push_back(child_of(call));
      t.own.push_back(issue(t.children.back(), 1, 1)[0]);
    }
    return t;
  }
  Grant claim(StackRunId id) { return store().claim(id, lease_of("a")).value().value().grant; }
  // Ends with its next slice, whatever it waited for.
  SliceCommitted end(const Running& running, SliceEnd how, const std::string& payload) {
    return store()
        .commit_slice(end_of(claim(running.root), how, payload,
                             store().journal_head(running.run).value().journal_length))
        .value();
  }
  // A child's call ends, and the child with it: whether that woke its parent.
  bool end_child(const Running& child, const std::string& result) {
    const StackRun call = store().stack(child.run, 1, 1).value().at(0);
    if (!store().record_outcome(outcome_of({call.id, child.run, call.epoch})).has_value()) {
      return false;
    }
    return end(child, SliceEnd::completed, result).parent.has_value();
  }
  // The call of that number as it is now, claimed.
  Work call_again(TaskRunId run, std::int64_t seq) {
    const auto stack = store().stack(run, seq, 1).value();
    return store().claim(stack.at(0).id, lease_of("b")).value().value();
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(ChildEnds);

TEST_P(ChildEnds, ChildrenAreAskedToEndWithTheirParentAndHaveItsDeadline) {
  const Tree t = tree(2);
  const Running grandchild = child_of(t.own[0]);
  issue(grandchild, 1, 1);
  const WallTime deadline = request(t.parent.run).deadline;
  clock_.advance(Millis{100});
  reopen();
  const OrphansCancelled done = work_off();
  EXPECT_TRUE(done.runs.empty());
  ASSERT_EQ(done.asked.size(), 3u);
  for (const auto& asked : done.asked) EXPECT_EQ(asked.left, kGrace - Millis{100});
  for (const Running& child : {t.children[0], t.children[1], grandchild}) {
    EXPECT_EQ(cancelling(child.run).value().deadline, deadline);
    EXPECT_EQ(status_of(child.root), StackStatus::pending);
    EXPECT_EQ(store().outcomes(child.run, 0, 9).value().at(0).payload, kOrphanError);
  }
  EXPECT_EQ(done.asked[1].root.value().root, t.children[1].root);
  EXPECT_TRUE(work_off().asked.empty());
  // Its end is told to nobody.
  EXPECT_FALSE(end(t.children[1], SliceEnd::completed, "1").parent.has_value());
  EXPECT_EQ(status_of(t.calls[1].grant.id), StackStatus::cancelled);
}

TEST_P(ChildEnds, AParentThatEndsInItsGraceLeavesItsChildrenTheirs) {
  const Tree t = tree(1);
  const WallTime deadline = request(t.parent.run).deadline;
  EXPECT_EQ(work_off().asked.size(), 1u);
  end(t.parent, SliceEnd::cancelled, kError);
  const auto again = work_off();
  EXPECT_TRUE(again.runs.empty());
  EXPECT_EQ(cancelling(t.children[0].run).value().deadline, deadline);
  EXPECT_EQ(store().outcomes(t.children[0].run, 0, 9).value().size(), 1u) << "asked once";
}

TEST_P(ChildEnds, WhatAParentStartsInItsGraceIsAskedOnceItIsCancelledAndCutOffAtTheDeadline) {
  const Tree t = tree(1);
  request(t.parent.run);
  work_off();
  Running parent = t.parent;
  parent.grant = claim(parent.root);
  SliceCommit commit = slice_of(parent.grant, {call_of(2)}, 1);
  commit.handoff = lease_of("a");
  const Work cleanup = store().commit_slice(commit).value().calls[0].work.value();
  const Running child = child_of(cleanup);
  issue(child, 1, 1);
  EXPECT_TRUE(work_off().asked.empty());
  request(t.parent.run, Millis{4'000});
  work_off();
  EXPECT_FALSE(cancelling(child.run).has_value()) << "asking again is for those that were asked";
  EXPECT_EQ(cancelling(t.children[0].run).value().deadline, clock_.now() + Millis{4'000});
  clock_.advance(kGrace);
  ASSERT_TRUE(store().cancel(t.parent.run, kError).has_value());
  EXPECT_EQ(work_off().runs.size(), 2u);
  EXPECT_EQ(run_status(child.run), RunStatus::cancelled);
}

TEST_P(ChildEnds, ForceIsPassedOnAlsoAfterARequest) {
  const Tree t = tree(2);
  request(t.parent.run);
  EXPECT_TRUE(request(t.parent.run, Millis{0}).over);
  EXPECT_EQ(work_off().runs.size(), 2u);
  EXPECT_EQ(run_row(t.children[0].run).error, kOrphanError);
}

TEST_P(ChildEnds, ChildrenOfAParentThatCouldNotSeeTheRequestAreAskedAllTheSame) {
  const Tree t = tree(1);
  ASSERT_TRUE(store().pause(t.parent.run).has_value());
  EXPECT_TRUE(request(t.parent.run).over);
  const auto done = work_off();
  EXPECT_TRUE(done.runs.empty());
  ASSERT_EQ(done.asked.size(), 1u);
  EXPECT_EQ(done.asked[0].left, kGrace);
}

TEST_P(ChildEnds, ChildrenOfAParentThatEndsWithoutBeingAskedToGoOn) {
  for (const auto how : {SliceEnd::completed, SliceEnd::failed}) {
    const Tree t = tree(2);
    ASSERT_TRUE(end_child(t.children[1], "1"));
    end(t.parent, how, "{}");
    const auto done = work_off();
    EXPECT_TRUE(done.runs.empty() && done.asked.empty());
    EXPECT_EQ(run_status(t.children[0].run), RunStatus::suspended_waiting_child);
  }
}

// --- retry ---------------------------------------------------------------------------------------

TEST_P(ChildEnds, ARetryAsksTheChildrenOfRemovedCallsToEndAndForgetsWhoseTheyAre) {
  // Call 1 fails, upon which 2 and 3 are made: 2 has a child that ends, 3 one that goes on.
  Running parent = start();
  const Work first = issue(parent, 1, 1)[0];
  OutcomeRecord failure = failure_of(first.grant);
  failure.handoff = lease_of("a");
  parent.grant = store().record_outcome(failure).value().wake.value().work.value().grant;
  SliceCommit commit = slice_of(parent.grant, {call_of(2), call_of(3)}, 1);
  commit.handoff = lease_of("a");
  const auto made = store().commit_slice(commit).value().calls;
  const Running ended = child_of(made[0].work.value());
  const Running going_on = child_of(made[1].work.value());
  issue(going_on, 1, 1);
  commit = end_of(ended.grant, SliceEnd::completed, "1");
  commit.handoff = lease_of("a");
  const auto wake = store().commit_slice(commit).value().parent.value();
  ASSERT_TRUE(store()
                  .commit_slice(end_of(wake.work.value().grant, SliceEnd::failed, "{}", 2))
                  .has_value());
  EXPECT_TRUE(work_off().asked.empty()) << "a parent that fails leaves them alone";

  ASSERT_TRUE(retry(parent.run, 0, 1).has_value());
  EXPECT_EQ(database_->damage(), "");
  const ChildLink link = parent_of(going_on.run).value();
  EXPECT_EQ(link.parent, parent.run);
  EXPECT_EQ(link.seq, 0);
  reopen();
  const auto done = work_off();
  EXPECT_TRUE(done.runs.empty());
  ASSERT_EQ(done.asked.size(), 1u);
  EXPECT_EQ(done.asked[0].run, going_on.run);
  EXPECT_EQ(done.asked[0].left, kGrace);
  EXPECT_FALSE(end(going_on, SliceEnd::cancelled, kError).parent.has_value());
  EXPECT_EQ(status_of(parent.root), StackStatus::pending);
  EXPECT_EQ(run_status(ended.run), RunStatus::completed);
}

TEST_P(ChildEnds, ACallMadeAgainHasANewChildAndTheOldOnesEndDoesNotReachIt) {
  const Tree t = tree(1);
  request(t.parent.run);
  end(t.parent, SliceEnd::cancelled, kError);
  ASSERT_TRUE(retry(t.parent.run, 0, 1).has_value());
  EXPECT_EQ(work_off().asked.size(), 1u) << "the request of before";

  const Work again = call_again(t.parent.run, 1);
  EXPECT_NE(again.grant.id, t.calls[0].grant.id);
  EXPECT_EQ(again.attempt, 1);
  ASSERT_EQ(store().attempts(again.grant.id).value().size(), 1u);
  EXPECT_EQ(store().attempts(again.grant.id).value()[0].outcome, "retried");
  const Running anew = child_of(again);
  EXPECT_NE(anew.run, t.children[0].run);
  EXPECT_FALSE(end(t.children[0], SliceEnd::cancelled, kError).parent.has_value());
  EXPECT_EQ(status_of(again.grant.id), StackStatus::pending);
  EXPECT_EQ(parent_of(anew.run).value().seq, 1);
  Running parent = t.parent;
  parent.grant = claim(parent.root);
  ASSERT_TRUE(store().commit_slice(slice_of(parent.grant, {}, 0)).has_value());
  EXPECT_EQ(store()
                .commit_slice(end_of(anew.grant, SliceEnd::completed, "2"))
                .value()
                .parent.value()
                .run,
            parent.run);
  EXPECT_EQ(row(again.grant.id).result, "2");
}

TEST_P(ChildEnds, ARetriedChildIsItsOwnAlsoWhenItsParentIsRetriedOrCancelled) {
  Tree t = tree(1);
  const Running child = t.children[0];
  ASSERT_TRUE(store().cancel(child.run, kError).has_value());
  t.parent.grant = claim(t.parent.root);
  ASSERT_TRUE(
      store().commit_slice(end_of(t.parent.grant, SliceEnd::failed, kError, 1)).has_value());
  ASSERT_TRUE(retry(child.run, 0, 1).has_value());
  ASSERT_TRUE(retry(t.parent.run, 0, 1).has_value());
  const Running anew = child_of(call_again(t.parent.run, 1));
  EXPECT_TRUE(work_off().asked.empty());
  EXPECT_FALSE(end(child, SliceEnd::completed, "1").parent.has_value());
  EXPECT_EQ(parent_of(child.run).value().parent, t.parent.run);
  ASSERT_TRUE(store().cancel(t.parent.run, kError).has_value());
  EXPECT_EQ(work_off().runs, std::vector<TaskRunId>{anew.run});
  EXPECT_EQ(run_status(child.run), RunStatus::completed);
}

TEST_P(ChildEnds, CallsThatTheCodeHadGivenUpAreNotMadeAgain) {
  const Running running = start();
  const auto works = issue(running, 1, 3);
  ASSERT_TRUE(store().record_outcome(failure_of(works[2].grant)).has_value());
  Answer<std::int64_t> dropped;
  store_->cancellation()->drop_calls(running.grant, {1}, dropped.done());
  ASSERT_EQ(dropped.get().value(), 1);
  ASSERT_TRUE(store()
                  .commit_slice(end_of(claim(running.root), SliceEnd::failed, "{}", 1))
                  .has_value());
  ASSERT_TRUE(store().record_outcome(failure_of(works[1].grant)).has_value());
  ASSERT_TRUE(retry(running.run, 0, 3, {1, 2}).has_value());
  EXPECT_EQ(status_of(works[0].grant.id), StackStatus::cancelled);
  EXPECT_EQ(status_of(works[1].grant.id), StackStatus::failed);
  EXPECT_EQ(status_of(works[2].grant.id), StackStatus::pending);
  EXPECT_EQ(run_row(running.run).journal_length, 0);
}

TEST_P(ChildEnds, AForkBeginsItsOwnChildrenAndTakesTheEndsOfTheOthers) {
  const Tree t = tree(2);
  ASSERT_TRUE(end_child(t.children[0], "1"));
  Fork wish;
  wish.source = t.parent.run;
  wish.to.through = 1;
  wish.to.calls = 2;
  wish.to.function = function_;
  wish.to.version = 1;
  const Rewound forked =
      ask<Rewound>(store_->rewinds(), &Rewinds::fork_run, wish).value();
  EXPECT_EQ(store().outcomes(forked.run, 0, 9).value().at(0).payload, "1");
  const Running own = child_of(call_again(forked.run, 2));
  EXPECT_EQ(parent_of(own.run).value().parent, forked.run);
  ASSERT_TRUE(store().cancel(forked.run, kError).has_value());
  EXPECT_EQ(work_off().runs, std::vector<TaskRunId>{own.run});
  EXPECT_TRUE(end_child(t.children[1], "2") || row(t.calls[1].grant.id).result == "2");
  EXPECT_EQ(row(t.calls[1].grant.id).result, "2");
}

}  // namespace
}  // namespace sequential::storage::test
