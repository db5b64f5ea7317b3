// A superseded claim can write nothing: each write is tried with each kind of stale grant, and the
// whole database is compared before and after.

#include <functional>

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class Fencing : public StoreTest {
 protected:
  // Every write that a grant of a root or of a call allows must be refused and change nothing.
  void expect_powerless(const Grant& grant, const std::string& why) {
    SCOPED_TRACE(why);
    const std::string before = database_->dump();
    SliceCommit suspend = slice_of(grant, {call_of(1)});
    suspend.logs = {{"info", "zombie", ""}, {"status", "\"zombie\"", ""}};
    suspend.handoff = lease_of("zombie");
    EXPECT_TRUE(refused(store().commit_slice(suspend), Errc::fenced));
    EXPECT_TRUE(refused(store().commit_slice(end_of(grant, SliceEnd::completed, "1")),
                        Errc::fenced));
    EXPECT_TRUE(refused(store().commit_slice(end_of(grant, SliceEnd::failed, "1")), Errc::fenced));
    EXPECT_TRUE(refused(store().commit_slice(end_of(grant, SliceEnd::paused, "1")), Errc::fenced));
    OutcomeRecord record = outcome_of(grant);
    record.handoff = lease_of("zombie");
    EXPECT_TRUE(refused(store().record_outcome(record), Errc::fenced));
    EXPECT_TRUE(refused(store().record_outcome(failure_of(grant)), Errc::fenced));
    EXPECT_TRUE(refused(store().record_outcome(retry_of(grant, Millis{1})), Errc::fenced));
    SliceLost lost;
    lost.root = grant;
    lost.crashes_max = 1;
    EXPECT_TRUE(refused(store().slice_lost(lost), Errc::fenced));
    lost.why = Lost::released;
    EXPECT_TRUE(refused(store().slice_lost(lost), Errc::fenced));
    EXPECT_TRUE(refused(store().release(grant), Errc::fenced));
    EXPECT_EQ(store().extend({grant}, lease_of("zombie")).value().size(), 1u);
    EXPECT_EQ(database_->dump(), before);
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(Fencing);

TEST_P(Fencing, AnOlderEpochOfARunningRootWritesNothing) {
  const Running running = start();
  clock_.advance(kLease);
  const Work fresh = store().claim(running.root, lease_of("b")).value().value();
  expect_powerless(running.grant, "superseded");
  Grant wrong = fresh.grant;
  wrong.epoch += 1;
  expect_powerless(wrong, "an epoch not given out yet");
  wrong = fresh.grant;
  wrong.run = TaskRunId(fresh.grant.run.value + 1);
  const std::string before = database_->dump();
  EXPECT_TRUE(refused(store().commit_slice(end_of(wrong, SliceEnd::completed, "1")),
                      Errc::fenced));
  EXPECT_EQ(database_->dump(), before);
  EXPECT_TRUE(store().commit_slice(end_of(fresh.grant, SliceEnd::completed, "1")).has_value());
}

TEST_P(Fencing, AnOlderEpochOfACallWritesNothing) {
  const Running running = start();
  const Work old = issue(running, 1, 1)[0];
  clock_.advance(kLease);
  const Work fresh = store().claim(old.grant.id, lease_of("b")).value().value();
  expect_powerless(old.grant, "superseded while the other is still at work (ABA)");
  ASSERT_TRUE(store().record_outcome(outcome_of(fresh.grant)).has_value());
  expect_powerless(old.grant, "superseded by one that has recorded");
  expect_powerless(fresh.grant, "its own outcome is recorded");
}

TEST_P(Fencing, AGrantIsSpentOnceItsSliceIsCommitted) {
  const Running running = start();
  issue(running, 1, 1);
  expect_powerless(running.grant, "suspended");
}

TEST_P(Fencing, AGrantOfAnEarlierSliceWritesNothingIntoALaterOne) {
  const Running running = start();
  const Work call = issue(running, 1, 1)[0];
  OutcomeRecord record = outcome_of(call.grant);
  record.handoff = lease_of("a");
  const Grant later = store().record_outcome(record).value().wake.value().work.value().grant;
  EXPECT_GT(later.epoch, running.grant.epoch);
  expect_powerless(running.grant, "woken under a new epoch");
  EXPECT_TRUE(store().commit_slice(slice_of(later, {call_of(2)}, 1)).has_value());
}

TEST_P(Fencing, AGrantOfAnEndedRunWritesNothing) {
  const Running running = start();
  ASSERT_TRUE(store().commit_slice(end_of(running.grant, SliceEnd::completed, "1")).has_value());
  expect_powerless(running.grant, "completed");
  const Running failed = start();
  ASSERT_TRUE(store().commit_slice(end_of(failed.grant, SliceEnd::failed, "1")).has_value());
  expect_powerless(failed.grant, "failed");
}

TEST_P(Fencing, CancellingFencesTheRootAndEveryCall) {
  const Running running = start();
  const auto works = issue(running, 1, 2);
  OutcomeRecord record = outcome_of(works[0].grant);
  record.handoff = lease_of("a");
  const Grant root = store().record_outcome(record).value().wake.value().work.value().grant;
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  expect_powerless(root, "cancelled root");
  expect_powerless(works[1].grant, "cancelled call");
}

TEST_P(Fencing, AGrantFromBeforeAReleaseWritesNothing) {
  const Running running = start();
  ASSERT_TRUE(store().release(running.grant).has_value());
  expect_powerless(running.grant, "released");
}

TEST_P(Fencing, AGrantOfARowThatNeverWasWritesNothing) {
  expect_powerless({StackRunId(9'999), TaskRunId(9'999), 1}, "no such row");
  expect_powerless({}, "no id at all");
}

TEST_P(Fencing, GrantsFromBeforeAClearWriteNothingAlsoWhenNewRunsHaveCome) {
  const Running running = start();
  const Work call = issue(running, 1, 1)[0];
  const Running working = start();
  EXPECT_EQ(store().clear().value(), 2);
  expect_powerless(working.grant, "cleared");
  std::vector<Running> fresh;
  for (int i = 0; i < 5; ++i) fresh.push_back(start());
  for (const Running& r : fresh) {
    EXPECT_GT(r.run, working.run);
    EXPECT_GT(r.root, working.root);
  }
  expect_powerless(working.grant, "cleared, others have started");
  expect_powerless(call.grant, "cleared call");
  EXPECT_EQ(store().clear().value(), 5);
  reopen();
  EXPECT_GT(submit().root, fresh.back().root);  // also across a restart
  expect_powerless(fresh.back().grant, "cleared before a restart");
}

TEST_P(Fencing, EpochsOnlyRise) {
  const Running running = start();
  std::int64_t epoch = running.grant.epoch;
  Grant grant = running.grant;
  for (int i = 0; i < 20; ++i) {
    if (i % 3 == 0) {
      clock_.advance(kLease);
    } else if (i % 3 == 1) {
      ASSERT_TRUE(store().release(grant).has_value());
    } else {
      SliceLost lost;
      lost.root = grant;
      lost.crashes_max = 100;
      ASSERT_TRUE(store().slice_lost(lost).has_value());
    }
    grant = store().claim_next(lease_of("a")).value().value().grant;
    EXPECT_GT(grant.epoch, epoch);
    epoch = grant.epoch;
  }
}

}  // namespace
}  // namespace sequential::storage::test
