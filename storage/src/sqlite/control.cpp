// cancel, pause, resume and clear: what people do to runs.

#include "sqlite/queues.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {
namespace {

struct ControlRow {
  RunStatus status = RunStatus::queued;
  std::optional<WallTime> started_at;
  StackRunId parent_call;
  StackRunId root;
  StackStatus root_status = StackStatus::pending;
  std::int64_t epoch = 0, slice = 0, journal_length = 0, delivered_through = 0;
  std::int64_t open_calls = 0, open_seq = 1;
  int priority = 0;
  WallTime available_at, lease_until;
};

std::optional<ControlRow> read_run(Transaction& tx, TaskRunId run) {
  Cursor row = tx.sql.run_for_control.query(run.value);
  if (!row.next()) return std::nullopt;
  ControlRow r;
  r.status = run_status_of(tx, row.view(0));
  r.root = row.id<StackRunId>(1);
  r.started_at = row.time_if(2);
  r.parent_call = row.id<StackRunId>(3);
  r.root_status = stack_status_of(tx, row.view(4));
  r.epoch = row.integer(5);
  r.slice = row.integer(6);
  r.journal_length = row.integer(7);
  r.delivered_through = row.integer(8);
  r.open_calls = row.integer(9);
  r.open_seq = row.integer(10);
  r.priority = row.small(11);
  r.available_at = row.time(12);
  r.lease_until = row.time(13);
  return r;
}

Error no_such_run(TaskRunId run) {
  return {Errc::run_not_found, "there is no task run " + std::to_string(run.value)};
}

Error wrong_state(TaskRunId run, RunStatus status) {
  return {Errc::conflict,
          "task run " + std::to_string(run.value) + " is " + std::string(run_status_name(status))};
}

}  // namespace

void pause_everything(Transaction& tx, TaskRunId run, std::int64_t open_seq,
                      std::string_view reason, std::string_view detail, WallTime now) {
  tx.must(tx.sql.pause_run.run(run, reason, TextOrNull{detail}, now) == 1);
  tx.sql.pause_pending_calls.run(run, open_seq, now);
}

Result<std::optional<Wake>> cancel(Transaction& tx, TaskRunId run, const std::string& error) {
  const auto row = read_run(tx, run);
  if (!row) return no_such_run(run);
  if (is_terminal(row->status)) return wrong_state(run, row->status);
  const WallTime now = tx.clock.now();
  {
    Cursor open = tx.sql.open_stack_runs.query(run, row->open_seq);
    while (open.next()) tx.leases.drop(open.id<StackRunId>(0));
  }
  tx.leases.drop(row->root);
  tx.sql.cancel_stack_runs.run(run, row->open_seq, now);
  tx.must(tx.sql.cancel_root.run(row->root, now) == 1);
  tx.must(tx.sql.end_run.run(run, run_status_name(RunStatus::cancelled), Null{}, TextOrNull{error},
                             Null{}, now) == 1);
  tx.sql.cancellation.deadline_is_now.run(run, now);  // for its children, too
  run_over(tx, run, RunStatus::cancelled, now);
  if (!row->parent_call) return std::optional<Wake>();
  return settle_parent(tx, row->parent_call, true, error, std::nullopt);
}

Result<void> pause(Transaction& tx, TaskRunId run, const std::string& reason,
                   const std::string& detail) {
  const auto row = read_run(tx, run);
  if (!row) return no_such_run(run);
  if (is_terminal(row->status) || row->status == RunStatus::paused) {
    return wrong_state(run, row->status);
  }
  const WallTime now = tx.clock.now();
  pause_everything(tx, run, row->open_seq, reason, detail, now);
  // A root under way goes on to the end of its slice, and is paused by its commit.
  if (row->root_status != StackStatus::processing) {
    tx.must(tx.sql.set_root_paused.run(row->root, row->epoch, now) == 1);
  }
  return success();
}

Result<std::vector<StackRunId>> resume(Transaction& tx, TaskRunId run) {
  const auto row = read_run(tx, run);
  if (!row) return no_such_run(run);
  if (row->status != RunStatus::paused) return wrong_state(run, row->status);
  const WallTime now = tx.clock.now();
  tx.must(tx.sql.resume_run.run(
              run, run_status_name(row->started_at ? RunStatus::running : RunStatus::queued),
              now) == 1);
  tx.sql.resume_paused_calls.run(run, row->open_seq, now);

  std::vector<StackRunId> runnable;
  StackRunId only_open;  // the one unfinished call, if it is one
  std::vector<std::pair<ClaimOrder, WallTime>> held;
  {
    Cursor open = tx.sql.open_stack_runs.query(run, row->open_seq);
    while (open.next()) {
      const auto id = open.id<StackRunId>(0);
      only_open = id;
      if (open.view(1) == stack_status_name(StackStatus::processing)) {
        held.push_back({{open.small(2), open.time(3), id}, open.time(4)});
      } else if (open.time(3) <= now) {
        runnable.push_back(id);
      }
    }
  }
  for (const auto& [order, until] : held) tx.leases.hold(order, until);

  if (row->root_status == StackStatus::processing) {
    tx.leases.hold({row->priority, row->available_at, row->root}, row->lease_until);
    return runnable;
  }
  // It has something to do if it never ran to a suspension, has outcomes it has not seen, or
  // nothing is left that it could wait for.
  const bool has_work = row->slice == 0 || row->journal_length > row->delivered_through ||
                        row->open_calls == 0;
  // Before its first slice it may have been submitted with a delay, and it may wait in a queue.
  const bool keeps_time = row->slice == 0 || row->available_at == kParked;
  const WallTime available_at = keeps_time ? row->available_at : now;
  tx.must(
      tx.sql.set_root_status.run(
          row->root,
          stack_status_name(has_work ? StackStatus::pending : StackStatus::suspended_waiting_child),
          available_at, 0, !has_work && row->open_calls == 1 ? only_open : StackRunId(), now,
          row->epoch) == 1);
  if (has_work && available_at <= now) runnable.insert(runnable.begin(), row->root);
  return runnable;
}

Result<std::int64_t> clear(Transaction& tx) {
  std::int64_t runs = 0;
  {
    Cursor row = tx.sql.count_runs.query();
    if (row.next()) runs = row.integer(0);
  }
  tx.sql.set_meta.run("task_run_id_high", tx.ids.run);
  tx.sql.set_meta.run("stack_run_id_high", tx.ids.stack_run);
  for (const std::string& table : run_tables(tx)) {
    Statement(tx.sql.db, "DELETE FROM " + table).run();
  }
  tx.sql.clear_children.run();
  tx.sql.clear_orphans.run();
  tx.sql.clear_attempts.run();
  queue_clear(tx);
  tx.sql.clear_stack_runs.run();
  tx.sql.clear_runs.run();
  tx.leases.clear();
  tx.cleared = true;
  return runs;
}

}  // namespace sequential::storage::sqlite
