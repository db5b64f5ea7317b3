// Random histories: any sequence of transitions, refused or not, leaves a database in which every
// run can still reach its end, and in which what was recorded stays recorded.

#include <map>
#include <random>
#include <set>

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class RandomHistory : public StoreTest {
 protected:
  static constexpr int kSteps = 400;
  static constexpr int kRuns = 6;

  std::int64_t pick(std::int64_t below) {
    return std::uniform_int_distribution<std::int64_t>(0, below - 1)(random_);
  }
  bool chance(int percent) { return pick(100) < percent; }
  std::optional<Lease> maybe_handoff() {
    return chance(50) ? std::optional(lease_of("a")) : std::nullopt;
  }

  void remember(const std::optional<Work>& work) {
    if (work) grants_.push_back(*work);
  }
  void remember(const std::optional<Wake>& wake) {
    if (wake) remember(wake->work);
  }

  void step() {
    switch (pick(12)) {
      case 0: return submit_one();
      case 1:
      case 2:
      case 3: return remember(store().claim_next(lease_of("b")).value());
      case 4:
      case 5:
      case 6:
      case 7: return use_a_grant();
      case 8: return control_one();
      case 9: return clock_.advance(Millis{pick(20'000)});
      case 10: return lose_one();
      default:
        if (chance(20)) reopen();
    }
  }

  void submit_one() {
    if (runs_.size() >= kRuns) return;
    Submission s = submission();
    s.priority = static_cast<int>(pick(3)) - 1;
    s.delay = Millis{chance(30) ? pick(5'000) : 0};
    s.handoff = maybe_handoff();
    if (!calls_.empty() && chance(40)) s.parent_stack_run_id = calls_[index(calls_.size())];
    const auto submitted = store().submit(s).value();
    runs_.push_back(submitted.run);
    remember(submitted.work);
  }

  std::size_t index(std::size_t size) {
    return static_cast<std::size_t>(pick(static_cast<std::int64_t>(size)));
  }

  // Often stale: then it must be refused.
  void use_a_grant() {
    if (grants_.empty()) return;
    const Work work = grants_[index(grants_.size())];
    if (work.seq > 0) return record(work);
    const auto found = store().journal_head(work.grant.run);
    const TaskRun head = found.has_value() ? found.value() : TaskRun();  // cleared meanwhile
    SliceCommit commit;
    commit.root = work.grant;
    commit.delivered_through = head.journal_length - (chance(20) ? pick(2) : 0);
    commit.handoff = maybe_handoff();
    const std::int64_t open = head.call_count - head.journal_length;
    if (chance(12)) {
      commit.end = chance(50) ? SliceEnd::completed : SliceEnd::failed;
      commit.payload = "\"end\"";
    }
    const std::int64_t fewest = commit.end == SliceEnd::suspended && open == 0 ? 1 : 0;
    for (std::int64_t i = 0; i < fewest + pick(3); ++i) {
      NewCall call = call_of(head.call_count + i + 1);
      if (chance(20)) call.delivery = Delivery::at_most_once;
      if (chance(20)) call.delay = Millis{pick(5'000)};
      commit.calls.push_back(call);
    }
    auto committed = store().commit_slice(commit);
    if (committed.has_error()) return;
    for (const auto& call : committed.value().calls) {
      calls_.push_back(call.id);
      remember(call.work);
    }
    remember(committed.value().root);
    remember(committed.value().parent);
  }

  void record(const Work& work) {
    OutcomeRecord record = outcome_of(work.grant, std::to_string(++payloads_));
    record.handoff = maybe_handoff();
    if (chance(20)) record.end = CallEnd::failed;
    if (chance(20)) {
      record.end = CallEnd::retry;
      record.retry_after = Millis{pick(3'000)};
    }
    auto recorded = store().record_outcome(record);
    if (recorded.has_error()) return;
    if (record.end != CallEnd::retry) {
      EXPECT_TRUE(ended_.insert({work.grant.id, record.payload}).second) << "recorded twice";
    }
    remember(recorded.value().wake);
  }

  void control_one() {
    if (runs_.empty()) return;
    const TaskRunId run = runs_[index(runs_.size())];
    if (chance(10)) {
      const auto wake = store().cancel(run, "\"cancelled\"");
      if (wake.has_value()) remember(wake.value());
    } else if (chance(50)) {
      static_cast<void>(store().pause(run).has_value());
    } else {
      static_cast<void>(store().resume(run).has_value());
    }
  }

  void lose_one() {
    if (grants_.empty()) return;
    const Work work = grants_[index(grants_.size())];
    if (work.seq == 0 && chance(50)) {
      SliceLost lost;
      lost.root = work.grant;
      static_cast<void>(store().slice_lost(lost).has_value());
    } else {
      static_cast<void>(store().release(work.grant).has_value());
    }
  }

  void expect_invariants() {
    for (const TaskRunId id : runs_) {
      const TaskRun run = run_row(id);
      const auto stack = store().stack(id, 0, 10'000).value();
      ASSERT_FALSE(stack.empty());
      ASSERT_EQ(static_cast<std::int64_t>(stack.size()), run.call_count + 1);
      std::set<std::int64_t> delivered;
      std::int64_t unfinished = 0;
      for (std::size_t i = 0; i < stack.size(); ++i) {
        const StackRun& s = stack[i];
        ASSERT_EQ(s.seq, static_cast<std::int64_t>(i));
        ASSERT_GE(s.epoch, epochs_[s.id]) << "an epoch went back";
        epochs_[s.id] = s.epoch;
        if (s.seq == 0) continue;
        if (s.delivered_as > 0) {
          ASSERT_TRUE(is_terminal(s.status));
          ASSERT_TRUE(delivered.insert(s.delivered_as).second);
        }
        if (!is_terminal(s.status)) ++unfinished;
        const auto recorded = ended_.find(s.id);
        if (recorded != ended_.end()) {
          ASSERT_EQ(s.result + s.error, recorded->second) << "a recorded outcome changed";
        }
      }
      ASSERT_EQ(static_cast<std::int64_t>(delivered.size()), run.journal_length);
      ASSERT_EQ(delivered.empty() ? 0 : *delivered.rbegin(), run.journal_length);
      const StackRun& root = stack[0];
      ASSERT_EQ(is_terminal(run.status), is_terminal(root.status));
      if (run.status == RunStatus::suspended_waiting_child) {
        ASSERT_GT(unfinished, 0) << "waits for nothing";
        ASSERT_EQ(unfinished == 1, static_cast<bool>(run.waiting_on_stack_run_id));
      }
      ASSERT_TRUE(run.status != RunStatus::cancelled || unfinished == 0);
      if (run.status == RunStatus::paused) {
        ASSERT_FALSE(run.pause_reason.empty());
        for (const StackRun& s : stack) ASSERT_NE(s.status, StackStatus::pending);
      } else {
        for (const StackRun& s : stack) ASSERT_NE(s.status, StackStatus::paused);
      }
      const auto before = terminal_.find(id);
      if (before != terminal_.end()) {
        ASSERT_EQ(run.status, before->second.status) << "a terminal run changed";
        ASSERT_EQ(run.result + run.error, before->second.result + before->second.error);
      } else if (is_terminal(run.status)) {
        terminal_[id] = run;
      }
    }
    ASSERT_EQ(database_->damage(), "");
  }

  // Every run that is not ended can be brought to its end by claiming alone.
  void drain() {
    for (const TaskRunId run : runs_) static_cast<void>(store().resume(run).has_value());
    for (int i = 0; i < 20'000; ++i) {
      const auto work = store().claim_next(lease_of("drain")).value();
      if (!work) {
        const DueWork due = store().due(1).value();
        ASSERT_TRUE(due.ids.empty()) << "due, but not to be claimed";
        if (!due.next_due && i > 0) {
          clock_.advance(kLease);
          if (store().due(1).value().ids.empty()) break;
          continue;
        }
        clock_.advance(kLease);
        continue;
      }
      if (work->seq > 0) {
        ASSERT_TRUE(store().record_outcome(outcome_of(work->grant, "\"drained\"")).has_value());
        continue;
      }
      const auto head = store().journal_head(work->grant.run).value();
      const bool all_in = head.journal_length == head.call_count;
      auto commit = all_in ? end_of(work->grant, SliceEnd::completed, "\"done\"")
                           : slice_of(work->grant, {});
      commit.delivered_through = head.journal_length;
      ASSERT_TRUE(store().commit_slice(commit).has_value());
    }
    for (const TaskRunId run : runs_) {
      EXPECT_TRUE(is_terminal(run_status(run))) << run_status_name(run_status(run));
      const auto rows = store().stack(run, 0, 10'000).value();
      for (const StackRun& s : rows) {
        EXPECT_TRUE(is_terminal(s.status)) << stack_status_name(s.status);
      }
    }
  }

  std::mt19937_64 random_;
  std::vector<TaskRunId> runs_;
  std::vector<StackRunId> calls_;
  std::vector<Work> grants_;
  std::map<StackRunId, std::int64_t> epochs_;
  std::map<StackRunId, std::string> ended_;
  std::map<TaskRunId, TaskRun> terminal_;
  int payloads_ = 0;
};
SEQUENTIAL_ON_EVERY_BACKEND(RandomHistory);

TEST_P(RandomHistory, KeepsEveryInvariantAndCanAlwaysBeFinished) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_.seed(seed);
    for (int i = 0; i < kSteps; ++i) {
      step();
      if (i % 10 == 0) expect_invariants();
      if (HasFatalFailure()) return;
    }
    expect_invariants();
    drain();
    expect_invariants();
    if (HasFailure()) return;
    ASSERT_TRUE(store().clear().has_value());
    runs_.clear();
    calls_.clear();
    epochs_.clear();
    ended_.clear();
    terminal_.clear();  // the old grants stay: they must be worth nothing
  }
}

}  // namespace
}  // namespace sequential::storage::test
