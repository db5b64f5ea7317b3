// Start, stop and what is asked from outside.

#include "core.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sequential::engine::pool {
namespace {

constexpr Millis kTickMin{5};
constexpr Millis kTickMax{125};
constexpr int kHardKillTicks = 4;  // so a kill is at most a quarter of hard_kill_ms late
constexpr Millis kEndMax{2'000};   // for SIGKILL to take effect
constexpr int kEnginesMax = 256;

PoolOptions with_defaults(PoolOptions options) {
  if (options.processes <= 0) {
    options.processes = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  }
  options.processes = std::min(options.processes, kEnginesMax);
  return options;
}

std::size_t share(int total, int engines) {
  return static_cast<std::size_t>(std::max(1, total / std::max(1, engines)));
}

}  // namespace

Core::Core(boost::asio::io_context& io, const PoolOptions& options, std::string engine_path)
    : io_(io),
      options_(with_defaults(options)),
      engine_path_(std::move(engine_path)),
      tick_(std::clamp(Millis(options.limits.hard_kill_ms / kHardKillTicks), kTickMin, kTickMax)),
      warm_(static_cast<std::size_t>(options_.processes),
            share(options_.warm_runs_max, options_.processes)),
      restarts_(options_.restarts_per_minute_max) {
  for (int i = 0; i < options_.processes; ++i) slots_.push_back(std::make_unique<Slot>(io));
}

Result<EnginePtr> Core::start_engine(int slot) {
  SEQUENTIAL_TRY(auto started, Process::start(engine_path_));
  auto engine =
      std::make_shared<Engine>(slot, std::move(started), io_, options_.limits.frame_bytes);
  engine->start_deadline = system_clock().monotonic() + Millis(options_.start_timeout_ms);
  engine->outbox.push_back(SendHello{});
  return engine;
}

Result<void> Core::open() {
  for (int i = 0; i < options_.processes; ++i) {
    SEQUENTIAL_TRY(auto engine, start_engine(i));
    const Lock lock(mutex_);
    slots_[static_cast<std::size_t>(i)]->engine = std::move(engine);
  }
  {
    Lock lock(mutex_);
    pump(lock);
  }
  SEQUENTIAL_TRY(await_first_ready());

  std::vector<EnginePtr> engines;
  {
    const Lock lock(mutex_);
    for (const auto& slot : slots_) {
      engines.push_back(slot->engine);
      start_tick(slot->engine);
    }
  }
  for (const EnginePtr& engine : engines) start_read(engine);
  return success();
}

// Reads the sockets itself: nobody may be running the io_context yet.
Result<void> Core::await_first_ready() {
  std::vector<EnginePtr> engines;
  for (const auto& slot : slots_) engines.push_back(slot->engine);
  std::vector<bool> lost(engines.size());
  std::string why = "none said hello within " + std::to_string(options_.start_timeout_ms) + " ms";
  const MonoTime deadline = engines.front()->start_deadline;
  for (;;) {
    const auto left = std::chrono::ceil<Millis>(deadline - system_clock().monotonic()).count();
    std::vector<pollfd> waits;
    std::vector<std::size_t> waiting;
    for (std::size_t i = 0; i < engines.size(); ++i) {
      if (lost[i]) continue;
      waits.push_back({.fd = engines[i]->fd, .events = POLLIN, .revents = 0});
      waiting.push_back(i);
    }
    if (left <= 0 || waits.empty()) break;
    ::poll(waits.data(), waits.size(), static_cast<int>(left));
    for (std::size_t w = 0; w < waits.size(); ++w) {
      if (waits[w].revents == 0) continue;
      const EnginePtr& engine = engines[waiting[w]];
      if (const auto error = receive_now(engine)) {
        lost[waiting[w]] = true;
        why = error->message;
      } else if (engine->state == Engine::State::ready) {
        return success();
      }
    }
  }
  const Lock lock(mutex_);
  stopping_ = stopped_ = true;
  for (const auto& slot : slots_) slot->engine.reset();  // ends the processes
  return make_error(Errc::unavailable, "cannot start the engine " + engine_path_ + ": " + why);
}

std::optional<Error> Core::receive_now(const EnginePtr& engine) {
  constexpr std::size_t kReadyBytesMax = 4'096;
  const auto room = engine->reader.prepare(kReadyBytesMax);
  const ssize_t count = ::recv(engine->fd, room.data(), room.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (count <= 0) {
    engine->process->kill();  // it may only have closed its socket
    const auto status = engine->process->wait_exit(system_clock().monotonic() + kEndMax);
    const std::string words = engine->process->last_words();
    return make_error(Errc::unavailable, "it ended before it was ready, " +
                                             describe(status.value_or(ExitStatus{})) +
                                             (words.empty() ? "" : ": " + words));
  }
  engine->reader.commit(static_cast<std::size_t>(count));
  Completions none;
  const auto taken = take_frames(engine, none);
  if (taken.has_error()) return taken.error();
  return std::nullopt;
}

void Core::accept(const JobPtr& job) {
  Completions completions;
  ++pending_;
  if (auto error = refuse(*job)) {
    complete_error(completions, job, std::move(*error));
  } else {
    Lock lock(mutex_);
    const auto room = [this](const auto& slot) { return slot->engine && has_room(*slot->engine); };
    if (stopping_) {
      complete_error(completions, job, make_error(Errc::shutting_down, "the server is stopping"));
    } else if (static_cast<std::int64_t>(waiting_count_) >= options_.queue_max &&
               std::none_of(slots_.begin(), slots_.end(), room)) {
      complete_error(completions, job,
                     make_error(Errc::overloaded, std::to_string(waiting_count_) +
                                                      " slices already wait for an engine"));
    } else {
      job->number = ++last_job_;
      route(job);
      pump(lock);
    }
  }
  post(std::move(completions));
}

std::optional<std::int64_t> Core::warm_through(TaskRunId run) const {
  const Lock lock(mutex_);
  const WarmRun* const warm = warm_.find(run);
  if (warm == nullptr) return std::nullopt;
  return warm->through;
}

void Core::forget(TaskRunId run) {
  Lock lock(mutex_);
  drop_warm(run);
  for (const auto& slot : slots_) {
    if (!slot->engine) continue;
    for (Flight& flight : slot->engine->flights) {
      if (!flight.check && flight.run == run) flight.unwanted = true;
    }
  }
  pump(lock);
}

Runtime::Stats Core::stats() const {
  Runtime::Stats stats;
  std::vector<EnginePtr> engines;
  {
    const Lock lock(mutex_);
    stats = counts_;
    stats.warm_runs = static_cast<int>(warm_.size());
    for (const auto& slot : slots_) {
      if (!slot->engine) continue;
      engines.push_back(slot->engine);
      if (slot->engine->state == Engine::State::ready) ++stats.engines;
    }
  }
  for (const EnginePtr& engine : engines) stats.rss_bytes += engine->process->rss_bytes();
  return stats;
}

std::vector<int> Core::engine_pids() const {
  const Lock lock(mutex_);
  std::vector<int> pids;
  for (const auto& slot : slots_) {
    if (slot->engine) pids.push_back(slot->engine->process->pid());
  }
  return pids;
}

void Core::stop(MonoTime deadline) {
  Completions completions;
  {
    const Lock lock(mutex_);
    if (stopped_) return;
    stopping_ = true;
    fail_waiting(make_error(Errc::shutting_down, "the server is stopping"), completions);
  }
  post(std::move(completions));

  std::vector<EnginePtr> engines;
  {
    Lock lock(mutex_);
    idle_.wait_until(lock, deadline, [this] { return pending_ == 0; });
    stopped_ = true;
    for (const auto& slot : slots_) {
      slot->restart.cancel();
      if (!slot->engine) continue;
      kill(*slot->engine, {.cause = "stopped", .limit = "", .why = "the server is stopping"});
      engines.push_back(slot->engine);
    }
  }
  // Their reads end and answer what was under way. The processes are gone when this returns.
  const MonoTime end = system_clock().monotonic() + kEndMax;
  for (const EnginePtr& engine : engines) static_cast<void>(engine->process->wait_exit(end));
}

void Core::answered() {
  if (--pending_ == 0 && stopping_) {
    const Lock lock(mutex_);
    idle_.notify_all();
  }
}

void Core::complete(Completions& completions, const JobPtr& job, Result<SliceResult> result) {
  completions.push_back([self = shared_from_this(), job, answer = std::move(result)]() mutable {
    job->slice_done(std::move(answer));
    self->answered();
  });
}

void Core::complete_check(Completions& completions, const JobPtr& job,
                          std::optional<CodeProblem> problem) {
  completions.push_back([self = shared_from_this(), job, answer = std::move(problem)]() mutable {
    job->check_done(std::move(answer));
    self->answered();
  });
}

void Core::complete_error(Completions& completions, const JobPtr& job, Error error) {
  completions.push_back([self = shared_from_this(), job, answer = std::move(error)]() mutable {
    job->fail(std::move(answer));
    self->answered();
  });
}

// Answers are always given on a thread of the io_context, never inside the call that asked.
void Core::post(Completions completions) {
  for (auto& completion : completions) boost::asio::post(io_, std::move(completion));
}

}  // namespace sequential::engine::pool
