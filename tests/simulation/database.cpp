#include "database.h"

#include <algorithm>
#include <utility>

namespace sequential::simulation {

using storage::RunStatus;
using storage::StackStatus;

namespace {

Error no_such_run() { return {Errc::run_not_found, "there is no such run"}; }
Error wrong_state() { return {Errc::conflict, "the run is not in a state that allows this"}; }

}  // namespace

RunRow* Database::find_run(TaskRunId id) {
  const auto found = state_.runs.find(id.value);
  return found == state_.runs.end() ? nullptr : &found->second;
}

StackRow* Database::find_row(StackRunId id) {
  const auto found = state_.rows.find(id.value);
  return found == state_.rows.end() ? nullptr : &found->second;
}

std::vector<const StackRow*> Database::rows_of(TaskRunId run) const {
  std::vector<const StackRow*> rows;
  for (const auto& [id, row] : state_.rows) {
    if (row.run == run) rows.push_back(&row);
  }
  std::sort(rows.begin(), rows.end(), [](const auto* a, const auto* b) { return a->seq < b->seq; });
  return rows;
}

std::vector<StackRow*> Database::open_calls(TaskRunId run) {
  std::vector<StackRow*> open;
  for (auto& [id, row] : state_.rows) {
    if (row.run == run && row.seq > 0 && !is_terminal(row.status)) open.push_back(&row);
  }
  return open;
}

Error Database::fenced_off() {
  ++fenced_;
  return {Errc::fenced, "not held under this claim"};
}

// The row if it is held under this grant. Whoever writes under a claim is remembered: it must be
// one node only.
StackRow* Database::held(const std::string& node, const storage::Grant& grant, bool root) {
  StackRow* row = find_row(grant.id);
  if (row == nullptr || row->run != grant.run || (row->seq == 0) != root) return nullptr;
  if (row->status != StackStatus::processing) {
    const bool late = breaks == Break::epoch_unchecked && !is_terminal(row->status);
    const bool again = breaks == Break::outcome_twice && !root && is_terminal(row->status);
    if (!late && !again) return nullptr;
  }
  if (row->epoch != grant.epoch && breaks != Break::epoch_unchecked) return nullptr;
  const auto [claim, first] = state_.writers.try_emplace({grant.id, row->epoch}, node);
  if (!first && claim->second != node) {
    broken_("stack run " + std::to_string(grant.id.value) + ": " + claim->second + " and " + node +
            " wrote under epoch " + std::to_string(row->epoch));
  }
  return row;
}

void Database::hold(StackRow& row, const storage::Lease& lease) {
  row.status = StackStatus::processing;
  row.owner = lease.node;
  row.lease_until = now_() + lease.length;
  const auto [claim, first] = state_.writers.try_emplace({row.id, row.epoch}, lease.node);
  if (!first) broken_("an epoch was given out twice");
}

void Database::runnable(const StackRow& row) { tidings_.runnable.push_back(row.id); }

storage::Work Database::work_of(const StackRow& row) const {
  storage::Work work;
  work.grant = {row.id, row.run, row.epoch};
  work.seq = row.seq;
  work.lease_until = row.lease_until;
  work.task_function_id = TaskFunctionId{1};
  work.task_name = "task";
  work.service_name = row.service;
  work.method_name = row.method;
  work.args = row.args;
  work.options = row.options;
  work.delivery = row.delivery;
  work.attempt = row.attempt;
  work.outcome_unknown = row.outcome_unknown;
  return work;
}

void Database::lazily(bool flush) {
  if (flush) {
    flushed_.reset();
    commits_unflushed_ = 0;
  } else {
    if (!flushed_) flushed_ = state_;
    ++commits_unflushed_;
  }
}

void Database::crash() {
  if (!flushed_) return;
  const std::int64_t last_id = state_.last_id;
  state_ = std::move(*flushed_);
  if (breaks != Break::ids_given_again) state_.last_id = last_id;
  flushed_.reset();
  commits_lost_ += std::exchange(commits_unflushed_, 0);
}

storage::DueWork Database::due(int limit) const {
  storage::DueWork work;
  work.now = now_();
  std::vector<std::pair<WallTime, StackRunId>> found;
  for (const auto& [id, row] : state_.rows) {
    if (claimable(row)) found.emplace_back(row.available_at, row.id);
    if (row.status == StackStatus::pending && row.available_at > work.now &&
        (!work.next_due || row.available_at < *work.next_due)) {
      work.next_due = row.available_at;
    }
  }
  std::sort(found.begin(), found.end());
  for (const auto& [at, id] : found) {
    if (work.ids.size() == static_cast<std::size_t>(limit)) break;
    work.ids.push_back(id);
  }
  return work;
}

Result<storage::TaskFunction> Database::task_function(TaskFunctionId id) const {
  if (id.value != 1) return Error{Errc::task_not_found, "there is one task only"};
  storage::TaskFunction function;
  function.id = id;
  function.name = "task";
  function.version = 1;
  return function;
}

Result<storage::TaskRun> Database::run(TaskRunId id) const {
  const auto found = state_.runs.find(id.value);
  if (found == state_.runs.end()) return no_such_run();
  const RunRow& row = found->second;
  const StackRow& root = state_.rows.at(row.root.value);
  storage::TaskRun run;
  run.id = row.id;
  run.task_function_id = row.function;
  run.task_name = "task";
  run.task_version = 1;
  run.root = row.root;
  run.input = row.input;
  run.seed = row.seed;
  run.status = row.status;
  run.pause_reason = row.pause_reason;
  run.result = row.result;
  run.error = row.error;
  run.journal_length = root.journal_length;
  run.call_count = root.call_count;
  run.log_count = static_cast<std::int64_t>(root.logs.size());
  run.crashes = root.crashes;
  run.created_at = row.created_at;
  return run;
}

Result<storage::JournalPage> Database::journal(TaskRunId run, std::int64_t after_seq,
                                               std::int64_t bytes) const {
  if (!state_.runs.contains(run.value)) return no_such_run();
  storage::JournalPage page;
  for (const StackRow* row : rows_of(run)) {
    if (row->seq == 0 || row->seq <= after_seq) continue;  // no run here is asked to end
    if (bytes <= 0) {
      page.more = true;
      break;
    }
    bytes -= static_cast<std::int64_t>(row->args.size() + row->payload.size() + 1);
    storage::JournalRow out;
    out.seq = row->seq;
    out.service_name = row->service;
    out.method_name = row->method;
    out.args = row->args;
    if (row->delivered_as > 0) {
      out.outcome =
          storage::Outcome{row->seq, row->delivered_as, row->failed, row->payload, row->updated_at};
    }
    page.rows.push_back(std::move(out));
  }
  return page;
}

Result<std::vector<storage::Outcome>> Database::outcomes(TaskRunId run, std::int64_t after,
                                                         int limit) const {
  std::vector<storage::Outcome> found;
  for (const StackRow* row : rows_of(run)) {
    if (row->seq == 0 || row->delivered_as <= after) continue;
    found.push_back({row->seq, row->delivered_as, row->failed, row->payload, row->updated_at});
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.delivered_as < b.delivered_as; });
  if (breaks == Break::stale_reads && !found.empty()) found.pop_back();
  if (found.size() > static_cast<std::size_t>(limit)) found.resize(static_cast<std::size_t>(limit));
  return found;
}

