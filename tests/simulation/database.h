#pragma once
// The database of the simulation: the Store contract's transitions as plain functions on rows in
// memory, applied one at a time. After storage/src/sqlite, which is the reference.
//
// It also keeps what a test knows and a database does not: who wrote under which epoch and what was
// once recorded; and it can be told to break its contract in one named way, which is how the
// simulation shows that it would notice.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sequential/storage/store.h"

namespace sequential::simulation {

enum class Break {
  none,
  epoch_unchecked,       // late writes of superseded claims are accepted
  lease_ignored,         // a claim is given while another one still holds
  outcome_wakes_nobody,  // record_outcome leaves the waiting root asleep
  slice_sleeps_anyway,   // commit_slice suspends over an outcome that came meanwhile
  outcome_twice,         // an outcome is delivered at two positions of the journal
  position_skipped,      // the journal's numbers have a gap
  unknown_forgotten,     // an at_most_once try that was lost counts as never begun
  flush_ignored,         // every commit_slice may be lost in a crash of the database
  epoch_unflushed,       // … and one that hands the root out under a new epoch
  ids_given_again,       // the ids of rows that a crash took back are given to others
  stale_reads,           // `outcomes` answers without the newest one
  calls_half_stored,     // the last call of a slice is lost
  end_overwritten,       // a run that has ended can end again
  tries_uncounted,       // a failed try counts as never made
};

struct RunRow {
  TaskRunId id;
  StackRunId root;
  TaskFunctionId function;
  storage::RunStatus status = storage::RunStatus::queued;
  std::string input, seed, key, pause_reason, result, error;
  WallTime created_at;
  bool started = false;
};

struct StackRow {
  StackRunId id;
  TaskRunId run;
  std::int64_t seq = 0;
  std::string service, method, args, options;
  storage::Delivery delivery = storage::Delivery::at_least_once;
  storage::StackStatus status = storage::StackStatus::pending;
  std::string payload;  // of an ended call
  bool failed = false;
  int attempt = 0;
  int lost = 0;  // tries whose holder vanished
  std::int64_t epoch = 0;
  std::string owner;
  WallTime lease_until, available_at, updated_at;
  bool outcome_unknown = false;
  std::int64_t delivered_as = 0;
  // Of a root:
  std::int64_t slice = 0, journal_length = 0, delivered_through = 0, call_count = 0, crashes = 0;
  std::vector<std::string> logs;
};

// What one applied transition means to the other nodes.
struct Tidings {
  std::vector<StackRunId> runnable;
  std::vector<TaskRunId> ended;
};

class Database {
 public:
  // `now` is the database's own clock; `broken` is told what must never happen.
  Database(std::function<WallTime()> now, std::function<void(std::string)> broken)
      : now_(std::move(now)), broken_(std::move(broken)) {}

  Break breaks = Break::none;

  template <class T>
  using Answer = Result<T>;

  Answer<storage::TaskFunction> task_function(TaskFunctionId id) const;
  Answer<storage::Submitted> submit(const storage::Submission&);
  Answer<std::optional<storage::Work>> claim(StackRunId, const storage::Lease&);
  Answer<std::optional<storage::Work>> claim_next(const storage::Lease&);
  Answer<storage::SliceCommitted> commit_slice(const std::string& node,
                                               const storage::SliceCommit&);
  Answer<storage::OutcomeRecorded> record_outcome(const std::string& node,
                                                  const storage::OutcomeRecord&);
  Answer<storage::SliceLostResult> slice_lost(const std::string& node, const storage::SliceLost&);
  Answer<void> release(const std::string& node, const storage::Grant&);
  Answer<std::vector<storage::Grant>> extend(const std::vector<storage::Grant>&,
                                             const storage::Lease&);
  Answer<std::optional<storage::Wake>> cancel(TaskRunId, const std::string& error);
  Answer<void> pause(TaskRunId, const std::string& reason);
  Answer<std::vector<StackRunId>> resume(TaskRunId);

  Answer<storage::TaskRun> run(TaskRunId) const;
  Answer<storage::JournalPage> journal(TaskRunId, std::int64_t after_seq, std::int64_t bytes) const;
  Answer<std::vector<storage::Outcome>> outcomes(TaskRunId, std::int64_t after, int limit) const;
  storage::DueWork due(int limit) const;

  // Loses the commits that were not flushed, as a crash of the database does.
  void crash();
  bool would_lose_something() const { return flushed_.has_value(); }

  // --- for those who look on ------------------------------------------------------------------
  struct Recorded {
    StackRunId id;
    std::int64_t delivered_as = 0;
    bool failed = false;
    std::string payload;
  };
  const std::map<std::int64_t, RunRow>& runs() const { return state_.runs; }
  const std::map<std::int64_t, StackRow>& rows() const { return state_.rows; }
  std::vector<const StackRow*> rows_of(TaskRunId) const;  // by seq
  const std::map<std::pair<TaskRunId, std::int64_t>, Recorded>& recorded() const {
    return recorded_;
  }
  const std::map<TaskRunId, std::pair<storage::RunStatus, std::string>>& ends() const {
    return ends_;
  }
  Tidings take_tidings() { return std::exchange(tidings_, {}); }
  int commits_lost() const { return commits_lost_; }
  int fenced() const { return fenced_; }

 private:
  struct State {
    std::map<std::int64_t, RunRow> runs;
    std::map<std::int64_t, StackRow> rows;
    std::map<std::string, std::int64_t> keys;
    std::int64_t last_id = 100;                                          // of stack runs
    std::map<std::pair<StackRunId, std::int64_t>, std::string> writers;  // by claim
  };

  RunRow* find_run(TaskRunId);
  StackRow* find_row(StackRunId);
  StackRow* held(const std::string& node, const storage::Grant&, bool root);
  std::vector<StackRow*> open_calls(TaskRunId);
  bool claimable(const StackRow&) const;
  storage::Work work_of(const StackRow&) const;
  void hold(StackRow&, const storage::Lease&);
  void runnable(const StackRow&);
  storage::Wake wake(StackRow& root, const std::optional<storage::Lease>& handoff);
  storage::CommittedCall insert_call(const storage::SliceCommit&, const storage::NewCall&,
                                     const RunRow&, WallTime stored_at);
  void end_run(RunRow&, storage::RunStatus, const std::string& payload);
  void pause_everything(RunRow&, const std::string& reason);
  storage::OutcomeRecorded end_call(StackRow& call, const storage::OutcomeRecord&);
  Error fenced_off();
  void lazily(bool flush);  // before a commit that may be lost, or one that flushes them all

  const std::function<WallTime()> now_;
  const std::function<void(std::string)> broken_;
  State state_;
  std::int64_t last_run_ = 0;
  std::optional<State> flushed_;  // the state on disk, if it is behind
  int commits_unflushed_ = 0, commits_lost_ = 0, fenced_ = 0;
  Tidings tidings_;
  std::map<std::pair<TaskRunId, std::int64_t>, Recorded> recorded_;
  std::map<TaskRunId, std::pair<storage::RunStatus, std::string>> ends_;
};

}  // namespace sequential::simulation
