// start_child and cancel_orphans: tasks that tasks start.

#include "sequential/storage/children.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "postgres/store_templates.h"
#include "postgres/transitions.h"
#include "sequential/base/fault.h"

namespace sequential::storage::postgres {

Answered<Submitted> start_child(const Try& attempt, const ChildStart& start) {
  const Submission& s = start.submission;
  const Lease none{"", Millis{0}};
  const Lease& lease = s.handoff ? *s.handoff : none;
  Params params = attempt.head();
  params.add(start.call.id.value).add(start.call.run.value).add(start.call.epoch);
  params.add(start.depth_max).add(kWaitsForChild.ms).add(start.inherits_priority);
  params.add(s.task_function_id.value).add(s.task_name).add(s.task_version).add(s.input);
  params.add(s.priority).add(s.queue_key).add(s.tags);
  params.add(static_cast<std::int64_t>(s.delay.count())).add(s.seed).add(lease.node);
  params.add(static_cast<std::int64_t>(lease.length.count()));
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.start_child, params));
  if (auto error = told(rows)) return Result<Submitted>(*std::move(error));
  Submitted child;
  child.run = rows.id<TaskRunId>(0, 2);
  child.root = rows.id<StackRunId>(0, 3);
  child.status = run_status_from(rows.text(0, 4)).value_or(RunStatus::queued);
  child.created_at = rows.time(0, 5);
  child.existing = rows.boolean(0, 6);
  attempt.acknowledged(
      {Witness::Kind::run, child.run.value, child.created_at.ms, 0, child.run.value});
  if (!rows.null(0, 7)) {
    Work& work = child.work.emplace();
    work.grant = {child.root, child.run, 1};
    work.lease_until = rows.time(0, 7);
    work.task_function_id = s.task_function_id;
    work.task_name = s.task_name;
  }
  return Result<Submitted>(std::move(child));
}

Answered<OrphansCancelled> cancel_orphans(const Try& attempt, int limit) {
  Params few;
  few.add(static_cast<std::int64_t>(std::max(limit, 1)));
  SEQUENTIAL_ROWS(noted, attempt.run(attempt.context.sql.orphans, few));
  OrphansCancelled result;
  for (std::size_t i = 0; i < noted.size(); ++i) {
    const auto run = noted.id<TaskRunId>(i, 0);
    FAULT_POINT("orphans.before_commit");
    Params params = attempt.head();
    params.add(run.value).add(std::string_view(kOrphanError));
    SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.cancel_orphan, params));
    if (rows.boolean(0, 2)) result.runs.push_back(run);
    if (rows.boolean(0, 3)) {
      OrphansCancelled::Asked& asked = result.asked.emplace_back();
      asked.run = run;
      asked.left = Millis{rows.integer(0, 4)};
      if (rows.boolean(0, 6)) asked.root = Wake{run, rows.id<StackRunId>(0, 5), std::nullopt};
    }
    attempt.context.history.acknowledged();
    attempt.ring(rows, 7);
    FAULT_POINT("orphans.after_commit");
  }
  result.more = noted.size() > 0;
  return Result<OrphansCancelled>(std::move(result));
}

void PostgresStore::start_child(ChildStart start, Done<Submitted> done) {
  How how;
  how.key = key_of(start.call.id);  // those of one run beside each other
  how.before = "child.before_commit";
  const bool now = start.submission.delay.count() <= 0;
  auto apply = [start = std::move(start)](const Try& attempt) {
    return postgres::start_child(attempt, start);
  };
  auto touch = [this, now](auto&, Submitted& child) {
    FAULT_POINT("child.after_commit");
    if (child.existing) return;
    remember_newest(child.run);
    if (now && !child.work) news_.tell_runnable(child.root);
  };
  write<Submitted>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::cancel_orphans(int limit, Done<OrphansCancelled> done) {
  auto apply = [limit](const Try& attempt) { return postgres::cancel_orphans(attempt, limit); };
  auto touch = [this](auto&, OrphansCancelled& cancelled) {
    for (const TaskRunId run : cancelled.runs) news_.tell_ended(run);
    for (const auto& asked : cancelled.asked) {
      if (asked.root) tell(*asked.root);
    }
  };
  write<OrphansCancelled>(std::move(done), {}, std::move(apply), std::move(touch));
}

void PostgresStore::parent_of(TaskRunId run, Done<std::optional<ChildLink>> done) {
  read(std::move(done), [run](Queries& q) { return q.parent_of(run); });
}

}  // namespace sequential::storage::postgres
