// commit_slice and slice_lost: what a stretch of task code did, or that it did nothing.

#include <algorithm>

#include "sequential/storage/run_states.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {
namespace {

Error fenced() { return {Errc::fenced, "the stack run is not held under this claim"}; }

struct SliceRow {
  RootState root;
  std::string lease_owner;
  std::optional<WallTime> started_at;
  StackRunId parent_call;
};

// The root if it is held under this grant.
std::optional<SliceRow> read_held_root(Transaction& tx, const Grant& grant) {
  Cursor row = tx.sql.root_for_slice.query(grant.id.value);
  if (!row.next()) return std::nullopt;
  if (row.integer(1) != 0 || row.integer(3) != grant.epoch || row.integer(0) != grant.run.value ||
      row.view(2) != stack_status_name(StackStatus::processing)) {
    return std::nullopt;
  }
  SliceRow held;
  RootState& root = held.root;
  root.id = grant.id;
  root.run = grant.run;
  root.status = StackStatus::processing;
  root.epoch = grant.epoch;
  root.attempt = row.integer(4);
  held.lease_owner = row.text(5);
  held.started_at = row.time_if(6);
  root.slice = row.integer(7);
  root.journal_length = row.integer(8);
  root.delivered_through = row.integer(9);
  root.call_count = row.integer(10);
  root.open_calls = row.integer(11);
  root.open_seq = row.integer(12);
  root.log_count = row.integer(13);
  root.crashes = row.integer(14);
  root.priority = row.small(15);
  root.updated_at = row.time(16);
  root.run_status = run_status_of(tx, row.view(17));
  root.task_function_id = row.id<TaskFunctionId>(18);
  root.task_name = row.text(19);
  held.parent_call = row.id<StackRunId>(20);
  root.available_at = row.time(21);
  return held;
}

Result<void> check_numbering(const SliceCommit& commit, const RootState& root) {
  std::int64_t expected = root.call_count;
  for (const NewCall& call : commit.calls) {
    if (call.seq != ++expected) {
      return Error(Errc::conflict, "the slice's calls must go on from number " +
                                       std::to_string(root.call_count + 1) + ", but one has " +
                                       std::to_string(call.seq) + " where " +
                                       std::to_string(expected) + " is next");
    }
  }
  if (commit.delivered_through < root.delivered_through ||
      commit.delivered_through > root.journal_length) {
    return Error(Errc::conflict, "the slice says it has seen the journal through " +
                                     std::to_string(commit.delivered_through) +
                                     ", which is not between " +
                                     std::to_string(root.delivered_through) + " and " +
                                     std::to_string(root.journal_length));
  }
  return success();
}

void insert_logs(Transaction& tx, const SliceCommit& commit, RootState& root, WallTime now) {
  if (commit.logs.empty()) return;
  const std::int64_t before = root.log_count;
  for (const NewLog& log : commit.logs) {
    if (is_state(log)) continue;
    tx.sql.insert_log.run(root.run, ++root.log_count, now, log.level, log.message,
                          TextOrNull{log.fields});
  }
  store_state(tx, root.run, commit.logs, now);
  if (root.log_count > before) logs_stored(tx, root.run, before, commit.logs, now);
}

RunStatus status_of(SliceEnd end) {
  return end == SliceEnd::completed   ? RunStatus::completed
         : end == SliceEnd::cancelled ? RunStatus::cancelled
                                      : RunStatus::failed;
}

StackStatus root_status_of(SliceEnd end) {
  return end == SliceEnd::completed   ? StackStatus::completed
         : end == SliceEnd::cancelled ? StackStatus::cancelled
                                      : StackStatus::failed;
}

struct CallTimes {
  WallTime now;        // of leases and timers
  WallTime stored_at;  // never before what the run's journal already shows
};

// Inserts one call: paused with its run, claimed for the node that commits, or pending.
CommittedCall insert_call(Transaction& tx, const SliceCommit& commit, const NewCall& call,
                          const RootState& root, bool run_paused, CallTimes times) {
  CommittedCall made;
  made.id = tx.ids.next_stack_run();
  made.seq = call.seq;
  const bool delayed = call.delay.count() > 0;
  const bool claimed = commit.handoff.has_value() && !delayed && !run_paused;
  const WallTime available_at = delayed ? times.now + call.delay : times.now;
  if (delayed) made.available_at = available_at;

  StackStatus status = run_paused ? StackStatus::paused : StackStatus::pending;
  std::string_view lease_owner;
  std::optional<WallTime> lease_until, started_at;
  if (claimed) {
    status = StackStatus::processing;
    lease_owner = commit.handoff->node;
    lease_until = times.now + commit.handoff->length;
    started_at = times.stored_at;
    Work& work = made.work.emplace();
    work.grant = {made.id, root.run, 1};
    work.seq = call.seq;
    work.lease_until = *lease_until;
    work.task_function_id = root.task_function_id;
    work.task_name = root.task_name;
    work.delivery = call.delivery;
    tx.leases.hold({root.priority, available_at, made.id}, *lease_until);
  }
  const auto kind =
      commit.resume_kind ? std::optional(static_cast<int>(*commit.resume_kind)) : std::nullopt;
  const auto resume_us = commit.resume_kind ? std::optional(commit.resume_us) : std::nullopt;
  tx.sql.insert_call.run(made.id, root.run, call.seq, root.id, stack_status_name(status),
                         claimed ? 1 : 0, root.priority, available_at, TextOrNull{lease_owner},
                         lease_until, root.slice, times.stored_at, started_at,
                         static_cast<int>(call.delivery), call.source_line, kind, resume_us,
                         call.service_name, call.method_name, TextOrNull{call.options}, call.args);
  return made;
}

// The run ends with this slice. What it left unfinished goes on to its own recorded end.
std::optional<Wake> end_with_slice(Transaction& tx, const SliceCommit& commit, const SliceRow& held,
                                   RootState& root, WallTime now) {
  const bool ok = commit.end == SliceEnd::completed;
  root.status = root_status_of(commit.end);
  root.ended_at = now;
  const std::string_view none;
  const auto straggling = root.open_calls > 0 ? std::optional(1) : std::nullopt;
  tx.must(tx.sql.end_run.run(root.run, run_status_name(status_of(commit.end)),
                             TextOrNull{ok ? std::string_view(commit.payload) : none},
                             TextOrNull{ok ? none : std::string_view(commit.payload)}, straggling,
                             now) == 1);
  if (root.run_status == RunStatus::paused) {
    tx.sql.resume_paused_calls.run(root.run, root.open_seq, now);
  }
  run_over(tx, root.run, status_of(commit.end), now);
  if (!held.parent_call) return std::nullopt;
  return settle_parent(tx, held.parent_call, !ok, commit.payload, commit.handoff);
}

Result<SliceCommitted> pause_by_slice(Transaction& tx, const SliceCommit& commit,
                                      const RootState& root) {
  if (!commit.calls.empty() || numbered(commit.logs) > 0) {
    return Error(Errc::conflict, "a slice that pauses its run stores no calls and no logs");
  }
  const WallTime now = tx.clock.now();
  tx.must(tx.sql.set_root_status.run(root.id, stack_status_name(StackStatus::paused),
                                     root.available_at, root.crashes, StackRunId(), now,
                                     root.epoch) == 1);
  pause_everything(tx, root.run, root.open_seq, commit.reason, commit.payload, now);
  tx.leases.drop(root.id);
  SliceCommitted committed;
  committed.status = RunStatus::paused;
  return committed;
}

}  // namespace

