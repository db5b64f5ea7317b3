#pragma once
// The reading side: each query is a function of one read-only connection.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/storage/children.h"
#include "sequential/storage/cancellation.h"
#include "sequential/storage/run_states.h"
#include "sequential/storage/run_view.h"
#include "sequential/storage/signals.h"
#include "sequential/storage/search.h"
#include "sequential/storage/rewinds.h"
#include "sequential/storage/store.h"
#include "search_sql.h"
#include "sqlite/connection.h"

namespace sequential::storage::sqlite {

// A run from the columns of Queries::kRun.
TaskRun read_run(const Cursor& row);

class Queries {
 public:
  explicit Queries(Connection& connection) : db_(connection) {}

  Connection& connection() { return db_; }

  Result<TaskFunction> task_function(const std::string& name, int version);
  Result<TaskFunction> task_function_by_id(TaskFunctionId id);
  Result<std::vector<TaskFunction>> task_functions(const std::string& name);

  Result<TaskRun> run(TaskRunId id);
  Result<TaskRun> journal_head(TaskRunId id);
  Result<RunOrigin> origin(TaskRunId id);
  Result<std::vector<FailedCall>> failed_calls(TaskRunId run, int limit);
  Result<std::int64_t> made_after(const Grant& call);
  Result<std::vector<TaskRun>> runs(const RunFilter& filter);
  Result<std::optional<ChildLink>> parent_of(TaskRunId run);
  // search.cpp
  Result<RunPage> find_runs(const RunQuery& query, TaskRunId after, int limit, int rows_max);
  Result<RunCount> count_runs(const RunQuery& query, int rows_max);
  Result<std::vector<RunTag>> run_tags(TaskRunId run);
  Result<std::vector<Retention>> retentions();
  Result<StackRun> stack_run(StackRunId id);
  Result<std::vector<StackRun>> stack(TaskRunId run, std::int64_t from_seq, int limit);
  Result<std::vector<Attempt>> attempts(StackRunId id);
  Result<std::vector<LogEntry>> logs(TaskRunId run, std::int64_t after_n, int limit);

  Result<std::vector<RunState>> states(const std::vector<TaskRunId>& runs);
  Result<RunView> view(TaskRunId run);
  Result<RunLook> look(TaskRunId run, std::int64_t after_log, int log_limit);
  Result<std::vector<CallTrace>> calls(const CallsAsked& asked);

  Result<JournalPage> journal(TaskRunId run, std::int64_t after_seq, std::int64_t bytes_max);
  Result<std::vector<Outcome>> outcomes(TaskRunId run, std::int64_t after, int limit);

  Result<std::optional<Cancelling>> cancelling(TaskRunId run);
  Result<bool> waits_in_queue(TaskRunId run);

  // Counting stack runs by status reads them all: given up, and left out, after a few seconds.
  Result<StoreStatus> status(const std::string& path, const Clock& clock);

  Result<std::vector<KeptSignal>> kept_signals(TaskRunId run, std::int64_t after, int limit);
  Result<Webhook> webhook(const std::string& key, WallTime now);

  Result<KeystoreEntry> keystore_get(const std::string& name_space, const std::string& key);
  Result<std::vector<KeystoreEntry>> keystore_list(const std::string& name_space);

 private:
  // The value, or the error that stuck while it was read.
  template <class T>
  Result<T> answer(T value) {
    if (!db_.failed()) return value;
    Error error = db_.error();
    db_.forgive();
    return error;
  }
  static RunState read_state(const Cursor& row, int from);
  static CallTrace read_call_trace(const Cursor& row);
  // The journal entry of number 0, whose contents are not in its row.
  void read_cancellation(TaskRunId run, Outcome& outcome);
  Error forgiven() {
    Error error = db_.error();
    db_.forgive();
    return error;
  }
  // count, lowest and highest id.
  struct Extent {
    std::int64_t rows = 0, low = 0, high = 0;
  };
  Extent extent_of(const SqlStatement& statement);
  void count_tables(StoreStatus& status);
  void count_runs(StoreStatus& status);
  void count_stack_runs(StoreStatus& status, const Clock& clock);
  WallTime oldest_runnable(WallTime now);

  Connection& db_;

