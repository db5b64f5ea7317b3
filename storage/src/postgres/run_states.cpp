// RunStates: what runs show of themselves (their slices store it), and runs with all that is known.

#include "sequential/storage/run_states.h"

#include <cstdlib>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "postgres/store_templates.h"

namespace sequential::storage::postgres {
namespace {

RunState read_state(const Rows& rows, std::size_t i, int from) {
  RunState state;
  state.version = rows.integer(i, from);
  state.updated_at = rows.time(i, from + 1);
  state.progress = rows.bytes(i, from + 2);
  state.status = rows.bytes(i, from + 3);
  return state;
}

// Takes a text with its length before it.
std::string take_text(std::string_view& packed) {
  std::size_t length = 0;
  for (int i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(packed[i]);
  std::string text(packed.substr(4, length));
  packed.remove_prefix(4 + length);
  return text;
}

// As QueryStatements::view packs them.
std::vector<RunTag> unpack_attributes(std::string_view packed) {
  std::vector<RunTag> attributes;
  while (!packed.empty()) {
    RunTag& tag = attributes.emplace_back();
    tag.kind = RunTag::Kind::attribute;
    tag.key = take_text(packed);
    tag.value = take_text(packed);
    if (packed.front() == 1) tag.number = std::strtod(tag.value.c_str(), nullptr);
    packed.remove_prefix(1);
  }
  return attributes;
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
    states.push_back(found == place.end() ? RunState{} : read_state(rows, found->second, 1));
  }
  return Result<std::vector<RunState>>(std::move(states));
}

Answer<Result<RunView>> Queries::view(TaskRunId run) {
  using Found = Result<RunView>;
  Params params;
  params.add(run.value);
  auto asked = ask(sql_.view, params);
  if (auto* error = std::get_if<DbError>(&asked)) return std::move(*error);
  const Rows& rows = std::get<Rows>(asked);
  if (rows.size() == 0) {
    return Found(Error(Errc::run_not_found, "there is no task run " + std::to_string(run.value)));
  }
  RunView view;
  view.run = read_whole_run(rows);
  view.state = read_state(rows, 0, 28);
  if (!rows.null(0, 32)) {
    const auto seq = rows.integer_if(0, 33);  // unset: the call is no more
    view.parent = ChildLink{rows.id<TaskRunId>(0, 32),
                            seq ? view.run.parent_stack_run_id : StackRunId(), seq.value_or(0),
                            rows.small(0, 34)};
  }
  view.cancel_at = rows.time_if(0, 35);
  view.in_queue = rows.boolean(0, 36);
  view.origin = RunOrigin{rows.id<TaskRunId>(0, 37), rows.integer(0, 38), rows.integer(0, 39)};
  view.attributes = unpack_attributes(rows.bytes(0, 40));
  return Found(std::move(view));
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

Answer<Result<std::vector<CallTrace>>> Queries::calls(const CallsAsked& asked) {
  Params params;
  params.add(asked.run.value).add(asked.open).add(asked.from).add(asked.after).add(asked.through);
  params.add(std::int64_t{asked.limit});
  auto found = ask(sql_.calls, params);
  if (auto* error = std::get_if<DbError>(&found)) return std::move(*error);
  const Rows& rows = std::get<Rows>(found);
  std::vector<CallTrace> calls;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CallTrace& call = calls.emplace_back();
    call.seq = rows.integer(i, 0);
    call.service = rows.bytes(i, 1);
    call.method = rows.bytes(i, 2);
    call.status = stack_status_from(rows.text(i, 3)).value_or(StackStatus::cancelled);
    call.attempts = rows.small(i, 4);
    call.position = rows.integer(i, 5);
    call.created_at = rows.time(i, 6);
    call.started_at = rows.time_if(i, 7);
    call.ended_at = rows.time_if(i, 8);
  }
  return Result<std::vector<CallTrace>>(std::move(calls));
}

void PostgresStore::calls(CallsAsked asked, Done<std::vector<CallTrace>> done) {
  read(std::move(done), [asked = std::move(asked)](Queries& q) { return q.calls(asked); });
}

void PostgresStore::states(std::vector<TaskRunId> runs, Done<std::vector<RunState>> done) {
  read(std::move(done), [runs = std::move(runs)](Queries& q) { return q.states(runs); });
}

void PostgresStore::view(TaskRunId run, Done<RunView> done) {
  read(std::move(done), [run](Queries& q) { return q.view(run); });
}

void PostgresStore::look(TaskRunId run, std::int64_t after_log, int log_limit, Done<RunLook> done) {
  read(std::move(done),
       [run, after_log, log_limit](Queries& q) { return q.look(run, after_log, log_limit); });
}

}  // namespace sequential::storage::postgres
