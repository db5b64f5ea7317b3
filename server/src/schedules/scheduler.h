#pragma once
// Scheduler: starts what the schedules have due. It asks the store what is due and when the next
// will be, and sleeps until then; at least once in a sweep period it asks anyway. Every node has
// one, and all may start the same tick: the store lets one of them.
//
// Threads:  `kick`, `stop`, `busy`, `start`, `submit` any. The rest runs on a strand of its own.
// Lifetime: the collaborators outlive it; coroutines refer to it until the io_context has ended.

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <set>
#include <string>
#include <vector>

#include "schedules/spec.h"
#include "sequential/storage/schedules.h"
#include "work/processor.h"
#include "work/timer.h"

namespace sequential::server {

struct SchedulerOptions {
  storage::Lease lease;
  bool handoff = true;
  Millis period{5'000};  // between looks that nothing calls for
  std::int64_t payload_bytes_max = 32ll << 20;
  int catch_up_max = 1'000;
  int count_max = 10'000;    // of schedules
  int backfill_max = 1'000;  // runs of one request
  Millis cancel_grace{30'000};  // of a run that is to end because the next tick has come
};

class Scheduler {
 public:
  Scheduler(net::io_context& io, storage::Store& store, Processor& processor, const Clock& clock,
            SchedulerOptions options);

  void begin();
  void kick();  // a look soon: something about the schedules has changed
  void stop();  // no further tick is started here
  bool busy() const { return busy_; }
  const SchedulerOptions& options() const { return options_; }

  // Starts the run of a tick, and takes up its work. `key`: its idempotency key, if it is to have
  // another than the tick's. Errors: those of Schedules::fire; of the task.
  net::awaitable<Result<storage::ScheduleFired>> start(storage::ScheduleFire fire,
                                                       const ScheduleSpec& spec,
                                                       std::string key = {});
  // The run of a tick beside the schedule; one that is there already is answered.
  net::awaitable<Result<storage::Submitted>> submit(const std::string& name,
                                                    const ScheduleSpec& spec, WallTime tick);

 private:
  net::awaitable<void> run();
  net::awaitable<Millis> look();
  net::awaitable<bool> fire(const storage::Schedule& schedule, WallTime now);
  net::awaitable<void> end_last_run(const storage::Schedule& schedule);
  net::awaitable<void> kick_at_end(TaskRunId run);
  bool watch(const std::vector<storage::Schedule>& blocked);
  net::awaitable<Result<void>> complete(storage::Submission& submission, const ScheduleSpec& spec);
  void take_up(const ScheduleSpec& spec, storage::Submitted& submitted);

  storage::Store& store_;
  Processor& processor_;
  const Clock& clock_;
  const SchedulerOptions options_;
  net::strand<net::io_context::executor_type> strand_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> busy_{false};

  // Of the strand
  Timer timer_;
  bool kicked_ = false;
  std::set<TaskRunId> watched_;  // runs that schedules wait for
};

}  // namespace sequential::server
