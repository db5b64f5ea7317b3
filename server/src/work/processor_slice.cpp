// Processor: one slice of task code, from claim to committed calls.

#include <algorithm>
#include <utility>

#include "async.h"
#include "sequential/base/json_text.h"
#include "sequential/base/log.h"
#include "sequential/storage/run_states.h"
#include "work/journal_source.h"
#include "work/processor.h"
#include "work/until_stored.h"

namespace sequential::server {
namespace {

constexpr std::size_t kCodeCacheMax = 256;    // task function versions kept in memory
constexpr int kOutcomesPerSlice = 10'000;     // read back at once for a warm run
constexpr Millis kTryAgainIn{1'000};          // after an overloaded engine or store

storage::Delivery delivery_of(const services::CallPolicy& policy) {
  return policy.at_most_once ? storage::Delivery::at_most_once
                             : storage::Delivery::at_least_once;
}

engine::SliceRequest request_of(TaskRunId run, const Session& session) {
  engine::SliceRequest request;
  request.run = run;
  request.code = session.code;
  request.input = session.input;
  request.seed = session.seed;
  request.started_at_ms = session.started_at_ms;
  request.calls_recorded = session.call_count;
  request.logs_recorded = session.log_count;
  request.delivered_through = session.delivered_through;
  request.alone = session.alone;
  return request;
}

void add_outcomes(engine::SliceRequest& request, std::vector<storage::Outcome> outcomes) {
  for (auto& outcome : outcomes) {
    request.delivered_through = outcome.delivered_as;
    request.outcomes.push_back(to_delivered(std::move(outcome)));
  }
}

}  // namespace

net::awaitable<Report> Processor::run_slice(storage::Work work) {
  // A slice of an older claim, lost while this process was stopped, may still be at work here. Its
  // context is ahead of the store until its commit is refused: it must not be gone on from.
  Turn turn(*this, work.grant.run);
  if (!turn) {
    co_await give_back(work.grant, kTryAgainIn);
    co_return Report{work.grant.id, work.grant.run, "busy", {}};
  }
  SliceFacts facts;
  facts.root = work.grant;
  auto request = co_await prepare_slice(work, facts);
  if (request.has_error()) {
    log_warn("a slice could not be prepared",
             {{"run", work.grant.run.value}, {"reason", request.error().message}});
    co_await give_back(work.grant, kTryAgainIn);
    co_return Report{work.grant.id, work.grant.run,
                     std::string(error_code_name(request.error().code)), {}};
  }
  facts.delivered_through = request.value().delivered_through;
  facts.call_count = request.value().calls_recorded;
  auto start = [this, &request](auto done) {
    runtime_.run_slice(std::move(request).value(), std::move(done));
  };
  auto result = co_await completes<Result<engine::SliceResult>>(std::move(start));
  if (result.has_error()) {
    log_info("a slice did not finish", {{"run", work.grant.run.value},
                                        {"code", error_code_name(result.error().code)},
                                        {"reason", result.error().message}});
  }
  auto decision = decide_slice(std::move(result), facts, options_.crashes_max);
  switch (decision.verdict) {
    case SliceVerdict::commit:
      co_return co_await commit_slice(std::move(work), std::move(decision), turn);
    case SliceVerdict::lost:
      co_return co_await lose_slice(std::move(work), std::move(decision.lost), turn);
    case SliceVerdict::retry:
      break;
  }
  drop_run(work.grant.run);
  co_await give_back(work.grant, kTryAgainIn);
  co_return Report{work.grant.id, work.grant.run, "retrying", {}};
}

net::awaitable<Result<engine::SliceRequest>> Processor::prepare_slice(const storage::Work& work,
                                                                      SliceFacts& facts) {
  auto view = sessions_.view(work.grant.run);
  // Epochs without a gap prove that nobody else has claimed the run since; a first try proves that
  // its last slice is stored. (A database that crashed may have lost it, and it is due once more.)
  const bool ours = view && view->session.epoch + 1 == work.grant.epoch && work.attempt == 1;
  const bool first = ours && work.grant.epoch == 1;
  if (!ours || (view->outcomes.empty() && !first)) {
    co_return co_await load_slice(work, facts);
  }
  auto request = request_of(work.grant.run, view->session);
  add_outcomes(request, std::move(view->outcomes));
  request.open_journal = [this, run = work.grant.run, through = request.delivered_through] {
    return make_journal_source(store_, run, through, options_.journal_page_bytes);
  };
  co_return request;
}

net::awaitable<Result<engine::SliceRequest>> Processor::load_slice(const storage::Work& work,
                                                                   SliceFacts&) {
  const TaskRunId run = work.grant.run;
  auto read_head = [this, run](auto done) { store_.journal_head(run, std::move(done)); };
  auto head = co_await completes<Result<storage::TaskRun>>(std::move(read_head));
  if (head.has_error()) co_return std::move(head).error();
  storage::TaskRun& stored = head.value();
  auto code = co_await code_of(stored.task_function_id);
  if (code.has_error()) co_return std::move(code).error();

  const auto view = sessions_.view(run);
  // Whoever rewound the run raised its epoch: what is warm here may have another past.
  const bool ours = view && view->session.epoch + 1 == work.grant.epoch;
  const bool warm = ours && stored.crashes == 0 && view->session.call_count == stored.call_count &&
                    view->session.log_count == stored.log_count;
  std::vector<storage::Outcome> outcomes;
  if (warm) {
    auto read = [this, run, after = view->session.delivered_through](auto done) {
      store_.outcomes(run, after, kOutcomesPerSlice, std::move(done));
    };
    auto fresh = co_await completes<Result<std::vector<storage::Outcome>>>(std::move(read));
    if (fresh.has_error()) co_return std::move(fresh).error();
    outcomes = std::move(fresh).value();
  } else {
    Session session;
    session.root = stored.root;
    session.code = code.value();
    session.input = std::move(stored.input);
    session.seed = stored.seed;
    session.started_at_ms = stored.created_at.ms;
    session.call_count = stored.call_count;
    session.log_count = stored.log_count;
    session.delivered_through = stored.journal_length;
    session.alone = stored.crashes > 0;
    runtime_.forget(run);
    remember(run, std::move(session));
  }
  const auto current = sessions_.view(run);
  if (!current) co_return Error{Errc::overloaded, "too many runs are being worked on"};
  auto request = request_of(run, current->session);
  add_outcomes(request, std::move(outcomes));
  request.open_journal = [this, run, through = request.delivered_through] {
    return make_journal_source(store_, run, through, options_.journal_page_bytes);
  };
  co_return request;
}

net::awaitable<Result<std::shared_ptr<const engine::TaskCode>>> Processor::code_of(
    TaskFunctionId id) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = code_.find(id); found != code_.end()) co_return found->second;
  }
  auto read = [this, id](auto done) { store_.task_function_by_id(id, std::move(done)); };
  auto stored = co_await completes<Result<storage::TaskFunction>>(std::move(read));
  if (stored.has_error()) co_return std::move(stored).error();
  co_return keep_code(std::move(stored).value());
}

