#pragma once
// Runs functions at times to come, on one thread of its own that starts with the first of them.
//
// Threads:  any; functions run on the queue's thread, one at a time, and must be short.
// Blocking: `at` does not. `stop` runs what is left at once, with Timer::stopped, and waits.

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "sequential/base/clock.h"

namespace sequential::services {

enum class Timer { due, stopped };

class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;
  ~TimerQueue() { stop(); }

  // `run` is called once: when the time has come, or when the queue stops (then from inside `at` if
  // it has stopped already).
  void at(MonoTime when, std::function<void(Timer)> run);
  // Idempotent. Not from inside a function of the queue.
  void stop();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<MonoTime, std::function<void(Timer)>> due_;  // guarded by mutex_
  bool stopping_ = false;                                    // guarded by mutex_
  std::thread thread_;                                       // guarded by mutex_
};

}  // namespace sequential::services
