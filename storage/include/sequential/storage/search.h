#pragma once
// Search: finding runs, and removing old ones. On the terms of Store (store.h).
//
// A page costs a bounded amount of work, whatever is asked for: what no index serves looks at
// `rows_max` runs at most, answers those among them that fit, and says where to go on. So a page
// may hold fewer than asked for, even none, and still not be the last.
// Cursors are run ids. A run that was there at the first page and fits all along comes exactly
// once.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/ids.h"
#include "sequential/storage/store.h"

namespace sequential::storage {

// Entries of the log with this level are what the run has set of its attributes.
inline constexpr const char* kAttributesLevel = "attributes";

// A tag is given at submit; an attribute is set by the task while it runs.
struct RunTag {
  enum class Kind : int { tag, attribute };
  Kind kind = Kind::tag;
  std::string key, value;  // a tag without a value has an empty one; numbers as they were written
  std::optional<double> number;
};
struct TagMatch {
  enum class How { equal, less, greater };  // the last two: of numbers
  RunTag::Kind kind = RunTag::Kind::tag;
  std::string key, value;
  How how = How::equal;
};
struct TimeRange {
  std::optional<WallTime> after, before;  // after <= time < before
  bool any() const { return !after && !before; }
};

// What a run must be; what is empty says nothing.
struct RunQuery {
  TaskRunId id, parent;
  std::string task;  // with a * at the end: whatever begins so
  int version = 0;
  std::vector<RunStatus> statuses;
  std::vector<TagMatch> tags;  // all of them
  TimeRange created, started, ended;
  std::string text;  // part of the error's name, code or message; A-Z like a-z
  std::string queue_key, idempotency_key;
  bool oldest_first = false;
};

struct RunPage {
  std::vector<TaskRun> runs;  // without input, result and error
  TaskRunId next;             // where to go on; 0: that was all
  std::int64_t looked_at = 0;
};
struct RunCount {
  std::int64_t count = 0;
  bool more = false;  // there may be more than were counted
};
struct Removed {
  std::int64_t runs = 0;
  std::int64_t rows = 0;  // of runs, stack runs and logs
};

// How long ended runs of a task are kept: -1 as the task's options or the settings say, 0 for ever.
struct Retention {
  std::string task;
  std::int64_t completed_ms = -1;
  std::int64_t failed_ms = -1;  // failed and cancelled
};

class Search {
 public:
  virtual ~Search() = default;

  // After the run `after`, in the query's order; 0: from the beginning.
  virtual void find_runs(RunQuery, TaskRunId after, int limit, int rows_max, Done<RunPage>) = 0;
  virtual void count_runs(RunQuery, int rows_max, Done<RunCount>) = 0;
  // By kind and key. None for a run that does not exist.
  virtual void run_tags(TaskRunId, Done<std::vector<RunTag>>) = 0;

  // Removes of these runs those that ended before `ended_before`, each with the runs of tasks that
  // it has started, and with every row that belongs to it; at most about `runs_max` in all. Left
  // out: what has not ended, what has started a run that has not, and what is being written just
  // now (unless it is the only one asked for). Whoever writes to one of them later is fenced.
  virtual void remove_runs(std::vector<TaskRunId>, WallTime ended_before, int runs_max,
                           Done<Removed>) = 0;

  // Both -1: forgets it.
  virtual void set_retention(Retention, Done<void>) = 0;
  virtual void retentions(Done<std::vector<Retention>>) = 0;
};

}  // namespace sequential::storage
