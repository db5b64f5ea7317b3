// request_cancel, drop_calls, cancels_due and cancelling.

#include "postgres/cancellation.h"

#include <utility>

#include "postgres/store_templates.h"

namespace sequential::storage::postgres {
namespace {

// Columns of request_cancel_v1
enum : int {
  kOver = 2,
  kNow,
  kDeadline,
  kRoot,
  kWoken,
  kParentWoken,
  kParentRun,
  kParentRoot,
  kRoom,
};

}  // namespace

CancellationStatements::CancellationStatements(const std::string& schema) {
  const std::string s = "\"" + schema + "\".";
  request = Statement("SELECT x.*, CASE WHEN x.o_over THEN " + s + "queue_room_v1($5) END FROM " +
                      s + "request_cancel_v1($1, $2, $3, $4, $5, $6, $7) x");
  drop_calls = Statement("SELECT * FROM " + s + "drop_calls_v2($1, $2, $3, $4, $5)");
  due = Statement("SELECT * FROM " + s + "cancels_due_v1($1, $2)");
  cancelling = Statement("SELECT c.deadline, c.error FROM " + s + "cancellations c JOIN " + s +
                         "stack_runs r ON r.task_run_id = c.task_run_id AND r.seq = 0"
                         " WHERE c.task_run_id = $1::bigint AND r.ended_at IS NULL"
                         " AND r.delivered_as > 0 AND c.deadline IS NOT NULL");
}

Answered<CancelRequested> request_cancel(const Try& attempt, const CancellationStatements& sql,
                                         const CancelRequest& request) {
  Params params = attempt.head();
  params.add(request.run.value).add(request.error);
  params.add(static_cast<std::int64_t>(request.grace.count()));
  SEQUENTIAL_ROWS(rows, attempt.run(sql.request, params));
  if (auto refused = told(rows)) return Result<CancelRequested>(*std::move(refused));
  attempt.context.history.acknowledged();
  attempt.ring(rows, kRoom);
  CancelRequested asked;
  asked.over = rows.boolean(0, kOver);
  if (!asked.over) {
    asked.deadline = rows.time(0, kDeadline);
    asked.left = asked.deadline - rows.time(0, kNow);
    if (rows.boolean(0, kWoken)) {
      asked.root = Wake{request.run, rows.id<StackRunId>(0, kRoot), std::nullopt};
    }
  } else if (rows.boolean(0, kParentWoken)) {
    asked.parent = Wake{rows.id<TaskRunId>(0, kParentRun), rows.id<StackRunId>(0, kParentRoot),
                        std::nullopt};
  }
  return Result<CancelRequested>(std::move(asked));
}

Answered<std::int64_t> drop_calls(const Try& attempt, const CancellationStatements& sql,
                                  const Grant& root, const std::vector<std::int64_t>& seqs) {
  Params params;
  params.add(attempt.context.now()).add(attempt.lock_ms);
  params.add(root.run.value).add(root.epoch).add(seqs);
  SEQUENTIAL_ROWS(rows, attempt.run(sql.drop_calls, params));
  return Result<std::int64_t>(rows.integer(0, 0));
}

Answered<CancelsDue> cancels_due(const Try& attempt, const CancellationStatements& sql,
                                 int limit) {
  Params params;
  params.add(attempt.context.now()).add(limit);
  SEQUENTIAL_ROWS(rows, attempt.run(sql.due, params));
  CancelsDue due;
  for (const std::int64_t run : rows.integers(0, 0)) due.runs.emplace_back(run);
  if (const auto next = rows.integer_if(0, 1)) due.next_in = Millis{*next};
  return Result<CancelsDue>(std::move(due));
}

Answered<std::optional<Cancelling>> cancelling(const Try& attempt,
                                               const CancellationStatements& sql, TaskRunId run) {
  Params params;
  params.add(run.value);
  SEQUENTIAL_ROWS(rows, attempt.run(sql.cancelling, params));
  std::optional<Cancelling> found;
  if (rows.size() > 0) found = Cancelling{rows.time(0, 0), rows.bytes(0, 1)};
  return Result<std::optional<Cancelling>>(std::move(found));
}

// --- the store's methods ----------------------------------------------------------------------

void PostgresStore::request_cancel(CancelRequest request, Done<CancelRequested> done) {
  How how;
  how.key = key_of(request.run);
  how.before = "cancel.before_commit";
  const TaskRunId run = request.run;
  auto apply = [this, request = std::move(request)](const Try& attempt) {
    return postgres::request_cancel(attempt, cancellation_, request);
  };
  auto touch = [this, run](auto&, CancelRequested& asked) {
    FAULT_POINT("cancel.after_commit");
    if (asked.over) news_.tell_ended(run);
    if (asked.root) tell(*asked.root);
    if (asked.parent) tell(*asked.parent);
  };
  write<CancelRequested>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::drop_calls(Grant root, std::vector<std::int64_t> seqs,
                               Done<std::int64_t> done) {
  How how;
  how.key = key_of(root.run);
  auto apply = [this, root, seqs = std::move(seqs)](const Try& attempt) {
    return postgres::drop_calls(attempt, cancellation_, root, seqs);
  };
  write<std::int64_t>(std::move(done), how, std::move(apply), kNoTouch);
}

// As `due`.
void PostgresStore::cancels_due(int limit, Done<CancelsDue> done) {
  How how;
  how.pool = &sweeps_;
  auto apply = [this, limit](const Try& attempt) -> Answered<CancelsDue> {
    if (const auto sound = standing(); sound.has_error()) return Result<CancelsDue>(sound.error());
    return postgres::cancels_due(attempt, cancellation_, limit);
  };
  write<CancelsDue>(std::move(done), how, std::move(apply), kNoTouch);
}

void PostgresStore::cancelling(TaskRunId run, Done<std::optional<Cancelling>> done) {
  How how;
  how.pool = &sweeps_;
  auto apply = [this, run](const Try& attempt) {
    return postgres::cancelling(attempt, cancellation_, run);
  };
  write<std::optional<Cancelling>>(std::move(done), how, std::move(apply), kNoTouch);
}

}  // namespace sequential::storage::postgres
