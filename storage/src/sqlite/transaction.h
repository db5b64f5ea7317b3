#pragma once
// What a transition works with, and the transitions. Each is a function (transaction, request) →
// Result: it checks everything that can refuse it before it writes anything, so an answered error
// has changed nothing; an SQLite error sticks to the connection and undoes the whole transaction.
// A transition may run twice (its group was rolled back, then it runs alone): it consumes nothing.
//
// Threads: the writer's only.

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/storage/children.h"
#include "sequential/storage/cancellation.h"
#include "sequential/storage/search.h"
#include "sequential/storage/store.h"
#include "sqlite/lease_table.h"
#include "sqlite/statements.h"

namespace sequential::storage::sqlite {

// Ids come from here, not from the tables: none is given out twice, also after `clear`.
struct IdSource {
  std::int64_t function = 0, run = 0, stack_run = 0;  // the newest given out
  TaskFunctionId next_function() { return TaskFunctionId(++function); }
  TaskRunId next_run() { return TaskRunId(++run); }
  StackRunId next_stack_run() { return StackRunId(++stack_run); }
};

// The fault points a transition passes with its commit (base/fault.h).
struct FaultMarks {
  const char* before_commit = nullptr;
  std::array<const char*, 2> after_commit{};
};

struct Transaction {
  Statements& sql;
  LeaseTable& leases;
  IdSource& ids;
  const Clock& clock;
  FaultMarks faults{};
  bool cleared = false;  // the lease table was emptied: rebuild it after a rollback
  std::set<std::string>* room = nullptr;  // tasks of which a run in their queue has ended

  bool failed() const { return sql.db.failed(); }
  // A row that must be there was not: the file is not what we wrote.
  void must(bool holds) {
    if (!holds) sql.db.fail_internal("a row changed under its transaction");
  }
};

// The columns of a root stack run that its transitions move.
struct RootState {
  StackRunId id;
  TaskRunId run;
  StackStatus status = StackStatus::pending;
  std::int64_t epoch = 0, attempt = 0, slice = 0;
  std::int64_t journal_length = 0, delivered_through = 0;
  std::int64_t call_count = 0, open_calls = 0, open_seq = 1, log_count = 0, crashes = 0;
  int priority = 0;
  WallTime updated_at, available_at;
  StackRunId waiting_on;
  std::optional<WallTime> ended_at;
  std::optional<int> resume_kind;
  std::optional<std::int64_t> resume_us;
  // Of its run
  RunStatus run_status = RunStatus::queued;
  TaskFunctionId task_function_id;
  std::string task_name;
};

StackStatus stack_status_of(Transaction& tx, std::string_view name);
RunStatus run_status_of(Transaction& tx, std::string_view name);

// --- helpers that transitions share --------------------------------------------------------------

// The root's new state, written. If it is `processing` under a new claim, `lease` says whose.
void write_root(Transaction& tx, const RootState& root, std::int64_t epoch_before,
                const std::optional<Lease>& lease, WallTime now);
// Makes the root runnable: claimed for `handoff`'s node, or pending. The caller writes it.
Wake wake_root(RootState& root, const std::optional<Lease>& handoff, WallTime now);
Work slice_work(const RootState& root, WallTime lease_until);
void write_attempt(Transaction& tx, StackRunId id, std::int64_t epoch, std::int64_t attempt,
                   std::string_view node, std::optional<WallTime> started_at, WallTime now,
                   std::string_view outcome, std::string_view error);
// Moves open_seq past the calls that have ended.
void advance_open_seq(Transaction& tx, RootState& root);
// The only unfinished call of a suspended run, if it is one.
StackRunId only_open_call(Transaction& tx, const RootState& root);
// A child task has ended: its parent call gets the outcome, as record_outcome would give it.
std::optional<Wake> settle_parent(Transaction& tx, StackRunId parent_call, bool failed,
                                  std::string_view payload, const std::optional<Lease>& handoff);
// Pending calls and a root that is not processing become paused.
void pause_everything(Transaction& tx, TaskRunId run, std::int64_t open_seq,
                      std::string_view reason, std::string_view detail, WallTime now);

// The tables with rows of runs, quoted; without task_runs, stack_runs and attempts.
std::vector<std::string> run_tables(Transaction& tx);

// --- hooks: what belongs to a run is kept in step with it, in the same transaction --------------

void run_submitted(Transaction& tx, TaskRunId run, std::string_view tags, WallTime now);
// The status and progress among what a slice logged, which are no entries of the log.
void store_state(Transaction& tx, TaskRunId run, const std::vector<NewLog>& logs, WallTime at);
// `before`: how many log entries the run had before those. States among `logs` are no entries.
void logs_stored(Transaction& tx, TaskRunId run, std::int64_t before,
                 const std::vector<NewLog>& logs, WallTime at);
// The run has its final status.
void run_over(Transaction& tx, TaskRunId run, RunStatus status, WallTime at);

// --- their parts ---------------------------------------------------------------------------------

// children.cpp: the unfinished children of a run that is cancelled or asked to end are, too; with
// its deadline if it has one, else at once.
enum class Noted { all, asked_before };
void note_orphans(Transaction& tx, TaskRunId run, Noted which);
// A call that waited has ended; if not by its child's own end, the child is to be cancelled.
void note_orphan_of(Transaction& tx, StackRunId call);

// --- transitions ---------------------------------------------------------------------------------

Result<Published> publish(Transaction&, const Publication&);
Result<Submitted> submit(Transaction&, const Submission&);
Result<std::optional<Work>> claim(Transaction&, StackRunId, const Lease&);
Result<std::optional<Work>> claim_next(Transaction&, const Lease&);
// The texts of the calls' Work are left out: the caller moves them there after the commit.
Result<SliceCommitted> commit_slice(Transaction&, const SliceCommit&);
// Whether its commit must be on disk before the answer.
bool must_be_on_disk(const SliceCommit&);
Result<OutcomeRecorded> record_outcome(Transaction&, const OutcomeRecord&);
Result<SliceLostResult> slice_lost(Transaction&, const SliceLost&);
Result<void> release(Transaction&, const Grant&);
Result<std::vector<Grant>> extend(Transaction&, const std::vector<Grant>&, const Lease&);
Result<std::optional<Wake>> cancel(Transaction&, TaskRunId, const std::string& error);
Result<CancelRequested> request_cancel(Transaction&, const CancelRequest&);
Result<std::int64_t> drop_calls(Transaction&, const Grant& root,
                                const std::vector<std::int64_t>& seqs);
Result<CancelsDue> cancels_due(Transaction&, int limit);
Result<void> pause(Transaction&, TaskRunId, const std::string& reason, const std::string& detail);
Result<std::vector<StackRunId>> resume(Transaction&, TaskRunId);
Result<Submitted> start_child(Transaction&, const ChildStart&);
Result<OrphansCancelled> cancel_orphans(Transaction&, int limit);
Result<DueWork> due(Transaction&, int limit);
Result<std::int64_t> recover(Transaction&, const std::string& node);
Result<std::int64_t> clear(Transaction&);
Result<Removed> remove_runs(Transaction&, const std::vector<TaskRunId>&, WallTime ended_before,
                            int runs_max);
Result<void> set_retention(Transaction&, const Retention&);
Result<std::int64_t> keystore_put(Transaction&, const std::string& name_space,
                                  const std::string& key, const std::string& key_id,
                                  const std::function<std::string(std::int64_t)>& seal);
Result<bool> keystore_delete(Transaction&, const std::string& name_space, const std::string& key);

// Fills the lease table from the rows.
void load_leases(Transaction&);

}  // namespace sequential::storage::sqlite
