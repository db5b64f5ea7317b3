#include "sim_runtime.h"

#include <algorithm>
#include <utility>

namespace sequential::simulation {
namespace {

Seen seen_of(const engine::Delivered& outcome) {
  return {outcome.seq, outcome.delivered_as, outcome.failed, outcome.payload, outcome.at_ms};
}

}  // namespace

bool SimRuntime::has_work() const {
  return std::any_of(jobs_.begin(), jobs_.end(),
                     [](const auto& job) { return job->stage != Job::Stage::reading; });
}

void SimRuntime::work(Random& random) {
  std::vector<JobPtr> able;
  for (const auto& job : jobs_) {
    if (job->stage != Job::Stage::reading) able.push_back(job);
  }
  const JobPtr job = random.pick(able);
  if (job->stage == Job::Stage::waiting) {
    start(job);
  } else {
    run(job);
  }
}

void SimRuntime::kill_engine(Random& random) {
  warm_.clear();
  const auto jobs = jobs_;
  for (const auto& job : jobs) {
    if (random.chance(500)) continue;
    ++counts_.lost;
    Error error{Errc::engine_lost, "the engine died"};
    error.detail = R"({"cause":"died","limit":"","alone":false})";
    finish(job, std::move(error));
  }
}

void SimRuntime::evict(Random& random) {
  if (warm_.empty()) return;
  auto place = warm_.begin();
  std::advance(place, random.below(static_cast<int>(warm_.size())));
  warm_.erase(place);
}

void SimRuntime::run_slice(engine::SliceRequest request, Done done) {
  auto job = std::make_shared<Job>();
  job->request = std::move(request);
  job->done = std::move(done);
  if (std::exchange(refuse_next_, false)) {
    job->done(Error{Errc::overloaded, "too many slices wait for an engine"});
    return;
  }
  jobs_.push_back(std::move(job));
}

std::optional<std::int64_t> SimRuntime::warm_through(TaskRunId run) const {
  const auto found = warm_.find(run);
  if (found == warm_.end()) return std::nullopt;
  return found->second.through;
}

void SimRuntime::forget(TaskRunId run) {
  warm_.erase(run);
  for (const auto& job : jobs_) {
    if (job->request.run == run) job->unwanted = true;
  }
}

bool SimRuntime::is_warm(const engine::SliceRequest& request) const {
  const auto found = warm_.find(request.run);
  if (found == warm_.end()) return false;
  const Context& context = found->second;
  const auto calls = static_cast<std::int64_t>(context.machine->calls().size());
  if (calls != request.calls_recorded) return false;
  const std::int64_t news = request.delivered_through - context.through;
  const auto outcomes = static_cast<std::int64_t>(request.outcomes.size());
  if (news < 0 || news > outcomes) return false;
  for (std::int64_t i = outcomes - news; i < outcomes; ++i) {
    const auto& outcome = request.outcomes[static_cast<std::size_t>(i)];
    if (outcome.delivered_as != context.through + 1 + i - (outcomes - news)) return false;
  }
  return true;
}

void SimRuntime::start(const JobPtr& job) {
  if (!is_warm(job->request) && job->request.calls_recorded > 0) {
    warm_.erase(job->request.run);
    job->source = job->request.open_journal();
    job->stage = Job::Stage::reading;
    read_on(job);
    return;
  }
  run(job);
}

void SimRuntime::read_on(const JobPtr& job) {
  job->source->next([this, job](Result<engine::RecordedPage> page) {
    if (job->over) return;
    if (page.has_error()) return finish(job, std::move(page).error());
    for (auto& row : page.value().rows) job->recorded.push_back(std::move(row));
    if (page.value().more) return read_on(job);
    job->stage = Job::Stage::ready;
  });
}

void SimRuntime::run(const JobPtr& job) {
  auto result = job->source || !is_warm(job->request) ? run_cold(*job) : run_warm(*job);
  finish(job, std::move(result));
}

Result<engine::SliceResult> SimRuntime::run_warm(Job& job) {
  ++counts_.warm;
  Context context = std::move(warm_.at(job.request.run));
  warm_.erase(job.request.run);
  for (const auto& outcome : job.request.outcomes) {
    if (outcome.delivered_as > context.through) context.machine->deliver(seen_of(outcome));
  }
  const std::size_t known = context.logs;
  return result_of(job, std::move(context), known);
}

Result<engine::SliceResult> SimRuntime::run_cold(Job& job) {
  const auto& request = job.request;
  Context context;
  context.machine = std::make_unique<Machine>(request.input, request.seed, request.started_at_ms);
  std::vector<engine::Delivered> journal;
  for (const auto& call : job.recorded) {
    if (call.outcome) journal.push_back(*call.outcome);
  }
  std::sort(journal.begin(), journal.end(),
            [](const auto& a, const auto& b) { return a.delivered_as < b.delivered_as; });
  for (const auto& outcome : journal) context.machine->deliver(seen_of(outcome));
  if (request.calls_recorded > 0) ++counts_.replays;
  const auto& calls = context.machine->calls();
  bool diverged = static_cast<std::int64_t>(job.recorded.size()) != request.calls_recorded ||
                  static_cast<std::int64_t>(journal.size()) != request.delivered_through;
  for (const auto& call : job.recorded) {
    const auto place = static_cast<std::size_t>(call.seq) - 1;
    diverged = diverged || place >= calls.size() || calls[place].service != call.service ||
               calls[place].method != call.method || calls[place].args != call.args;
  }
  if (diverged) {
    ++counts_.divergent;
    engine::SliceResult result;
    result.status = engine::SliceStatus::divergent;
    result.payload = R"({"seq":0,"recorded":null,"replayed":null})";
    return result;
  }
  auto result = result_of(job, std::move(context), static_cast<std::size_t>(request.logs_recorded));
  result.replayed = request.calls_recorded > 0;
  return result;
}

engine::SliceResult SimRuntime::result_of(Job& job, Context context, std::size_t known_logs) {
  const Machine& machine = *context.machine;
  engine::SliceResult result;
  const auto& calls = machine.calls();
  for (auto i = static_cast<std::size_t>(job.request.calls_recorded); i < calls.size(); ++i) {
    const Call& call = calls[i];
    result.calls.push_back({call.seq, call.service, call.method, call.args, call.options, 1});
  }
  const auto& logs = machine.logs();
  for (std::size_t i = known_logs; i < logs.size(); ++i) {
    result.logs.push_back({"info", logs[i]});
  }
  if (machine.state() == Machine::State::waiting) {
    context.through = job.request.delivered_through;
    context.logs = logs.size();
    if (!job.unwanted) warm_.insert_or_assign(job.request.run, std::move(context));
    return result;
  }
  result.status = machine.state() == Machine::State::completed ? engine::SliceStatus::completed
                                                               : engine::SliceStatus::failed;
  result.payload = machine.payload();
  return result;
}

void SimRuntime::finish(const JobPtr& job, Result<engine::SliceResult> result) {
  job->over = true;
  std::erase(jobs_, job);
  job->done(std::move(result));
}

}  // namespace sequential::simulation
