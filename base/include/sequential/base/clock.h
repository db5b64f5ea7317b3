#pragma once
// Time enters through here. Wall time decides what is stored (the store's own clock); monotonic
// time decides how long we wait and when we stop acting on a lease.
//
// Threads: every method may be called from any thread.

#include <chrono>
#include <cstdint>

namespace sequential {

using Millis = std::chrono::milliseconds;
using Micros = std::chrono::microseconds;

// Milliseconds since the Unix epoch, UTC: the form in which times are stored and shown.
struct WallTime {
  std::int64_t ms = 0;
  friend constexpr auto operator<=>(const WallTime&, const WallTime&) = default;
  friend constexpr WallTime operator+(WallTime t, Millis d) { return {t.ms + d.count()}; }
  friend constexpr Millis operator-(WallTime a, WallTime b) { return Millis{a.ms - b.ms}; }
};

using MonoTime = std::chrono::steady_clock::time_point;

class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock() = default;
  virtual WallTime now() const = 0;
  virtual MonoTime monotonic() const = 0;
};

// The real clocks. Lives for the whole process.
const Clock& system_clock();

}  // namespace sequential
