// The Queues of a PostgresStore: functions of the queues migration of migrations/postgres.

#include "sequential/storage/queues.h"

#include <algorithm>
#include <utility>

#include "postgres/store_templates.h"
#include "postgres/transitions.h"

namespace sequential::storage::postgres {
namespace {

constexpr int kAdmittedMax = 100;  // in one transition

std::optional<QueueRate> rate_of(const Rows& rows, std::size_t row, int column) {
  if (rows.null(row, column)) return std::nullopt;
  return QueueRate{rows.integer(row, column), Millis{rows.integer(row, column + 1)}};
}

QueueLimits limits_of(const Rows& rows, std::size_t row, int column) {
  QueueLimits limits;
  limits.concurrency = rows.integer_if(row, column);
  limits.key_concurrency = rows.integer_if(row, column + 1);
  limits.rate = rate_of(rows, row, column + 2);
  limits.key_rate = rate_of(rows, row, column + 4);
  return limits;
}

Answered<Admission> admit(const Try& attempt, const std::string& task,
                          const std::optional<Lease>& handoff, int claims_max) {
  Params params = attempt.head();
  params.add(task).add(handoff ? std::string_view(handoff->node) : std::string_view());
  params.add(static_cast<std::int64_t>(handoff ? handoff->length.count() : 0));
  params.add(std::max(claims_max, 0)).add(kAdmittedMax);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.queue_admit, params));
  const auto runs = rows.integers(0, 0), roots = rows.integers(0, 1);
  const auto epochs = rows.integers(0, 2), functions = rows.integers(0, 3);
  Admission admission;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Wake& wake = admission.admitted.emplace_back();
    wake.run = TaskRunId(runs[i]);
    wake.root = StackRunId(roots[i]);
    if (epochs[i] == 0) continue;
    Work& work = wake.work.emplace();
    work.grant = {wake.root, wake.run, epochs[i]};
    work.lease_until = rows.time(0, 4);
    work.task_function_id = TaskFunctionId(functions[i]);
    work.task_name = task;
    attempt.acknowledged({Witness::Kind::claim, wake.root.value, epochs[i], 0, runs[i]});
  }
  for (const std::int64_t id : rows.integers(0, 7)) admission.calls.emplace_back(id);
  admission.more = rows.boolean(0, 5);
  if (const auto next = rows.integer_if(0, 6)) admission.next_in = Millis{*next};
  return Result<Admission>(std::move(admission));
}

void add_rate(Params& params, const std::optional<QueueRate>& rate) {
  params.add(rate ? rate->starts : std::int64_t{-1});
  params.add(static_cast<std::int64_t>(rate ? rate->per.count() : 0));
}

Answered<QueueLimits> change(const Try& attempt, const std::string& task,
                             const QueueChange& change) {
  Params params;
  params.add(attempt.context.now()).add(attempt.lock_ms).add(task);
  params.add((change.concurrency ? 1 : 0) | (change.key_concurrency ? 2 : 0) |
             (change.rate ? 4 : 0) | (change.key_rate ? 8 : 0));
  params.add(change.to.concurrency.value_or(-1)).add(change.to.key_concurrency.value_or(-1));
  add_rate(params, change.to.rate);
  add_rate(params, change.to.key_rate);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.queue_change, params));
  attempt.context.history.acknowledged();
  return Result<QueueLimits>(limits_of(rows, 0, 0));
}

Answered<std::vector<QueueInfo>> list(const Try& attempt, const std::string& task, bool one,
                                      int limit) {
  Params params;
  params.add(attempt.context.now()).add(task).add(one).add(limit);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.queue_list, params));
  std::vector<QueueInfo> found;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    QueueInfo& info = found.emplace_back();
    info.task = rows.bytes(i, 0);
    info.limits = limits_of(rows, i, 1);
    info.running = rows.integer(i, 7);
    info.waiting = rows.integer(i, 8);
    if (const auto oldest = rows.integer_if(i, 9)) info.oldest_wait = Millis{*oldest};
  }
  return Result<std::vector<QueueInfo>>(std::move(found));
}

Answered<std::vector<QueueKey>> keys(const Try& attempt, const std::string& task,
                                     const std::optional<std::string>& after, int limit) {
  Params params;
  params.add(task).add(!after.has_value()).add(after.value_or("")).add(limit);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.queue_keys, params));
  std::vector<QueueKey> found;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    found.push_back({rows.bytes(i, 0), rows.integer(i, 1), rows.integer(i, 2)});
  }
  return Result<std::vector<QueueKey>>(std::move(found));
}

