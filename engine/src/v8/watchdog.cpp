#include "watchdog.h"

#include <time.h>

#include <chrono>

#include "sequential/base/check.h"

namespace sequential::engine::v8host {
namespace {

constexpr std::chrono::milliseconds kTick{10};
constexpr int kIdleTicksMax = 100;
constexpr std::int64_t kNsPerMs = 1'000'000;

std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

}  // namespace

Watchdog::Watchdog(std::int64_t cpu_ms_max, std::int64_t wall_ms_max)
    : cpu_ns_max_(cpu_ms_max * kNsPerMs), wall_ns_max_(wall_ms_max * kNsPerMs) {
  SEQUENTIAL_CHECK(::pthread_getcpuclockid(::pthread_self(), &cpu_clock_) == 0);
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Watchdog::arm(v8::Isolate* isolate) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    isolate_ = isolate;
    ++turn_;
    fired_ = Fired::no;
    wake = asleep_;
    asleep_ = false;
  }
  if (wake) wake_.notify_one();
}

Watchdog::Fired Watchdog::fired() {
  const std::lock_guard lock(mutex_);
  return fired_;
}

Watchdog::Fired Watchdog::disarm() {
  const std::lock_guard lock(mutex_);
  isolate_ = nullptr;
  return fired_;
}

void Watchdog::watch() {
  std::unique_lock lock(mutex_);
  Seen seen;
  std::uint64_t last_turn = 0;
  int idle_ticks = 0;
  while (!stopping_) {
    if (idle_ticks >= kIdleTicksMax) {
      asleep_ = true;
      wake_.wait(lock, [this] { return stopping_ || !asleep_; });
      idle_ticks = 0;
    } else {
      wake_.wait_for(lock, kTick);
    }
    idle_ticks = turn_ == last_turn && isolate_ == nullptr ? idle_ticks + 1 : 0;
    last_turn = turn_;
    if (isolate_ != nullptr) tick(seen);
  }
}

void Watchdog::tick(Seen& seen) {
  const std::int64_t cpu = clock_ns(cpu_clock_);
  const std::int64_t wall = clock_ns(CLOCK_MONOTONIC);
  if (seen.turn != turn_) {
    seen = {turn_, cpu, wall};
    return;
  }
  if (cpu - seen.cpu_ns > cpu_ns_max_) {
    fired_ = Fired::cpu;
  } else if (wall - seen.wall_ns > wall_ns_max_) {
    fired_ = Fired::wall;
  } else {
    return;
  }
  isolate_->TerminateExecution();
}

}  // namespace sequential::engine::v8host
