// claim, claim_next, extend, release, due and recover: who works on what, and until when.

#include <algorithm>
#include <limits>

#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {
namespace {

constexpr std::size_t kExpiredLooksMax = 1'000;  // stale proposals one claim_next will pass over

struct ClaimRow {
  TaskRunId run;
  std::int64_t seq = 0, epoch = 0, attempt = 0;
  StackStatus status = StackStatus::pending;
  int priority = 0;
  WallTime available_at, lease_until;
  std::string lease_owner;
  std::optional<WallTime> started_at;
  Delivery delivery = Delivery::at_least_once;
  bool outcome_unknown = false;
  RunStatus run_status = RunStatus::queued;
};

// The row's Work as it would be under a claim; nullopt if there is no such row.
std::optional<Work> read_for_claim(Transaction& tx, StackRunId id, ClaimRow& out) {
  Cursor row = tx.sql.for_claim.query(id.value);
  if (!row.next()) return std::nullopt;
  out.run = row.id<TaskRunId>(0);
  out.seq = row.integer(1);
  out.status = stack_status_of(tx, row.view(2));
  out.epoch = row.integer(3);
  out.attempt = row.integer(4);
  out.priority = row.small(5);
  out.available_at = row.time(6);
  out.lease_owner = row.text(7);
  out.lease_until = row.time(8);
  out.started_at = row.time_if(9);
  out.delivery = row.integer(10) == 1 ? Delivery::at_most_once : Delivery::at_least_once;
  out.outcome_unknown = row.integer(11) == 1;
  out.run_status = run_status_of(tx, row.view(16));
  Work work;
  work.grant = {id, out.run, out.epoch + 1};
  work.seq = out.seq;
  work.task_function_id = row.id<TaskFunctionId>(17);
  work.task_name = row.text(18);
  if (out.seq > 0) {
    work.service_name = row.text(12);
    work.method_name = row.text(13);
    work.options = row.text(14);
    work.args = row.text(15);
    work.delivery = out.delivery;
  }
  return work;
}

bool claimable(const ClaimRow& row, WallTime now) {
  if (row.run_status == RunStatus::paused) return false;
  if (row.status == StackStatus::pending) return row.available_at <= now;
  return row.status == StackStatus::processing && row.lease_until <= now;
}

// Brings the lease table in line with the row. One whose run is paused is left out of it: nobody
// may take it, and `resume` brings it back.
void follow_row(Transaction& tx, StackRunId id) {
  Cursor row = tx.sql.lease_row.query(id.value);
  if (row.next() && row.view(2) == stack_status_name(StackStatus::processing) &&
      row.view(4) != run_status_name(RunStatus::paused)) {
    tx.leases.hold({row.small(0), row.time(1), id}, row.time(3));
  } else {
    tx.leases.drop(id);
  }
}

// Takes a pending one, best first: one index seek per distinct priority in use.
std::optional<ClaimOrder> first_pending(Transaction& tx, WallTime now) {
  std::int64_t priority_max = std::numeric_limits<int>::max();
  for (;;) {
    Cursor row = tx.sql.first_pending.query(priority_max);
    if (!row.next()) return std::nullopt;
    if (row.time(1) <= now) return ClaimOrder{row.small(0), row.time(1), row.id<StackRunId>(2)};
    priority_max = row.integer(0) - 1;  // all of this priority are timers yet to come
  }
}

}  // namespace

Result<std::optional<Work>> claim(Transaction& tx, StackRunId id, const Lease& lease) {
  const WallTime now = tx.clock.now();
  ClaimRow row;
  std::optional<Work> work = read_for_claim(tx, id, row);
  if (!work || !claimable(row, now)) return std::optional<Work>();

  std::int64_t attempt = row.attempt + 1;
  if (row.status == StackStatus::processing) {
    // Its holder vanished in the middle of a try.
    write_attempt(tx, id, row.epoch, row.attempt, row.lease_owner, row.started_at, now, "lost", "");
    if (row.seq > 0 && row.delivery == Delivery::at_most_once) row.outcome_unknown = true;
  }
  if (row.outcome_unknown) attempt = row.attempt;  // there will be no other try
  work->attempt = static_cast<int>(attempt);
  work->outcome_unknown = row.outcome_unknown;
  work->lease_until = now + lease.length;
  tx.must(tx.sql.claim.run(id, row.epoch, attempt, row.outcome_unknown ? 1 : 0, lease.node,
                           work->lease_until, now) == 1);
  if (row.run_status == RunStatus::queued) tx.sql.start_run.run(row.run, now);
  tx.leases.hold({row.priority, row.available_at, id}, work->lease_until);
  tx.faults = {nullptr, {"claim.after_commit"}};
  return work;
}

Result<std::optional<Work>> claim_next(Transaction& tx, const Lease& lease) {
  const WallTime now = tx.clock.now();
  tx.leases.expire(now);
  for (std::size_t looks = 0; looks < kExpiredLooksMax && !tx.failed(); ++looks) {
    const auto pending = first_pending(tx, now);
    const auto expired = tx.leases.first_expired();
    if (!expired || (pending && *pending < *expired)) {
      if (!pending) return std::optional<Work>();
      return claim(tx, pending->id, lease);
    }
    SEQUENTIAL_TRY(auto work, claim(tx, expired->id, lease));
    if (work) return work;
    follow_row(tx, expired->id);
  }
  return std::optional<Work>();
}

