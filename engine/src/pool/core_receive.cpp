// Frames in. Every byte is hostile: what does not fit what was asked is a violation, for which the
// engine is killed.

#include <boost/asio/buffer.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "core.h"
#include "sequential/base/fault.h"
#include "sequential/base/json_text.h"
#include "sequential/base/log.h"
#include "validate.h"

namespace sequential::engine::pool {
namespace {

constexpr std::size_t kReadBytes = 64u << 10;
// Frames that nothing called for between two answers, such as evictions of runs that are not warm.
// Some are races; a flood is an attack on the broker.
constexpr int kIdleFramesMax = 1'000;
constexpr std::size_t kVersionBytesMax = 64;  // of V8, in the log

Error violation(std::string what) { return make_error(Errc::corrupt, std::move(what)); }

}  // namespace

void Core::start_read(const EnginePtr& engine) {
  const std::lock_guard guard(engine->asio_mutex);
  const auto room = engine->reader.prepare(kReadBytes);
  engine->socket.async_read_some(boost::asio::buffer(room.data(), room.size()),
                                 [self = shared_from_this(), engine](
                                     const boost::system::error_code& error, std::size_t bytes) {
                                   self->on_read(engine, error, bytes);
                                 });
}

void Core::on_read(const EnginePtr& engine, const boost::system::error_code& error,
                   std::size_t bytes) {
  if (error) {
    engine_gone(engine);
    return;
  }
  engine->reader.commit(bytes);
  Completions completions;
  const auto taken = take_frames(engine, completions);
  if (taken.has_error()) {
    {
      const Lock lock(mutex_);
      kill(*engine, {.cause = "protocol", .limit = "", .why = taken.error().message});
    }
    engine_gone(engine);
  } else {
    start_read(engine);
  }
  // Last: what they do takes its time, and the next answer may be read meanwhile.
  for (auto& completion : completions) completion();
}

Result<void> Core::take_frames(const EnginePtr& engine, Completions& completions) {
  for (;;) {
    SEQUENTIAL_TRY(const auto frame, engine->reader.next());
    if (!frame) return success();
    SEQUENTIAL_TRY(on_frame(engine, *frame, completions));
  }
}

Result<void> Core::on_frame(const EnginePtr& engine, std::string_view frame,
                            Completions& completions) {
  SEQUENTIAL_TRY(auto message, protocol::decode_from_engine(frame, options_.limits));
  return std::visit(
      [&](auto& m) -> Result<void> { return on_message(engine, std::move(m), completions); },
      message);
}

Result<void> Core::on_message(const EnginePtr& engine, protocol::Ready&& ready, Completions&) {
  if (ready.version != protocol::kVersion) {
    return violation("it speaks protocol version " + std::to_string(ready.version) + ", not " +
                     std::to_string(protocol::kVersion));
  }
  Lock lock(mutex_);
  if (engine->state != Engine::State::starting) return violation("a second Ready");
  engine->state = Engine::State::ready;
  engine->had_been_ready = true;
  fill(*engine);
  pump(lock);
  lock.unlock();
  log_info("engine ready", {{"pid", std::int64_t{engine->process->pid()}},
                            {"v8", clip_utf8(ready.v8_version, kVersionBytesMax)},
                            {"base_blob_bytes", ready.base_blob_bytes},
                            {"base_from_file", ready.base_from_file ? "true" : "false"}});
  return success();
}

// The flight that the engine may answer now.
Result<Flight> Core::answered_flight(const Engine& engine, bool check, TaskRunId run) const {
  const Lock lock(mutex_);
  if (engine.flights.empty()) return violation("an answer to nothing");
  const Flight& flight = engine.flights.front();
  if (!flight.sent) return violation("an answer before the request was sent");
  if (flight.check != check || flight.run != run) return violation("an answer to another request");
  return flight;
}

Flight Core::pop_flight(Engine& engine) {
  Flight flight = std::move(engine.flights.front());
  engine.flights.pop_front();
  engine.stalled = false;
  engine.idle_frames = 0;
  if (!engine.flights.empty()) engine.new_head(system_clock().monotonic());
  return flight;
}

Result<void> Core::on_message(const EnginePtr& engine, protocol::SliceDone&& done,
                              Completions& completions) {
  SEQUENTIAL_TRY(const auto asked, answered_flight(*engine, false, TaskRunId(done.run)));
  const bool not_warm = done.status == protocol::SliceDoneStatus::not_warm;
  if (asked.job && not_warm && asked.cold) return violation("not_warm to a cold start");
  if (asked.job && done.retry_alone && asked.alone) {
    return violation("retry_alone by a run that is alone");
  }
  const bool has_result = !not_warm && !done.retry_alone;
  const bool warm = has_result && done.warm;
  const auto calls = static_cast<std::int64_t>(done.calls.size());
  const bool retry_alone = done.retry_alone;
  std::optional<SliceResult> result;
  if (has_result) {
    SEQUENTIAL_TRY(auto checked,
                   to_slice_result(std::move(done), asked.calls_recorded, options_.limits));
    checked.replayed = asked.cold && asked.calls_recorded > 0;
    result = std::move(checked);
  }

  FAULT_POINT("runner.before_reply");

  Lock lock(mutex_);
  const Flight flight = pop_flight(*engine);
  if (warm) keep_warm(*engine, flight, calls);
  if (flight.job && result) {
    ++counts_.slices;
    if (result->replayed) ++counts_.replays;
    complete(completions, flight.job, std::move(*result));
  } else if (flight.job) {
    flight.job->cold_only = true;
    if (retry_alone) flight.job->alone = true;
    requeue(flight.job, completions);
  }
  fill(*engine);
  pump(lock);
  return success();
}

Result<void> Core::on_message(const EnginePtr& engine, protocol::Checked&& checked,
                              Completions& completions) {
  SEQUENTIAL_TRY(answered_flight(*engine, true, TaskRunId{}));
  SEQUENTIAL_TRY(auto problem, to_code_problem(std::move(checked), options_.limits));
  Lock lock(mutex_);
  const Flight flight = pop_flight(*engine);
  if (flight.job) complete_check(completions, flight.job, std::move(problem));
  fill(*engine);
  pump(lock);
  return success();
}

Result<void> Core::on_message(const EnginePtr& engine, protocol::Evicted&& evicted, Completions&) {
  const Lock lock(mutex_);
  bool useful = false;
  for (const std::int64_t run : evicted.runs) {
    const WarmRun* const warm = warm_.find(TaskRunId(run));
    if (warm == nullptr || warm->engine != engine->slot) continue;
    warm_.erase(TaskRunId(run));
    ++counts_.evictions;
    useful = true;
  }
  if (!useful && ++engine->idle_frames > kIdleFramesMax) return violation("a flood of Evicted");
  return success();
}

Result<void> Core::on_message(const EnginePtr& engine, protocol::Progress&& progress,
                              Completions&) {
  const Lock lock(mutex_);
  if (engine->flights.empty()) return violation("progress of nothing");
  Flight& flight = engine->flights.front();
  if (flight.check || !flight.begun || flight.run.value != progress.run) {
    return violation("progress of another run");
  }
  // Strictly rising up to what the journal holds: so a slice gets a bounded number of new chances.
  if (progress.delivered <= flight.progress || progress.delivered > flight.through) {
    return violation("progress that is none");
  }
  flight.progress = progress.delivered;
  engine->restart_head_clock(system_clock().monotonic());
  return success();
}

Result<void> Core::on_message(const EnginePtr& engine, protocol::Dying&& dying, Completions&) {
  const Lock lock(mutex_);
  if (engine->dying) return violation("a second Dying");
  engine->dying = std::move(dying);
  return success();
}

}  // namespace sequential::engine::pool
