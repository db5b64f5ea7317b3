// publish, submit, control, keystore, and what the transitions share.

#include "postgres/transitions.h"

#include <algorithm>
#include <utility>

namespace sequential::storage::postgres {
namespace {

constexpr int kSealTries = 1'000;  // of one put, each because another put came first

std::string placeholders(int count) {
  std::string out;
  for (int i = 1; i <= count; ++i) out += (i == 1 ? "$" : ", $") + std::to_string(i);
  return out;
}

}  // namespace

Params Try::head() const {
  Params params;
  params.add(context.now()).add(lock_ms).add(token).add(again);
  return params;
}

void Try::acknowledged(const Witness& witness) const { context.history.acknowledged(witness); }

void Try::ring(const Rows& rows, int column) const {
  if (!rows.null(0, column)) context.room_bell.ring(rows.bytes(0, column));
}

Statements::Statements(const std::string& schema) {
  const std::string quoted = "\"" + schema + "\".";
  const auto call = [&](const char* function, int parameters) {
    return Statement("SELECT * FROM " + quoted + function + "(" + placeholders(parameters) + ")");
  };
  // And, last of the columns, the task that has room in its queue now. Its run is parameter `run`.
  const auto call_and_room = [&](const char* function, int parameters, const char* ended, int run) {
    return Statement("SELECT x.*, CASE WHEN " + std::string(ended) + " THEN " + quoted +
                     "queue_room_v1($" + std::to_string(run) + ") END FROM " + quoted + function +
                     "(" + placeholders(parameters) + ") x");
  };
  constexpr const char* kSliceEnds = "x.status IN ('completed', 'failed', 'cancelled')";
  publish = call("publish_v1", 9);
  submit = call("submit_v1", 19);
  claim = call("claim_v1", 7);
  claim_next = call("claim_next_v1", 6);
  commit_slice = call_and_room("commit_slice_v1", 29, kSliceEnds, 7);
  commit_slice_shown = call_and_room("commit_slice_shown_v1", 31, kSliceEnds, 7);
  stack_run_ids = call("stack_run_ids_v1", 1);
  record_outcome = call("record_outcome_v1", 14);
  slice_lost = call("slice_lost_v1", 10);
  release = call("release_v1", 6);
  extend = call("extend_v1", 7);
  cancel = call_and_room("cancel_v1", 6, "x.o_code = ''", 5);
  pause = call("pause_v1", 7);
  resume = call("resume_v1", 5);
  resume_on = call("resume_on_v1", 8);
  retry_run = call("retry_run_v3", 15);
  fork_run = call("fork_run_v3", 27);
  due = call("due_v1", 2);
  recover = call("recover_v1", 3);
  clear = call("clear_v1", 3);
  start_child = call("start_child_v1", 21);
  cancel_orphan = call_and_room("cancel_orphan_v2", 6, "x.o_cancelled", 5);
  orphans = Statement("SELECT child_run FROM " + quoted +
                      "child_cancels ORDER BY child_run LIMIT $1::bigint");
  take_signal = call("take_signal_v1", 14);
  send_signal = call("send_signal_v1", 12);
  create_webhook = call("create_webhook_v1", 14);
  answer_webhook = call("answer_webhook_v1", 8);
  kept_signals = Statement("SELECT s.id, s.name, s.payload, s.at FROM " + quoted +
                           "task_runs t LEFT JOIN " + quoted +
                           "signals s ON s.task_run_id = t.id AND s.id > $2::bigint"
                           " AND s.taken_seq IS NULL WHERE t.id = $1::bigint"
                           " ORDER BY s.id LIMIT $3::bigint");
  // Its own row or, under a longer key, that of a fork; one that can still be answered, if any.
  webhook = Statement(
      "SELECT w.task_run_id, w.rules, w.used_at, w.expires_at <= " + quoted +
      "now_ms($2::bigint) AS late, t.ended_at, t.id FROM " + quoted + "webhooks w LEFT JOIN " +
      quoted + "task_runs t ON t.id = w.task_run_id WHERE w.key >= $1::bytea"
      " AND w.key < $1::bytea || ';'::bytea"
      " AND (w.key = $1::bytea OR substr(w.key, length($1::bytea) + 1, 1) = ':'::bytea)"
      " ORDER BY w.used_at IS NOT NULL OR w.expires_at <= " + quoted +
      "now_ms($2::bigint) OR t.id IS NULL OR t.ended_at IS NOT NULL, w.task_run_id LIMIT 1");
  remove_runs = call("remove_runs_v1", 7);
  put_retention = Statement(
      "INSERT INTO " + quoted + "task_retention (task, completed_ms, failed_ms, updated_at) VALUES"
      " ($1::bytea, $2::bigint, $3::bigint, " + quoted + "now_ms($4::bigint)) ON CONFLICT (task)"
      " DO UPDATE SET completed_ms = excluded.completed_ms, failed_ms = excluded.failed_ms,"
      " updated_at = excluded.updated_at");
  drop_retention = Statement("DELETE FROM " + quoted + "task_retention WHERE task = $1::bytea");
  queue_admit = call("queue_admit_v2", 9);
  queue_due = call("queue_due_v1", 0);
  queue_change = call("queue_change_v1", 10);
  queue_list = call("queue_list_v1", 4);
  queue_keys = call("queue_keys_v1", 4);
  queue_waiting = call("queue_waiting_v1", 1);
  keystore_put = call("keystore_put_v1", 8);
  keystore_version = Statement("SELECT version FROM " + quoted +
                               "keystore WHERE namespace = $1::bytea AND key = $2::bytea");
  keystore_delete = Statement("DELETE FROM " + quoted +
                              "keystore WHERE namespace = $1::bytea AND key = $2::bytea"
                              " AND version = $3::bigint RETURNING 1");
}

std::optional<Error> told(const Rows& rows) {
  const std::string code = rows.text(0, 0);
  if (code.empty()) return std::nullopt;
  Errc errc = Errc::internal;
  for (const Errc known : {Errc::fenced, Errc::conflict, Errc::idempotency_conflict,
                           Errc::task_not_found, Errc::not_found, Errc::run_not_found,
                           Errc::unavailable, Errc::depth_limit, Errc::signals_limit,
                           Errc::webhook_gone, Errc::outcome_unknown, Errc::payload_too_large}) {
    if (code == error_code_name(known)) errc = known;
  }
  return Error(errc, rows.text(0, 1));
}

Work slice_work(const Rows& rows, int from, TaskRunId run, StackRunId root) {
  Work work;
  work.grant = {root, run, rows.integer(0, from)};
  work.attempt = rows.small(0, from + 1);
  work.lease_until = rows.time(0, from + 2);
  work.task_function_id = rows.id<TaskFunctionId>(0, from + 3);
  work.task_name = rows.bytes(0, from + 4);
  return work;
}

Answered<Published> publish(const Try& attempt, const Publication& p) {
  Params params;
  params.add(attempt.context.now()).add(attempt.lock_ms).add(attempt.token);
  params.add(p.name).add(p.code).add(p.code_sha256);
  params.add(p.description).add(p.input_schema).add(p.options);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.publish, params));
  Published published;
  published.id = rows.id<TaskFunctionId>(0, 0);
  published.version = rows.small(0, 1);
  published.created = rows.boolean(0, 2);
  if (published.created) {
    attempt.acknowledged({Witness::Kind::function, published.id.value, 0, attempt.token, 0});
  }
  return Result<Published>(published);
}

