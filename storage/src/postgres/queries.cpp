#include "postgres/queries.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

namespace sequential::storage::postgres {
namespace {

constexpr int kRowsMax = 1'000'000;           // of one answer, whatever is asked for
constexpr std::int64_t kJournalRowsMax = 4'096;  // of one page
constexpr std::int64_t kCountRowsMax = 200'000;
constexpr std::int64_t kCountBytesMax = 1 << 29;

std::int64_t bounded(int limit) { return std::clamp(limit, 0, kRowsMax); }

// Returns the rows of a statement, or from the enclosing function its error.
#define SEQUENTIAL_ASK(rows, statement, params)                                     \
  auto rows##_answer = ask(statement, params);                                      \
  if (auto* error = std::get_if<DbError>(&rows##_answer)) return std::move(*error); \
  const Rows& rows = std::get<Rows>(rows##_answer)

TaskFunction read_function(const Rows& rows, std::size_t i) {
  TaskFunction f;
  f.id = rows.id<TaskFunctionId>(i, 0);
  f.name = rows.bytes(i, 1);
  f.version = rows.small(i, 2);
  f.code_sha256 = rows.bytes(i, 3);
  f.created_at = rows.time(i, 4);
  f.description = rows.bytes(i, 5);
  f.input_schema = rows.bytes(i, 6);
  f.options = rows.bytes(i, 7);
  return f;
}

template <class Enum>
std::optional<Enum> enum_if(const Rows& rows, std::size_t i, int column) {
  if (rows.null(i, column)) return std::nullopt;
  return static_cast<Enum>(rows.small(i, column));
}

StackRun read_stack_run(const Rows& rows, std::size_t i) {
  StackRun s;
  s.id = rows.id<StackRunId>(i, 0);
  s.task_run_id = rows.id<TaskRunId>(i, 1);
  s.seq = rows.integer(i, 2);
  s.parent_stack_run_id = rows.id<StackRunId>(i, 3);
  s.service_name = rows.bytes(i, 4);
  s.method_name = rows.bytes(i, 5);
  s.args = rows.bytes(i, 6);
  s.options = rows.bytes(i, 7);
  s.delivery = rows.integer(i, 8) == 1 ? Delivery::at_most_once : Delivery::at_least_once;
  s.status = stack_status_from(rows.text(i, 9)).value_or(StackStatus::cancelled);
  s.result = rows.bytes(i, 10);
  s.error = rows.bytes(i, 11);
  s.attempt = rows.small(i, 12);
  s.epoch = rows.integer(i, 13);
  if (s.status == StackStatus::processing) {
    s.lease_owner = rows.text(i, 14);
    s.lease_until = rows.time_if(i, 15);
  }
  s.available_at = rows.time(i, 16);
  s.delivered_as = rows.integer(i, 17);
  s.slice = rows.integer(i, 18);
  s.source_line = rows.small(i, 19);
  s.via = enum_if<Via>(rows, i, 20);
  s.hop_us = rows.integer_if(i, 21);
  s.resume_kind = enum_if<ResumeKind>(rows, i, 22);
  s.resume_us = rows.integer_if(i, 23);
  s.created_at = rows.time(i, 24);
  s.updated_at = rows.time(i, 25);
  s.started_at = rows.time_if(i, 26);
  s.ended_at = rows.time_if(i, 27);
  return s;
}

KeystoreEntry read_entry(const Rows& rows, std::size_t i) {
  KeystoreEntry e;
  e.name_space = rows.bytes(i, 0);
  e.key = rows.bytes(i, 1);
  e.version = rows.integer(i, 2);
  e.key_id = rows.bytes(i, 3);
  e.updated_at = rows.time(i, 4);
  return e;
}

Result<TaskFunction> one_function(const Rows& rows, const std::string& which) {
  if (rows.size() == 0) return Error(Errc::task_not_found, "no task function " + which);
  TaskFunction function = read_function(rows, 0);
  function.code = rows.bytes(0, 8);
  return function;
}

}  // namespace

TaskRun read_run(const Rows& rows, std::size_t i) {
  TaskRun r;
  r.id = rows.id<TaskRunId>(i, 0);
  r.task_function_id = rows.id<TaskFunctionId>(i, 1);
  r.task_name = rows.bytes(i, 2);
  r.task_version = rows.small(i, 3);
  r.root = rows.id<StackRunId>(i, 4);
  r.status = run_status_from(rows.text(i, 5)).value_or(RunStatus::cancelled);
  r.pause_reason = rows.bytes(i, 6);
  r.pause_detail = rows.bytes(i, 7);
  r.parent_stack_run_id = rows.id<StackRunId>(i, 8);
  r.idempotency_key = rows.bytes(i, 9);
  r.priority = rows.small(i, 10);
  r.queue_key = rows.bytes(i, 11);
  r.tags = rows.bytes(i, 12);
  r.seed = rows.bytes(i, 13);
  r.created_at = rows.time(i, 14);
  r.updated_at = std::max(rows.time(i, 15), rows.time(i, 24));
  r.started_at = rows.time_if(i, 16);
  r.ended_at = rows.time_if(i, 17);
  if (r.status == RunStatus::running &&
      rows.text(i, 18) == stack_status_name(StackStatus::suspended_waiting_child)) {
    r.status = RunStatus::suspended_waiting_child;
  }
  r.waiting_on_stack_run_id = rows.id<StackRunId>(i, 19);
  r.journal_length = rows.integer(i, 20);
  r.call_count = rows.integer(i, 21);
  r.log_count = rows.integer(i, 22);
  r.crashes = rows.integer(i, 23);
  return r;
}

Answer<Result<TaskFunction>> Queries::task_function(const std::string& name, int version) {
  Params params;
  params.add(name);
  if (version != 0) params.add(version);
  SEQUENTIAL_ASK(rows, version == 0 ? sql_.function_newest : sql_.function_version, params);
  const std::string which = version == 0 ? "" : " version " + std::to_string(version);
  return one_function(rows, "is named '" + name + "'" + which);
}

Answer<Result<TaskFunction>> Queries::task_function_by_id(TaskFunctionId id) {
  Params params;
  params.add(id.value);
  SEQUENTIAL_ASK(rows, sql_.function_by_id, params);
  return one_function(rows, "has the id " + std::to_string(id.value));
}

Answer<Result<std::vector<TaskFunction>>> Queries::task_functions(const std::string& name) {
  Params params;
  if (!name.empty()) params.add(name);
  SEQUENTIAL_ASK(rows, name.empty() ? sql_.functions_newest : sql_.functions_of_name, params);
  std::vector<TaskFunction> functions;
  for (std::size_t i = 0; i < rows.size(); ++i) functions.push_back(read_function(rows, i));
  return Result<std::vector<TaskFunction>>(std::move(functions));
}

// A fork's time begins when its source's did.
Answer<Result<TaskRun>> Queries::journal_head(TaskRunId id) {
  Answer<Result<TaskRun>> answer = run(id);
  auto* head = std::get_if<Result<TaskRun>>(&answer);
  if (head == nullptr || head->has_error()) return answer;
  Params params;
  params.add(head->value().root.value);
  SEQUENTIAL_ASK(rows, sql_.began, params);
  if (rows.size() == 1) head->value().created_at = rows.time(0, 0);
  return answer;
}

Answer<Result<RunOrigin>> Queries::origin(TaskRunId id) {
  Params params;
  params.add(id.value);
  SEQUENTIAL_ASK(rows, sql_.origin, params);
  if (rows.size() == 0) {
    return Result<RunOrigin>(
        Error(Errc::run_not_found, "there is no task run " + std::to_string(id.value)));
  }
  return Result<RunOrigin>(
      RunOrigin{rows.id<TaskRunId>(0, 0), rows.integer(0, 1), rows.integer(0, 2)});
}

Answer<Result<std::vector<FailedCall>>> Queries::failed_calls(TaskRunId run, int limit) {
  Params params;
  params.add(run.value).add(bounded(limit)).add(static_cast<std::int64_t>(kErrorReadMax));
  SEQUENTIAL_ASK(rows, sql_.failed_calls, params);
  std::vector<FailedCall> failed;
  for (std::size_t i = rows.size(); i > 0; --i) {
    failed.push_back({rows.integer(i - 1, 0), rows.integer(i - 1, 1), rows.bytes(i - 1, 2)});
  }
  return Result<std::vector<FailedCall>>(std::move(failed));
}

Answer<Result<std::int64_t>> Queries::made_after(const Grant& call) {
  Params params;
  params.add(call.id.value).add(call.run.value).add(call.epoch);
  SEQUENTIAL_ASK(rows, sql_.made_after, params);
  if (rows.size() == 0) {
    return Result<std::int64_t>(Error(Errc::fenced, "the call is not held under this claim"));
  }
  return Result<std::int64_t>(rows.integer(0, 0));
}

TaskRun read_whole_run(const Rows& rows) {
  TaskRun run = read_run(rows, 0);
  run.input = rows.bytes(0, 25);
  run.result = rows.bytes(0, 26);
  run.error = rows.bytes(0, 27);
  return run;
}

Answer<Result<TaskRun>> Queries::run(TaskRunId id) {
  Params params;
  params.add(id.value);
  SEQUENTIAL_ASK(rows, sql_.run, params);
  if (rows.size() == 0) {
    return Result<TaskRun>(
        Error(Errc::run_not_found, "there is no task run " + std::to_string(id.value)));
  }
  return Result<TaskRun>(read_whole_run(rows));
}

Answer<Result<std::vector<TaskRun>>> Queries::runs(const RunFilter& filter) {
  const std::int64_t below =
      filter.before ? filter.before.value : std::numeric_limits<std::int64_t>::max();
  Params params;
  params.add(below).add(bounded(filter.limit));
  const Statement* statement = &sql_.runs;
  if (filter.status) {
    // Running and suspended are told apart by the root.
    const std::string_view suspended = stack_status_name(StackStatus::suspended_waiting_child);
    const bool want_suspended = *filter.status == RunStatus::suspended_waiting_child;
    const bool want_running = *filter.status == RunStatus::running;
    const auto stored = want_suspended ? RunStatus::running : *filter.status;
    params.add(run_status_name(stored)).add(filter.task_name);
    params.add(want_suspended ? suspended : std::string_view());
    params.add(want_running ? suspended : std::string_view());
    statement = &sql_.runs_by_status;
  } else if (!filter.task_name.empty()) {
    params.add(filter.task_name);
    statement = &sql_.runs_by_name;
  }
  SEQUENTIAL_ASK(rows, *statement, params);
  std::vector<TaskRun> runs;
  for (std::size_t i = 0; i < rows.size(); ++i) runs.push_back(read_run(rows, i));
  return Result<std::vector<TaskRun>>(std::move(runs));
}

Answer<Result<std::optional<ChildLink>>> Queries::parent_of(TaskRunId run) {
  Params params;
  params.add(run.value);
  SEQUENTIAL_ASK(rows, sql_.parent_of, params);
  std::optional<ChildLink> found;
  if (rows.size() > 0) {
    found = ChildLink{rows.id<TaskRunId>(0, 0), rows.id<StackRunId>(0, 1), rows.integer(0, 2),
                      rows.small(0, 3)};
  }
  return Result<std::optional<ChildLink>>(found);
}

Answer<Result<StackRun>> Queries::stack_run(StackRunId id) {
  Params params;
  params.add(id.value);
  SEQUENTIAL_ASK(rows, sql_.stack_run, params);
  if (rows.size() == 0) {
    return Result<StackRun>(
        Error(Errc::not_found, "there is no stack run " + std::to_string(id.value)));
  }
  return Result<StackRun>(read_stack_run(rows, 0));
}

Answer<Result<std::vector<StackRun>>> Queries::stack(TaskRunId run, std::int64_t from_seq,
                                                     int limit) {
  Params params;
  params.add(run.value).add(from_seq).add(bounded(limit));
  SEQUENTIAL_ASK(rows, sql_.stack, params);
  std::vector<StackRun> stack;
  for (std::size_t i = 0; i < rows.size(); ++i) stack.push_back(read_stack_run(rows, i));
  return Result<std::vector<StackRun>>(std::move(stack));
}

Answer<Result<std::vector<Attempt>>> Queries::attempts(StackRunId id) {
  Params params;
  params.add(id.value);
  SEQUENTIAL_ASK(rows, sql_.attempts, params);
  std::vector<Attempt> attempts;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Attempt& a = attempts.emplace_back();
    a.stack_run_id = id;
    a.attempt = rows.small(i, 0);
    a.epoch = rows.integer(i, 1);
    a.node = rows.text(i, 2);
    a.started_at = rows.time_if(i, 3);
    a.ended_at = rows.time(i, 4);
    a.outcome = rows.text(i, 5);
    a.error = rows.bytes(i, 6);
  }
  return Result<std::vector<Attempt>>(std::move(attempts));
}

Answer<Result<std::vector<LogEntry>>> Queries::logs(TaskRunId run, std::int64_t after_n,
                                                    int limit) {
  Params params;
  params.add(run.value).add(after_n).add(bounded(limit));
  SEQUENTIAL_ASK(rows, sql_.logs, params);
  std::vector<LogEntry> logs;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    LogEntry& log = logs.emplace_back();
    log.n = rows.integer(i, 0);
    log.level = rows.bytes(i, 1);
    log.message = rows.bytes(i, 2);
    log.fields = rows.bytes(i, 3);
    log.at = rows.time(i, 4);
  }
  return Result<std::vector<LogEntry>>(std::move(logs));
}

Answer<Result<JournalPage>> Queries::journal(TaskRunId run, std::int64_t after_seq,
                                             std::int64_t bytes_max) {
  Params params;
  params.add(run.value).add(std::max<std::int64_t>(after_seq, -1)).add(bytes_max);
  params.add(kJournalRowsMax);
  SEQUENTIAL_ASK(rows, sql_.journal, params);
  JournalPage page;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    JournalRow& call = page.rows.emplace_back();
    call.seq = rows.integer(i, 0);
    call.service_name = rows.bytes(i, 1);
    call.method_name = rows.bytes(i, 2);
    call.args = rows.bytes(i, 6);
    page.more = rows.integer(i, 8) > call.seq;
    if (rows.integer(i, 3) == 0) continue;
    Outcome& outcome = call.outcome.emplace();
    outcome.seq = call.seq;
    outcome.delivered_as = rows.integer(i, 3);
    outcome.failed = call.seq == 0 || rows.text(i, 4) == stack_status_name(StackStatus::failed);
    outcome.at = rows.time(i, 5);
    outcome.payload = rows.bytes(i, 7);
  }
  return Result<JournalPage>(std::move(page));
}

Answer<Result<std::vector<Outcome>>> Queries::outcomes(TaskRunId run, std::int64_t after,
                                                       int limit) {
  Params params;
  params.add(run.value).add(std::max<std::int64_t>(after, 0)).add(bounded(limit));
  SEQUENTIAL_ASK(rows, sql_.outcomes, params);
  std::vector<Outcome> outcomes;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Outcome& outcome = outcomes.emplace_back();
    outcome.seq = rows.integer(i, 0);
    outcome.delivered_as = rows.integer(i, 1);
    outcome.failed =
        outcome.seq == 0 || rows.text(i, 2) == stack_status_name(StackStatus::failed);
    outcome.at = rows.time(i, 3);
    outcome.payload = rows.bytes(i, 4);
  }
  return Result<std::vector<Outcome>>(std::move(outcomes));
}

