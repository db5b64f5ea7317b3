#pragma once
// Schedules on PostgreSQL: functions of migrations/postgres, and a few reads.

#include <functional>
#include <memory>
#include <string>

#include "postgres/transitions.h"
#include "sequential/storage/schedules.h"

namespace sequential::storage::postgres {

// Which of the store's connections a request takes.
enum class ScheduleUse { read, sweep, write };

// What the store lends.
struct ScheduleAccess {
  // Runs that on such a connection, perhaps several times.
  std::function<void(ScheduleUse, std::function<Answered<void>(const Try&)> apply, Done<void>)>
      post;
  std::function<TaskRunId()> newest_run;          // an id that was given out before
  std::function<void(StackRunId)> tell_runnable;  // claimed by nobody
};

std::unique_ptr<Schedules> make_schedules(const std::string& schema, ScheduleAccess access);

}  // namespace sequential::storage::postgres