std::shared_ptr<const engine::TaskCode> Processor::keep_code(storage::TaskFunction function) {
  auto code = std::make_shared<engine::TaskCode>();
  code->id = function.id;
  code->name = std::move(function.name);
  code->version = function.version;
  code->code = std::move(function.code);
  const std::lock_guard lock(mutex_);
  if (code_.size() >= kCodeCacheMax) code_.clear();
  return code_.emplace(code->id, code).first->second;
}

net::awaitable<Result<std::shared_ptr<const engine::TaskCode>>> Processor::newest_code(
    std::string name, int version) {
  if (version == 0 && options_.store_is_exclusive) {
    const std::lock_guard lock(mutex_);
    if (const auto found = newest_.find(name); found != newest_.end()) co_return found->second;
  }
  auto read = [this, &name, version](auto done) {
    store_.task_function(name, version, std::move(done));
  };
  const std::int64_t publications = publications_.load();
  auto stored = co_await completes<Result<storage::TaskFunction>>(std::move(read));
  if (stored.has_error()) co_return std::move(stored).error();
  auto code = keep_code(std::move(stored).value());
  const std::lock_guard lock(mutex_);
  // What was read while somebody published may be old already.
  if (version == 0 && publications == publications_.load()) {
    if (newest_.size() >= kCodeCacheMax) newest_.clear();
    newest_.insert_or_assign(name, code);
  }
  co_return code;
}

void Processor::published(const std::string& name) {
  const std::lock_guard lock(mutex_);
  publications_.fetch_add(1);
  newest_.erase(name);
}

// What only the services know of a call before it is stored. A call with bad options is stored as
// it is; processing it answers what is wrong, and the task can catch that.
void Processor::prepare_calls(storage::SliceCommit& commit) const {
  for (auto& call : commit.calls) {
    const services::Service* service = registry_.find(call.service_name);
    if (service == nullptr) continue;
    const auto delay = service->delay(call.method_name, call.args);
    if (delay.has_value()) call.delay = delay.value();
    const auto base = service->policy(call.method_name);
    const auto merged = services::merge_policy(base, call.options);
    const auto& policy = merged.has_value() ? merged.value() : base;
    call.delivery = delivery_of(policy);
    if (policy.at_most_once) commit.flush = storage::Flush::durable;
  }
  if (handoff()) {
    commit.handoff = options_.lease;
    const int free = options_.in_flight_max - in_flight_.load();
    commit.handoff_calls_max = std::max(1, free);
  }
}

