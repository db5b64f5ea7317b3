#pragma once
// What a schedule says: read from a request or from the store, and what follows from it for one
// tick.
//
// Threads: plain values.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schedules/ticks.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/storage/schedules.h"

namespace sequential::server {

// Which of the ticks that were missed (no node was up, or the last run took too long) are made up.
enum class CatchUp {
  latest,  // the newest
  all,     // every one, oldest first
  none,    // none
};

struct ScheduleSpec {
  std::string task, description;
  int version = 0;           // 0: the newest at each tick
  std::string input = "{}";  // JSON text, as it came
  std::string tags;          // JSON object text, or empty
  std::string queue_key;     // of its runs, or empty
  int priority = 0;
  std::string cron, time_zone = "UTC";
  storage::Overlap overlap = storage::Overlap::skip;
  Millis jitter{0};
  CatchUp catch_up = CatchUp::latest;
  Millis catch_up_window{24 * 3'600'000};  // a tick later than that is missed for good
  bool input_with_tick = false;
  std::optional<bool> paused;  // of a request; the store has a column of its own
};

std::string_view catch_up_name(CatchUp catch_up) noexcept;

// Errors: invalid_json; invalid_field, naming the field; payload_too_large.
Result<ScheduleSpec> read_spec(const std::string& json, std::int64_t input_bytes_max);
std::string spec_text(const ScheduleSpec& spec);  // for the store; read_spec takes it
Result<Ticks> ticks_of(const ScheduleSpec& spec);

// When the tick is started: later by its jitter.
WallTime due_at(const std::string& name, const ScheduleSpec& spec, WallTime tick);

// The ticks from `first` to `last`, at most the `count` newest; whether there were more before.
struct TickList {
  std::vector<WallTime> ticks;
  bool more = false;
};
TickList newest_ticks(const Ticks& ticks, WallTime first, WallTime last, std::size_t count);

// What to do about a schedule that is due: all of a ScheduleFire but its submission.
storage::ScheduleFire plan_fire(const storage::Schedule& schedule, const ScheduleSpec& spec,
                                const Ticks& ticks, WallTime now, int catch_up_max);

// The tick's run. `key`: whether it is started once for all, or as often as it is asked for.
storage::Submission submission_of(const std::string& name, const ScheduleSpec& spec, WallTime tick,
                                  bool key);
// Of a run that somebody starts beside the ticks, who names the request.
std::string trigger_key(const std::string& name, const std::string& key);
// Whether this idempotency key is one of those, which no user's can be.
bool is_tick_key(std::string_view key);

}  // namespace sequential::server
