// Limits, death and restart of engines.
//
// While an engine has work, a tick looks at the slice that is first in line: whether it is over a
// hard limit, and whether those behind it should go elsewhere. The death of an engine shows as the
// end of its socket; its exit status, collected next, completes the story of the slice that is to
// blame.

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core.h"
#include "sequential/base/json_text.h"
#include "sequential/base/log.h"

namespace sequential::engine::pool {
namespace {

constexpr Millis kStallAfter{100};         // a first slice older than this does not hold up others
constexpr Millis kJournalWaitMax{60'000};  // a page of the journal must arrive by then
constexpr Millis kReapPauseFirst{1};
constexpr Millis kReapPauseMax{50};
constexpr Millis kBlameWaitMax{1'000};  // the slice is answered by then, exit status or not
constexpr Millis kReapMax{30'000};

std::string known_limit(const std::string& limit) {
  return limit == "memory_limit" ? limit : std::string();
}

// What became of the engine, as the blamed slice is told (runtime.h).
Error engine_lost(const std::optional<Fate>& fate, const std::optional<protocol::Dying>& dying,
                  const std::optional<ExitStatus>& status, bool alone) {
  std::string limit;
  if (fate) {
    limit = fate->limit;
  } else if (dying) {
    limit = known_limit(dying->limit);
  } else if (status && status->signal == SIGXCPU) {
    limit = "cpu_limit";
  }
  std::string message = "the engine process that ran this slice ended: ";
  message += fate ? fate->why : describe(status.value_or(ExitStatus{}));
  if (!fate && !limit.empty()) message += ", " + limit;
  Error error(Errc::engine_lost, std::move(message));
  JsonObject detail;
  detail.string("cause", fate ? fate->cause : "died");
  detail.number("signal", status ? status->signal : 0);
  detail.number("exit_code", status ? status->code : 0);
  detail.string("limit", limit);
  detail.boolean("alone", alone);
  error.detail = std::move(detail).text();
  return error;
}

}  // namespace

void Core::start_tick(const EnginePtr& engine) {
  if (engine->ticking || engine->state == Engine::State::dead) return;
  engine->ticking = true;
  arm_tick(engine);
}

void Core::arm_tick(const EnginePtr& engine) {
  const std::lock_guard guard(engine->asio_mutex);
  engine->tick.expires_after(tick_);
  engine->tick.async_wait(
      [self = shared_from_this(), engine](const boost::system::error_code& error) {
        if (!error) self->on_tick(engine);
      });
}

void Core::on_tick(const EnginePtr& engine) {
  const MonoTime now = system_clock().monotonic();
  std::uint64_t epoch = 0;
  bool want_cpu = false;
  {
    const Lock lock(mutex_);
    if (engine->state == Engine::State::dead) return;
    if (engine->state == Engine::State::ready && engine->flights.empty()) {
      engine->ticking = false;
      return;
    }
    epoch = engine->head_epoch;
    want_cpu =
        !engine->flights.empty() &&
        (engine->cpu_epoch != epoch || now - engine->head_since >= Millis(options_.limits.cpu_ms));
  }
  const auto cpu_ms = want_cpu ? engine->process->cpu_ms() : std::nullopt;

  Completions completions;
  {
    Lock lock(mutex_);
    if (engine->state == Engine::State::dead) return;
    if (auto fate = judge(*engine, now, cpu_ms, epoch, completions)) {
      kill(*engine, std::move(*fate));
    } else {
      relieve(*engine, now, completions);
    }
    pump(lock);
    arm_tick(engine);
  }
  for (auto& completion : completions) completion();
}

// Whether the engine is to be killed now, and for what.
std::optional<Fate> Core::judge(Engine& engine, MonoTime now, std::optional<std::int64_t> cpu_ms,
                                std::uint64_t epoch, Completions& completions) {
  const Limits& limits = options_.limits;
  if (engine.state == Engine::State::starting) {
    if (now < engine.start_deadline) return std::nullopt;
    return Fate{
        .cause = "start",
        .limit = "",
        .why = "it did not say hello within " + std::to_string(options_.start_timeout_ms) + " ms"};
  }
  if (engine.flights.empty()) return std::nullopt;
  if (engine.feed && engine.feed->asking && engine.feed->pages.empty() && !engine.page_held) {
    // The engine has nothing to go on with: this is the store's time, not the engine's.
    if (now - engine.feed->asked_at >= kJournalWaitMax) {
      fail_feed(engine, *engine.feed,
                make_error(Errc::unavailable, "the journal could not be read in time"),
                completions);
    }
    if (engine.flights.front().number == engine.feed->flight) {
      engine.restart_head_clock(now);
      return std::nullopt;
    }
  }

  const auto elapsed_ms = std::chrono::duration_cast<Millis>(now - engine.head_since).count();
  if (elapsed_ms >= limits.wall_ms + limits.hard_kill_ms) {
    return Fate{.cause = "killed_at_limit",
                .limit = "wall_limit",
                .why = "killed after " + std::to_string(elapsed_ms) + " ms, limits.wall_ms is " +
                       std::to_string(limits.wall_ms)};
  }
  if (!cpu_ms || epoch != engine.head_epoch) return std::nullopt;
  if (engine.cpu_epoch != epoch) {
    // The first look at this slice: it has used no more CPU than it has been there for.
    engine.cpu_epoch = epoch;
    engine.cpu_base_ms = *cpu_ms - elapsed_ms;
    return std::nullopt;
  }
  const std::int64_t used_ms = *cpu_ms - engine.cpu_base_ms;
  if (used_ms < limits.cpu_ms + limits.hard_kill_ms) return std::nullopt;
  return Fate{.cause = "killed_at_limit",
              .limit = "cpu_limit",
              .why = "killed after " + std::to_string(used_ms) + " ms of CPU, limits.cpu_ms is " +
                     std::to_string(limits.cpu_ms)};
}

// A slice takes long, be it that it runs, is replayed or waits for its journal. What waits behind
// it goes to another engine, if one has room: slices have no effect but their answer, so one may
// even be begun twice and the first answer dropped.
void Core::relieve(Engine& engine, MonoTime now, Completions& completions) {
  if (engine.flights.empty() || now - engine.head_arrived < kStallAfter) return;
  if (!another_has_room(engine)) return;
  engine.stalled = true;
  std::vector<JobPtr> moved;
  for (std::size_t i = 1; i < engine.flights.size(); ++i) {
    if (engine.flights[i].job) moved.push_back(std::move(engine.flights[i].job));
  }
  while (!engine.waiting.empty()) moved.push_back(dequeue(engine.waiting));
  for (const JobPtr& job : moved) {
    job->cold_only = true;
    if (job->slice) drop_warm(job->slice->run);
    requeue(job, completions);
  }
}

void Core::kill(Engine& engine, Fate fate) {
  if (engine.state == Engine::State::dead || engine.fate) return;
  engine.fate = std::move(fate);
  engine.process->kill();
  // The read ends now, even if the process takes its time to die.
  ::shutdown(engine.fd, SHUT_RDWR);
}

void Core::engine_gone(const EnginePtr& engine) {
  JobPtr blamed;
  Completions completions;
  {
    Lock lock(mutex_);
    if (engine->state == Engine::State::dead) return;
    engine->state = Engine::State::dead;
    engine->process->kill();  // it may only have closed its socket
    ::shutdown(engine->fd, SHUT_RDWR);
    {
      const std::lock_guard guard(engine->asio_mutex);
      engine->tick.cancel();
    }
    warm_.erase_engine(engine->slot);
    slots_[static_cast<std::size_t>(engine->slot)]->engine.reset();
    engine->feed.reset();
    engine->outbox.clear();
    // Only the first unanswered slice can be what the engine was running.
    std::vector<JobPtr> innocent;
    for (std::size_t i = 0; i < engine->flights.size(); ++i) {
      Flight& flight = engine->flights[i];
      if (!flight.job) continue;
      if (i == 0 && flight.begun) {
        blamed = std::move(flight.job);
      } else {
        innocent.push_back(std::move(flight.job));
      }
    }
    while (!engine->waiting.empty()) innocent.push_back(dequeue(engine->waiting));
    engine->blamed_alone = !engine->flights.empty() && engine->flights.front().alone;
    for (const JobPtr& job : innocent) {
      job->cold_only = true;
      requeue(job, completions);
    }
    if (!stopped_) {
      ++counts_.engine_deaths;
      restart_later(engine->slot, engine->had_been_ready);
    }
    pump(lock);
  }
  post(std::move(completions));
  reap(engine, blamed, system_clock().monotonic(), kReapPauseFirst);
}

// Collects the exit status. The process may need a moment to die, so this asks again, more and more
// rarely.
void Core::reap(const EnginePtr& engine, const JobPtr& blamed, MonoTime since, Millis pause) {
  const auto status = engine->process->try_reap();
  const auto waited = system_clock().monotonic() - since;
  if (!engine->told && (status || waited >= kBlameWaitMax)) {
    engine->told = true;
    after_death(engine, blamed, status);
  }
  if (status || waited >= kReapMax) return;
  const std::lock_guard guard(engine->asio_mutex);
  engine->reap.expires_after(pause);
  engine->reap.async_wait([self = shared_from_this(), engine, blamed, since,
                           pause](const boost::system::error_code& error) {
    if (!error) self->reap(engine, blamed, since, std::min(2 * pause, kReapPauseMax));
  });
}

void Core::after_death(const EnginePtr& engine, const JobPtr& blamed,
                       const std::optional<ExitStatus>& status) {
  const std::string how = describe(status.value_or(ExitStatus{}));
  const std::string words = engine->process->last_words();
  Completions completions;
  {
    const Lock lock(mutex_);
    if (blamed && stopped_) {
      complete_error(completions, blamed,
                     make_error(Errc::shutting_down, "the server is stopping"));
    } else if (blamed) {
      complete_error(completions, blamed,
                     engine_lost(engine->fate, engine->dying, status, engine->blamed_alone));
    }
    const bool none_left = std::none_of(slots_.begin(), slots_.end(),
                                        [](const auto& slot) { return slot->engine != nullptr; });
    if (!engine->had_been_ready && none_left && !stopped_) {
      std::string why = "no engine process can be started: " + engine_path_ + ": ";
      why += engine->fate ? engine->fate->why : how;
      if (!words.empty()) why += ": " + words;
      fail_waiting(make_error(Errc::unavailable, std::move(why)), completions);
    }
    if (!stopped_) {
      log_warn("engine lost", {{"pid", std::int64_t{engine->process->pid()}},
                               {"exit", how},
                               {"cause", engine->fate ? engine->fate->why : std::string("died")},
                               {"stderr", words}});
    }
  }
  post(std::move(completions));
}

void Core::restart_later(int slot, bool had_been_ready) {
  const Millis delay = restarts_.delay(had_been_ready, system_clock().monotonic());
  auto& timer = slots_[static_cast<std::size_t>(slot)]->restart;
  timer.expires_after(delay);
  timer.async_wait([self = shared_from_this(), slot](const boost::system::error_code& error) {
    if (!error) self->restart(slot);
  });
}

void Core::restart(int slot) {
  auto started = start_engine(slot);
  Completions completions;
  {
    Lock lock(mutex_);
    if (stopped_) return;  // the record's end is the process's
    if (started.has_value()) {
      const EnginePtr engine = std::move(started).value();
      slots_[static_cast<std::size_t>(slot)]->engine = engine;
      start_tick(engine);
      pump(lock);
      lock.unlock();
      start_read(engine);
      return;
    }
    restart_later(slot, false);
    const bool none_left = std::none_of(slots_.begin(), slots_.end(),
                                        [](const auto& s) { return s->engine != nullptr; });
    if (none_left) fail_waiting(started.error(), completions);
  }
  log_warn("engine not started", {{"cause", started.error().message}});
  for (auto& completion : completions) completion();
}

}  // namespace sequential::engine::pool
