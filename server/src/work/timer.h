#pragma once
// The timers of the work: of a clock that one thread can advance by hand, so that a simulation of
// several nodes (tests/simulation) needs no waiting.
//
// Threads: a timer, like any of Asio's, is used by one thread at a time. `source` is set before any
//          timer exists.

#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <chrono>

#include "sequential/base/clock.h"

namespace sequential::server {

struct TimerClock {
  using duration = MonoTime::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = MonoTime;
  static constexpr bool is_steady = true;

  static MonoTime now() noexcept { return source.load(std::memory_order_relaxed)(); }

  using Source = MonoTime (*)() noexcept;
  static inline std::atomic<Source> source{&std::chrono::steady_clock::now};
};

using Timer = boost::asio::basic_waitable_timer<TimerClock>;

}  // namespace sequential::server
