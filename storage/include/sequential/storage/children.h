#pragma once
// Children: task runs that a call of another run (its parent) has started and waits for.
//
// The terms are those of Store (store.h). While its child is under way a call is `pending`, claimed
// by nobody, and due at kWaitsForChild, so that no sweep takes it up. The child's end, whatever it
// is, ends the call in the same transaction (Store::commit_slice, Store::cancel).
//
// A run that is asked to end or cancelled leaves a durable note for each of its unfinished
// children, and so does a call that ends or is removed while its child goes on; cancel_orphans
// works the notes off, on any node, as often as it likes. A note has the deadline of whoever left
// it: until then the child is asked to end (cancellation.h), and from then on cancelled.

#include <optional>
#include <vector>

#include "sequential/storage/records.h"
#include "sequential/storage/store.h"

namespace sequential::storage {

// The end of the year 9999: a call that waits for its child is never due.
inline constexpr WallTime kWaitsForChild{253'402'300'799'999};

struct ChildStart {
  Grant call;             // the claimed call that is to wait
  Submission submission;  // of the child; neither an idempotency key nor a parent of its own
  bool inherits_priority = true;  // the parent's instead of the submission's
  int depth_max = 200;            // runs above the child, up to the one nobody waits for
};

// Where a child hangs.
struct ChildLink {
  TaskRunId parent;
  StackRunId call;       // 0: a retry of the parent has removed it, or made it anew
  std::int64_t seq = 0;  // of the call, likewise
  int depth = 0;         // runs above it
};

struct OrphansCancelled {
  std::vector<TaskRunId> runs;  // cancelled now
  // Asked to end: how long each has (CancelRequested::left), and whether its root is runnable now.
  struct Asked {
    TaskRunId run;
    Millis left{0};
    std::optional<Wake> root;
  };
  std::vector<Asked> asked;
  bool more = false;  // there may be notes left
};

class Children {
 public:
  Children() = default;
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  // Starts the child and leaves the call waiting, in one transaction. If the call has a child that
  // is under way it only waits on (Submitted::existing); if its child has ended, the call is being
  // made anew, and so is the child. Errors: fenced; depth_limit; task_not_found.
  virtual void start_child(ChildStart, Done<Submitted>) = 0;

  // Cancels or asks to end at most so many runs that were left without the one that waited for
  // them. Their own children are noted in turn, so call it until there are none.
  virtual void cancel_orphans(int limit, Done<OrphansCancelled>) = 0;

  // nullopt: nobody's child.
  virtual void parent_of(TaskRunId, Done<std::optional<ChildLink>>) = 0;

 protected:
  ~Children() = default;
};

// What a run that was cancelled after its parent has as its error.
inline constexpr const char* kOrphanError =
    R"({"name":"CancelledError","code":"cancelled",)"
    R"("message":"the run was cancelled with the one that waited for it"})";

}  // namespace sequential::storage