Answered<Submitted> submit(const Try& attempt, const Submission& s, TaskRunId floor) {
  const Lease none{"", Millis{0}};
  const Lease& lease = s.handoff ? *s.handoff : none;
  Params params = attempt.head();
  params.add(floor.value).add(s.task_function_id.value).add(s.task_name).add(s.task_version);
  params.add(s.input).add(s.idempotency_key).add(s.request_hash).add(s.priority);
  params.add(s.queue_key).add(s.tags).add(s.parent_stack_run_id.value);
  params.add(static_cast<std::int64_t>(s.delay.count())).add(s.seed).add(lease.node);
  params.add(static_cast<std::int64_t>(lease.length.count()));
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.submit, params));
  if (auto error = told(rows)) return Result<Submitted>(*std::move(error));
  Submitted submitted;
  submitted.run = rows.id<TaskRunId>(0, 2);
  submitted.root = rows.id<StackRunId>(0, 3);
  submitted.status = run_status_from(rows.text(0, 4)).value_or(RunStatus::queued);
  submitted.created_at = rows.time(0, 5);
  submitted.existing = rows.boolean(0, 6);
  attempt.acknowledged({Witness::Kind::run, submitted.run.value, submitted.created_at.ms, 0,
                        submitted.run.value});
  if (!rows.null(0, 7)) {
    Work& work = submitted.work.emplace();
    work.grant = {submitted.root, submitted.run, 1};
    work.lease_until = rows.time(0, 7);
    work.task_function_id = s.task_function_id;
    work.task_name = s.task_name;
  }
  return Result<Submitted>(std::move(submitted));
}

