#include "postgres/deadline.h"

#include <sys/socket.h>

namespace sequential::storage::postgres {
namespace {
constexpr Millis kLookEvery{200};
}  // namespace

Deadlines::Deadlines(const Clock& clock) : clock_(clock), thread_([this] { loop(); }) {}

Deadlines::~Deadlines() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

Deadlines::Watch::Watch(Deadlines& deadlines, int fd, Millis length)
    : deadlines_(deadlines) {
  const MonoTime until = deadlines_.clock_.monotonic() + length;
  const std::lock_guard lock(deadlines_.mutex_);
  deadlines_.watched_[this] = {fd, until};
}

Deadlines::Watch::~Watch() {
  const std::lock_guard lock(deadlines_.mutex_);
  deadlines_.watched_.erase(this);
}

void Deadlines::loop() {
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, kLookEvery, [this] { return stopping_; })) {
    const MonoTime now = clock_.monotonic();
    for (const auto& [watch, watched] : watched_) {
      // Whoever waits on it gets an end of file at once; the descriptor stays theirs to close.
      if (watched.until <= now) ::shutdown(watched.fd, SHUT_RDWR);
    }
  }
}

}  // namespace sequential::storage::postgres
