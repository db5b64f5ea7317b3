#pragma once
// Schedules: runs that begin by the clock. On the terms of Store (store.h).
//
// The store keeps for each schedule the tick that comes next; which one follows it is worked out by
// the caller (a pure function of the schedule), and what is due is decided by the store's clock. A
// tick is started by one transaction that inserts the run and moves the schedule on, fenced by the
// tick and by the schedule's revision: so it is started once, whatever nodes do at the same time.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/storage/store.h"

namespace sequential::storage {

// What becomes of a tick while the run before is not over.
enum class Overlap {
  allow,   // starts beside it
  skip,    // is passed over
  queue,   // waits for its end
  cancel,  // waits for its end, which is asked for
};
std::string_view overlap_name(Overlap overlap) noexcept;  // as in the enum
std::optional<Overlap> overlap_from(std::string_view name) noexcept;

struct Schedule {
  std::string name;
  std::string spec;  // all the store need not know, as the caller wrote it
  Overlap overlap = Overlap::skip;
  bool paused = false;
  std::int64_t revision = 0;          // raised by every put
  std::optional<WallTime> next_tick;  // none while paused, or if there is none
  std::optional<WallTime> due_at;     // when it is started: the tick and its jitter
  std::optional<WallTime> last_tick, last_started_at, last_skipped_at;
  TaskRunId last_run;
  std::int64_t started = 0, skipped = 0, missed = 0;
  WallTime created_at, updated_at;
  // Of the last run, as it is now.
  bool last_run_over = true;  // also if it is no longer stored
  std::optional<WallTime> last_run_ended_at;
};

struct SchedulePut {
  std::string name, spec;
  Overlap overlap = Overlap::skip;
  bool paused = false;
  std::int64_t revision = 0;  // that is replaced; 0: there is none of that name yet
  std::optional<WallTime> next_tick, due_at;
  std::int64_t count_max = 10'000;  // of schedules
};

struct DueSchedules {
  std::vector<Schedule> due;         // in the order in which they fell due
  std::vector<Schedule> blocked;     // due too, but they wait for their last run's end
  std::optional<WallTime> next_due;  // of those that are not due yet
  WallTime now;
};

struct ScheduleFire {
  std::string name;
  std::int64_t revision = 0;
  // The schedule's next_tick, which is behind it afterwards. None: a run beside the ticks, which
  // moves nothing on.
  std::optional<WallTime> expected;
  WallTime tick;  // the one to start: `expected`, or a later one if those before are passed over
  std::int64_t missed = 0;  // so many passed over
  bool start = true;        // false: `tick` is passed over too (and counted in `missed`)
  std::optional<WallTime> next_tick, due_at;  // what comes then
  Overlap overlap = Overlap::skip;
  // Its idempotency key is that of the tick: a run that has it is the tick's run.
  Submission submission;
};

struct ScheduleFired {
  enum class What {
    started,
    skipped,  // the run before is not over
    blocked,  // likewise, and the tick waits: nothing was changed
    moved,    // `start` was false
  };
  What what = What::started;
  TaskRunId previous;                  // the run that is not over, if it made a difference
  std::optional<Submitted> submitted;  // started
};

class Schedules {
 public:
  Schedules() = default;
  Schedules(const Schedules&) = delete;
  Schedules& operator=(const Schedules&) = delete;
  virtual ~Schedules() = default;

  // Errors: conflict if the revision is not the one given, or there are too many.
  virtual void put(SchedulePut, Done<Schedule>) = 0;
  virtual void get(std::string name, Done<Schedule>) = 0;  // Errors: schedule_not_found
  // By name, those after `after`.
  virtual void list(std::string after, int limit, Done<std::vector<Schedule>>) = 0;
  virtual void remove(std::string name, Done<bool>) = 0;
  // At most so many of each kind. Changes nothing.
  virtual void due(int limit, Done<DueSchedules>) = 0;
  // Errors: fenced if the schedule is no longer at that tick and revision, or it is not due; those
  // of Store::submit.
  virtual void fire(ScheduleFire, Done<ScheduleFired>) = 0;
};

}  // namespace sequential::storage