Answered<std::vector<QueueDue>> due_now(const Try& attempt) {
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.queue_due, Params()));
  std::vector<QueueDue> found;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    found.push_back({rows.bytes(i, 0), rows.boolean(i, 1)});
  }
  return Result<std::vector<QueueDue>>(std::move(found));
}

Answered<std::vector<TaskRunId>> waiting(const Try& attempt,
                                         const std::vector<std::int64_t>& runs) {
  Params params;
  params.add(runs);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.queue_waiting, params));
  std::vector<TaskRunId> found;
  for (const std::int64_t run : rows.integers(0, 0)) found.emplace_back(run);
  return Result<std::vector<TaskRunId>>(std::move(found));
}

}  // namespace

void PostgresStore::admit(std::string task, std::optional<Lease> handoff, int claims_max,
                          Done<Admission> done) {
  How how;
  how.before = "queue.before_admit";
  auto apply = [task = std::move(task), handoff = std::move(handoff),
                claims_max](const Try& attempt) {
    return postgres::admit(attempt, task, handoff, claims_max);
  };
  auto touch = [this](auto&, Admission& admission) {
    FAULT_POINT("queue.after_admit");
    for (const Wake& wake : admission.admitted) tell(wake);
    for (const StackRunId id : admission.calls) news_.tell_runnable(id);
  };
  write<Admission>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::change_queue(std::string task, QueueChange change, Done<QueueLimits> done) {
  auto apply = [task = std::move(task), change](const Try& attempt) {
    return postgres::change(attempt, task, change);
  };
  write<QueueLimits>(std::move(done), {}, std::move(apply), kNoTouch);
}

void PostgresStore::on_room(std::function<void(const std::string&)> listener) {
  room_bell_.listen(std::move(listener));
}

void PostgresStore::queues_due(Done<std::vector<QueueDue>> done) {
  How how;
  how.pool = &sweeps_;
  auto apply = [](const Try& attempt) { return due_now(attempt); };
  write<std::vector<QueueDue>>(std::move(done), how, std::move(apply), kNoTouch);
}

void PostgresStore::queue_list(std::string after, int limit, Done<std::vector<QueueInfo>> done) {
  How how;
  how.pool = &readers_;
  auto apply = [after = std::move(after), limit](const Try& attempt) {
    return list(attempt, after, false, limit);
  };
  write<std::vector<QueueInfo>>(std::move(done), how, std::move(apply), kNoTouch);
}

void PostgresStore::queue_of(std::string task, Done<QueueInfo> done) {
  How how;
  how.pool = &readers_;
  auto apply = [task = std::move(task)](const Try& attempt) -> Answered<QueueInfo> {
    auto found = list(attempt, task, true, 1);
    if (auto* failed = std::get_if<DbError>(&found)) return std::move(*failed);
    auto& infos = std::get<Result<std::vector<QueueInfo>>>(found).value();
    QueueInfo none;
    none.task = task;
    return Result<QueueInfo>(infos.empty() ? std::move(none) : std::move(infos.front()));
  };
  write<QueueInfo>(std::move(done), how, std::move(apply), kNoTouch);
}

void PostgresStore::queue_keys(std::string task, std::optional<std::string> after, int limit,
                               Done<std::vector<QueueKey>> done) {
  How how;
  how.pool = &readers_;
  auto apply = [task = std::move(task), after = std::move(after), limit](const Try& attempt) {
    return keys(attempt, task, after, limit);
  };
  write<std::vector<QueueKey>>(std::move(done), how, std::move(apply), kNoTouch);
}

void PostgresStore::waiting_in_queues(std::vector<TaskRunId> runs,
                                      Done<std::vector<TaskRunId>> done) {
  How how;
  how.pool = &readers_;
  std::vector<std::int64_t> ids;
  for (const TaskRunId run : runs) ids.push_back(run.value);
  auto apply = [ids = std::move(ids)](const Try& attempt) { return waiting(attempt, ids); };
  write<std::vector<TaskRunId>>(std::move(done), how, std::move(apply), kNoTouch);
}

}  // namespace sequential::storage::postgres
