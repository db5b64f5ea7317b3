// request_cancel, drop_calls, cancels_due: asking runs to end, and calls that nobody waits for.

#include "sequential/storage/cancellation.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "sequential/storage/queues.h"
#include "sqlite/store_templates.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {
namespace {

struct Head {
  RunStatus run_status = RunStatus::queued;
  StackRunId root;
  StackStatus status = StackStatus::pending;
  std::int64_t epoch = 0, call_count = 0, journal_length = 0, delivered_as = 0;
  std::int64_t open_calls = 0, open_seq = 1, rewound_epoch = 0;
  WallTime available_at, updated_at;
};

std::optional<Head> read_head(Transaction& tx, TaskRunId run) {
  Cursor row = tx.sql.cancellation.head.query(run);
  if (!row.next()) return std::nullopt;
  Head head;
  head.run_status = run_status_of(tx, row.view(0));
  head.root = row.id<StackRunId>(1);
  head.status = stack_status_of(tx, row.view(2));
  head.epoch = row.integer(3);
  head.call_count = row.integer(4);
  head.journal_length = row.integer(5);
  head.delivered_as = row.integer(6);
  head.open_calls = row.integer(7);
  head.open_seq = row.integer(8);
  head.available_at = row.time(9);
  head.updated_at = row.time(10);
  head.rewound_epoch = row.integer(11);
  return head;
}

// It was asked before: the deadline may come closer.
CancelRequested ask_again(Transaction& tx, const CancelRequest& request, WallTime now) {
  CancelRequested asked;
  asked.deadline = now + request.grace;
  std::optional<WallTime> before;  // unset: it was retried since
  {
    Cursor row = tx.sql.cancellation.deadline.query(request.run);
    tx.must(row.next());
    before = row.time_if(0);
  }
  if (before) asked.deadline = std::min(asked.deadline, *before);
  tx.must(tx.sql.cancellation.set_deadline.run(request.run, asked.deadline) == 1);
  note_orphans(tx, request.run, before ? Noted::asked_before : Noted::all);
  asked.left = asked.deadline - now;
  return asked;
}

CancelRequested journal_request(Transaction& tx, const CancelRequest& request, const Head& head,
                                WallTime now) {
  {
    Cursor open = tx.sql.open_stack_runs.query(request.run, head.open_seq);
    while (open.next()) tx.leases.drop(open.id<StackRunId>(0));
  }
  tx.sql.cancel_stack_runs.run(request.run, head.open_seq, now);
  // A slice under way is woken by its own commit, as for outcomes that are recorded meanwhile.
  const bool wakes = head.status == StackStatus::suspended_waiting_child;
  const WallTime at = std::max(now, head.updated_at);
  tx.must(tx.sql.cancellation.journal_root.run(
              head.root, head.epoch, stack_status_name(wakes ? StackStatus::pending : head.status),
              wakes ? now : head.available_at, head.journal_length + 1, at) == 1);
  CancelRequested asked;
  asked.deadline = now + request.grace;
  asked.left = request.grace;
  tx.sql.cancellation.insert.run(request.run, at, asked.deadline, request.error);
  note_orphans(tx, request.run, Noted::all);
  if (wakes) asked.root = Wake{request.run, head.root, std::nullopt};
  tx.faults = {"cancel.before_commit", {"cancel.after_commit"}};
  return asked;
}

}  // namespace

Result<CancelRequested> request_cancel(Transaction& tx, const CancelRequest& request) {
  const auto head = read_head(tx, request.run);
  // A run of which nothing is stored, that is paused or waits in a queue, could not see it.
  const bool at_once = !head || is_terminal(head->run_status) || request.grace.count() <= 0 ||
                       head->run_status == RunStatus::paused || head->call_count == 0 ||
                       head->available_at == kParked;
  CancelRequested asked;
  if (at_once) {
    SEQUENTIAL_TRY(asked.parent, cancel(tx, request.run, request.error));
    if (request.grace.count() > 0) {  // its children can see it all the same
      tx.sql.orphans_have_until.run(request.run, tx.clock.now() + request.grace);
    }
    asked.over = true;
  } else if (head->delivered_as > 0) {
    asked = ask_again(tx, request, tx.clock.now());
  } else {
    asked = journal_request(tx, request, *head, tx.clock.now());
  }
  return asked;
}

