// commit_slice and record_outcome.

#include <algorithm>
#include <string_view>
#include <utility>

#include "postgres/transitions.h"
#include "sequential/storage/run_states.h"

namespace sequential::storage::postgres {
namespace {

std::string_view end_name(SliceEnd end) {
  switch (end) {
    case SliceEnd::completed:
      return "completed";
    case SliceEnd::failed:
      return "failed";
    case SliceEnd::cancelled:
      return "cancelled";
    case SliceEnd::paused:
      return "paused";
    case SliceEnd::suspended:
      break;
  }
  return "suspended";
}

std::string_view end_name(CallEnd end) {
  switch (end) {
    case CallEnd::failed:
      return "failed";
    case CallEnd::retry:
      return "retry";
    case CallEnd::completed:
      break;
  }
  return "completed";
}

void add_lease(Params& params, const std::optional<Lease>& lease) {
  params.add(lease ? std::string_view(lease->node) : std::string_view());
  params.add(static_cast<std::int64_t>(lease ? lease->length.count() : 0));
}

void add_calls(Params& params, const std::vector<NewCall>& calls) {
  std::vector<std::int64_t> seqs, delays;
  std::vector<std::string_view> services, methods, args, options;
  std::vector<int> deliveries, lines;
  for (const NewCall& call : calls) {
    seqs.push_back(call.seq);
    services.push_back(call.service_name);
    methods.push_back(call.method_name);
    args.push_back(call.args);
    options.push_back(call.options);
    deliveries.push_back(static_cast<int>(call.delivery));
    delays.push_back(call.delay.count());
    lines.push_back(call.source_line);
  }
  params.add(seqs).add(services).add(methods).add(args).add(options);
  params.add_small(deliveries).add(delays).add(lines);
}

void add_logs(Params& params, const std::vector<NewLog>& logs) {
  std::vector<std::string_view> levels, messages, fields;
  for (const NewLog& log : logs) {
    if (is_state(log)) continue;
    levels.push_back(log.level);
    messages.push_back(log.message);
    fields.push_back(log.fields);
  }
  params.add(levels).add(messages).add(fields);
}

// What the slice showed, if it did: '' is none.
bool add_state(Params& params, const std::vector<NewLog>& logs) {
  std::string_view status, progress;
  for (const NewLog& log : logs) {
    if (log.level == kStatusLevel) status = log.message;
    if (log.level == kProgressLevel) progress = log.message;
  }
  if (status.empty() && progress.empty()) return false;
  params.add(status).add(progress);
  return true;
}

// Columns of commit_slice_v1
enum : int {
  kStatus = 2,
  kNow,
  kIds,
  kEpochs,
  kAvailableAt,
  kLeaseUntil,
  kFunction,
  kTaskName,
  kRootWoken,
  kRootEpoch,
  kRootAttempt,
  kParentWoken,
  kParentRun,
  kParentRoot,
  kParentEpoch,
  kRoom = kParentEpoch + 5,
};

std::vector<CommittedCall> committed_calls(const Rows& rows, const SliceCommit& commit,
                                           bool paused) {
  const WallTime now = rows.time(0, kNow);
  const auto ids = rows.integers(0, kIds);
  const bool before = !rows.null(0, kEpochs);  // sent again: what is still ours is told
  const auto epochs = rows.integers(0, kEpochs);
  const auto times = rows.integers(0, kAvailableAt);
  std::vector<CommittedCall> calls;
  for (std::size_t i = 0; i < ids.size() && i < commit.calls.size(); ++i) {
    const NewCall& call = commit.calls[i];
    CommittedCall& made = calls.emplace_back();
    made.id = StackRunId(ids[i]);
    made.seq = call.seq;
    const bool delayed = call.delay.count() > 0;
    if (delayed) made.available_at = before ? WallTime{times[i]} : now + call.delay;
    const bool claimed = before ? epochs[i] == 1
                                : commit.handoff && !delayed && !paused &&
                                      static_cast<std::int64_t>(i) < commit.handoff_calls_max;
    if (!claimed) continue;
    Work& work = made.work.emplace();
    work.grant = {made.id, commit.root.run, 1};
    work.seq = call.seq;
    work.lease_until = rows.time(0, kLeaseUntil);
    work.task_function_id = rows.id<TaskFunctionId>(0, kFunction);
    work.task_name = rows.bytes(0, kTaskName);
    work.delivery = call.delivery;
  }
  return calls;
}

// What was committed lazily a crash may take back; what claims the root again is never lazy.
void remember(const Try& attempt, const SliceCommit& commit, const SliceCommitted& committed) {
  const bool ended = is_terminal(commit.end);
  if (ended) {
    attempt.acknowledged({Witness::Kind::end, commit.root.id.value, 0, attempt.token,
                          commit.root.run.value});
  } else if (committed.root && committed.root->work) {
    const Grant& root = committed.root->work->grant;
    attempt.acknowledged({Witness::Kind::claim, root.id.value, root.epoch, 0, root.run.value});
  } else if (must_be_on_disk(commit) && !committed.calls.empty()) {
    attempt.acknowledged({Witness::Kind::claim, committed.calls.back().id.value, 0, 0,
                          commit.root.run.value});
  } else if (must_be_on_disk(commit)) {
    attempt.context.history.acknowledged();
  }
}

}  // namespace

bool must_be_on_disk(const SliceCommit& commit) {
  return commit.flush == Flush::durable || commit.end != SliceEnd::suspended ||
         std::any_of(commit.calls.begin(), commit.calls.end(),
                     [](const NewCall& call) { return call.delivery == Delivery::at_most_once; });
}

Answer<std::vector<std::int64_t>> new_stack_run_ids(const Try& attempt, int count) {
  Params params;
  params.add(count);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.stack_run_ids, params));
  std::vector<std::int64_t> ids = rows.integers(0, 0);
  if (!ids.empty()) attempt.acknowledged({Witness::Kind::ids, ids.back(), 0, 0, 0});
  return ids;
}

