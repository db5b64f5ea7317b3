#pragma once
// Watchdog: a thread that terminates a turn of task code that has used up its CPU or wall time.
//
// Arming and disarming cost a lock each; the thread ticks while slices come, and sleeps when none
// has come for a while. A turn's time counts from the first tick that sees it, so a turn has up to
// one tick more than its limit.

#include <pthread.h>
#include <v8.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace sequential::engine::v8host {

class Watchdog {
 public:
  enum class Fired { no, cpu, wall };

  // Watches the thread that constructs it.
  Watchdog(std::int64_t cpu_ms_max, std::int64_t wall_ms_max);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

  void arm(v8::Isolate* isolate);
  // Whether it has terminated the turn under way.
  Fired fired();
  // After this returns, the isolate is not terminated any more on behalf of the turn.
  Fired disarm();

 private:
  struct Seen {
    std::uint64_t turn = 0;
    std::int64_t cpu_ns = 0;
    std::int64_t wall_ns = 0;
  };
  void watch();
  void tick(Seen& seen);

  const std::int64_t cpu_ns_max_;
  const std::int64_t wall_ns_max_;
  clockid_t cpu_clock_{};

  std::mutex mutex_;
  std::condition_variable wake_;
  v8::Isolate* isolate_ = nullptr;  // guarded by mutex_; null between turns
  std::uint64_t turn_ = 0;          // guarded by mutex_
  Fired fired_ = Fired::no;         // guarded by mutex_
  bool asleep_ = false;             // guarded by mutex_
  bool stopping_ = false;           // guarded by mutex_
  std::thread thread_;
};

}  // namespace sequential::engine::v8host
