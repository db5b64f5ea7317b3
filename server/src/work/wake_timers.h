#pragma once
// WakeTimers: durable timers armed in memory. The database keeps `available_at`; this only saves
// asking for it. What does not fit is left to the sweep, which reads the database.
//
// Threads: any; every method locks. `due` is called on an io_context thread.

#include <boost/asio/io_context.hpp>
#include <functional>
#include <mutex>
#include <set>
#include <utility>

#include "sequential/base/clock.h"
#include "sequential/base/ids.h"
#include "work/timer.h"

namespace sequential::server {

class WakeTimers {
 public:
  WakeTimers(boost::asio::io_context& io, const Clock& clock, std::size_t armed_max,
             std::function<void(StackRunId)> due)
      : clock_(clock), armed_max_(armed_max), due_(std::move(due)), timer_(io) {}

  // `in` from now; a time already past fires at once.
  void arm(StackRunId id, Millis in);
  void stop();
  std::size_t armed() const;

 private:
  using Entry = std::pair<MonoTime, StackRunId>;
  void schedule();  // with mutex_ held
  void fire();

  const Clock& clock_;
  const std::size_t armed_max_;
  const std::function<void(StackRunId)> due_;
  mutable std::mutex mutex_;
  Timer timer_;  // guarded by mutex_
  std::set<Entry> entries_;          // guarded by mutex_
  MonoTime scheduled_ = MonoTime::max();  // guarded by mutex_
  bool stopped_ = false;             // guarded by mutex_
};

}  // namespace sequential::server
