// start_child and cancel_orphans: tasks that tasks start.

#include "sequential/storage/children.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sqlite/store_templates.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {
namespace {

struct WaitingCall {
  std::int64_t epoch = 0;
  int priority = 0;
  RunStatus run_status = RunStatus::queued;
  int depth = 0;  // runs above its run
};

// The call if it is held under this grant.
std::optional<WaitingCall> read_held_call(Transaction& tx, const Grant& grant) {
  Cursor row = tx.sql.call_for_child.query(grant.id.value);
  if (!row.next() || row.integer(0) != grant.run.value || row.integer(2) != grant.epoch ||
      row.view(1) != stack_status_name(StackStatus::processing)) {
    return std::nullopt;
  }
  return WaitingCall{row.integer(2), row.small(3), run_status_of(tx, row.view(4)), row.small(5)};
}

// Its child, if that has not ended.
std::optional<Submitted> child_under_way(Transaction& tx, StackRunId call) {
  Cursor row = tx.sql.child_of_call.query(call.value);
  if (!row.next()) return std::nullopt;
  Submitted child;
  child.run = row.id<TaskRunId>(0);
  child.root = row.id<StackRunId>(1);
  child.status = run_status_of(tx, row.view(2));
  child.created_at = row.time(3);
  child.existing = true;
  if (is_terminal(child.status)) return std::nullopt;
  return child;
}

Error too_deep(int depth_max) {
  return {Errc::depth_limit, "there are " + std::to_string(depth_max) +
                                 " runs above this one already, each waiting for the next: "
                                 "limits.child_depth allows no more"};
}

}  // namespace

Result<Submitted> start_child(Transaction& tx, const ChildStart& start) {
  const auto call = read_held_call(tx, start.call);
  if (!call) return Error(Errc::fenced, "the call is not held under this claim");
  auto child = child_under_way(tx, start.call.id);
  if (!child) {
    if (call->depth >= start.depth_max) return too_deep(start.depth_max);
    Submission submission = start.submission;
    submission.parent_stack_run_id = start.call.id;
    if (start.inherits_priority) submission.priority = call->priority;
    SEQUENTIAL_TRY(child, submit(tx, submission));
    tx.sql.forget_child.run(start.call.id);
    tx.sql.insert_child.run(start.call.run, child->run, start.call.id, call->depth + 1);
  }
  const StackStatus status =
      call->run_status == RunStatus::paused ? StackStatus::paused : StackStatus::pending;
  tx.must(tx.sql.wait_for_child.run(start.call.id, start.call.epoch, stack_status_name(status),
                                    kWaitsForChild, tx.clock.now()) == 1);
  tx.leases.drop(start.call.id);
  tx.faults = {"child.before_commit", {"child.after_commit"}};
  return *std::move(child);
}

void note_orphans(Transaction& tx, TaskRunId run, Noted which) {
  tx.sql.note_orphans.run(run, which == Noted::asked_before ? 1 : 0);
}

void note_orphan_of(Transaction& tx, StackRunId call) { tx.sql.note_orphan_of.run(call); }

Result<OrphansCancelled> cancel_orphans(Transaction& tx, int limit) {
  std::vector<std::pair<TaskRunId, WallTime>> noted;
  {
    Cursor row = tx.sql.orphans.query(std::max(limit, 1));
    while (row.next()) noted.emplace_back(row.id<TaskRunId>(0), row.time(1));
  }
  OrphansCancelled result;
  const WallTime now = tx.clock.now();
  for (const auto& [run, deadline] : noted) {
    // One that has ended, or is gone, needs nothing more. No parent is woken: its call has ended.
    const Millis grace = deadline > now ? deadline - now : Millis{0};
    auto asked = request_cancel(tx, {run, kOrphanError, grace});
    if (asked.has_value() && asked.value().over) {
      result.runs.push_back(run);
    } else if (asked.has_value()) {
      result.asked.push_back({run, asked.value().left, std::move(asked.value().root)});
    }
    tx.sql.forget_orphan.run(run);
  }
  result.more = !noted.empty();
  if (result.more) tx.faults = {"orphans.before_commit", {"orphans.after_commit"}};
  return result;
}

void SqliteStore::start_child(ChildStart start, Done<Submitted> done) {
  write(std::move(done), [start = std::move(start)](Transaction& tx) {
    return sqlite::start_child(tx, start);
  });
}

void SqliteStore::cancel_orphans(int limit, Done<OrphansCancelled> done) {
  write(std::move(done), [limit](Transaction& tx) { return sqlite::cancel_orphans(tx, limit); });
}

void SqliteStore::parent_of(TaskRunId run, Done<std::optional<ChildLink>> done) {
  read(std::move(done), [run](Queries& q) { return q.parent_of(run); });
}

}  // namespace sequential::storage::sqlite
