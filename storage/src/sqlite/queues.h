#pragma once
// The transitions about queues (transaction.h says what a transition is). The rules are those of
// the queues migration of migrations/postgres, function by function.

#include <optional>
#include <string>
#include <string_view>

#include "sequential/storage/queues.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {

// Whether runs submitted so go into the task's queue.
bool is_queued(Transaction& tx, const Submission& submission);
// A run was submitted into the queue: whether it may begin at once.
bool queue_enter(Transaction& tx, const Submission& submission, TaskRunId run, StackRunId root,
                 WallTime now);
// A run was retried, or is a fork: it goes into its task's queue if runs are in it that are
// submitted so now. Its root and its pending calls that are due wait with it; what waits for a
// time, or is under way, goes on. Whether it is in a queue.
bool queue_rewound(Transaction& tx, TaskRunId run, StackRunId root, WallTime now);
// Its slot or its place is free; the next admission counts that.
void queue_over(Transaction& tx, TaskRunId run);
void queue_clear(Transaction& tx);

Result<Admission> admit(Transaction& tx, const std::string& task,
                        const std::optional<Lease>& handoff, int claims_max);
Result<QueueLimits> change_queue(Transaction& tx, const std::string& task,
                                 const QueueChange& change);

}  // namespace sequential::storage::sqlite
