#pragma once
// Cancellation: asking a run to end. The request is an entry of the run's journal, so that every
// replay meets it in the same place: number 0, delivered like the failure of a call. The run has
// until a deadline, kept in the store, to end by itself. Store::outcomes answers the entry in its
// place; Store::journal begins with it if asked for what comes after number -1.
//
// On the same terms as Store (store.h).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sequential/storage/store.h"

namespace sequential::storage {

struct CancelRequest {
  TaskRunId run;
  std::string error;  // JSON text of the CancelledError, also of a run that is cancelled at once
  Millis grace{0};    // 0: at once
};

struct CancelRequested {
  // Cancelled at once: without grace, or because nothing of the run could see it: no slice of it is
  // stored yet, it is paused, or it waits in a queue.
  bool over = false;
  WallTime deadline;           // else: when it is going to be cancelled
  Millis left{0};              // until then
  std::optional<Wake> root;    // it was waiting, and is runnable now
  std::optional<Wake> parent;  // over, and the run was a child task
};

struct Cancelling {
  WallTime deadline;
  std::string error;  // as it was asked for
};

struct CancelsDue {
  std::vector<TaskRunId> runs;     // asked to end, and still going on after their deadline
  std::optional<Millis> next_in;  // until the next deadline
};

class Cancellation {
 public:
  Cancellation() = default;
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;
  virtual ~Cancellation() = default;

  // Journals the request, cancels the run's open calls (no outcome of theirs is delivered any more)
  // and makes the root runnable. Asked again, it changes nothing but the deadline, and never
  // to a later one. Errors: run_not_found; conflict if terminal.
  virtual void request_cancel(CancelRequest, Done<CancelRequested>) = 0;
  // By a slice of this claim, which is stored, nobody waits for these calls of its run any more:
  // those still open are cancelled, their holders fenced, and nothing is delivered for them. Later
  // slices may be under way. But once the run was retried or resumed on other code the numbers may
  // be of other calls, or of some that are waited for: then nothing is done. Answers how many; 0
  // for an unknown run.
  virtual void drop_calls(Grant root, std::vector<std::int64_t> seqs, Done<std::int64_t>) = 0;
  // What the sweep has to cancel. Changes nothing that anybody sees.
  virtual void cancels_due(int limit, Done<CancelsDue>) = 0;
  // Of a run that was asked to end and has not.
  virtual void cancelling(TaskRunId, Done<std::optional<Cancelling>>) = 0;
};

}  // namespace sequential::storage
