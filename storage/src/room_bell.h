#pragma once
// RoomBell: whoever listens is told of tasks of which a run in their queue has ended.
//
// Threads: any. A listener is called under the bell's lock, so that it may be taken away.

#include <functional>
#include <mutex>
#include <string>
#include <utility>

namespace sequential::storage {

class RoomBell {
 public:
  using Listener = std::function<void(const std::string& task)>;

  void listen(Listener listener) {
    const std::lock_guard lock(mutex_);
    listener_ = std::move(listener);
  }
  void ring(const std::string& task) {
    const std::lock_guard lock(mutex_);
    if (listener_) listener_(task);
  }

 private:
  std::mutex mutex_;
  Listener listener_;  // guarded by mutex_
};

}  // namespace sequential::storage