net::awaitable<Report> Processor::commit_slice(storage::Work work, SliceDecision decision,
                                               Turn& turn) {
  storage::SliceCommit& commit = decision.commit;
  prepare_calls(commit);
  commit.may_block = alone();
  auto write = [this, &commit](auto done) { store_.commit_slice(commit, std::move(done)); };
  const MonoTime asked = clock_.monotonic();
  const MonoTime give_up = asked + options_.lease.length;
  auto committed = co_await until_stored<storage::SliceCommitted>(io_, clock_, give_up, write);
  const bool pauses = commit.end == storage::SliceEnd::paused;
  if (committed.has_error() && committed.error().code == Errc::internal && !pauses) {
    log_error("a slice is never going to be stored: its run fails",
              {{"run", work.grant.run.value}, {"reason", committed.error().message}});
    decide_refused(committed.error(), commit);
    committed = co_await until_stored<storage::SliceCommitted>(io_, clock_, give_up, write);
  }

  Report report{work.grant.id, work.grant.run, {}, {}};
  if (committed.has_error()) {
    // The engine's context is ahead of the store now: it must not be resumed.
    drop_run(work.grant.run);
    const Errc code = committed.error().code;
    report.status = error_code_name(code);
    if (code != Errc::fenced) {
      log_warn("a slice could not be committed",
               {{"run", work.grant.run.value}, {"reason", committed.error().message}});
      co_await give_back(work.grant, kTryAgainIn);
    }
    co_return report;
  }
  held_.remove(work.grant);
  turn.end();  // before the hints that begin the next one
  slice_committed(decision, committed.value(), asked, report);
  drop_calls(commit.root, std::move(decision.dropped));
  co_return report;
}

void Processor::slice_committed(const SliceDecision& decision, storage::SliceCommitted& done,
                                MonoTime asked, Report& report) {
  const storage::SliceCommit& commit = decision.commit;
  const TaskRunId run = commit.root.run;
  sessions_.advance(commit.root, commit.delivered_through, commit.calls.size(),
                    storage::numbered(commit.logs));
  report.status = storage::run_status_name(done.status);
  const bool over = storage::is_terminal(done.status) || done.status == storage::RunStatus::paused;
  if (over) {
    drop_run(run);
    watch_.ended(run);
  } else {
    watch_.changed(run);
  }
  if (done.status == storage::RunStatus::cancelled) cancel_orphans();
  for (std::size_t i = 0; i < done.calls.size(); ++i) {
    storage::CommittedCall& call = done.calls[i];
    const auto& dropped = decision.dropped;
    if (std::binary_search(dropped.begin(), dropped.end(), call.seq)) continue;  // never begun
    if (call.work) {
      held_.add(std::move(*call.work), clock_.monotonic(), asked);
      fire(call.id, report);
    } else if (call.available_at) {
      timers_.arm(call.id, commit.calls[i].delay);  // by no clock: ours may be wrong
    } else if (commit.handoff) {
      missed_ = true;  // more calls than free slots: the oldest is asked for as slots come free
    } else {
      fire(call.id, report);
    }
  }
  if (done.root) woken(std::move(*done.root), asked, report);
  if (done.parent) woken(std::move(*done.parent), asked, report);
}

net::awaitable<Report> Processor::lose_slice(storage::Work work, storage::SliceLost lost,
                                             Turn& turn) {
  const TaskRunId run = work.grant.run;
  drop_run(run);
  auto write = [this, &lost](auto done) { store_.slice_lost(lost, std::move(done)); };
  const MonoTime give_up = clock_.monotonic() + options_.lease.length;
  auto written =
      co_await until_stored<storage::SliceLostResult>(io_, clock_, give_up, std::move(write));
  Report report{work.grant.id, run, {}, {}};
  if (written.has_error()) {
    report.status = error_code_name(written.error().code);
    co_return report;
  }
  held_.remove(work.grant);
  if (written.value().paused) {
    log_warn("a run was paused because it keeps killing its engine", {{"run", run.value}});
    report.status = "paused";
    watch_.ended(run);
    co_return report;
  }
  report.status = "replaying";
  turn.end();
  fire(work.grant.id, report);
  co_return report;
}

net::awaitable<void> Processor::give_back(storage::Grant grant, Millis again_in) {
  auto write = [this, grant](auto done) { store_.release(grant, std::move(done)); };
  const auto released = co_await completes<Result<void>>(std::move(write));
  held_.remove(grant);
  if (released.has_value()) timers_.arm(grant.id, again_in);
}

}  // namespace sequential::server