Result<std::vector<Grant>> extend(Transaction& tx, const std::vector<Grant>& grants,
                                  const Lease& lease) {
  const WallTime now = tx.clock.now();
  const WallTime until = now + lease.length;
  std::vector<Grant> fenced;
  for (const Grant& grant : grants) {
    if (tx.sql.extend.run(grant.id, grant.epoch, until, lease.node, now) != 1) {
      fenced.push_back(grant);
      continue;
    }
    follow_row(tx, grant.id);
  }
  tx.faults = {"lease.before_renew", {}};
  return fenced;
}

Result<void> release(Transaction& tx, const Grant& grant) {
  const WallTime now = tx.clock.now();
  ClaimRow row;
  if (!read_for_claim(tx, grant.id, row) || row.status != StackStatus::processing ||
      row.epoch != grant.epoch) {
    return Error(Errc::fenced, "the stack run is not held under this claim");
  }
  write_attempt(tx, grant.id, row.epoch, row.attempt, row.lease_owner, row.started_at, now,
                "released", "");
  const StackStatus status =
      row.run_status == RunStatus::paused ? StackStatus::paused : StackStatus::pending;
  // A call that must not be tried again keeps the number of its last try.
  const std::int64_t attempt = row.outcome_unknown ? row.attempt : row.attempt - 1;
  tx.must(tx.sql.release.run(grant.id, grant.epoch, stack_status_name(status), attempt, now) == 1);
  tx.leases.drop(grant.id);
  tx.faults = {"release.before_commit", {}};
  return success();
}

Result<DueWork> due(Transaction& tx, int limit) {
  DueWork work;
  work.now = tx.clock.now();
  tx.leases.expire(work.now);
  const std::int64_t limit_rows = std::max(limit, 1);
  const auto limit_size = static_cast<std::size_t>(limit_rows);
  std::vector<std::pair<WallTime, StackRunId>> found;

  std::int64_t priority_max = std::numeric_limits<int>::max();
  for (;;) {  // one round per distinct priority in use
    Cursor first = tx.sql.first_pending.query(priority_max);
    if (!first.next()) break;
    const std::int64_t priority = first.integer(0);
    Cursor rows = tx.sql.pending_due.query(priority, work.now, limit_rows);
    while (rows.next()) found.emplace_back(rows.time(0), rows.id<StackRunId>(1));
    Cursor later = tx.sql.next_pending.query(priority, work.now);
    if (later.next() && (!work.next_due || later.time(0) < *work.next_due)) {
      work.next_due = later.time(0);
    }
    priority_max = priority - 1;
  }

  std::vector<StackRunId> not_claimable;
  std::size_t abandoned = 0;
  for (const ClaimOrder& expired : tx.leases.expired()) {
    if (abandoned == limit_size || tx.failed()) break;
    ClaimRow row;
    if (read_for_claim(tx, expired.id, row) && claimable(row, work.now)) {
      found.emplace_back(expired.available_at, expired.id);
      ++abandoned;
    } else {
      not_claimable.push_back(expired.id);
    }
  }
  for (const StackRunId id : not_claimable) follow_row(tx, id);

  std::sort(found.begin(), found.end());
  if (found.size() > limit_size) found.resize(limit_size);
  work.ids.reserve(found.size());
  for (const auto& [at, id] : found) work.ids.push_back(id);
  return work;
}

Result<std::int64_t> recover(Transaction& tx, const std::string& node) {
  std::int64_t freed = 0;
  for (const StackRunId id : tx.leases.all()) {
    if (tx.failed()) break;
    if (tx.sql.free_lease.run(id, node) != 1) continue;
    ++freed;
    follow_row(tx, id);
  }
  return freed;
}

void load_leases(Transaction& tx) {
  tx.leases.clear();
  struct Run {
    TaskRunId id;
    std::int64_t open_seq = 0;
  };
  std::vector<Run> with_open_calls;
  {
    Cursor row = tx.sql.open_runs.query();
    while (row.next()) {
      if (row.view(2) == stack_status_name(StackStatus::processing)) {
        tx.leases.hold({row.small(3), row.time(4), row.id<StackRunId>(1)}, row.time(5));
      }
      if (row.integer(6) > 0) with_open_calls.push_back({row.id<TaskRunId>(0), row.integer(7)});
    }
  }
  for (const Run& run : with_open_calls) {
    Cursor row = tx.sql.open_stack_runs.query(run.id, run.open_seq);
    while (row.next()) {
      if (row.view(1) != stack_status_name(StackStatus::processing)) continue;
      tx.leases.hold({row.small(2), row.time(3), row.id<StackRunId>(0)}, row.time(4));
    }
  }
  tx.leases.keep();
}

}  // namespace sequential::storage::sqlite