bool must_be_on_disk(const SliceCommit& commit) {
  return commit.flush == Flush::durable || commit.end != SliceEnd::suspended ||
         std::any_of(commit.calls.begin(), commit.calls.end(),
                     [](const NewCall& call) { return call.delivery == Delivery::at_most_once; });
}

Result<SliceCommitted> commit_slice(Transaction& tx, const SliceCommit& commit) {
  auto held = read_held_root(tx, commit.root);
  if (!held) return fenced();
  if (commit.end == SliceEnd::paused) return pause_by_slice(tx, commit, held->root);
  SEQUENTIAL_TRY(check_numbering(commit, held->root));

  RootState& root = held->root;
  const bool ended = commit.end != SliceEnd::suspended;
  const bool run_paused = root.run_status == RunStatus::paused && !ended;
  CallTimes times;
  times.now = tx.clock.now();
  times.stored_at = std::max(times.now, root.updated_at);

  ++root.slice;
  root.attempt = 0;
  root.crashes = 0;
  root.delivered_through = commit.delivered_through;
  if (commit.resume_kind) {
    root.resume_kind = static_cast<int>(*commit.resume_kind);
    root.resume_us = commit.resume_us;
  }
  SliceCommitted committed;
  committed.calls.reserve(commit.calls.size());
  if (root.open_calls == 0) root.open_seq = root.call_count + 1;
  for (const NewCall& call : commit.calls) {
    committed.calls.push_back(insert_call(tx, commit, call, root, run_paused, times));
  }
  root.call_count += static_cast<std::int64_t>(commit.calls.size());
  root.open_calls += static_cast<std::int64_t>(commit.calls.size());
  insert_logs(tx, commit, root, times.stored_at);

  std::optional<Lease> lease;  // of the root, if it goes on at once
  tx.leases.drop(root.id);
  if (ended) {
    committed.parent = end_with_slice(tx, commit, *held, root, times.stored_at);
    committed.status = status_of(commit.end);
    tx.faults = {"complete.before_commit", {"complete.after_commit"}};
  } else {
    tx.faults = {"suspend.before_commit", {"suspend.after_commit"}};
    if (run_paused) {
      root.status = StackStatus::paused;
      committed.status = RunStatus::paused;
    } else if (root.journal_length > root.delivered_through) {
      committed.root = wake_root(root, commit.handoff, times.now);
      if (committed.root->work) lease = commit.handoff;
      committed.status = RunStatus::running;
    } else {
      root.status = StackStatus::suspended_waiting_child;
      committed.status = RunStatus::suspended_waiting_child;
      if (root.open_calls == 1) {
        root.waiting_on =
            committed.calls.empty() ? only_open_call(tx, root) : committed.calls.front().id;
      }
    }
  }
  write_root(tx, root, commit.root.epoch, lease, times.now);
  return committed;
}

Result<SliceLostResult> slice_lost(Transaction& tx, const SliceLost& lost) {
  const auto held = read_held_root(tx, lost.root);
  if (!held) return fenced();
  const WallTime now = tx.clock.now();
  const RootState& root = held->root;
  const bool killed = lost.why == Lost::engine_killed;
  if (!killed) {
    SEQUENTIAL_TRY(release(tx, lost.root));
    return SliceLostResult{root.crashes, false};
  }
  SliceLostResult result{root.crashes + 1, false};
  result.paused = result.crashes >= lost.crashes_max;
  write_attempt(tx, root.id, root.epoch, root.attempt, held->lease_owner, held->started_at, now,
                "lost", lost.detail);
  const bool stays = !result.paused && root.run_status != RunStatus::paused;
  tx.must(tx.sql.set_root_status.run(
              root.id, stack_status_name(stays ? StackStatus::pending : StackStatus::paused),
              stays ? now : root.available_at, result.crashes, StackRunId(), now, root.epoch) == 1);
  if (result.paused) pause_everything(tx, root.run, root.open_seq, "poison", lost.detail, now);
  tx.leases.drop(root.id);
  return result;
}

}  // namespace sequential::storage::sqlite
