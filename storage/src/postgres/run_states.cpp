// RunStates: what runs show of themselves. Their slices store it (migrations/postgres/0010).

#include "sequential/storage/run_states.h"

#include <unordered_map>
#include <utility>

#include "postgres/store_templates.h"

namespace sequential::storage::postgres {
namespace {

RunState read_state(const Rows& rows, std::size_t i) {
  RunState state;
  state.version = rows.integer(i, 1);
  state.updated_at = rows.time(i, 2);
  state.progress = rows.bytes(i, 3);
  state.status = rows.bytes(i, 4);
  return state;
}

}  // namespace

Answer<Result<std::vector<RunState>>> Queries::states(const std::vector<TaskRunId>& runs) {
  std::vector<std::int64_t> ids;
  for (const TaskRunId run : runs) ids.push_back(run.value);
  Params params;
  params.add(ids);
  auto asked = ask(sql_.states, params);
  if (auto* error = std::get_if<DbError>(&asked)) return std::move(*error);
  const Rows& rows = std::get<Rows>(asked);
  std::unordered_map<std::int64_t, std::size_t> place;
  for (std::size_t i = 0; i < rows.size(); ++i) place[rows.integer(i, 0)] = i;
  std::vector<RunState> states;
  for (const std::int64_t id : ids) {
    const auto found = place.find(id);
    states.push_back(found == place.end() ? RunState{} : read_state(rows, found->second));
  }
  return Result<std::vector<RunState>>(std::move(states));
}

Answer<Result<RunLook>> Queries::look(TaskRunId run, std::int64_t after_log, int log_limit) {
  using Found = Result<RunLook>;
  // The run before its logs: entries that come in between are more than it says, never fewer.
  RunFilter only;
  only.before = TaskRunId{run.value + 1};
  only.limit = 1;
  auto found = runs(only);
  if (auto* error = std::get_if<DbError>(&found)) return std::move(*error);
  auto& listed = std::get<Result<std::vector<TaskRun>>>(found);
  if (listed.has_error()) return Found(listed.error());
  if (listed.value().empty() || listed.value().front().id != run) {
    return Found(Error(Errc::run_not_found, "there is no task run " + std::to_string(run.value)));
  }
  RunLook look;
  look.run = std::move(listed.value().front());
  auto state = states({run});
  if (auto* error = std::get_if<DbError>(&state)) return std::move(*error);
  look.state = std::move(std::get<Result<std::vector<RunState>>>(state).value().front());
  if (look.run.log_count > after_log) {
    auto entries = logs(run, after_log, log_limit);
    if (auto* error = std::get_if<DbError>(&entries)) return std::move(*error);
    look.logs = std::move(std::get<Result<std::vector<LogEntry>>>(entries)).value();
  }
  return Found(std::move(look));
}

void PostgresStore::states(std::vector<TaskRunId> runs, Done<std::vector<RunState>> done) {
  read(std::move(done), [runs = std::move(runs)](Queries& q) { return q.states(runs); });
}

void PostgresStore::look(TaskRunId run, std::int64_t after_log, int log_limit, Done<RunLook> done) {
  read(std::move(done),
       [run, after_log, log_limit](Queries& q) { return q.look(run, after_log, log_limit); });
}

}  // namespace sequential::storage::postgres