// --- control -------------------------------------------------------------------------------------

void Database::end_run(RunRow& run, RunStatus status, const std::string& payload) {
  const auto [end, first] = ends_.try_emplace(run.id, status, payload);
  if (!first) broken_("run " + std::to_string(run.id.value) + " ended twice");
  run.status = status;
  run.pause_reason.clear();
  (status == RunStatus::completed ? run.result : run.error) = payload;
  tidings_.ended.push_back(run.id);
}

void Database::pause_everything(RunRow& run, const std::string& reason) {
  run.status = RunStatus::paused;
  run.pause_reason = reason;
  for (StackRow* call : open_calls(run.id)) {
    if (call->status == StackStatus::pending) call->status = StackStatus::paused;
  }
  tidings_.ended.push_back(run.id);
}

Result<std::optional<storage::Wake>> Database::cancel(TaskRunId id, const std::string& error) {
  RunRow* run = find_run(id);
  if (run == nullptr) return no_such_run();
  if (is_terminal(run->status)) return wrong_state();
  lazily(true);
  for (auto& [n, row] : state_.rows) {
    if (row.run != id || is_terminal(row.status)) continue;
    row.status = StackStatus::cancelled;
    ++row.epoch;
  }
  end_run(*run, RunStatus::cancelled, error);
  return std::optional<storage::Wake>();
}

Result<void> Database::pause(TaskRunId id, const std::string& reason) {
  RunRow* run = find_run(id);
  if (run == nullptr) return no_such_run();
  if (is_terminal(run->status) || run->status == RunStatus::paused) return wrong_state();
  lazily(true);
  pause_everything(*run, reason);
  StackRow& root = *find_row(run->root);
  // A root under way goes on to the end of its slice, and is paused by its commit.
  if (root.status != StackStatus::processing) root.status = StackStatus::paused;
  return success();
}

Result<std::vector<StackRunId>> Database::resume(TaskRunId id) {
  RunRow* run = find_run(id);
  if (run == nullptr) return no_such_run();
  if (run->status != RunStatus::paused) return wrong_state();
  lazily(true);
  const WallTime now = now_();
  run->status = run->started ? RunStatus::running : RunStatus::queued;
  run->pause_reason.clear();
  std::vector<StackRunId> ids;
  for (StackRow* call : open_calls(id)) {
    if (call->status == StackStatus::paused) call->status = StackStatus::pending;
    if (call->status == StackStatus::pending && call->available_at <= now) ids.push_back(call->id);
  }
  StackRow& root = *find_row(run->root);
  if (root.status == StackStatus::processing) return ids;
  const bool has_work = root.slice == 0 || root.journal_length > root.delivered_through;
  root.status = has_work ? StackStatus::pending : StackStatus::suspended_waiting_child;
  root.crashes = 0;
  if (root.slice > 0) root.available_at = now;
  if (has_work) ids.insert(ids.begin(), root.id);
  for (const StackRunId runnable : ids) tidings_.runnable.push_back(runnable);
  return ids;
}

}  // namespace sequential::simulation
