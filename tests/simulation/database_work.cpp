// Database: claims, slices and outcomes.

#include <algorithm>
#include <utility>

#include "database.h"

namespace sequential::simulation {

using storage::RunStatus;
using storage::StackStatus;

Result<storage::Submitted> Database::submit(const storage::Submission& submission) {
  storage::Submitted submitted;
  if (const auto known = state_.keys.find(submission.idempotency_key); known != state_.keys.end()) {
    const RunRow& run = state_.runs.at(known->second);
    submitted.run = run.id;
    submitted.root = run.root;
    submitted.status = run.status;
    submitted.created_at = run.created_at;
    submitted.existing = true;
    return submitted;
  }
  lazily(true);
  const WallTime now = now_();
  RunRow run;
  run.id = TaskRunId{++last_run_};
  run.root = StackRunId{++state_.last_id};
  run.function = submission.task_function_id;
  run.input = submission.input;
  run.seed = submission.seed;
  run.key = submission.idempotency_key;
  run.created_at = now;
  StackRow root;
  root.id = run.root;
  root.run = run.id;
  root.available_at = now + submission.delay;
  root.updated_at = now;
  submitted.run = run.id;
  submitted.root = run.root;
  submitted.created_at = now;
  if (submission.handoff && submission.delay.count() == 0) {
    root.epoch = root.attempt = 1;
    hold(root, *submission.handoff);
    run.started = true;
    run.status = submitted.status = RunStatus::running;
    submitted.work = work_of(root);
  } else {
    runnable(root);
  }
  state_.keys.emplace(run.key, run.id.value);
  state_.rows.emplace(root.id.value, std::move(root));
  state_.runs.emplace(run.id.value, std::move(run));
  return submitted;
}

// --- claims --------------------------------------------------------------------------------------

bool Database::claimable(const StackRow& row) const {
  if (state_.runs.at(row.run.value).status == RunStatus::paused) return false;
  const WallTime now = now_();
  if (row.status == StackStatus::pending) return row.available_at <= now;
  if (row.status != StackStatus::processing) return false;
  return row.lease_until <= now || breaks == Break::lease_ignored;
}

Result<std::optional<storage::Work>> Database::claim(StackRunId id, const storage::Lease& lease) {
  StackRow* row = find_row(id);
  if (row == nullptr || !claimable(*row)) return std::optional<storage::Work>();
  lazily(true);
  if (row->status == StackStatus::processing) {
    ++row->lost;
    if (row->seq > 0 && row->delivery == storage::Delivery::at_most_once &&
        breaks != Break::unknown_forgotten) {
      row->outcome_unknown = true;
    }
  }
  if (!row->outcome_unknown) ++row->attempt;
  ++row->epoch;
  hold(*row, lease);
  row->updated_at = std::max(row->updated_at, now_());
  RunRow& run = *find_run(row->run);
  if (run.status == RunStatus::queued) run.status = RunStatus::running;
  run.started = true;
  return std::optional(work_of(*row));
}

Result<std::optional<storage::Work>> Database::claim_next(const storage::Lease& lease) {
  const auto first = due(1);
  if (first.ids.empty()) return std::optional<storage::Work>();
  return claim(first.ids.front(), lease);
}

Result<std::vector<storage::Grant>> Database::extend(const std::vector<storage::Grant>& grants,
                                                     const storage::Lease& lease) {
  lazily(true);
  std::vector<storage::Grant> lost;
  for (const auto& grant : grants) {
    StackRow* row = find_row(grant.id);
    if (row == nullptr || row->epoch != grant.epoch || row->status != StackStatus::processing) {
      lost.push_back(grant);
      continue;
    }
    row->lease_until = now_() + lease.length;
    row->owner = lease.node;
  }
  return lost;
}

Result<void> Database::release(const std::string& node, const storage::Grant& grant) {
  const StackRow* const found = find_row(grant.id);
  StackRow* row = held(node, grant, found == nullptr || found->seq == 0);
  if (row == nullptr) return fenced_off();
  lazily(true);
  const bool paused = find_run(row->run)->status == RunStatus::paused;
  row->status = paused ? StackStatus::paused : StackStatus::pending;
  if (!row->outcome_unknown) --row->attempt;
  if (!paused) runnable(*row);
  return success();
}

// --- slices --------------------------------------------------------------------------------------

storage::Wake Database::wake(StackRow& root, const std::optional<storage::Lease>& handoff) {
  storage::Wake wake;
  wake.run = root.run;
  wake.root = root.id;
  root.available_at = now_();
  root.status = StackStatus::pending;
  if (handoff) {
    ++root.epoch;
    ++root.attempt;
    hold(root, *handoff);
    wake.work = work_of(root);
  } else {
    runnable(root);
  }
  return wake;
}

storage::CommittedCall Database::insert_call(const storage::SliceCommit& commit,
                                             const storage::NewCall& call, const RunRow& run,
                                             WallTime stored_at) {
  storage::CommittedCall made;
  made.id = StackRunId{++state_.last_id};
  made.seq = call.seq;
  StackRow row;
  row.id = made.id;
  row.run = run.id;
  row.seq = call.seq;
  row.service = call.service_name;
  row.method = call.method_name;
  row.args = call.args;
  row.options = call.options;
  row.delivery = call.delivery;
  row.updated_at = stored_at;
  const bool paused = run.status == RunStatus::paused;
  const bool delayed = call.delay.count() > 0;
  row.available_at = now_() + call.delay;
  if (delayed) made.available_at = row.available_at;
  const bool few = call.seq - commit.calls.front().seq < commit.handoff_calls_max;
  if (commit.handoff && few && !delayed && !paused) {
    row.epoch = row.attempt = 1;
    hold(row, *commit.handoff);
    made.work = work_of(row);
  } else if (paused) {
    row.status = StackStatus::paused;
  } else {
    runnable(row);
  }
  if (breaks == Break::calls_half_stored && call.seq == commit.calls.back().seq &&
      commit.calls.size() > 1) {
    return made;
  }
  state_.rows.emplace(row.id.value, std::move(row));
  return made;
}

Result<storage::SliceCommitted> Database::commit_slice(const std::string& node,
                                                       const storage::SliceCommit& commit) {
  StackRow* root = held(node, commit.root, true);
  if (root == nullptr) return fenced_off();
  RunRow& run = *find_run(root->run);
  storage::SliceCommitted committed;
  if (commit.end == storage::SliceEnd::paused) {
    lazily(true);
    root->status = StackStatus::paused;
    pause_everything(run, commit.reason);
    committed.status = RunStatus::paused;
    return committed;
  }
  std::int64_t expected = root->call_count;
  for (const auto& call : commit.calls) {
    if (call.seq != ++expected) return Error{Errc::conflict, "calls out of order"};
  }
  if (commit.delivered_through < root->delivered_through ||
      commit.delivered_through > root->journal_length) {
    return Error{Errc::conflict, "the slice has seen what the journal does not have"};
  }
  const bool ended = commit.end != storage::SliceEnd::suspended;
  const bool once = std::any_of(commit.calls.begin(), commit.calls.end(), [](const auto& call) {
    return call.delivery == storage::Delivery::at_most_once;
  });
  // An epoch that a crash takes back would be given out twice.
  const bool raises = commit.handoff && root->journal_length > commit.delivered_through &&
                      breaks != Break::epoch_unflushed;
  const bool flush = ended || commit.flush == storage::Flush::durable || once || raises;
  lazily(flush && breaks != Break::flush_ignored);

  root->updated_at = std::max(root->updated_at, now_());
  ++root->slice;
  root->attempt = 0;
  root->crashes = 0;
  root->delivered_through = commit.delivered_through;
  for (const auto& call : commit.calls) {
    committed.calls.push_back(insert_call(commit, call, run, root->updated_at));
  }
  root->call_count = expected;
  for (const auto& log : commit.logs) root->logs.push_back(log.message);

  if (ended) {
    const bool ok = commit.end == storage::SliceEnd::completed;
    const bool cancelled = commit.end == storage::SliceEnd::cancelled;
    root->status = ok          ? StackStatus::completed
                   : cancelled ? StackStatus::cancelled
                               : StackStatus::failed;
    const bool was_paused = run.status == RunStatus::paused;
    end_run(run,
            ok          ? RunStatus::completed
            : cancelled ? RunStatus::cancelled
                        : RunStatus::failed,
            commit.payload);
    for (StackRow* call : open_calls(run.id)) {
      if (was_paused && call->status == StackStatus::paused) call->status = StackStatus::pending;
    }
    committed.status = run.status;
    if (breaks == Break::end_overwritten) root->status = StackStatus::processing;
  } else if (run.status == RunStatus::paused) {
    root->status = StackStatus::paused;
    committed.status = RunStatus::paused;
  } else if (root->journal_length > root->delivered_through &&
             breaks != Break::slice_sleeps_anyway) {
    committed.root = wake(*root, commit.handoff);
    committed.status = RunStatus::running;
  } else {
    root->status = StackStatus::suspended_waiting_child;
    committed.status = RunStatus::suspended_waiting_child;
  }
  return committed;
}

Result<storage::SliceLostResult> Database::slice_lost(const std::string& node,
                                                      const storage::SliceLost& lost) {
  StackRow* root = held(node, lost.root, true);
  if (root == nullptr) return fenced_off();
  lazily(true);
  RunRow& run = *find_run(root->run);
  storage::SliceLostResult result;
  result.crashes = ++root->crashes;
  result.paused = result.crashes >= lost.crashes_max;
  if (result.paused || run.status == RunStatus::paused) {
    root->status = StackStatus::paused;
  } else {
    root->status = StackStatus::pending;
    root->available_at = now_();
    runnable(*root);
  }
  if (result.paused) pause_everything(run, "poison");
  return result;
}

// --- outcomes ------------------------------------------------------------------------------------

storage::OutcomeRecorded Database::end_call(StackRow& call, const storage::OutcomeRecord& record) {
  StackRow& root = *find_row(find_run(call.run)->root);
  storage::OutcomeRecorded recorded;
  recorded.at = std::max(now_(), root.updated_at);
  call.failed = record.end == storage::CallEnd::failed;
  call.status = call.failed ? StackStatus::failed : StackStatus::completed;
  call.payload = record.payload;
  call.updated_at = recorded.at;
  if (!is_terminal(root.status)) {
    if (breaks == Break::position_skipped && root.journal_length == 1) ++root.journal_length;
    recorded.delivered_as = call.delivered_as = ++root.journal_length;
    root.updated_at = recorded.at;
  }
  const auto [known, first] = recorded_.try_emplace(
      {call.run, call.seq}, Recorded{call.id, call.delivered_as, call.failed, call.payload});
  if (!first) broken_("the outcome of a call was recorded twice");
  if (root.status == StackStatus::suspended_waiting_child &&
      breaks != Break::outcome_wakes_nobody) {
    recorded.wake = wake(root, record.handoff);
  }
  return recorded;
}

Result<storage::OutcomeRecorded> Database::record_outcome(const std::string& node,
                                                          const storage::OutcomeRecord& record) {
  StackRow* call = held(node, record.call, false);
  if (call == nullptr) return fenced_off();
  lazily(true);
  if (record.end != storage::CallEnd::retry) return end_call(*call, record);
  storage::OutcomeRecorded recorded;
  recorded.at = now_();
  recorded.available_at = now_() + record.retry_after;
  call->available_at = *recorded.available_at;
  const bool paused = find_run(call->run)->status == RunStatus::paused;
  call->status = paused ? StackStatus::paused : StackStatus::pending;
  if (breaks == Break::tries_uncounted) call->attempt = 0;
  if (!paused) runnable(*call);
  return recorded;
}

}  // namespace sequential::simulation
