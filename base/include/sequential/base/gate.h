#pragma once
// Gate: counts work in flight and lets a stop wait for it (after Seastar's gate).
//
// Threads: any. `close` refuses new entrants at once; `wait_closed` blocks until the last leaves or
// the deadline passes.

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace sequential {

class Gate {
 public:
  // RAII entry; test with operator bool: false when the gate is closed.
  class Pass {
   public:
    Pass() = default;
    explicit Pass(Gate* gate) : gate_(gate) {}
    Pass(Pass&& other) noexcept : gate_(other.gate_) { other.gate_ = nullptr; }
    Pass& operator=(Pass&& other) noexcept {
      if (this != &other) {
        leave();
        gate_ = other.gate_;
        other.gate_ = nullptr;
      }
      return *this;
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    ~Pass() { leave(); }
    explicit operator bool() const { return gate_ != nullptr; }

   private:
    void leave() {
      if (gate_ != nullptr) gate_->leave();
      gate_ = nullptr;
    }
    Gate* gate_ = nullptr;
  };

  Pass enter() {
    const std::lock_guard lock(mutex_);
    if (closed_) return Pass{};
    ++inside_;
    return Pass{this};
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  bool wait_closed(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    return empty_.wait_until(lock, deadline, [this] { return inside_ == 0; });
  }
  bool is_closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  int inside() const {
    const std::lock_guard lock(mutex_);
    return inside_;
  }

 private:
  void leave() {
    const std::lock_guard lock(mutex_);
    if (--inside_ == 0) empty_.notify_all();
  }
  mutable std::mutex mutex_;
  std::condition_variable empty_;
  int inside_ = 0;       // guarded by mutex_
  bool closed_ = false;  // guarded by mutex_
};

}  // namespace sequential
