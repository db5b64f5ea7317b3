// claim, claim_next, extend, release, slice_lost, due.

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "postgres/transitions.h"

namespace sequential::storage::postgres {
namespace {

std::optional<Work> claimed_work(const Rows& rows) {
  if (rows.size() == 0 || rows.null(0, 0)) return std::nullopt;
  Work work;
  work.grant = {rows.id<StackRunId>(0, 0), rows.id<TaskRunId>(0, 1), rows.integer(0, 2)};
  work.seq = rows.integer(0, 3);
  work.lease_until = rows.time(0, 4);
  work.task_function_id = rows.id<TaskFunctionId>(0, 5);
  work.task_name = rows.bytes(0, 6);
  if (work.seq > 0) {
    work.service_name = rows.bytes(0, 7);
    work.method_name = rows.bytes(0, 8);
    work.args = rows.bytes(0, 9);
    work.options = rows.bytes(0, 10);
    work.delivery = rows.integer(0, 11) == 1 ? Delivery::at_most_once : Delivery::at_least_once;
  }
  work.attempt = rows.small(0, 12);
  work.outcome_unknown = rows.boolean(0, 13);
  return work;
}

Answered<std::optional<Work>> claimed(const Try& attempt, const Rows& rows) {
  std::optional<Work> work = claimed_work(rows);
  if (work) {
    const Grant& grant = work->grant;
    attempt.acknowledged({Witness::Kind::claim, grant.id.value, grant.epoch, 0, grant.run.value});
  }
  return Result<std::optional<Work>>(std::move(work));
}

std::int64_t length_of(const Lease& lease) {
  return static_cast<std::int64_t>(lease.length.count());
}

// One extend statement; adds what it found to `fenced` and to `skipped` (locked by others).
std::optional<DbError> extend_some(const Try& attempt, const std::vector<Grant>& grants,
                                   const Lease& lease, bool wait,
                                   std::unordered_set<std::int64_t>& fenced,
                                   std::unordered_set<std::int64_t>& skipped) {
  std::vector<std::int64_t> ids, epochs;
  for (const Grant& grant : grants) {
    ids.push_back(grant.id.value);
    epochs.push_back(grant.epoch);
  }
  Params params;
  params.add(attempt.context.now()).add(attempt.lock_ms).add(wait).add(ids).add(epochs);
  params.add(lease.node).add(length_of(lease));
  auto answer = attempt.run(attempt.context.sql.extend, params);
  if (auto* error = std::get_if<DbError>(&answer)) return std::move(*error);
  const Rows& rows = std::get<Rows>(answer);
  for (const std::int64_t id : rows.integers(0, 0)) fenced.insert(id);
  for (const std::int64_t id : rows.integers(0, 1)) skipped.insert(id);
  return std::nullopt;
}

}  // namespace

Answered<std::optional<Work>> claim(const Try& attempt, StackRunId id, const Lease& lease) {
  Params params = attempt.head();
  params.add(id.value).add(lease.node).add(length_of(lease));
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.claim, params));
  return claimed(attempt, rows);
}

Answered<std::optional<Work>> claim_next(const Try& attempt, const Lease& lease) {
  Params params = attempt.head();
  params.add(lease.node).add(length_of(lease));
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.claim_next, params));
  return claimed(attempt, rows);
}

Answered<std::vector<Grant>> extend(const Try& attempt, const std::vector<Grant>& grants,
                                    const Lease& lease) {
  using Kept = Result<std::vector<Grant>>;
  if (grants.empty()) return Kept(std::vector<Grant>());
  std::unordered_set<std::int64_t> fenced, skipped;
  if (auto error = extend_some(attempt, grants, lease, false, fenced, skipped)) {
    return *std::move(error);
  }
  // Locked by a transition of their own, which is short: one at a time, holding no other lock.
  for (const Grant& grant : grants) {
    if (!skipped.contains(grant.id.value)) continue;
    std::unordered_set<std::int64_t> none;
    if (auto error = extend_some(attempt, {grant}, lease, true, fenced, none)) {
      return *std::move(error);
    }
  }
  std::vector<Grant> lost;
  for (const Grant& grant : grants) {
    if (fenced.contains(grant.id.value)) lost.push_back(grant);
  }
  return Kept(std::move(lost));
}

Answered<void> release(const Try& attempt, const Grant& grant) {
  Params params = attempt.head();
  params.add(grant.id.value).add(grant.epoch);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.release, params));
  if (auto error = told(rows)) return Result<void>(*std::move(error));
  attempt.acknowledged({Witness::Kind::attempt, grant.id.value, grant.epoch, attempt.token,
                        grant.run.value});
  return Result<void>(success());
}

Answered<SliceLostResult> slice_lost(const Try& attempt, const SliceLost& lost) {
  Params params = attempt.head();
  params.add(lost.root.id.value).add(lost.root.run.value).add(lost.root.epoch);
  params.add(lost.why == Lost::engine_killed).add(lost.crashes_max).add(lost.detail);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.slice_lost, params));
  if (auto error = told(rows)) return Result<SliceLostResult>(*std::move(error));
  const Grant& root = lost.root;
  attempt.acknowledged({Witness::Kind::attempt, root.id.value, root.epoch, attempt.token,
                        root.run.value});
  return Result<SliceLostResult>(SliceLostResult{rows.integer(0, 2), rows.boolean(0, 3)});
}

Answered<DueWork> due(const Try& attempt, int limit) {
  Params params;
  params.add(attempt.context.now()).add(std::max(limit, 1));
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.due, params));
  DueWork work;
  work.now = rows.time(0, 0);
  work.next_due = rows.time_if(0, 1);
  work.next_watch = rows.time_if(0, 3);
  for (const std::int64_t id : rows.integers(0, 2)) work.ids.emplace_back(id);
  return Result<DueWork>(std::move(work));
}

}  // namespace sequential::storage::postgres
