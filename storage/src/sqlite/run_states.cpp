// RunStates: what runs show of themselves, kept in step with their slices.

#include "sequential/storage/run_states.h"

#include <algorithm>
#include <utility>

#include "sqlite/store_templates.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {

void store_state(Transaction& tx, TaskRunId run, const std::vector<NewLog>& logs, WallTime at) {
  std::string_view status, progress;
  for (const NewLog& log : logs) {
    if (log.level == kStatusLevel) status = log.message;
    if (log.level == kProgressLevel) progress = log.message;
  }
  if (status.empty() && progress.empty()) return;
  tx.sql.put_state.run(run, at, TextOrNull{progress}, TextOrNull{status});
}

RunState Queries::read_state(const Cursor& row, int from) {
  RunState state;
  state.version = row.integer(from);
  state.updated_at = row.time(from + 1);
  state.progress = row.text(from + 2);
  state.status = row.text(from + 3);
  return state;
}

Result<std::vector<RunState>> Queries::states(const std::vector<TaskRunId>& runs) {
  std::vector<RunState> states;
  states.reserve(runs.size());
  for (const TaskRunId run : runs) {
    Cursor row = state_.query(run.value);
    states.push_back(row.next() ? read_state(row, 0) : RunState{});
  }
  return answer(std::move(states));
}

Result<RunView> Queries::view(TaskRunId id) {
  begin_.run();  // all of one moment
  const auto read = [this, id]() -> Result<RunView> {
    RunView view;
    SEQUENTIAL_TRY(view.run, run(id));
    SEQUENTIAL_TRY(auto state, states({id}));
    view.state = std::move(state.front());
    SEQUENTIAL_TRY(view.parent, parent_of(id));
    SEQUENTIAL_TRY(const auto asked, cancelling(id));
    if (asked) view.cancel_at = asked->deadline;
    SEQUENTIAL_TRY(view.in_queue, waits_in_queue(id));
    SEQUENTIAL_TRY(view.origin, origin(id));
    SEQUENTIAL_TRY(view.attributes, run_tags(id));
    std::erase_if(view.attributes,
                  [](const RunTag& tag) { return tag.kind != RunTag::Kind::attribute; });
    return view;
  };
  auto found = read();
  commit_.run();
  if (sqlite3_get_autocommit(db_.handle()) == 0) static_cast<void>(db_.execute("ROLLBACK"));
  if (found.has_error()) return found;
  return answer(std::move(found).value());
}

Result<RunLook> Queries::look(TaskRunId run, std::int64_t after_log, int log_limit) {
  // The run before its logs: entries that come in between are more than it says, never fewer.
  RunFilter only;
  only.before = TaskRunId{run.value + 1};
  only.limit = 1;
  SEQUENTIAL_TRY(auto found, runs(only));
  if (found.empty() || found.front().id != run) {
    return Error(Errc::run_not_found, "there is no task run " + std::to_string(run.value));
  }
  RunLook look;
  look.run = std::move(found.front());
  SEQUENTIAL_TRY(auto state, states({run}));
  look.state = std::move(state.front());
  if (look.run.log_count > after_log) {
    SEQUENTIAL_TRY(look.logs, logs(run, after_log, log_limit));
  }
  return look;
}

CallTrace Queries::read_call_trace(const Cursor& row) {
  CallTrace call;
  call.seq = row.integer(0);
  call.service = row.text(1);
  call.method = row.text(2);
  call.status = stack_status_from(row.view(3)).value_or(StackStatus::cancelled);
  call.attempts = row.small(4);
  call.position = row.integer(5);
  call.created_at = row.time(6);
  call.started_at = row.time_if(7);
  call.ended_at = row.time_if(8);
  return call;
}

Result<std::vector<CallTrace>> Queries::calls(const CallsAsked& asked) {
  std::vector<CallTrace> calls;
  const auto limit = static_cast<std::size_t>(std::max(asked.limit, 0));
  const auto take = [&calls, limit](Cursor row) {
    while (calls.size() < limit && row.next()) calls.push_back(read_call_trace(row));
  };
  std::vector<std::int64_t> open = asked.open;
  std::sort(open.begin(), open.end());
  for (const std::int64_t seq : open) {  // none of them is above `from`
    if (seq > asked.after) take(call_.query(asked.run.value, seq));
  }
  take(calls_.query(asked.run.value, std::max(asked.from, asked.after), asked.through,
                    std::int64_t{asked.limit}));
  return answer(std::move(calls));
}

void SqliteStore::calls(CallsAsked asked, Done<std::vector<CallTrace>> done) {
  read(std::move(done), [asked = std::move(asked)](Queries& q) { return q.calls(asked); });
}

void SqliteStore::states(std::vector<TaskRunId> runs, Done<std::vector<RunState>> done) {
  read(std::move(done), [runs = std::move(runs)](Queries& q) { return q.states(runs); });
}

void SqliteStore::view(TaskRunId run, Done<RunView> done) {
  read(std::move(done), [run](Queries& q) { return q.view(run); });
}

void SqliteStore::look(TaskRunId run, std::int64_t after_log, int log_limit, Done<RunLook> done) {
  read(std::move(done),
       [run, after_log, log_limit](Queries& q) { return q.look(run, after_log, log_limit); });
}

}  // namespace sequential::storage::sqlite
