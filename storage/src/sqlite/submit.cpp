// publish and submit.

#include "sqlite/queues.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {
namespace {

std::optional<Result<Submitted>> existing(Transaction& tx, const Submission& submission) {
  if (submission.idempotency_key.empty()) return std::nullopt;
  Cursor row = tx.sql.run_by_key.query(submission.idempotency_key);
  if (!row.next()) return std::nullopt;
  if (row.view(5) != submission.request_hash) {
    return Error(Errc::idempotency_conflict, "this idempotency key belongs to task run " +
                                                 std::to_string(row.integer(0)) +
                                                 ", which was submitted with a different request");
  }
  Submitted known;
  known.run = row.id<TaskRunId>(0);
  known.root = row.id<StackRunId>(1);
  known.status = run_status_of(tx, row.view(2));
  const bool suspended = row.view(3) == stack_status_name(StackStatus::suspended_waiting_child);
  if (known.status == RunStatus::running && suspended) {
    known.status = RunStatus::suspended_waiting_child;
  }
  known.created_at = row.time(4);
  known.existing = true;
  return known;
}

bool exists(Statement& select, std::int64_t id) {
  Cursor row = select.query(id);
  return row.next();
}

}  // namespace

Result<Published> publish(Transaction& tx, const Publication& publication) {
  Published published;
  {
    Cursor newest = tx.sql.newest_function.query(publication.name);
    if (newest.next()) {
      published.id = newest.id<TaskFunctionId>(0);
      published.version = newest.small(1);
      if (newest.view(2) == publication.code_sha256) return published;
    }
  }
  published.id = tx.ids.next_function();
  ++published.version;
  published.created = true;
  tx.sql.insert_function.run(
      published.id, publication.name, published.version, publication.code_sha256, tx.clock.now(),
      TextOrNull{publication.description}, TextOrNull{publication.input_schema},
      TextOrNull{publication.options}, publication.code);
  return published;
}

Result<Submitted> submit(Transaction& tx, const Submission& submission) {
  if (auto known = existing(tx, submission)) return *std::move(known);
  if (!exists(tx.sql.function_exists, submission.task_function_id.value)) {
    return Error(Errc::task_not_found, "no task function has the id " +
                                           std::to_string(submission.task_function_id.value));
  }
  if (submission.parent_stack_run_id &&
      !exists(tx.sql.stack_run_exists, submission.parent_stack_run_id.value)) {
    return Error(Errc::not_found, "the parent call " +
                                      std::to_string(submission.parent_stack_run_id.value) +
                                      " does not exist");
  }
  const WallTime now = tx.clock.now();
  const bool delayed = submission.delay.count() > 0;

  RootState root;
  root.id = tx.ids.next_stack_run();
  root.run = tx.ids.next_run();
  root.priority = submission.priority;
  const bool parked =
      is_queued(tx, submission) && !queue_enter(tx, submission, root.run, root.id, now);
  root.available_at = parked ? kParked : delayed ? now + submission.delay : now;
  const bool claimed = submission.handoff.has_value() && !delayed && !parked;
  root.task_function_id = submission.task_function_id;
  root.task_name = submission.task_name;

  Submitted submitted;
  submitted.run = root.run;
  submitted.root = root.id;
  submitted.created_at = now;
  std::optional<WallTime> started_at, lease_until;
  std::string_view lease_owner;
  if (claimed) {
    started_at = now;
    lease_until = now + submission.handoff->length;
    lease_owner = submission.handoff->node;
    root.epoch = root.attempt = 1;
    submitted.status = RunStatus::running;
    submitted.work = slice_work(root, *lease_until);
    tx.leases.hold({root.priority, root.available_at, root.id}, *lease_until);
  }
  tx.sql.insert_run.run(root.run, root.task_function_id, root.id, run_status_name(submitted.status),
                        root.priority, submission.parent_stack_run_id, now, started_at,
                        submission.task_name, submission.task_version,
                        TextOrNull{submission.idempotency_key}, TextOrNull{submission.request_hash},
                        TextOrNull{submission.queue_key}, Blob{submission.seed},
                        TextOrNull{submission.tags}, submission.input);
  tx.sql.insert_root.run(
      root.id, root.run, submission.parent_stack_run_id,
      stack_status_name(claimed ? StackStatus::processing : StackStatus::pending), root.epoch,
      root.priority, root.available_at, TextOrNull{lease_owner}, lease_until, now, started_at);
  run_submitted(tx, root.run, submission.tags, now);
  tx.faults = {"submit.before_commit", {"submit.after_commit"}};
  return submitted;
}

}  // namespace sequential::storage::sqlite
