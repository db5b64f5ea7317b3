#pragma once
// A database clock that stands still until a test moves it.

#include <atomic>

#include "sequential/base/clock.h"

namespace sequential::storage::test {

class ManualClock final : public Clock {
 public:
  static constexpr WallTime kStart{1'700'000'000'000};
  WallTime now() const override { return {now_ms_.load()}; }
  MonoTime monotonic() const override { return system_clock().monotonic(); }
  void advance(Millis by) { now_ms_ += by.count(); }
  void set(WallTime to) { now_ms_ = to.ms; }

 private:
  std::atomic<std::int64_t> now_ms_{kStart.ms};
};

}  // namespace sequential::storage::test