Answered<SliceCommitted> commit_slice(const Try& attempt, const SliceCommit& commit,
                                      const std::vector<std::int64_t>& ids) {
  Params params = attempt.head();
  params.add(!must_be_on_disk(commit)).add(commit.root.id.value).add(commit.root.run.value);
  params.add(commit.root.epoch).add(commit.delivered_through).add(end_name(commit.end));
  params.add(commit.payload).add(commit.reason);
  params.add_small(commit.resume_kind ? static_cast<int>(*commit.resume_kind) : -1);
  params.add(commit.resume_us);
  add_lease(params, commit.handoff);
  params.add(commit.handoff_calls_max).add(ids);
  add_calls(params, commit.calls);
  add_logs(params, commit.logs);
  const auto& sql = attempt.context.sql;
  const bool shows = add_state(params, commit.logs);
  SEQUENTIAL_ROWS(rows, attempt.run(shows ? sql.commit_slice_shown : sql.commit_slice, params));
  if (auto error = told(rows)) return Result<SliceCommitted>(*std::move(error));

  SliceCommitted committed;
  committed.status = run_status_from(rows.text(0, kStatus)).value_or(RunStatus::running);
  committed.calls = committed_calls(rows, commit, committed.status == RunStatus::paused);
  if (rows.boolean(0, kRootWoken)) {
    Wake& wake = committed.root.emplace();
    wake.run = commit.root.run;
    wake.root = commit.root.id;
    if (!rows.null(0, kRootEpoch)) {
      Work& work = wake.work.emplace();
      work.grant = {commit.root.id, commit.root.run, rows.integer(0, kRootEpoch)};
      work.attempt = rows.small(0, kRootAttempt);
      work.lease_until = rows.time(0, kLeaseUntil);
      work.task_function_id = rows.id<TaskFunctionId>(0, kFunction);
      work.task_name = rows.bytes(0, kTaskName);
    }
  }
  remember(attempt, commit, committed);
  attempt.ring(rows, kRoom);
  if (rows.boolean(0, kParentWoken)) {
    Wake& wake = committed.parent.emplace();
    wake.run = rows.id<TaskRunId>(0, kParentRun);
    wake.root = rows.id<StackRunId>(0, kParentRoot);
    if (!rows.null(0, kParentEpoch)) {
      wake.work = slice_work(rows, kParentEpoch, wake.run, wake.root);
    }
  }
  return Result<SliceCommitted>(std::move(committed));
}

Answered<OutcomeRecorded> record_outcome(const Try& attempt, const OutcomeRecord& record) {
  Params params = attempt.head();
  params.add(record.call.id.value).add(record.call.run.value).add(record.call.epoch);
  params.add(end_name(record.end)).add(record.payload);
  params.add(static_cast<std::int64_t>(record.retry_after.count()));
  params.add_small(record.via ? static_cast<int>(*record.via) : -1);
  params.add(record.hop_us.value_or(-1));
  add_lease(params, record.handoff);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.record_outcome, params));
  if (auto error = told(rows)) return Result<OutcomeRecorded>(*std::move(error));
  const bool again = record.end == CallEnd::retry;
  attempt.acknowledged({again ? Witness::Kind::attempt : Witness::Kind::end, record.call.id.value,
                        again ? record.call.epoch : 0, attempt.token, record.call.run.value});
  OutcomeRecorded recorded;
  recorded.delivered_as = rows.integer(0, 2);
  recorded.at = rows.time(0, 3);
  recorded.available_at = rows.time_if(0, 4);
  if (rows.boolean(0, 7)) {
    Wake& wake = recorded.wake.emplace();
    wake.run = rows.id<TaskRunId>(0, 5);
    wake.root = rows.id<StackRunId>(0, 6);
    if (!rows.null(0, 8)) wake.work = slice_work(rows, 8, wake.run, wake.root);
  }
  return Result<OutcomeRecorded>(std::move(recorded));
}

}  // namespace sequential::storage::postgres
