#pragma once
// Ticks: when a cron expression comes true in a time zone. A pure function of both and of the
// system's time zone data, so every node finds the same.
//
// Where clocks change (docs/schedules.md): a local time that is skipped ticks at the moment of the
// change, one that comes twice ticks the first time. Expressions whose hour or minute begins with *
// count time as it passes instead: they tick whenever the clock shows what fits.
//
// Threads: plain values.

#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::server {

class Ticks {
 public:
  // Errors: invalid_field of `cron` or `time_zone`.
  static Result<Ticks> make(std::string_view cron, std::string_view time_zone);

  // The first after that moment; none if there is none in the next decades.
  std::optional<WallTime> next(WallTime after) const;

 private:
  struct Parts;
  explicit Ticks(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const Parts> parts_;
};

// How much later than the tick its run starts: spread over `jitter`, always the same for one tick.
Millis jitter_of(std::string_view schedule, WallTime tick, Millis jitter);

}  // namespace sequential::server
