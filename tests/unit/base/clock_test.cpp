#include "sequential/base/clock.h"

#include <gtest/gtest.h>

#include <chrono>

namespace sequential {
namespace {

TEST(WallTime, AddsAndSubtractsMilliseconds) {
  const WallTime start{1'700'000'000'000};
  EXPECT_EQ((start + Millis{250}) - start, Millis{250});
  EXPECT_LT(start, start + Millis{1});
}

TEST(SystemClock, IsTheClockOfTheSystem) {
  const auto before = std::chrono::system_clock::now();
  const WallTime now = system_clock().now();
  const auto after = std::chrono::system_clock::now();
  const auto ms = [](auto t) {
    return std::chrono::duration_cast<Millis>(t.time_since_epoch()).count();
  };
  EXPECT_GE(now.ms, ms(before));
  EXPECT_LE(now.ms, ms(after));
}

TEST(SystemClock, MonotonicTimeNeverGoesBack) {
  MonoTime last = system_clock().monotonic();
  for (int i = 0; i < 10'000; ++i) {
    const MonoTime now = system_clock().monotonic();
    ASSERT_GE(now, last);
    last = now;
  }
}

}  // namespace
}  // namespace sequential
