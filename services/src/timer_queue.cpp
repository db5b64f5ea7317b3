#include "timer_queue.h"

#include <utility>

#include "own_thread.h"
#include "sequential/base/check.h"

namespace sequential::services {

void TimerQueue::at(MonoTime when, std::function<void(Timer)> run) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      due_.emplace(when, std::move(run));
      if (!thread_.joinable()) {
        thread_ = std::thread([this] { this->run(); });
      }
      changed_.notify_one();
      return;
    }
  }
  run(Timer::stopped);
}

void TimerQueue::stop() {
  std::thread thread;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    thread = std::move(thread_);
    changed_.notify_one();
  }
  if (!thread.joinable()) return;
  SEQUENTIAL_CHECK(thread.get_id() != std::this_thread::get_id());
  thread.join();
}

void TimerQueue::run() {
  begin_own_thread("service-timer");
  std::unique_lock lock(mutex_);
  for (;;) {
    if (stopping_) break;
    if (due_.empty()) {
      changed_.wait(lock);
    } else if (due_.begin()->first > system_clock().monotonic()) {
      changed_.wait_until(lock, due_.begin()->first);
    } else {
      const auto function = std::move(due_.begin()->second);
      due_.erase(due_.begin());
      lock.unlock();
      function(Timer::due);
      lock.lock();
    }
  }
  auto left = std::move(due_);
  due_.clear();
  lock.unlock();
  for (const auto& [when, function] : left) function(Timer::stopped);
}

}  // namespace sequential::services