  static constexpr std::string_view kFunction =
      "SELECT id, name, version, code_sha256, created_at, description, input_schema, options";
  Statement function_newest_{db_, std::string(kFunction) +
      ", code FROM task_functions WHERE name = ?1 ORDER BY version DESC LIMIT 1"};
  Statement function_version_{db_, std::string(kFunction) +
      ", code FROM task_functions WHERE name = ?1 AND version = ?2"};
  Statement function_by_id_{db_, std::string(kFunction) +
      ", code FROM task_functions WHERE id = ?1"};
  Statement functions_newest_{db_, std::string(kFunction) +
      " FROM task_functions f"
      " WHERE version = (SELECT max(version) FROM task_functions n WHERE n.name = f.name)"
      " ORDER BY name"};
  Statement functions_of_name_{db_, std::string(kFunction) +
      " FROM task_functions WHERE name = ?1 ORDER BY version DESC"};

  static constexpr std::string_view kRun =
      "SELECT t.id, t.task_function_id, t.task_name, t.task_version, t.root_stack_run_id, t.status,"
      " t.pause_reason, t.pause_detail, t.parent_stack_run_id, t.idempotency_key, t.priority,"
      " t.queue_key, t.tags, t.seed, t.created_at, t.updated_at, t.started_at, t.ended_at,"
      " r.status, r.waiting_on_stack_run_id, r.journal_length, r.call_count, r.log_count,"
      " r.crashes, r.updated_at";
  static constexpr std::string_view kWithRoot =
      " CROSS JOIN stack_runs r ON r.id = t.root_stack_run_id";
  Statement run_{db_, std::string(kRun) + ", t.input, t.result, t.error FROM task_runs t" +
      std::string(kWithRoot) + " WHERE t.id = ?1"};
  Statement began_{db_, "SELECT created_at FROM stack_runs WHERE id = ?1"};
  Statement origin_{db_,
      "SELECT coalesce(forked_from, 0), coalesce(forked_at, 0), rewinds FROM task_runs"
      " WHERE id = ?1"};
  Statement failed_calls_{db_,
      "SELECT seq, delivered_as, iif(length(CAST(error AS BLOB)) <= ?3, error, '')"
      " FROM stack_runs INDEXED BY stack_runs_journal WHERE task_run_id = ?1 AND delivered_as > 0"
      " AND seq > 0 AND status = 'failed' ORDER BY delivered_as DESC LIMIT ?2"};
  Statement made_after_{db_,
      "SELECT (SELECT coalesce(max(r.n), 0) FROM retries r WHERE r.task_run_id = s.task_run_id"
      " AND r.calls < s.seq) FROM stack_runs s"
      " WHERE s.id = ?1 AND s.task_run_id = ?2 AND s.epoch = ?3 AND s.status = 'processing'"};
  // One statement per kind of filter, so that each walks the index that fits it.
  Statement runs_{db_, std::string(kRun) + " FROM task_runs t" + std::string(kWithRoot) +
      " WHERE t.id < ?1 ORDER BY t.id DESC LIMIT ?2"};
  Statement runs_by_name_{db_, std::string(kRun) +
      " FROM task_runs t INDEXED BY task_runs_name" + std::string(kWithRoot) +
      " WHERE t.task_name = ?3 AND t.id < ?1 ORDER BY t.id DESC LIMIT ?2"};
  // ?4: name or NULL; ?5, ?6: the root's status must, must not be this, or NULL
  Statement runs_by_status_{db_, std::string(kRun) +
      " FROM task_runs t INDEXED BY task_runs_status" + std::string(kWithRoot) +
      " WHERE t.status = ?3 AND t.id < ?1 AND (?4 IS NULL OR t.task_name = ?4)"
      " AND (?5 IS NULL OR r.status = ?5) AND (?6 IS NULL OR r.status <> ?6)"
      " ORDER BY t.id DESC LIMIT ?2"};

  Statement parent_of_{db_,
      "SELECT k.parent_run, coalesce(c.id, 0), coalesce(c.seq, 0), k.depth FROM child_tasks k"
      " JOIN task_runs t ON t.id = k.child_run"
      " LEFT JOIN stack_runs c ON c.id = t.parent_stack_run_id WHERE k.child_run = ?1"};

