#pragma once
// RunWatch: lets a request wait for the end of a run on this node.
//
// Threads: any; every method locks. A waiter is woken at most once.

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/ids.h"
#include "work/timer.h"

namespace sequential::server {

class RunWatch {
 public:
  // Registered before the run's state is read, so that no end is missed.
  class Ticket {
   public:
    Ticket(RunWatch& watch, TaskRunId run, std::shared_ptr<Timer> timer)
        : watch_(watch), run_(run), timer_(std::move(timer)) {}
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    ~Ticket() { watch_.leave(run_, timer_); }
    // Returns when the run has ended or the timer's time has come.
    boost::asio::awaitable<void> wait() {
      constexpr auto token = boost::asio::as_tuple(boost::asio::use_awaitable);
      co_await timer_->async_wait(token);
    }

   private:
    RunWatch& watch_;
    TaskRunId run_;
    std::shared_ptr<Timer> timer_;
  };

  std::unique_ptr<Ticket> enter(boost::asio::any_io_executor executor, TaskRunId run,
                                MonoTime deadline) {
    auto timer = std::make_shared<Timer>(executor, deadline);
    const std::lock_guard lock(mutex_);
    waiters_[run].push_back(timer);
    return std::make_unique<Ticket>(*this, run, std::move(timer));
  }

  // Once, before work begins: is told of every run whose stored state has changed here, as a hint.
  void on_change(std::function<void(TaskRunId)> listener) { listener_ = std::move(listener); }
  void changed(TaskRunId run) {
    if (listener_) listener_(run);
  }

  void ended(TaskRunId run) {
    changed(run);
    std::vector<std::shared_ptr<Timer>> timers;
    {
      const std::lock_guard lock(mutex_);
      const auto found = waiters_.find(run);
      if (found == waiters_.end()) return;
      timers = found->second;
    }
    for (const auto& timer : timers) wake(timer);
  }

  // At shutdown: everybody waiting is answered with what is known now.
  void wake_all() {
    std::vector<std::shared_ptr<Timer>> timers;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [run, list] : waiters_)
        timers.insert(timers.end(), list.begin(), list.end());
    }
    for (const auto& timer : timers) wake(timer);
  }

 private:
  // A timer is not thread-safe; moving its expiry on its own executor (a strand per waiter).
  static void wake(const std::shared_ptr<Timer>& timer) {
    boost::asio::post(timer->get_executor(), [timer] { timer->expires_at(MonoTime::min()); });
  }
  void leave(TaskRunId run, const std::shared_ptr<Timer>& timer) {
    const std::lock_guard lock(mutex_);
    const auto found = waiters_.find(run);
    if (found == waiters_.end()) return;
    std::erase(found->second, timer);
    if (found->second.empty()) waiters_.erase(found);
  }

  std::function<void(TaskRunId)> listener_;
  std::mutex mutex_;
  std::unordered_map<TaskRunId, std::vector<std::shared_ptr<Timer>>> waiters_;  // guarded by mutex_
};

}  // namespace sequential::server
