#include "sqlite/queries.h"

#include <sys/stat.h>

#include <algorithm>
#include <limits>

namespace sequential::storage::sqlite {
namespace {

constexpr int kRowsMax = 1'000'000;  // of one answer, whatever is asked for
constexpr Millis kCountDeadline{3'000};
constexpr int kProgressOps = 100'000;  // database steps between looks at the deadline

std::int64_t bounded(int limit) { return std::clamp(limit, 0, kRowsMax); }

TaskFunction read_function(const Cursor& row) {
  TaskFunction f;
  f.id = row.id<TaskFunctionId>(0);
  f.name = row.text(1);
  f.version = row.small(2);
  f.code_sha256 = row.text(3);
  f.created_at = row.time(4);
  f.description = row.text(5);
  f.input_schema = row.text(6);
  f.options = row.text(7);
  return f;
}

template <class Enum>
std::optional<Enum> enum_if(const Cursor& row, int column) {
  return row.null(column) ? std::nullopt : std::optional(static_cast<Enum>(row.small(column)));
}

StackRun read_stack_run(const Cursor& row) {
  StackRun s;
  s.id = row.id<StackRunId>(0);
  s.task_run_id = row.id<TaskRunId>(1);
  s.seq = row.integer(2);
  s.parent_stack_run_id = row.id<StackRunId>(3);
  s.service_name = row.text(4);
  s.method_name = row.text(5);
  s.args = row.text(6);
  s.options = row.text(7);
  s.delivery = row.integer(8) == 1 ? Delivery::at_most_once : Delivery::at_least_once;
  s.status = stack_status_from(row.view(9)).value_or(StackStatus::cancelled);
  s.result = row.text(10);
  s.error = row.text(11);
  s.attempt = row.small(12);
  s.epoch = row.integer(13);
  if (s.status == StackStatus::processing) {
    s.lease_owner = row.text(14);
    s.lease_until = row.time_if(15);
  }
  s.available_at = row.time(16);
  s.delivered_as = row.integer(17);
  s.slice = row.integer(18);
  s.source_line = row.small(19);
  s.via = enum_if<Via>(row, 20);
  s.hop_us = row.integer_if(21);
  s.resume_kind = enum_if<ResumeKind>(row, 22);
  s.resume_us = row.integer_if(23);
  s.created_at = row.time(24);
  s.updated_at = row.time(25);
  s.started_at = row.time_if(26);
  s.ended_at = row.time_if(27);
  return s;
}

KeystoreEntry read_entry(const Cursor& row) {
  KeystoreEntry e;
  e.name_space = row.text(0);
  e.key = row.text(1);
  e.version = row.integer(2);
  e.key_id = row.text(3);
  e.updated_at = row.time(4);
  return e;
}

std::int64_t file_bytes(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? static_cast<std::int64_t>(status.st_size) : 0;
}

}  // namespace

TaskRun read_run(const Cursor& row) {
  TaskRun r;
  r.id = row.id<TaskRunId>(0);
  r.task_function_id = row.id<TaskFunctionId>(1);
  r.task_name = row.text(2);
  r.task_version = row.small(3);
  r.root = row.id<StackRunId>(4);
  r.status = run_status_from(row.view(5)).value_or(RunStatus::cancelled);
  r.pause_reason = row.text(6);
  r.pause_detail = row.text(7);
  r.parent_stack_run_id = row.id<StackRunId>(8);
  r.idempotency_key = row.text(9);
  r.priority = row.small(10);
  r.queue_key = row.text(11);
  r.tags = row.text(12);
  r.seed = row.text(13);
  r.created_at = row.time(14);
  r.updated_at = std::max(row.time(15), row.time(24));
  r.started_at = row.time_if(16);
  r.ended_at = row.time_if(17);
  if (r.status == RunStatus::running &&
      row.view(18) == stack_status_name(StackStatus::suspended_waiting_child)) {
    r.status = RunStatus::suspended_waiting_child;
  }
  r.waiting_on_stack_run_id = row.id<StackRunId>(19);
  r.journal_length = row.integer(20);
  r.call_count = row.integer(21);
  r.log_count = row.integer(22);
  r.crashes = row.integer(23);
  return r;
}

Result<TaskFunction> Queries::task_function(const std::string& name, int version) {
  std::optional<TaskFunction> found;
  {
    Cursor row = version == 0 ? function_newest_.query(name)
                              : function_version_.query(name, version);
    if (row.next()) {
      found = read_function(row);
      found->code = row.text(8);
    }
  }
  SEQUENTIAL_TRY(auto function, answer(std::move(found)));
  if (function) return *std::move(function);
  const std::string which = version == 0 ? "" : " version " + std::to_string(version);
  return Error(Errc::task_not_found, "no task function is named '" + name + "'" + which);
}

Result<TaskFunction> Queries::task_function_by_id(TaskFunctionId id) {
  std::optional<TaskFunction> found;
  {
    Cursor row = function_by_id_.query(id.value);
    if (row.next()) {
      found = read_function(row);
      found->code = row.text(8);
    }
  }
  SEQUENTIAL_TRY(auto function, answer(std::move(found)));
  if (function) return *std::move(function);
  return Error(Errc::task_not_found,
               "no task function has the id " + std::to_string(id.value));
}

Result<std::vector<TaskFunction>> Queries::task_functions(const std::string& name) {
  std::vector<TaskFunction> functions;
  {
    Cursor row = name.empty() ? functions_newest_.query() : functions_of_name_.query(name);
    while (row.next()) functions.push_back(read_function(row));
  }
  return answer(std::move(functions));
}

Result<TaskRun> Queries::journal_head(TaskRunId id) {
  auto head = run(id);
  if (head.has_value()) {
    Cursor row = began_.query(head.value().root);
    if (row.next()) head.value().created_at = row.time(0);
  }
  return head;
}

Result<RunOrigin> Queries::origin(TaskRunId id) {
  std::optional<RunOrigin> found;
  {
    Cursor row = origin_.query(id);
    if (row.next()) found = RunOrigin{row.id<TaskRunId>(0), row.integer(1), row.integer(2)};
  }
  SEQUENTIAL_TRY(auto origin, answer(std::move(found)));
  if (origin) return *origin;
  return Error(Errc::run_not_found, "there is no task run " + std::to_string(id.value));
}

Result<std::vector<FailedCall>> Queries::failed_calls(TaskRunId run, int limit) {
  std::vector<FailedCall> failed;
  {
    Cursor row = failed_calls_.query(run, limit, static_cast<std::int64_t>(kErrorReadMax));
    while (row.next()) failed.push_back({row.integer(0), row.integer(1), row.text(2)});
  }
  std::reverse(failed.begin(), failed.end());
  return answer(std::move(failed));
}

Result<std::int64_t> Queries::made_after(const Grant& call) {
  std::optional<std::int64_t> found;
  {
    Cursor row = made_after_.query(call.id, call.run, call.epoch);
    if (row.next()) found = row.integer(0);
  }
  SEQUENTIAL_TRY(const auto retry, answer(std::move(found)));
  if (retry) return *retry;
  return Error(Errc::fenced, "the call is not held under this claim");
}

Result<TaskRun> Queries::run(TaskRunId id) {
  std::optional<TaskRun> found;
  {
    Cursor row = run_.query(id.value);
    if (row.next()) {
      found = read_run(row);
      found->input = row.text(25);
      found->result = row.text(26);
      found->error = row.text(27);
    }
  }
  SEQUENTIAL_TRY(auto run, answer(std::move(found)));
  if (run) return *std::move(run);
  return Error(Errc::run_not_found, "there is no task run " + std::to_string(id.value));
}

Result<std::vector<TaskRun>> Queries::runs(const RunFilter& filter) {
  const std::int64_t below =
      filter.before ? filter.before.value : std::numeric_limits<std::int64_t>::max();
  const std::int64_t limit = bounded(filter.limit);
  const auto name = filter.task_name.empty() ? std::nullopt
                                             : std::optional<std::string_view>(filter.task_name);
  std::vector<TaskRun> runs;
  const auto read = [&runs](Cursor row) {
    while (row.next()) runs.push_back(read_run(row));
  };
  if (filter.status) {
    // Running and suspended are told apart by the root.
    const std::string_view suspended = stack_status_name(StackStatus::suspended_waiting_child);
    const bool want_suspended = *filter.status == RunStatus::suspended_waiting_child;
    const bool want_running = *filter.status == RunStatus::running;
    const auto stored = want_suspended ? RunStatus::running : *filter.status;
    read(runs_by_status_.query(below, limit, run_status_name(stored), name,
                               want_suspended ? std::optional(suspended) : std::nullopt,
                               want_running ? std::optional(suspended) : std::nullopt));
  } else if (name) {
    read(runs_by_name_.query(below, limit, *name));
  } else {
    read(runs_.query(below, limit));
  }
  return answer(std::move(runs));
}

Result<std::optional<ChildLink>> Queries::parent_of(TaskRunId run) {
  std::optional<ChildLink> found;
  {
    Cursor row = parent_of_.query(run.value);
    if (row.next()) {
      found = ChildLink{row.id<TaskRunId>(0), row.id<StackRunId>(1), row.integer(2), row.small(3)};
    }
  }
  return answer(std::move(found));
}

Result<StackRun> Queries::stack_run(StackRunId id) {
  std::optional<StackRun> found;
  {
    Cursor row = stack_run_.query(id.value);
    if (row.next()) found = read_stack_run(row);
  }
  SEQUENTIAL_TRY(auto stack_run, answer(std::move(found)));
  if (stack_run) return *std::move(stack_run);
  return Error(Errc::not_found, "there is no stack run " + std::to_string(id.value));
}

Result<std::vector<StackRun>> Queries::stack(TaskRunId run, std::int64_t from_seq, int limit) {
  std::vector<StackRun> rows;
  {
    Cursor row = stack_.query(run.value, from_seq, bounded(limit));
    while (row.next()) rows.push_back(read_stack_run(row));
  }
  return answer(std::move(rows));
}

Result<std::vector<Attempt>> Queries::attempts(StackRunId id) {
  std::vector<Attempt> attempts;
  {
    Cursor row = attempts_.query(id.value);
    while (row.next()) {
      Attempt& a = attempts.emplace_back();
      a.stack_run_id = id;
      a.attempt = row.small(0);
      a.epoch = row.integer(1);
      a.node = row.text(2);
      a.started_at = row.time_if(3);
      a.ended_at = row.time(4);
      a.outcome = row.text(5);
      a.error = row.text(6);
    }
  }
  return answer(std::move(attempts));
}

Result<std::vector<LogEntry>> Queries::logs(TaskRunId run, std::int64_t after_n, int limit) {
  std::vector<LogEntry> logs;
  {
    Cursor row = logs_.query(run.value, after_n, bounded(limit));
    while (row.next()) {
      LogEntry& log = logs.emplace_back();
      log.n = row.integer(0);
      log.level = row.text(1);
      log.message = row.text(2);
      log.fields = row.text(3);
      log.at = row.time(4);
    }
  }
  return answer(std::move(logs));
}

Result<JournalPage> Queries::journal(TaskRunId run, std::int64_t after_seq,
                                     std::int64_t bytes_max) {
  JournalPage page;
  {
    std::int64_t bytes = 0;
    Cursor row = journal_.query(run.value, std::max<std::int64_t>(after_seq, -1));
    while (row.next()) {
      if (bytes >= bytes_max && !page.rows.empty()) {
        page.more = true;
        break;
      }
      JournalRow& call = page.rows.emplace_back();
      call.seq = row.integer(0);
      call.service_name = row.text(1);
      call.method_name = row.text(2);
      call.args = row.text(6);
      bytes += static_cast<std::int64_t>(call.args.size());
      if (row.integer(3) == 0) continue;
      Outcome& outcome = call.outcome.emplace();
      outcome.seq = call.seq;
      outcome.delivered_as = row.integer(3);
      if (call.seq == 0) {
        read_cancellation(run, outcome);
        continue;
      }
      outcome.failed = row.view(4) == stack_status_name(StackStatus::failed);
      outcome.at = row.time(5);
      outcome.payload = row.text(outcome.failed ? 8 : 7);
      bytes += static_cast<std::int64_t>(outcome.payload.size());
    }
  }
  return answer(std::move(page));
}

Result<std::vector<Outcome>> Queries::outcomes(TaskRunId run, std::int64_t after, int limit) {
  std::vector<Outcome> outcomes;
  {
    Cursor row = outcomes_.query(run.value, std::max<std::int64_t>(after, 0), bounded(limit));
    while (row.next()) {
      Outcome& outcome = outcomes.emplace_back();
      outcome.seq = row.integer(0);
      outcome.delivered_as = row.integer(1);
      if (outcome.seq == 0) {
        read_cancellation(run, outcome);
        continue;
      }
      outcome.failed = row.view(2) == stack_status_name(StackStatus::failed);
      outcome.at = row.time(3);
      outcome.payload = row.text(outcome.failed ? 5 : 4);
    }
  }
  return answer(std::move(outcomes));
}

void Queries::read_cancellation(TaskRunId run, Outcome& outcome) {
  Cursor row = cancellation_.query(run.value);
  outcome.failed = true;
  if (!row.next()) return;
  outcome.at = row.time(0);
  outcome.payload = row.text(1);
}

Result<std::optional<Cancelling>> Queries::cancelling(TaskRunId run) {
  std::optional<Cancelling> found;
  {
    Cursor row = cancelling_.query(run.value);
    if (row.next()) found = Cancelling{row.time(0), row.text(1)};
  }
  return answer(std::move(found));
}

Result<StoreStatus> Queries::status(const std::string& path, const Clock& clock) {
  StoreStatus status;
  status.kind = "sqlite";
  status.location = path;
  status.size_bytes = file_bytes(path) + file_bytes(path + "-wal");
  begin_.run();  // all numbers of one moment
  {
    Cursor row = schema_version_.query();
    if (row.next()) status.schema_version = row.text(0);
  }
  count_tables(status);
  count_runs(status);
  const WallTime now = clock.now();
  const WallTime oldest = oldest_runnable(now);
  status.oldest_runnable_ms = oldest < now ? (now - oldest).count() : 0;
  count_stack_runs(status, clock);
  commit_.run();
  auto result = answer(std::move(status));
  if (sqlite3_get_autocommit(db_.handle()) == 0) static_cast<void>(db_.execute("ROLLBACK"));
  return result;
}

void Queries::count_tables(StoreStatus& status) {
  for (const char* const table : {"task_functions", "task_runs", "stack_runs", "attempts",
                                  "task_logs", "keystore", "checkpoints", "run_states"}) {
    Statement count(db_, std::string("SELECT count(*) FROM ") + table);
    Cursor row = count.query();
    if (row.next()) status.tables.emplace_back(table, row.integer(0));
  }
}

void Queries::count_runs(StoreStatus& status) {
  std::int64_t suspended = 0;
  {
    Cursor row = suspended_count_.query();
    if (row.next()) suspended = row.integer(0);
  }
  Cursor row = run_counts_.query();
  while (row.next()) {
    std::int64_t count = row.integer(1);
    if (row.view(0) == run_status_name(RunStatus::running)) {
      count -= suspended;
      if (suspended > 0) {
        status.runs.emplace_back(run_status_name(RunStatus::suspended_waiting_child), suspended);
      }
    }
    if (count > 0) status.runs.emplace_back(row.text(0), count);
  }
  std::sort(status.runs.begin(), status.runs.end());
}

void Queries::count_stack_runs(StoreStatus& status, const Clock& clock) {
  if (db_.failed()) return;
  struct Watch {
    const Clock& clock;
    MonoTime deadline;
  } watch{clock, clock.monotonic() + kCountDeadline};
  sqlite3_progress_handler(
      db_.handle(), kProgressOps,
      [](void* w) {
        const auto& self = *static_cast<Watch*>(w);
        return self.clock.monotonic() > self.deadline ? 1 : 0;
      },
      &watch);
  {
    Cursor row = stack_run_counts_.query();
    while (row.next()) status.stack_runs.emplace_back(row.text(0), row.integer(1));
  }
  sqlite3_progress_handler(db_.handle(), 0, nullptr, nullptr);
  if ((db_.code() & 0xff) == SQLITE_INTERRUPT) {
    db_.forgive();
    status.stack_runs.clear();
  }
}

WallTime Queries::oldest_runnable(WallTime now) {
  WallTime oldest = now;
  std::int64_t priority_max = std::numeric_limits<int>::max();
  for (;;) {  // one step per distinct priority in use
    Cursor row = first_pending_.query(priority_max);
    if (!row.next()) return oldest;
    oldest = std::min(oldest, row.time(1));
    priority_max = row.integer(0) - 1;
  }
}

Result<KeystoreEntry> Queries::keystore_get(const std::string& name_space,
                                            const std::string& key) {
  std::optional<KeystoreEntry> found;
  {
    Cursor row = keystore_get_.query(name_space, key);
    if (row.next()) {
      found = read_entry(row);
      found->sealed = row.text(5);
    }
  }
  SEQUENTIAL_TRY(auto entry, answer(std::move(found)));
  if (entry) return *std::move(entry);
  return Error(Errc::key_not_found,
               "the keystore has no key '" + key + "' in namespace '" + name_space + "'");
}

Result<std::vector<KeystoreEntry>> Queries::keystore_list(const std::string& name_space) {
  std::vector<KeystoreEntry> entries;
  {
    Cursor row = keystore_list_.query(name_space);
    while (row.next()) entries.push_back(read_entry(row));
  }
  return answer(std::move(entries));
}

}  // namespace sequential::storage::sqlite