Answered<std::optional<Wake>> cancel(const Try& attempt, TaskRunId run,
                                     const std::string& error) {
  Params params = attempt.head();
  params.add(run.value).add(error);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.cancel, params));
  if (auto refused = told(rows)) return Result<std::optional<Wake>>(*std::move(refused));
  attempt.context.history.acknowledged();
  attempt.ring(rows, 5);
  std::optional<Wake> wake;
  if (rows.boolean(0, 2)) {
    wake.emplace();
    wake->run = rows.id<TaskRunId>(0, 3);
    wake->root = rows.id<StackRunId>(0, 4);
  }
  return Result<std::optional<Wake>>(std::move(wake));
}

Answered<void> pause(const Try& attempt, TaskRunId run, const std::string& reason,
                     const std::string& detail) {
  Params params = attempt.head();
  params.add(run.value).add(reason).add(detail);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.pause, params));
  if (auto error = told(rows)) return Result<void>(*std::move(error));
  attempt.context.history.acknowledged();
  return Result<void>(success());
}

Answered<std::vector<StackRunId>> resume(const Try& attempt, TaskRunId run) {
  Params params = attempt.head();
  params.add(run.value);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.resume, params));
  if (auto error = told(rows)) return Result<std::vector<StackRunId>>(*std::move(error));
  attempt.context.history.acknowledged();
  std::vector<StackRunId> ids;
  for (const std::int64_t id : rows.integers(0, 2)) ids.emplace_back(id);
  return Result<std::vector<StackRunId>>(std::move(ids));
}

Answered<std::int64_t> recover(const Try& attempt, const std::string& node) {
  Params params;
  params.add(attempt.context.now()).add(attempt.lock_ms).add(node);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.recover, params));
  return Result<std::int64_t>(rows.integer(0, 0));
}

Answered<std::int64_t> clear(const Try& attempt) {
  Params params;
  params.add(attempt.lock_ms).add(attempt.token).add(attempt.again);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.clear, params));
  attempt.context.history.acknowledged();
  return Result<std::int64_t>(rows.integer(0, 0));
}

Answered<std::int64_t> keystore_put(const Try& attempt, const std::string& name_space,
                                    const std::string& key, const std::string& key_id,
                                    const std::function<std::string(std::int64_t)>& seal) {
  for (int tries = 0; tries < kSealTries; ++tries) {
    Params which;
    which.add(name_space).add(key);
    SEQUENTIAL_ROWS(newest, attempt.run(attempt.context.sql.keystore_version, which));
    std::int64_t version = newest.size() == 0 ? 1 : newest.integer(0, 0) + 1;
    // Sent before: the newest may be ours, and then it is found by its token.
    if (attempt.again && tries == 0 && version > 1) --version;
    Params params;
    params.add(attempt.context.now()).add(attempt.lock_ms).add(attempt.token).add(name_space);
    params.add(key).add(key_id).add(version).add(seal(version));
    SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.keystore_put, params));
    if (!rows.boolean(0, 0)) continue;
    attempt.context.history.acknowledged();
    return Result<std::int64_t>(version);
  }
  return Result<std::int64_t>(
      Error(Errc::conflict, "other puts of this key came first, again and again"));
}

Answered<bool> keystore_delete(const Try& attempt, const std::string& name_space,
                               const std::string& key, bool& seen) {
  for (int tries = 0; tries < kSealTries; ++tries) {
    Params params;
    params.add(name_space).add(key);
    SEQUENTIAL_ROWS(newest, attempt.run(attempt.context.sql.keystore_version, params));
    // It was there, so it was deleted since: by us, or by one beside us.
    if (newest.size() == 0) return Result<bool>(seen);
    seen = true;
    params.add(newest.integer(0, 0));
    SEQUENTIAL_ROWS(deleted, attempt.run(attempt.context.sql.keystore_delete, params));
    if (deleted.size() == 1) {
      attempt.context.history.acknowledged();
      return Result<bool>(true);
    }
    seen = false;  // another write came first: what is there now is another entry
  }
  return Result<bool>(Error(Errc::conflict, "other writes of this key came first"));
}

}  // namespace sequential::storage::postgres
