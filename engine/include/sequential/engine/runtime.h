#pragma once
// Runtime: runs slices of task code in engine processes. The broker's only view of JavaScript.
//
// A slice is begun either warm (the run's context is still in an engine: deliver the new outcomes)
// or cold (fresh context: replay the journal, then go on). The caller does not choose: it passes
// the new outcomes and a way to read the journal, and is told afterwards which way it went.
//
// Threads:  any thread may call; `done` is called on a thread of the io_context given to the
//           implementation, exactly once per call, also when the engine dies.
// Blocking: never.
// Lifetime: requests are moved in; a JournalSource outlives the slice (shared_ptr).
// Errors:   overloaded if limits.engine_queue slices already wait; shutting_down.
// Trust:    everything in a SliceResult came from a process that hostile code may own. The runtime
//           has checked its shape, sizes, UTF-8, JSON validity, that call numbers are contiguous
//           after `calls_recorded`, and that dropped calls are among those; nothing more.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/base/ids.h"

namespace sequential::engine {

struct Delivered {  // one outcome, as the task will see it
  std::int64_t seq = 0;  // 0: the run is asked to end; the payload is the error
  std::int64_t delivered_as = 0;
  bool failed = false;
  std::string payload;  // JSON text
  std::int64_t at_ms = 0;
};

struct RecordedCall {
  // 0, only as the first row and with an outcome: no call; the run was asked to end.
  std::int64_t seq = 0;
  std::string service, method, args;
  std::optional<Delivered> outcome;
};
struct RecordedPage {
  std::vector<RecordedCall> rows;  // seq order
  bool more = false;
};
// Reads the run's journal page by page. `next` is called again only after the previous answer.
class JournalSource {
 public:
  virtual ~JournalSource() = default;
  virtual void next(std::function<void(Result<RecordedPage>)> done) = 0;
};

// The code of one task function version; shared, because engines may need it again at any time.
struct TaskCode {
  TaskFunctionId id;
  std::string name;  // shown in stack traces as <name>.js
  int version = 0;
  std::string code;
};

struct SliceRequest {
  TaskRunId run;
  TaskRunId shown_as;  // what the task sees as its id, where that is not `run`; 0: it is
  std::shared_ptr<const TaskCode> code;
  std::string input;  // JSON text
  std::string seed;   // 16 bytes
  std::int64_t started_at_ms = 0;
  // Outcomes not yet delivered, in order. For a warm run exactly those after what it has seen.
  std::vector<Delivered> outcomes;
  std::int64_t delivered_through = 0;  // journal position after `outcomes`
  std::int64_t calls_recorded = 0;     // calls already in the store (highest seq)
  std::int64_t logs_recorded = 0;      // log entries already in the store
  // Opens the journal from its start up to delivered_through; used only for a cold start of a run
  // that has calls recorded.
  std::function<std::shared_ptr<JournalSource>()> open_journal;
  bool alone = false;  // a run that was suspected before gets an isolate of its own
};

struct IssuedCall {
  std::int64_t seq = 0;
  std::string service, method;
  std::string args;     // JSON text, always an array
  std::string options;  // JSON text of an object, or empty
  int source_line = 0;
};
struct IssuedLog {
  std::string level, message;
};

enum class SliceStatus {
  suspended,  // waits for at least one call
  completed,  // payload: the result
  failed,     // payload: the error {name, message, code, stack}; also limits that end a run
  divergent,  // payload: {seq, recorded:{service,method,args}, replayed:{…}} (either may be null)
  cancelled,  // payload: the error; of a run that was asked to end
};

struct SliceResult {
  SliceStatus status = SliceStatus::suspended;
  std::string payload;
  std::vector<IssuedCall> calls;
  // Only those after logs_recorded; then the newest "status" and "progress" that the slice set, or
  // set again: JSON texts as entries of these levels, which have no number.
  std::vector<IssuedLog> logs;
  // Calls that nobody waits for any more, in rising order: of this slice or, once more, of those
  // that were replayed.
  std::vector<std::int64_t> dropped;
  bool replayed = false;        // cold with a journal
  std::int64_t resume_us = 0;   // from the request reaching the engine to its first new effect
  std::int64_t cpu_us = 0;
};

// The slice brought its engine down, or had to be killed with it: nothing of it happened. Answered
// as Error engine_lost with `detail`
//   {"cause": "died" | "killed_at_limit" | "protocol", "signal": n, "exit_code": n,
//    "limit": "memory_limit" | "wall_limit" | "cpu_limit" | "", "alone": whether it had its isolate
//    to itself}.

struct CodeProblem {
  std::string message;
  int line = 0;    // 1-based, 0 = unknown
  int column = 0;  // 1-based
  // The author's file that this is a line of, by the code's source map; empty: the code itself.
  std::string source{};
};

class Runtime {
 public:
  Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  virtual ~Runtime() = default;

  virtual void run_slice(SliceRequest, std::function<void(Result<SliceResult>)> done) = 0;

  // Compiles and evaluates the code in a throw-away context: nullopt if it exports a function.
  virtual void check_code(std::shared_ptr<const TaskCode>,
                          std::function<void(Result<std::optional<CodeProblem>>)> done) = 0;

  // The position up to which the run's warm context has seen outcomes; nullopt if it is cold. A
  // hint: the context may be evicted at any time, run_slice copes.
  virtual std::optional<std::int64_t> warm_through(TaskRunId) const = 0;

  // Drops the run's warm context, if any (ended, fenced, cancelled, or tests of eviction).
  virtual void forget(TaskRunId) = 0;

  struct Stats {
    int engines = 0;  // that are ready
    int warm_runs = 0;
    std::int64_t slices = 0, replays = 0, evictions = 0, engine_deaths = 0;
    std::int64_t rss_bytes = 0;  // of the engine processes
  };
  virtual Stats stats() const = 0;
  virtual std::vector<int> engine_pids() const = 0;

  // No new slices; waits for those under way until the deadline, then ends the engines.
  virtual void stop(MonoTime deadline) = 0;
};

}  // namespace sequential::engine
