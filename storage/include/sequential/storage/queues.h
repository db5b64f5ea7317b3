#pragma once
// Queues: how many runs of a task, and of each queue key within it, may be at work, and which of
// those that wait begins next. Same terms as Store (store.h).
//
// A run is in its task's queue if it was submitted with a queue key, or while the task had a limit
// for all its runs (concurrency or rate); likewise from each time that it is retried. Only its
// beginning is held back: until it is admitted its root stack run is not due (kParked), nor are the
// calls that a retried or forked run has to make again. It counts from then until it has ended,
// whatever it does in between (sleep, wait, be paused): a slot is about runs, not about slices.
//
// Who begins next: the highest priority; among keys whose first waiting runs have the same, the key
// that has waited longest since it was last admitted from, or since it began to wait; within a key
// the run submitted first.
//
// Every decision holds the lock of its task's queue, so limits are exact, whoever decides. What an
// ended run leaves to be done, and what became due, is in rows that `queues_due` finds.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/base/ids.h"
#include "sequential/storage/store.h"

namespace sequential::storage {

// When a root is due that waits to be admitted: 9999-12-31T23:59:59Z.
inline constexpr WallTime kParked{253'402'300'799'000};

// In every window of `per` (open at its beginning, closed at its end, by the store's clock) at most
// `starts` runs are admitted.
struct QueueRate {
  std::int64_t starts = 0;
  Millis per{0};
  bool operator==(const QueueRate&) const = default;
};

// Unset: no limit; but of key_concurrency: 1. The key's are for runs that have a key.
struct QueueLimits {
  std::optional<std::int64_t> concurrency, key_concurrency;
  std::optional<QueueRate> rate, key_rate;
  bool operator==(const QueueLimits&) const = default;
};

// Which limits to change, and to what.
struct QueueChange {
  QueueLimits to;
  bool concurrency = false, key_concurrency = false, rate = false, key_rate = false;
};

struct QueueInfo {
  std::string task;
  QueueLimits limits;
  std::int64_t running = 0, waiting = 0;
  std::optional<Millis> oldest_wait;  // of those that wait now
};

struct QueueKey {
  std::string key;  // empty: runs without one
  std::int64_t running = 0, waiting = 0;
};

struct QueueDue {
  std::string task;
  bool open = false;  // some wait, or have ended since the last admission; else all are at work
};

struct Admission {
  std::vector<Wake> admitted;     // in order; those handed off have work
  std::vector<StackRunId> calls;  // of those, runnable now; the sweep finds the rest
  bool more = false;              // ask again at once
  std::optional<Millis> next_in;  // when time alone lets the next one begin, or may
};

class Queues {
 public:
  Queues() = default;
  Queues(const Queues&) = delete;
  Queues& operator=(const Queues&) = delete;
  virtual ~Queues() = default;

  // Admits what may begin, a bounded number. The first `claims_max` are claimed for `handoff`.
  virtual void admit(std::string task, std::optional<Lease> handoff, int claims_max,
                     Done<Admission>) = 0;
  // Told, on any thread, of each task of which a run in its queue has ended here, after the commit.
  // Empty: nobody; on return it is not being told any more.
  virtual void on_room(std::function<void(const std::string& task)>) = 0;
  // The tasks with runs in their queue.
  virtual void queues_due(Done<std::vector<QueueDue>>) = 0;
  // Answers the limits as they are now.
  virtual void change_queue(std::string task, QueueChange, Done<QueueLimits>) = 0;

  // Those with limits or runs, by task after `after`.
  virtual void queue_list(std::string after, int limit, Done<std::vector<QueueInfo>>) = 0;
  // Of a task that never had one: without limits, empty.
  virtual void queue_of(std::string task, Done<QueueInfo>) = 0;
  // Those with runs at work or waiting, by key after `after`; unset: from the first.
  virtual void queue_keys(std::string task, std::optional<std::string> after, int limit,
                          Done<std::vector<QueueKey>>) = 0;
  // Which of these runs wait to be admitted.
  virtual void waiting_in_queues(std::vector<TaskRunId> runs, Done<std::vector<TaskRunId>>) = 0;
};

}  // namespace sequential::storage
