#pragma once
// Rewinds: runs that go on from an earlier point of their journal, on other code, or as a copy.
//
// A point is a journal position: the outcomes delivered by then. Which calls a run has issued and
// what it has logged by that point only a replay tells (server/src/work/dry_replay.h), so the
// caller says it: `calls` and `logs`. Everything after the point is undone or left behind.
//
// Threads, blocking, errors, durability: as Store. Each method is one transaction under the lock of
// the run's root.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sequential/storage/store.h"

namespace sequential::storage {

struct RewindTo {
  std::int64_t through = 0;  // the journal position kept
  std::int64_t calls = 0;    // calls issued by then; at most those that the run has
  std::int64_t logs = 0;     // entries logged by then
  TaskFunctionId function;   // the code to go on with
  int version = 0;
  // RunOrigin::rewinds when that was found out: whoever rewound the run since comes first.
  std::int64_t rewinds = 0;
};

struct Retry {
  TaskRunId run;
  RewindTo to;
  std::int64_t call = 0;  // made again though it did not fail; 0: none
  // Also makes calls again that are to be made at most once and whose outcome is not known.
  bool unknown_again = false;
  // What children have to end that waited on calls which are removed or made again.
  Millis grace{0};
  // Calls that the code had given up by that point: they stay as they ended.
  std::vector<std::int64_t> dropped{};
};

struct EditedOutcome {
  std::int64_t seq = 0;
  bool failed = false;
  std::string payload;  // JSON text
};

struct Fork {
  TaskRunId source;
  RewindTo to;
  std::optional<std::string> input;  // instead of the source's
  // Delivered next, of a call without an outcome by then.
  std::optional<EditedOutcome> outcome;
  // Of calls without an outcome by then, which are made again: those that wait for a timer.
  std::vector<std::pair<std::int64_t, Millis>> delays;  // by seq
  // Calls that the code had given up by that point: they are copied as cancelled.
  std::vector<std::int64_t> dropped{};
  std::int64_t calls_max = 10'000;
  std::optional<int> priority;
  std::optional<std::string> tags;
  std::string idempotency_key, request_hash;
};

struct Rewound {
  TaskRunId run;
  StackRunId root;
  bool existing = false;             // the fork's idempotency key was known: nothing was changed
  std::vector<StackRunId> runnable;  // the first of what can go on at once, the root first
  bool queued = false;  // it is in its task's queue; it waits there if the root is not runnable
};

struct RunOrigin {
  TaskRunId forked_from;         // 0: it is no fork
  std::int64_t forked_at = 0;    // the source's journal position
  std::int64_t rewinds = 0;      // how often it was retried or resumed on other code
};

// A failure in a run's journal.
struct FailedCall {
  std::int64_t seq = 0, position = 0;
  std::string error;  // empty if it is larger than kErrorReadMax
};
inline constexpr std::size_t kErrorReadMax = 65'536;

class Rewinds {
 public:
  virtual ~Rewinds() = default;

  // A paused run goes on with that code; only `function`, `version` and `rewinds` of `to` matter. A
  // slice under way is fenced. Errors: run_not_found; conflict unless paused, or if it was rewound
  // since.
  virtual void resume_on(TaskRunId run, RewindTo to, Done<Rewound>) = 0;

  // A failed or cancelled run goes on. Later calls are removed. Of the calls kept, those with a
  // result from after the point keep it and see it delivered again, in the old order; those that
  // failed or were cancelled after it are made again, with attempts from 1. Children of calls
  // removed or made again are let go: those still under way are noted to be asked to end
  // (children.h), and the end of none is told to anybody. A parent that waited for this run has
  // been told already: it is told nothing more, and the run is nobody's child any more. A request
  // to end from after the point is forgotten; one from before is over. Errors: run_not_found;
  // conflict; outcome_unknown.
  // Signals taken by calls that are removed or made again are kept anew, webhooks that such calls
  // made are gone, and what removed calls sent to the run itself is, too.
  virtual void retry_run(Retry retry, Done<Rewound>) = 0;

  // A new run with the source's journal up to the point. Calls issued by then without an outcome
  // by then are made anew by it. Errors: run_not_found; conflict; payload_too_large: more calls
  // than calls_max; idempotency_conflict.
  // Its webhooks answer at the source's addresses: one answer is for both.
  virtual void fork_run(Fork fork, Done<Rewound>) = 0;

  virtual void origin(TaskRunId run, Done<RunOrigin>) = 0;  // Errors: run_not_found

  // The newest failures that the run was told of, at most `limit`, by position.
  virtual void failed_calls(TaskRunId run, int limit, Done<std::vector<FailedCall>>) = 0;

  // Which retry of its run the call was made after, 0: none. The same for as long as there is the
  // call, and never that of another call of its number. Errors: fenced: it is not held.
  virtual void made_after(Grant call, Done<std::int64_t>) = 0;
};

}  // namespace sequential::storage