  static constexpr std::string_view kStackRun =
      "SELECT id, task_run_id, seq, parent_stack_run_id, service_name, method_name, args, options,"
      " delivery, status, result, error, attempt, epoch, lease_owner, lease_until, available_at,"
      " delivered_as, slice, source_line, via, hop_us, resume_kind, resume_us, created_at,"
      " updated_at, started_at, ended_at FROM stack_runs";
  Statement stack_run_{db_, std::string(kStackRun) + " WHERE id = ?1"};
  Statement stack_{db_, std::string(kStackRun) +
      " WHERE task_run_id = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3"};
  static constexpr std::string_view kCall =
      "SELECT seq, service_name, method_name, status, attempt, delivered_as, created_at,"
      " started_at, ended_at FROM stack_runs WHERE task_run_id = ?1";
  Statement call_{db_, std::string(kCall) + " AND seq = ?2"};
  Statement calls_{db_, std::string(kCall) +
      " AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4"};
  Statement attempts_{db_,
      "SELECT attempt, epoch, node, started_at, ended_at, outcome, error FROM attempts"
      " WHERE stack_run_id = ?1 ORDER BY epoch"};
  Statement logs_{db_,
      "SELECT n, level, message, fields, at FROM task_logs"
      " WHERE task_run_id = ?1 AND n > ?2 ORDER BY n LIMIT ?3"};

  Statement state_{db_,
      "SELECT version, updated_at, progress, status FROM run_states WHERE task_run_id = ?1"};

  Statement journal_{db_,
      "SELECT seq, service_name, method_name, delivered_as, status, ended_at, args, result, error"
      " FROM stack_runs WHERE task_run_id = ?1 AND seq > ?2 AND (seq > 0 OR delivered_as > 0)"
      " ORDER BY seq"};
  Statement outcomes_{db_,
      "SELECT seq, delivered_as, status, ended_at, result, error"
      " FROM stack_runs INDEXED BY stack_runs_journal"
      " WHERE task_run_id = ?1 AND delivered_as > ?2 AND delivered_as > 0"
      " ORDER BY delivered_as LIMIT ?3"};

  Statement cancellation_{db_, "SELECT at, error FROM cancellations WHERE task_run_id = ?1"};
  Statement cancelling_{db_,
      "SELECT c.deadline, c.error FROM cancellations c JOIN stack_runs r"
      " ON r.task_run_id = c.task_run_id AND r.seq = 0 WHERE c.task_run_id = ?1"
      " AND r.ended_at IS NULL AND r.delivered_as > 0 AND c.deadline IS NOT NULL"};

  Statement run_exists_{db_, "SELECT 1 FROM task_runs WHERE id = ?1"};
  Statement kept_signals_{
      db_,
      "SELECT id, name, payload, at FROM signals"
      " WHERE task_run_id = ?1 AND id > ?2 AND taken_seq IS NULL ORDER BY id LIMIT ?3"};
  Statement webhook_{
      db_,
      "SELECT w.task_run_id, w.expires_at, w.used_at, w.rules, t.status FROM webhooks w"
      " LEFT JOIN task_runs t ON t.id = w.task_run_id WHERE w.key >= ?1 AND w.key < ?1 || ';'"
      " AND (w.key = ?1 OR substr(w.key, length(?1) + 1, 1) = ':') ORDER BY w.key"};

  Statement begin_{db_, "BEGIN"};
  Statement commit_{db_, "COMMIT"};
  Statement schema_version_{db_, "SELECT max(version) FROM schema_migrations"};
  Statement run_counts_{db_, "SELECT status, count(*) FROM task_runs GROUP BY status"};
  Statement suspended_count_{db_,
      "SELECT count(*) FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id"
      " WHERE t.status = 'running' AND r.status = 'suspended_waiting_child'"};
  Statement stack_run_counts_{db_, "SELECT status, count(*) FROM stack_runs GROUP BY status"};
  Statement first_pending_{db_,
      "SELECT priority, available_at FROM stack_runs WHERE status = 'pending' AND priority <= ?1"
      " ORDER BY priority DESC, available_at, id LIMIT 1"};

  Statement keystore_get_{db_,
      "SELECT namespace, key, version, key_id, updated_at, sealed FROM keystore"
      " WHERE namespace = ?1 AND key = ?2"};
  Statement keystore_list_{db_,
      "SELECT namespace, key, version, key_id, updated_at FROM keystore"
      " WHERE ?1 = '' OR namespace = ?1 ORDER BY namespace, key"};
};

}  // namespace sequential::storage::sqlite
