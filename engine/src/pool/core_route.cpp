// Where a job goes: to the engine that keeps its run warm, else to the engine that is least busy
// and has its function loaded, else into a queue.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "core.h"
#include "sequential/base/check.h"

namespace sequential::engine::pool {
namespace {

// Enough that an engine never waits for us between two slices; more would only bind slices early.
constexpr std::size_t kPipelineDepth = 2;
// A job is sent again after each death beside it and each stale guess; this many mean that no
// engine lives long enough.
constexpr int kSendingsMax = 32;
constexpr std::size_t kFrameSlackBytes = 4'096;  // everything in a frame but its texts

std::int64_t begin_bytes(const SliceRequest& request, const TaskCode& code) {
  return static_cast<std::int64_t>(code.code.size() + code.name.size() + request.input.size() +
                                   request.seed.size() + kFrameSlackBytes);
}

}  // namespace

std::optional<Error> Core::refuse(const Job& job) const {
  if (!job.code) return make_error(Errc::internal, "a slice without code");
  const std::int64_t bytes =
      job.slice ? begin_bytes(*job.slice, *job.code)
                : static_cast<std::int64_t>(job.code->code.size() + kFrameSlackBytes);
  if (bytes > options_.limits.frame_bytes) {
    return make_error(Errc::payload_too_large, "code and input together exceed limits.frame_bytes");
  }
  if (job.slice && job.slice->calls_recorded > 0 && !job.slice->open_journal) {
    return make_error(Errc::internal, "a slice with recorded calls but no journal");
  }
  return std::nullopt;
}

bool Core::has_room(const Engine& engine) const {
  return engine.state == Engine::State::ready && !engine.fate && !engine.stalled &&
         engine.flights.size() < kPipelineDepth && engine.waiting.empty();
}

bool Core::another_has_room(const Engine& engine) const {
  return std::any_of(slots_.begin(), slots_.end(), [&](const auto& slot) {
    return slot->engine && slot->engine.get() != &engine && has_room(*slot->engine);
  });
}

// A warm context can go on only if the run's calls are those it issued itself (a slice whose commit
// failed left a context that is ahead of the store) and the outcomes continue where it stands.
const WarmRun* Core::usable_warm(const Job& job) const {
  if (!job.slice || job.cold_only) return nullptr;
  const SliceRequest& request = *job.slice;
  const WarmRun* const warm = warm_.find(request.run);
  if (warm == nullptr || warm->calls != request.calls_recorded) return nullptr;
  if (job.alone && !warm->alone) return nullptr;
  const std::int64_t news = request.delivered_through - warm->through;
  const auto outcomes = static_cast<std::int64_t>(request.outcomes.size());
  if (news < 0 || news > outcomes) return nullptr;
  std::int64_t bytes = kFrameSlackBytes;
  for (std::int64_t i = outcomes - news; i < outcomes; ++i) {
    const Delivered& outcome = request.outcomes[static_cast<std::size_t>(i)];
    if (outcome.delivered_as != warm->through + 1 + i - (outcomes - news)) return nullptr;
    bytes += static_cast<std::int64_t>(outcome.payload.size() + sizeof(Delivered));
  }
  // A journal is sent in many frames, the outcomes of a warm run in one.
  return bytes <= options_.limits.frame_bytes ? warm : nullptr;
}

Engine* Core::warm_home(const Job& job) const {
  const WarmRun* const warm = usable_warm(job);
  if (warm == nullptr) return nullptr;
  Engine* const engine = slots_[static_cast<std::size_t>(warm->engine)]->engine.get();
  SEQUENTIAL_CHECK(engine != nullptr);
  if (engine->stalled && another_has_room(*engine)) return nullptr;
  return engine;
}

EnginePtr Core::choose(const Job& job) const {
  using Score = std::tuple<std::size_t, bool, std::size_t>;
  EnginePtr best;
  Score best_score;
  for (const auto& slot : slots_) {
    const EnginePtr& engine = slot->engine;
    if (!engine || !has_room(*engine)) continue;
    const bool loaded = engine->ledger.holds(job.code->id.value);
    const Score score(engine->flights.size(), !loaded, warm_.count(engine->slot));
    if (!best || score < best_score) {
      best = engine;
      best_score = score;
    }
  }
  return best;
}

void Core::route(const JobPtr& job) {
  if (Engine* const home = warm_home(*job); home != nullptr) {
    if (has_room(*home)) {
      launch(*home, job);
    } else {
      enqueue(home->waiting, job);
    }
    return;
  }
  if (const EnginePtr engine = choose(*job); engine) {
    launch(*engine, job);
  } else {
    enqueue(waiting_, job);
  }
}

void Core::launch(Engine& engine, const JobPtr& job) {
  Flight flight;
  flight.number = ++last_flight_;
  flight.job = job;
  flight.check = !job->slice;
  SendJob send;
  send.flight = flight.number;
  send.job = job;
  if (job->slice) {
    const SliceRequest& request = *job->slice;
    const WarmRun* const warm = usable_warm(*job);
    flight.run = request.run;
    flight.cold = warm == nullptr || warm->engine != engine.slot;
    flight.alone = flight.cold ? job->alone : warm->alone;
    flight.calls_recorded = request.calls_recorded;
    flight.through = request.delivered_through;
    send.cold = flight.cold;
    send.alone = flight.alone;
    if (flight.cold) {
      drop_warm(request.run);
      const std::int64_t function_id = job->code->id.value;
      send.with_code = !engine.ledger.use(function_id);
      // The engine keeps its own ledger from what it is sent: the order of the outbox is final.
      if (send.with_code) engine.ledger.hold(function_id, job->code->code.size());
      send.with_journal = request.calls_recorded > 0;
    } else {
      send.from = warm->through;
      warm_.erase(request.run);  // the flight stands for it until it is answered
    }
  }
  ++job->sendings;
  if (engine.flights.empty()) engine.new_head(system_clock().monotonic());
  engine.flights.push_back(std::move(flight));
  engine.outbox.push_back(std::move(send));
  start_tick(slots_[static_cast<std::size_t>(engine.slot)]->engine);
}

void Core::fill(Engine& engine) {
  if (engine.state != Engine::State::ready || engine.fate || engine.stalled) return;
  while (engine.flights.size() < kPipelineDepth) {
    const bool own = !engine.waiting.empty();
    const bool any = !waiting_.empty();
    if (!own && !any) return;
    const bool take_own =
        own && (!any || engine.waiting.front()->number < waiting_.front()->number);
    launch(engine, dequeue(take_own ? engine.waiting : waiting_));
  }
}

void Core::fill_all() {
  for (const auto& slot : slots_) {
    if (slot->engine) fill(*slot->engine);
  }
}

void Core::enqueue(std::deque<JobPtr>& queue, const JobPtr& job) {
  // By number: what is queued again keeps its place before all that came later.
  const auto later = std::upper_bound(
      queue.begin(), queue.end(), job->number,
      [](std::uint64_t number, const JobPtr& other) { return number < other->number; });
  queue.insert(later, job);
  ++waiting_count_;
}

JobPtr Core::dequeue(std::deque<JobPtr>& queue) {
  JobPtr job = std::move(queue.front());
  queue.pop_front();
  --waiting_count_;
  return job;
}

void Core::requeue(const JobPtr& job, Completions& completions) {
  if (stopped_) {
    complete_error(completions, job, make_error(Errc::shutting_down, "the server is stopping"));
  } else if (job->sendings >= kSendingsMax) {
    complete_error(completions, job,
                   make_error(Errc::unavailable, "engine processes keep dying; try again later"));
  } else {
    route(job);
  }
}

void Core::drop_warm(TaskRunId run) {
  const WarmRun* const warm = warm_.find(run);
  if (warm == nullptr) return;
  const EnginePtr& engine = slots_[static_cast<std::size_t>(warm->engine)]->engine;
  if (engine) engine->outbox.push_back(SendForget{run});
  warm_.erase(run);
}

void Core::keep_warm(Engine& engine, const Flight& flight, std::int64_t calls) {
  // Without a job the slice was given elsewhere or given up: this context is nobody's.
  const bool wanted = flight.job != nullptr && !flight.unwanted && !options_.evict_always;
  if (wanted) {
    const WarmRun* const other = warm_.find(flight.run);
    if (other != nullptr && other->engine != engine.slot) drop_warm(flight.run);
    const WarmRun warm{.engine = engine.slot,
                       .through = flight.through,
                       .calls = flight.calls_recorded + calls,
                       .alone = flight.alone};
    if (warm_.put(flight.run, warm)) return;
  }
  engine.outbox.push_back(SendForget{flight.run});
}

void Core::fail_waiting(const Error& error, Completions& completions) {
  while (!waiting_.empty()) complete_error(completions, dequeue(waiting_), error);
  for (const auto& slot : slots_) {
    if (!slot->engine) continue;
    while (!slot->engine->waiting.empty()) {
      complete_error(completions, dequeue(slot->engine->waiting), error);
    }
  }
}

}  // namespace sequential::engine::pool
