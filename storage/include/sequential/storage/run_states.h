#pragma once
// RunStates: what runs show of themselves while they are under way (setStatus, progress), and what
// the event streams read.
//
// A slice's newest status and progress travel in SliceCommit::logs, as entries of levels of their
// own, and are kept as one row for each run, in the slice's transaction. They are no log entries:
// they have no number and leave no row in the log, so a task that reports progress after each of a
// million calls rewrites one row and keeps no history.
//
// Threads, blocking, lifetime: as Store (store.h).

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/storage/store.h"

namespace sequential::storage {

inline constexpr std::string_view kStatusLevel = "status";
inline constexpr std::string_view kProgressLevel = "progress";

inline bool is_state(const NewLog& log) {
  return log.level == kStatusLevel || log.level == kProgressLevel;
}
// How many of these are entries of the log.
inline std::size_t numbered(const std::vector<NewLog>& logs) {
  return static_cast<std::size_t>(
      std::count_if(logs.begin(), logs.end(), [](const NewLog& log) { return !is_state(log); }));
}

struct RunState {
  std::string status;        // JSON text; empty: never set
  std::string progress;      // JSON text {"done", "total"?, "message"?}; empty: never set
  std::int64_t version = 0;  // counts the changes of either; 0: none was ever set
  WallTime updated_at;
};

struct RunLook {
  TaskRun run;  // without input, result and error
  RunState state;
  // Entries after the one asked for, at most as many as asked for. What run.log_count says was
  // there is here, or more of it.
  std::vector<LogEntry> logs;
};

// A call without what it carries.
struct CallTrace {
  std::int64_t seq = 0;
  std::string service, method;
  StackStatus status = StackStatus::pending;
  int attempts = 0;
  std::int64_t position = 0;  // of its outcome in the journal; 0: it has none
  WallTime created_at;
  std::optional<WallTime> started_at, ended_at;
};

// Those of `open` (rising, none above `from`), and those from there `through`; of both only those
// `after`.
struct CallsAsked {
  TaskRunId run;
  std::vector<std::int64_t> open;
  std::int64_t from = 0, after = 0, through = 0;
  int limit = 0;
};

struct RunView;  // run_view.h

class RunStates {
 public:
  RunStates() = default;
  RunStates(const RunStates&) = delete;
  RunStates& operator=(const RunStates&) = delete;
  virtual ~RunStates() = default;

  // Of each of these runs, in this order; of one that has none, or does not exist, version 0.
  virtual void states(std::vector<TaskRunId>, Done<std::vector<RunState>>) = 0;
  // In one round trip, however much there is to know. Errors: run_not_found.
  virtual void view(TaskRunId, Done<RunView>) = 0;
  // Errors: run_not_found.
  virtual void look(TaskRunId, std::int64_t after_log, int log_limit, Done<RunLook>) = 0;
  // By their numbers. None of a run that does not exist.
  virtual void calls(CallsAsked, Done<std::vector<CallTrace>>) = 0;
};

}  // namespace sequential::storage