Answer<Result<StoreStatus>> Queries::status(const std::string& schema,
                                            const std::string& location, std::int64_t now_ms) {
  StoreStatus status;
  status.kind = "postgres";
  status.location = location;
  if (auto error = count_tables(schema, status)) return *std::move(error);
  if (auto error = count_runs(status)) return *std::move(error);
  if (auto error = count_stack_runs(status)) return *std::move(error);
  Params params;
  params.add(now_ms);
  SEQUENTIAL_ASK(oldest, sql_.oldest_runnable, params);
  status.oldest_runnable_ms = std::max<std::int64_t>(oldest.integer(0, 0), 0);
  SEQUENTIAL_ASK(version, sql_.schema_version, Params());
  status.schema_version = version.text(0, 0);
  return Result<StoreStatus>(std::move(status));
}

std::optional<DbError> Queries::count_tables(const std::string& schema, StoreStatus& status) {
  Params params;
  params.add(schema);
  SEQUENTIAL_ASK(sizes, sql_.sizes, params);
  std::map<std::string, std::size_t> row_of;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    row_of[sizes.text(i, 0)] = i;
    status.size_bytes += sizes.integer(i, 2);
  }
  for (const char* const table : {"task_functions", "task_runs", "stack_runs", "attempts",
                                  "task_logs", "keystore", "checkpoints", "run_states"}) {
    const auto found = row_of.find(table);
    if (found == row_of.end()) continue;
    std::int64_t rows = sizes.integer(found->second, 1);
    const std::int64_t bytes = sizes.integer(found->second, 2);
    const bool large = rows > kCountRowsMax || bytes > kCountBytesMax;
    if (large && std::string_view(table) == "stack_runs") large_ = true;
    if (!large) {
      const Statement count("SELECT count(*) FROM \"" + schema + "\"." + table);
      SEQUENTIAL_ASK(counted, count, Params());
      rows = counted.integer(0, 0);
    }
    status.tables.emplace_back(table, std::max<std::int64_t>(rows, 0));
  }
  return std::nullopt;
}

