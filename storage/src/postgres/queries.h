#pragma once
// The reading side: each query is one statement and sees all that was committed before it.

#include <optional>
#include <string>
#include <vector>

#include "postgres/connection.h"
#include "sequential/storage/children.h"
#include "sequential/storage/run_states.h"
#include "sequential/storage/run_view.h"
#include "search_sql.h"
#include "sequential/storage/search.h"
#include "sequential/storage/rewinds.h"
#include "sequential/storage/store.h"

namespace sequential::storage::postgres {

// The statements of queries, named after what they read.
struct QueryStatements {
  explicit QueryStatements(const std::string& schema);
  Statement function_newest, function_version, function_by_id, functions_newest, functions_of_name,
      run, runs, runs_by_name, runs_by_status, parent_of, stack_run, stack, attempts,
      logs, states, calls, journal,
      outcomes, keystore_get, keystore_list, sizes, run_counts, suspended_count, stack_run_counts,
      oldest_runnable, schema_version, began, origin, failed_calls, made_after,
      view;

 private:
  // `s` is the schema's name and the dot.
  void name_lists(const std::string& s);     // functions, runs, stack runs
  void name_view(const std::string& s);      // a run with all that is known of it
  void name_contents(const std::string& s);  // what belongs to them, and all counts
};

// One use of a connection for reading.
// The columns of a run and its root, and a run from them.
std::string_view run_columns();
TaskRun read_run(const Rows& rows, std::size_t i);
// The first row, which has input, result and error after those columns.
TaskRun read_whole_run(const Rows& rows);

class Queries {
 public:
  Queries(Connection& connection, const QueryStatements& sql, bool prepare)
      : db_(connection), sql_(sql), prepare_(prepare) {}

  Answer<Result<TaskFunction>> task_function(const std::string& name, int version);
  Answer<Result<TaskFunction>> task_function_by_id(TaskFunctionId id);
  Answer<Result<std::vector<TaskFunction>>> task_functions(const std::string& name);
  Answer<Result<TaskRun>> run(TaskRunId id);
  Answer<Result<TaskRun>> journal_head(TaskRunId id);
  Answer<Result<RunOrigin>> origin(TaskRunId id);
  Answer<Result<std::vector<FailedCall>>> failed_calls(TaskRunId run, int limit);
  Answer<Result<std::int64_t>> made_after(const Grant& call);
  Answer<Result<std::vector<TaskRun>>> runs(const RunFilter& filter);
  Answer<Result<std::optional<ChildLink>>> parent_of(TaskRunId run);
  // search.cpp; `schema` holds the tables.
  Answer<Result<RunPage>> find_runs(const std::string& schema, const RunQuery& query,
                                    TaskRunId after, int limit, int rows_max);
  Answer<Result<RunCount>> count_runs(const std::string& schema, const RunQuery& query,
                                      int rows_max);
  Answer<Result<std::vector<RunTag>>> run_tags(const std::string& schema, TaskRunId run);
  Answer<Result<std::vector<Retention>>> retentions(const std::string& schema);
  Answer<Result<StackRun>> stack_run(StackRunId id);
  Answer<Result<std::vector<StackRun>>> stack(TaskRunId run, std::int64_t from_seq, int limit);
  Answer<Result<std::vector<Attempt>>> attempts(StackRunId id);
  Answer<Result<std::vector<LogEntry>>> logs(TaskRunId run, std::int64_t after_n, int limit);
  Answer<Result<std::vector<RunState>>> states(const std::vector<TaskRunId>& runs);
  Answer<Result<RunView>> view(TaskRunId run);
  Answer<Result<RunLook>> look(TaskRunId run, std::int64_t after_log, int log_limit);
  Answer<Result<std::vector<CallTrace>>> calls(const CallsAsked& asked);
  Answer<Result<JournalPage>> journal(TaskRunId run, std::int64_t after_seq,
                                      std::int64_t bytes_max);
  Answer<Result<std::vector<Outcome>>> outcomes(TaskRunId run, std::int64_t after, int limit);
  // `now_ms` 0: the server's clock. Large tables are estimated, not counted.
  Answer<Result<StoreStatus>> status(const std::string& schema, const std::string& location,
                                     std::int64_t now_ms);
  Answer<Result<KeystoreEntry>> keystore_get(const std::string& name_space,
                                             const std::string& key);
  Answer<Result<std::vector<KeystoreEntry>>> keystore_list(const std::string& name_space);

 private:
  // count, lowest and highest id.
  struct Extent {
    std::int64_t rows = 0, low = 0, high = 0;
  };
  Answer<Extent> extent_of(const SqlStatement& statement);
  Answer<Rows> ask_once(const SqlStatement& statement);
  Answer<Rows> ask(const Statement& statement, const Params& params) {
    return db_.run(statement, params, prepare_);
  }
  std::optional<DbError> count_tables(const std::string& schema, StoreStatus& status);
  std::optional<DbError> count_runs(StoreStatus& status);
  std::optional<DbError> count_stack_runs(StoreStatus& status);

  Connection& db_;
  const QueryStatements& sql_;
  const bool prepare_;
  bool large_ = false;  // stack_runs is too large to be counted
};

}  // namespace sequential::storage::postgres
