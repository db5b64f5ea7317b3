#pragma once
// The transitions: each is one statement, a function of migrations/postgres, and what its rows
// mean. They decide nothing: the server does, under row locks.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "postgres/pool.h"
#include "room_bell.h"
#include "sequential/storage/children.h"
#include "sequential/storage/search.h"
#include "sequential/storage/store.h"

namespace sequential::storage::postgres {

// The statements of transitions. A member's name is the function's, less its version.
struct Statements {
  explicit Statements(const std::string& schema);
  Statement publish, submit, claim, claim_next, commit_slice, commit_slice_shown, record_outcome,
      slice_lost, release, extend, cancel, pause, resume, due, clear, stack_run_ids, recover,
      start_child, orphans, cancel_orphan, queue_admit, queue_due, queue_change, queue_list,
      queue_keys, queue_waiting, keystore_version, keystore_put, keystore_delete, take_signal,
      send_signal, kept_signals, create_webhook, webhook, answer_webhook, remove_runs,
      put_retention, drop_retention, resume_on, retry_run, fork_run;
};

struct Context {
  Statements sql;
  const Clock& clock;
  History& history;
  RoomBell& room_bell;
  bool use_given_clock = false;
  std::int64_t now() const { return use_given_clock ? clock.now().ms : 0; }
};

template <class T>
using Answered = Answer<Result<T>>;

Answered<Published> publish(const Try&, const Publication&);
// `floor`: a task run id that was given out before the first try.
Answered<Submitted> submit(const Try&, const Submission&, TaskRunId floor);
Answered<std::optional<Work>> claim(const Try&, StackRunId, const Lease&);
Answered<std::optional<Work>> claim_next(const Try&, const Lease&);
// The texts of the calls' Work are left out: the caller moves them there. `ids`: one for each call,
// the same in every try.
Answered<SliceCommitted> commit_slice(const Try&, const SliceCommit&,
                                      const std::vector<std::int64_t>& ids);
// Ids of stack runs that nobody else has, and that no crash of the server brings back.
Answer<std::vector<std::int64_t>> new_stack_run_ids(const Try&, int count);
// Whether its commit must be on disk before the answer.
bool must_be_on_disk(const SliceCommit&);
Answered<OutcomeRecorded> record_outcome(const Try&, const OutcomeRecord&);
Answered<SliceLostResult> slice_lost(const Try&, const SliceLost&);
Answered<void> release(const Try&, const Grant&);
Answered<std::vector<Grant>> extend(const Try&, const std::vector<Grant>&, const Lease&);
Answered<std::optional<Wake>> cancel(const Try&, TaskRunId, const std::string& error);
Answered<void> pause(const Try&, TaskRunId, const std::string& reason,
                     const std::string& detail);
Answered<std::vector<StackRunId>> resume(const Try&, TaskRunId);
Answered<Submitted> start_child(const Try&, const ChildStart&);
// Each run in a transaction of its own.
Answered<OrphansCancelled> cancel_orphans(const Try&, int limit);
Answered<DueWork> due(const Try&, int limit);
// Ends the leases of a dead node; how many.
Answered<std::int64_t> recover(const Try&, const std::string& node);
Answered<std::int64_t> clear(const Try&);
Answered<Removed> remove_runs(const Try&, const std::vector<TaskRunId>&, WallTime ended_before,
                              int runs_max);
Answered<void> set_retention(const Try&, const Retention&);
Answered<std::int64_t> keystore_put(const Try&, const std::string& name_space,
                                    const std::string& key, const std::string& key_id,
                                    const std::function<std::string(std::int64_t)>& seal);
// `seen`: whether a try has found the entry; false before the first.
Answered<bool> keystore_delete(const Try&, const std::string& name_space,
                               const std::string& key, bool& seen);

// --- what they share -----------------------------------------------------------------------------

// Returns the rows of a statement, or from the enclosing function its error.
#define SEQUENTIAL_ROWS(rows, answer)                                                   \
  auto rows##_answer = (answer);                                                        \
  if (auto* failed = std::get_if<DbError>(&rows##_answer)) return std::move(*failed);   \
  const Rows& rows = std::get<Rows>(rows##_answer)

// The error that a function answered in its first two columns, if any.
std::optional<Error> told(const Rows& rows);

// Columns `from` on: epoch, attempt, lease_until, function, task_name, of a slice's root.
Work slice_work(const Rows& rows, int from, TaskRunId run, StackRunId root);

}  // namespace sequential::storage::postgres