Result<std::int64_t> drop_calls(Transaction& tx, const Grant& root,
                                const std::vector<std::int64_t>& seqs) {
  const TaskRunId run = root.run;
  const auto head = read_head(tx, run);
  if (!head || head->open_calls == 0 || root.epoch <= head->rewound_epoch) return std::int64_t{0};
  const WallTime now = tx.clock.now();
  std::int64_t dropped = 0;
  for (const std::int64_t seq : seqs) {
    if (seq <= 0 || tx.failed()) continue;
    StackRunId id;
    {
      Cursor row = tx.sql.cancellation.open_call.query(run, seq);
      if (!row.next()) continue;
      id = row.id<StackRunId>(0);
    }
    tx.must(tx.sql.cancellation.cancel_call.run(id, now) == 1);
    tx.leases.drop(id);
    ++dropped;
  }
  if (dropped == 0) return dropped;
  const std::int64_t open = head->open_calls - dropped;
  std::int64_t open_seq = head->call_count + 1;
  StackRunId first;
  {
    Cursor row = tx.sql.first_open_call.query(run, head->open_seq);
    if (row.next()) {
      open_seq = row.integer(0);
      first = row.id<StackRunId>(1);
    }
  }
  const bool waits = head->status == StackStatus::suspended_waiting_child;
  tx.must(tx.sql.cancellation.calls_dropped.run(head->root, open, open_seq,
                                                waits && open == 1 ? first : StackRunId()) == 1);
  if (waits && open == 0) tx.must(tx.sql.cancellation.wake_root.run(head->root, now) == 1);
  if (open == 0 && is_terminal(head->run_status)) tx.sql.no_longer_straggling.run(run);
  return dropped;
}

Result<CancelsDue> cancels_due(Transaction& tx, int limit) {
  const WallTime now = tx.clock.now();
  CancelsDue due;
  std::vector<TaskRunId> over;  // ended meanwhile, or removed
  {
    Cursor row = tx.sql.cancellation.due.query(now, std::max(limit, 1));
    while (row.next()) {
      (row.integer(1) == 1 ? due.runs : over).push_back(row.id<TaskRunId>(0));
    }
  }
  for (const TaskRunId run : over) {
    if (tx.failed()) break;
    tx.sql.cancellation.set_deadline.run(run, Null{});
  }
  Cursor next = tx.sql.cancellation.next.query(now);
  if (next.next()) due.next_in = next.time(0) - now;
  return due;
}

// --- the store's methods ----------------------------------------------------------------------

void SqliteStore::request_cancel(CancelRequest request, Done<CancelRequested> done) {
  write(std::move(done), [request = std::move(request)](Transaction& tx) {
    return sqlite::request_cancel(tx, request);
  });
}

void SqliteStore::drop_calls(Grant root, std::vector<std::int64_t> seqs,
                             Done<std::int64_t> done) {
  auto apply = [root, seqs = std::move(seqs)](Transaction& tx) {
    return sqlite::drop_calls(tx, root, seqs);
  };
  // Lost with a crash, the calls go on to their end: nobody waits for that either.
  write(std::move(done), std::move(apply), How{Flush::lazy});
}

void SqliteStore::cancels_due(int limit, Done<CancelsDue> done) {
  write(std::move(done), [limit](Transaction& tx) { return sqlite::cancels_due(tx, limit); },
        How{Flush::lazy});
}

void SqliteStore::cancelling(TaskRunId run, Done<std::optional<Cancelling>> done) {
  read(std::move(done), [run](Queries& q) { return q.cancelling(run); });
}

}  // namespace sequential::storage::sqlite
