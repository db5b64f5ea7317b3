// record_outcome, and what it shares with the other ways a call can end.

#include <algorithm>
#include <utility>
#include <vector>

#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {
namespace {

struct CallRow {
  RootState root;
  StackRunId id;
  std::int64_t seq = 0, epoch = 0, attempt = 0;
  StackStatus status = StackStatus::pending;
  std::string lease_owner;
  std::optional<WallTime> started_at;
};

std::optional<CallRow> read_call(Transaction& tx, StackRunId id) {
  Cursor row = tx.sql.call_for_outcome.query(id.value);
  if (!row.next()) return std::nullopt;
  CallRow call;
  call.id = id;
  call.seq = row.integer(1);
  call.status = stack_status_of(tx, row.view(2));
  call.epoch = row.integer(3);
  call.attempt = row.integer(4);
  call.lease_owner = row.text(5);
  call.started_at = row.time_if(6);
  RootState& root = call.root;
  root.run = row.id<TaskRunId>(0);
  root.id = row.id<StackRunId>(7);
  root.status = stack_status_of(tx, row.view(8));
  root.epoch = row.integer(9);
  root.attempt = row.integer(10);
  root.slice = row.integer(11);
  root.journal_length = row.integer(12);
  root.delivered_through = row.integer(13);
  root.call_count = row.integer(14);
  root.open_calls = row.integer(15);
  root.open_seq = row.integer(16);
  root.log_count = row.integer(17);
  root.crashes = row.integer(18);
  root.priority = row.small(19);
  root.updated_at = row.time(20);
  root.run_status = run_status_of(tx, row.view(21));
  root.task_function_id = row.id<TaskFunctionId>(22);
  root.task_name = row.text(23);
  root.available_at = row.time(24);
  return call;
}

struct Ending {
  bool failed = false;
  std::string_view payload;
  std::optional<Via> via;
  std::optional<std::int64_t> hop_us;
};

// The call has its final outcome: journalled unless its run has ended, and the root woken if it
// was waiting.
OutcomeRecorded end_call(Transaction& tx, CallRow& call, const Ending& ending,
                         const std::optional<Lease>& handoff) {
  RootState& root = call.root;
  const WallTime now = tx.clock.now();
  OutcomeRecorded recorded;
  // A clock that was set back must not make the run's time go back.
  recorded.at = std::max(now, root.updated_at);
  const bool run_ended = is_terminal(root.status);
  if (!run_ended) recorded.delivered_as = ++root.journal_length;

  const std::string_view none;
  const auto via = ending.via ? std::optional(static_cast<int>(*ending.via)) : std::nullopt;
  tx.must(tx.sql.end_call.run(
              call.id, call.epoch,
              stack_status_name(ending.failed ? StackStatus::failed : StackStatus::completed),
              TextOrNull{ending.failed ? none : ending.payload},
              TextOrNull{ending.failed ? ending.payload : none}, recorded.delivered_as, via,
              ending.hop_us, recorded.at) == 1);
  tx.leases.drop(call.id);

  --root.open_calls;
  if (call.seq == root.open_seq) advance_open_seq(tx, root);
  const std::int64_t epoch_before = root.epoch;
  std::optional<Lease> lease;
  if (root.status == StackStatus::suspended_waiting_child) {
    recorded.wake = wake_root(root, handoff, now);
    if (recorded.wake->work) lease = handoff;
  }
  if (run_ended) {
    tx.must(tx.sql.update_open_calls.run(root.id, root.open_calls, root.open_seq) == 1);
    if (root.open_calls == 0) tx.sql.no_longer_straggling.run(root.run);
  } else if (lease || recorded.wake) {
    root.updated_at = recorded.at;
    write_root(tx, root, epoch_before, lease, now);
  } else {
    tx.must(tx.sql.count_outcome.run(root.id, root.epoch, root.journal_length, root.open_calls,
                                     root.open_seq, recorded.at) == 1);
  }
  return recorded;
}

// Timers of one run that are due fire in the order in which they are due, whichever of them is
// processed first: ends those before this one. Answers what they woke.
std::optional<Wake> end_earlier_timers(Transaction& tx, CallRow& call,
                                       const std::optional<Lease>& handoff) {
  std::vector<std::pair<WallTime, StackRunId>> earlier;
  {
    Cursor row = tx.sql.earlier_timers.query(call.id, call.root.open_seq);
    while (row.next()) earlier.emplace_back(row.time(1), row.id<StackRunId>(0));
  }
  std::stable_sort(earlier.begin(), earlier.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::optional<Wake> woken;
  for (const auto& [due, id] : earlier) {
    auto timer = read_call(tx, id);
    tx.must(timer.has_value());
    if (!timer) break;
    auto ended = end_call(tx, *timer, {false, "null", Via::timer, std::nullopt}, handoff);
    if (ended.wake) woken = std::move(ended.wake);
  }
  if (!earlier.empty()) call = read_call(tx, call.id).value_or(call);
  return woken;
}

// The try failed and there will be another.
OutcomeRecorded try_again(Transaction& tx, const CallRow& call, const OutcomeRecord& record) {
  const WallTime now = tx.clock.now();
  OutcomeRecorded recorded;
  recorded.at = now;
  recorded.available_at = now + record.retry_after;
  write_attempt(tx, call.id, call.epoch, call.attempt, call.lease_owner, call.started_at, now,
                "failed", record.payload);
  const bool run_paused = call.root.run_status == RunStatus::paused;
  const auto via = record.via ? std::optional(static_cast<int>(*record.via)) : std::nullopt;
  tx.must(tx.sql.retry_call.run(
              call.id, call.epoch,
              stack_status_name(run_paused ? StackStatus::paused : StackStatus::pending),
              recorded.available_at, now, via, record.hop_us) == 1);
  tx.leases.drop(call.id);
  return recorded;
}

}  // namespace

StackStatus stack_status_of(Transaction& tx, std::string_view name) {
  const auto status = stack_status_from(name);
  if (!status) tx.sql.db.fail_internal("a stack run has a status that does not exist");
  return status.value_or(StackStatus::cancelled);
}

RunStatus run_status_of(Transaction& tx, std::string_view name) {
  const auto status = run_status_from(name);
  if (!status) tx.sql.db.fail_internal("a task run has a status that does not exist");
  return status.value_or(RunStatus::cancelled);
}

Work slice_work(const RootState& root, WallTime lease_until) {
  Work work;
  work.grant = {root.id, root.run, root.epoch};
  work.lease_until = lease_until;
  work.task_function_id = root.task_function_id;
  work.task_name = root.task_name;
  work.attempt = static_cast<int>(root.attempt);
  return work;
}

Wake wake_root(RootState& root, const std::optional<Lease>& handoff, WallTime now) {
  Wake wake;
  wake.run = root.run;
  wake.root = root.id;
  root.available_at = now;
  root.waiting_on = StackRunId();
  root.status = StackStatus::pending;
  if (handoff) {
    root.status = StackStatus::processing;
    ++root.epoch;
    ++root.attempt;
    wake.work = slice_work(root, now + handoff->length);
  }
  return wake;
}

void write_root(Transaction& tx, const RootState& root, std::int64_t epoch_before,
                const std::optional<Lease>& lease, WallTime now) {
  std::string_view owner;
  std::optional<WallTime> lease_until, started_at;
  if (lease) {
    owner = lease->node;
    lease_until = now + lease->length;
    started_at = now;
    tx.leases.hold({root.priority, root.available_at, root.id}, *lease_until);
  }
  tx.must(tx.sql.update_root.run(root.id, epoch_before, stack_status_name(root.status), root.epoch,
                                 root.attempt, root.available_at, TextOrNull{owner}, lease_until,
                                 root.slice, std::max(now, root.updated_at), started_at,
                                 root.ended_at, root.journal_length, root.delivered_through,
                                 root.call_count, root.open_calls, root.open_seq, root.log_count,
                                 root.crashes, root.waiting_on, root.resume_kind,
                                 root.resume_us) == 1);
}

void write_attempt(Transaction& tx, StackRunId id, std::int64_t epoch, std::int64_t attempt,
                   std::string_view node, std::optional<WallTime> started_at, WallTime now,
                   std::string_view outcome, std::string_view error) {
  tx.sql.insert_attempt.run(id, epoch, attempt, TextOrNull{node}, started_at, now, outcome,
                            TextOrNull{error});
}

void advance_open_seq(Transaction& tx, RootState& root) {
  if (root.open_calls > 0) {
    Cursor row = tx.sql.first_open_call.query(root.run, root.open_seq + 1);
    if (row.next()) {
      root.open_seq = row.integer(0);
      return;
    }
    tx.must(false);
  }
  root.open_seq = root.call_count + 1;
}

StackRunId only_open_call(Transaction& tx, const RootState& root) {
  Cursor row = tx.sql.first_open_call.query(root.run, root.open_seq);
  return row.next() ? row.id<StackRunId>(1) : StackRunId();
}

std::optional<Wake> settle_parent(Transaction& tx, StackRunId parent_call, bool failed,
                                  std::string_view payload, const std::optional<Lease>& handoff) {
  auto call = read_call(tx, parent_call);
  // Ended already, or deleted: nobody waits.
  if (!call || is_terminal(call->status)) return std::nullopt;
  auto wake = end_call(tx, *call, {failed, payload, std::nullopt, std::nullopt}, handoff).wake;
  note_orphan_of(tx, parent_call);
  return wake;
}

Result<OutcomeRecorded> record_outcome(Transaction& tx, const OutcomeRecord& record) {
  auto call = read_call(tx, record.call.id);
  if (!call || call->status != StackStatus::processing || call->epoch != record.call.epoch ||
      call->root.run != record.call.run) {
    return Error(Errc::fenced, "the call is not held under this claim");
  }
  tx.faults = {"call.before_record", {"call.after_record"}};
  if (record.end == CallEnd::retry) return try_again(tx, *call, record);
  const bool failed = record.end == CallEnd::failed;
  std::optional<Wake> woken;
  if (call->root.open_calls > 1 && !is_terminal(call->root.status)) {
    woken = end_earlier_timers(tx, *call, record.handoff);
  }
  OutcomeRecorded recorded =
      end_call(tx, *call, {failed, record.payload, record.via, record.hop_us}, record.handoff);
  if (!recorded.wake) recorded.wake = std::move(woken);
  if (recorded.wake) tx.faults.after_commit[1] = "resume.after_commit";
  return recorded;
}

}  // namespace sequential::storage::sqlite