std::optional<DbError> Queries::count_runs(StoreStatus& status) {
  if (large_) return std::nullopt;
  SEQUENTIAL_ASK(suspended_rows, sql_.suspended_count, Params());
  SEQUENTIAL_ASK(rows, sql_.run_counts, Params());
  const std::int64_t suspended = suspended_rows.integer(0, 0);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::int64_t count = rows.integer(i, 1);
    if (rows.text(i, 0) == run_status_name(RunStatus::running)) {
      count -= suspended;
      if (suspended > 0) {
        status.runs.emplace_back(run_status_name(RunStatus::suspended_waiting_child), suspended);
      }
    }
    if (count > 0) status.runs.emplace_back(rows.text(i, 0), count);
  }
  std::sort(status.runs.begin(), status.runs.end());
  return std::nullopt;
}

std::optional<DbError> Queries::count_stack_runs(StoreStatus& status) {
  if (large_) return std::nullopt;
  SEQUENTIAL_ASK(rows, sql_.stack_run_counts, Params());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    status.stack_runs.emplace_back(rows.text(i, 0), rows.integer(i, 1));
  }
  return std::nullopt;
}

Answer<Result<KeystoreEntry>> Queries::keystore_get(const std::string& name_space,
                                                    const std::string& key) {
  Params params;
  params.add(name_space).add(key);
  SEQUENTIAL_ASK(rows, sql_.keystore_get, params);
  if (rows.size() == 0) {
    return Result<KeystoreEntry>(
        Error(Errc::key_not_found,
              "the keystore has no key '" + key + "' in namespace '" + name_space + "'"));
  }
  KeystoreEntry entry = read_entry(rows, 0);
  entry.sealed = rows.bytes(0, 5);
  return Result<KeystoreEntry>(std::move(entry));
}

Answer<Result<std::vector<KeystoreEntry>>> Queries::keystore_list(const std::string& name_space) {
  Params params;
  params.add(name_space);
  SEQUENTIAL_ASK(rows, sql_.keystore_list, params);
  std::vector<KeystoreEntry> entries;
  for (std::size_t i = 0; i < rows.size(); ++i) entries.push_back(read_entry(rows, i));
  return Result<std::vector<KeystoreEntry>>(std::move(entries));
}

}  // namespace sequential::storage::postgres
