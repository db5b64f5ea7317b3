#pragma once
// When a dead engine may be started again. Threads: not thread-safe; its owner's mutex guards it.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>

#include "sequential/base/clock.h"

namespace sequential::engine::pool {

class RestartPolicy {
 public:
  explicit RestartPolicy(int per_minute_max)
      : per_minute_max_(static_cast<std::size_t>(std::max(1, per_minute_max))) {}

  // An engine that had been ready is replaced at once: tasks that kill theirs must not cost the
  // others capacity. One that never came up is retried ever more slowly. Neither exceeds the rate.
  Millis delay(bool had_been_ready, MonoTime now) {
    failures_ = had_been_ready ? 0 : failures_ + 1;
    Millis wait{0};
    if (failures_ > 0) wait = std::min(kDelayMax, kDelayFirst * (1 << std::min(failures_ - 1, 10)));
    while (!recent_.empty() && recent_.front() <= now - kWindow) recent_.pop_front();
    if (recent_.size() >= per_minute_max_) {
      // The place of the start that leaves the window first, counting those already put off.
      const MonoTime free = recent_[recent_.size() - per_minute_max_] + kWindow;
      wait = std::max(wait, std::chrono::ceil<Millis>(free - now));
    }
    recent_.push_back(now + wait);
    return wait;
  }

 private:
  static constexpr Millis kWindow{60'000};
  static constexpr Millis kDelayFirst{20};
  static constexpr Millis kDelayMax{2'000};
  std::size_t per_minute_max_;
  int failures_ = 0;
  std::deque<MonoTime> recent_;  // rising; at most one per slot beyond per_minute_max_
};

}  // namespace sequential::engine::pool
