#include "work/wake_timers.h"

#include <vector>

namespace sequential::server {

void WakeTimers::arm(StackRunId id, Millis in) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  entries_.emplace(clock_.monotonic() + std::max(in, Millis{0}), id);
  // The farthest one goes: the sweep finds it again in the database when its time is near.
  if (entries_.size() > armed_max_) entries_.erase(std::prev(entries_.end()));
  schedule();
}

void WakeTimers::schedule() {
  if (entries_.empty() || entries_.begin()->first == scheduled_) return;
  scheduled_ = entries_.begin()->first;
  timer_.expires_at(scheduled_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) fire();
  });
}

void WakeTimers::fire() {
  std::vector<StackRunId> due;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    const MonoTime now = clock_.monotonic();
    while (!entries_.empty() && entries_.begin()->first <= now) {
      due.push_back(entries_.begin()->second);
      entries_.erase(entries_.begin());
    }
    scheduled_ = MonoTime::max();
    schedule();
  }
  for (const auto id : due) due_(id);
}

void WakeTimers::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  entries_.clear();
  timer_.cancel();
}

std::size_t WakeTimers::armed() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace sequential::server
