// Rewinds on SQLite. The statements are prepared when they are needed: people ask for this, rarely.

#include "sequential/storage/rewinds.h"

#include <algorithm>
#include <map>

#include "sqlite/queues.h"
#include "sqlite/rewound_signals.h"
#include "sqlite/store_templates.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {
namespace {

constexpr int kRunnableMax = 1'000;  // told to whoever fires hints; the sweep finds the rest

struct Point {
  StackRunId root;
  RunStatus status = RunStatus::queued;
  StackStatus root_status = StackStatus::pending;
  std::int64_t rewinds = 0, journal_length = 0, call_count = 0, log_count = 0;
  std::int64_t epoch = 0, attempt = 0;
  std::string lease_owner;
  std::optional<WallTime> started_at, root_started_at;
};

std::optional<Point> read_point(Transaction& tx, TaskRunId run) {
  Statement select{tx.sql.db,
      "SELECT t.root_stack_run_id, t.status, t.rewinds, t.started_at, r.status, r.journal_length,"
      " r.call_count, r.log_count, r.epoch, r.attempt, r.lease_owner, r.started_at"
      " FROM task_runs t JOIN stack_runs r ON r.id = t.root_stack_run_id WHERE t.id = ?1"};
  Cursor row = select.query(run);
  if (!row.next()) return std::nullopt;
  Point p;
  p.root = row.id<StackRunId>(0);
  p.status = run_status_of(tx, row.view(1));
  p.rewinds = row.integer(2);
  p.started_at = row.time_if(3);
  p.root_status = stack_status_of(tx, row.view(4));
  p.journal_length = row.integer(5);
  p.call_count = row.integer(6);
  p.log_count = row.integer(7);
  p.epoch = row.integer(8);
  p.attempt = row.integer(9);
  p.lease_owner = row.text(10);
  p.root_started_at = row.time_if(11);
  return p;
}

Error no_such_run(TaskRunId run) {
  return {Errc::run_not_found, "there is no task run " + std::to_string(run.value)};
}

Error wrong_state(TaskRunId run, RunStatus status) {
  return {Errc::conflict,
          "task run " + std::to_string(run.value) + " is " + std::string(run_status_name(status))};
}

Result<void> check(TaskRunId run, const Point& point, const RewindTo& to) {
  if (to.rewinds != point.rewinds) {
    return Error(Errc::conflict,
                 "task run " + std::to_string(run.value) + " was retried or resumed meanwhile");
  }
  if (to.through < 0 || to.through > point.journal_length || to.calls < 0 ||
      to.calls > point.call_count) {
    return Error(Errc::conflict, "task run " + std::to_string(run.value) + " has no such point");
  }
  return success();
}

// What can go on at once: the root, then calls by number.
Rewound goes_on(Transaction& tx, TaskRunId run, StackRunId root, WallTime now,
                bool queued = false) {
  Rewound rewound{run, root, false, {}, queued};
  Statement select{tx.sql.db,
      "SELECT id FROM stack_runs WHERE task_run_id = ?1 AND status = 'pending'"
      " AND available_at <= ?2 ORDER BY seq LIMIT ?3"};
  Cursor row = select.query(run, now, kRunnableMax);
  while (row.next()) rewound.runnable.push_back(row.id<StackRunId>(0));
  return rewound;
}

// The root is to be replayed from the start, whatever its newest slice had seen: so it has seen
// nothing. Counters of its calls are counted anew. What waits in a queue goes on waiting.
void write_rewound_root(Transaction& tx, TaskRunId run, const Point& point, std::int64_t length,
                        std::int64_t calls, std::int64_t logs, WallTime now) {
  Statement update{tx.sql.db,
      "UPDATE stack_runs SET status = 'pending', epoch = epoch + 1, attempt = 0,"
      " available_at = CASE WHEN available_at = ?7 THEN iif(EXISTS (SELECT 1 FROM queue_runs q"
      " WHERE q.run = ?6 AND q.state < 2), ?7, ?2)"
      " WHEN slice = 0 THEN max(available_at, ?2) ELSE ?2 END,"
      " slice = CASE WHEN ?3 = 0 THEN 0 ELSE slice END, updated_at = max(updated_at, ?2),"
      " ended_at = NULL, journal_length = ?3, delivered_through = 0, call_count = ?4,"
      " open_calls = (SELECT count(*) FROM stack_runs WHERE task_run_id = ?6 AND seq > 0"
      " AND ended_at IS NULL),"
      " open_seq = coalesce((SELECT min(seq) FROM stack_runs WHERE task_run_id = ?6 AND seq > 0"
      " AND ended_at IS NULL), ?4 + 1),"
      " log_count = ?5, crashes = 0, waiting_on_stack_run_id = NULL WHERE id = ?1"};
  tx.must(update.run(point.root, now, length, calls, logs, run, kParked) == 1);
  Statement checkpoint{tx.sql.db, "DELETE FROM checkpoints WHERE task_run_id = ?1"};
  checkpoint.run(run);
}

void write_rewound_run(Transaction& tx, TaskRunId run, const Point& point, const RewindTo& to,
                       WallTime now) {
  Statement update{tx.sql.db,
      "UPDATE task_runs SET status = ?2, task_function_id = ?3, task_version = ?4,"
      " rewinds = rewinds + 1, straggling = NULL, pause_reason = NULL, pause_detail = NULL,"
      " result = NULL, error = NULL, ended_at = NULL, updated_at = ?5,"
      " rewound_epoch = (SELECT r.epoch FROM stack_runs r WHERE r.id = root_stack_run_id)"
      " WHERE id = ?1"};
  tx.must(update.run(run, run_status_name(point.started_at ? RunStatus::running
                                                           : RunStatus::queued),
                     to.function, to.version, now) == 1);
}

bool function_is_there(Transaction& tx, TaskFunctionId id) {
  Cursor row = tx.sql.function_exists.query(id.value);
  return row.next();
}

Error no_such_function(TaskFunctionId id) {
  return {Errc::task_not_found, "no task function has the id " + std::to_string(id.value)};
}

Result<Rewound> resume_on(Transaction& tx, TaskRunId run, const RewindTo& to) {
  const auto point = read_point(tx, run);
  if (!point) return no_such_run(run);
  if (point->status != RunStatus::paused) return wrong_state(run, point->status);
  SEQUENTIAL_TRY(check(run, *point, {0, 0, 0, to.function, to.version, to.rewinds}));
  if (!function_is_there(tx, to.function)) return no_such_function(to.function);
  const WallTime now = tx.clock.now();
  if (point->root_status == StackStatus::processing) {
    write_attempt(tx, point->root, point->epoch, point->attempt, point->lease_owner,
                  point->root_started_at, now, "released", "");
  }
  tx.leases.drop(point->root);
  tx.sql.resume_paused_calls.run(run, 1, now);
  std::vector<std::pair<ClaimOrder, WallTime>> held;
  {
    Cursor open = tx.sql.open_stack_runs.query(run, 1);
    while (open.next()) {
      if (open.view(1) != stack_status_name(StackStatus::processing)) continue;
      held.push_back({{open.small(2), open.time(3), open.id<StackRunId>(0)}, open.time(4)});
    }
  }
  for (const auto& [order, until] : held) tx.leases.hold(order, until);
  write_rewound_run(tx, run, *point, to, now);
  write_rewound_root(tx, run, *point, point->journal_length, point->call_count, point->log_count,
                     now);
  tx.faults = {"rewind.before_commit", {"rewind.after_commit"}};
  return goes_on(tx, run, point->root, now);
}

// A call kept that failed or was cancelled after the point is made again.
constexpr const char* kAgain =
    " task_run_id = ?1 AND seq BETWEEN 1 AND ?2 AND ended_at IS NOT NULL"
    " AND (seq = ?4 OR (status <> 'completed'"
    " AND seq NOT IN (SELECT value FROM json_each(?5))))"
    " AND (delivered_as = 0 OR delivered_as > ?3)";

// As JSON, for statements.
std::string list_of(const std::vector<std::int64_t>& seqs) {
  std::string list = "[";
  for (const std::int64_t seq : seqs) {
    if (list.size() > 1) list += ',';
    list += std::to_string(seq);
  }
  return list + "]";
}

// The outcome of such a call is not known if its only try was begun and nobody heard of its end.
std::int64_t first_unknown(Transaction& tx, const Retry& retry) {
  Statement select{tx.sql.db,
      std::string("SELECT min(seq) FROM stack_runs WHERE delivery = 1"
                  " AND (outcome_unknown = 1 OR (status = 'cancelled' AND attempt > 0)) AND") +
          kAgain};
  const std::string dropped = list_of(retry.dropped);
  Cursor row = select.query(retry.run, retry.to.calls, retry.to.through, retry.call, dropped);
  return row.next() ? row.integer(0) : 0;
}

void remove_calls_after(Transaction& tx, TaskRunId run, std::int64_t calls) {
  {
    Cursor open = tx.sql.open_stack_runs.query(run, calls + 1);
    while (open.next()) tx.leases.drop(open.id<StackRunId>(0));
  }
  Statement attempts{tx.sql.db,
      "DELETE FROM attempts WHERE stack_run_id IN"
      " (SELECT id FROM stack_runs WHERE task_run_id = ?1 AND seq > ?2)"};
  attempts.run(run, calls);
  Statement rows{tx.sql.db, "DELETE FROM stack_runs WHERE task_run_id = ?1 AND seq > ?2"};
  rows.run(run, calls);
}

// Answers the new length of the journal.
std::int64_t deliver_later_results_again(Transaction& tx, TaskRunId run, std::int64_t through,
                                         WallTime now) {
  Statement update{tx.sql.db,
      "UPDATE stack_runs SET delivered_as = ?2 + c.n, ended_at = max(stack_runs.ended_at, ?3),"
      " updated_at = max(stack_runs.updated_at, ?3)"
      " FROM (SELECT id, row_number() OVER"
      " (ORDER BY delivered_as = 0, delivered_as, ended_at, seq) AS n FROM stack_runs"
      " WHERE task_run_id = ?1 AND seq > 0 AND status = 'completed'"
      " AND (delivered_as = 0 OR delivered_as > ?2)) c WHERE stack_runs.id = c.id"};
  return through + update.run(run, through, now);
}

void make_failed_calls_again(Transaction& tx, const Retry& retry, WallTime now) {
  const RewindTo& to = retry.to;
  const std::string dropped = list_of(retry.dropped);
  Statement keep{tx.sql.db,
      std::string("INSERT INTO attempts (stack_run_id, epoch, attempt, node, started_at, ended_at,"
                  " outcome, error) SELECT id, epoch, attempt, lease_owner, started_at,"
                  " coalesce(ended_at, updated_at), 'retried', error FROM stack_runs"
                  " WHERE attempt > 0 AND") + kAgain};
  keep.run(retry.run, to.calls, to.through, retry.call, dropped);
  // What was not begun keeps the time that it waits for. What waits for a signal looks at once
  // whether there is one, and waits for as long as it did at first.
  Statement reset{tx.sql.db,
      std::string("UPDATE stack_runs SET status = 'pending', epoch = epoch + 1,"
                  " available_at = CASE WHEN attempt = 0 AND NOT (service_name = 'signal'"
                  " AND method_name = 'wait') THEN max(available_at, ?6) ELSE ?6 END,"
                  " created_at = CASE WHEN service_name = 'signal' AND method_name = 'wait'"
                  " THEN ?6 ELSE created_at END,"
                  " attempt = 0, outcome_unknown = NULL, result = NULL, error = NULL,"
                  " delivered_as = 0, started_at = NULL, ended_at = NULL, updated_at = ?6 WHERE") +
          kAgain};
  reset.run(retry.run, to.calls, to.through, retry.call, dropped, now);
  Statement given_up{tx.sql.db,
      "UPDATE stack_runs SET delivered_as = 0 WHERE task_run_id = ?1 AND seq > 0"
      " AND ended_at IS NOT NULL AND status <> 'completed' AND delivered_as > ?2"
      " AND seq IN (SELECT value FROM json_each(?3))"};
  given_up.run(retry.run, to.through, dropped);
}

// Children that waited on calls which are gone, or are made again, have nobody any more who waits
// for them. Nor have those that are to be cancelled while their call goes on: it is made again,
// too. Such a call gets another id, so that the end of a former child finds nobody.
void let_children_go(Transaction& tx, const Retry& retry, WallTime now) {
  struct Former {
    TaskRunId child;
    StackRunId call;
    bool attached = false, ended = false;
  };
  std::vector<Former> former;
  {
    Statement select{tx.sql.db,
        "SELECT k.child_run, s.id, k.parent_call IS NOT NULL, t.ended_at IS NOT NULL"
        " FROM child_tasks k JOIN task_runs t ON t.id = k.child_run"
        " LEFT JOIN stack_runs s ON s.id = t.parent_stack_run_id"
        " WHERE k.parent_run = ?1 AND (s.id IS NULL"
        " OR (s.status = 'pending' AND s.available_at <= ?2)"
        " OR (s.ended_at IS NULL AND k.parent_call IS NOT NULL"
        " AND (EXISTS (SELECT 1 FROM child_cancels x WHERE x.child_run = t.id)"
        " OR EXISTS (SELECT 1 FROM cancellations x WHERE x.task_run_id = t.id"
        " AND x.deadline IS NOT NULL))))"};
    Cursor row = select.query(retry.run, now);
    while (row.next()) {
      former.push_back({row.id<TaskRunId>(0), row.id<StackRunId>(1), row.integer(2) == 1,
                        row.integer(3) == 1});
    }
  }
  Statement detach{tx.sql.db, "UPDATE child_tasks SET parent_call = NULL WHERE child_run = ?1"};
  Statement note{tx.sql.db,
      "INSERT OR IGNORE INTO child_cancels (child_run, parent_run, deadline) VALUES (?1, ?2, ?3)"};
  Statement child{tx.sql.db, "UPDATE task_runs SET parent_stack_run_id = NULL WHERE id = ?1"};
  Statement root{tx.sql.db,
      "UPDATE stack_runs SET parent_stack_run_id = NULL WHERE task_run_id = ?1 AND seq = 0"};
  Statement attempts{tx.sql.db, "UPDATE attempts SET stack_run_id = ?2 WHERE stack_run_id = ?1"};
  Statement call{tx.sql.db,
      "UPDATE stack_runs SET id = ?2, status = 'pending', epoch = epoch + 1, available_at = ?3,"
      " updated_at = ?3 WHERE id = ?1"};
  for (const Former& one : former) {
    if (tx.failed()) return;
    if (one.attached) {
      detach.run(one.child);
      if (!one.ended) note.run(one.child, retry.run, now + retry.grace);
    }
    child.run(one.child);
    root.run(one.child);
    if (!one.call) continue;
    const StackRunId id = tx.ids.next_stack_run();
    if (call.run(one.call, id, now) > 0) attempts.run(one.call, id);
    tx.leases.drop(one.call);
  }
}

// A request to end that came after the point is gone with it; one from before stays, and is over.
void forget_cancellation(Transaction& tx, TaskRunId run, StackRunId root, std::int64_t through) {
  Statement entry{tx.sql.db,
      "UPDATE stack_runs SET delivered_as = 0 WHERE id = ?1 AND delivered_as > ?2"};
  const bool gone = entry.run(root, through) > 0;
  Statement row{tx.sql.db,
      gone ? "DELETE FROM cancellations WHERE task_run_id = ?1"
           : "UPDATE cancellations SET deadline = NULL WHERE task_run_id = ?1"};
  row.run(run);
}

Result<Rewound> retry_run(Transaction& tx, const Retry& retry) {
  const TaskRunId run = retry.run;
  const RewindTo& to = retry.to;
  const auto point = read_point(tx, run);
  if (!point) return no_such_run(run);
  if (point->status != RunStatus::failed && point->status != RunStatus::cancelled) {
    return wrong_state(run, point->status);
  }
  SEQUENTIAL_TRY(check(run, *point, to));
  if (!function_is_there(tx, to.function)) return no_such_function(to.function);
  if (const auto seq = retry.unknown_again ? 0 : first_unknown(tx, retry); seq > 0) {
    return Error(Errc::outcome_unknown,
                 "whether call " + std::to_string(seq) + " took effect is not known");
  }
  const WallTime now = tx.clock.now();
  rewind_signals(tx, retry, kAgain, list_of(retry.dropped));
  remove_calls_after(tx, run, to.calls);
  // Before results get new positions: their old ones say which calls are meant.
  make_failed_calls_again(tx, retry, now);
  let_children_go(tx, retry, now);
  const std::int64_t length = deliver_later_results_again(tx, run, to.through, now);
  const std::int64_t logs = std::clamp<std::int64_t>(to.logs, 0, point->log_count);
  Statement forget_logs{tx.sql.db, "DELETE FROM task_logs WHERE task_run_id = ?1 AND n > ?2"};
  forget_logs.run(run, logs);
  write_rewound_run(tx, run, *point, to, now);
  write_rewound_root(tx, run, *point, length, to.calls, logs, now);
  forget_cancellation(tx, run, point->root, to.through);
  // Who waited for it has been told: it is retried for itself alone.
  Statement alone{tx.sql.db, "UPDATE child_tasks SET parent_call = NULL WHERE child_run = ?1"};
  alone.run(run);
  const bool queued = queue_rewound(tx, run, point->root, now);
  tx.faults = {"rewind.before_commit", {"rewind.after_commit"}};
  return goes_on(tx, run, point->root, now, queued);
}

// --- forks ---------------------------------------------------------------------------------------

std::optional<Result<Rewound>> known_fork(Transaction& tx, const Fork& fork) {
  if (fork.idempotency_key.empty()) return std::nullopt;
  Cursor row = tx.sql.run_by_key.query(fork.idempotency_key);
  if (!row.next()) return std::nullopt;
  if (row.view(5) != fork.request_hash) {
    return Error(Errc::idempotency_conflict, "this idempotency key belongs to task run " +
                                                 std::to_string(row.integer(0)) +
                                                 ", which was submitted with a different request");
  }
  return Rewound{row.id<TaskRunId>(0), row.id<StackRunId>(1), true, {}, false};
}

void copy_run(Transaction& tx, const Fork& fork, const Point& point, TaskRunId run,
              StackRunId root, WallTime now) {
  const auto input = fork.input ? std::optional(std::string_view(*fork.input)) : std::nullopt;
  const auto tags = fork.tags ? std::optional(std::string_view(*fork.tags)) : std::nullopt;
  Statement insert{tx.sql.db,
      "INSERT INTO task_runs (id, task_function_id, root_stack_run_id, status, priority,"
      " created_at, updated_at, task_name, task_version, idempotency_key, request_hash, queue_key,"
      " seed, tags, input, forked_from, forked_at)"
      " SELECT ?1, ?3, ?4, 'queued', coalesce(?5, priority), ?6, ?6, task_name, ?7, ?8, ?9,"
      " queue_key, seed, coalesce(?10, tags), coalesce(?11, input), id, ?12 FROM task_runs"
      " WHERE id = ?2"};
  tx.must(insert.run(run, fork.source, fork.to.function, root, fork.priority, now, fork.to.version,
                     TextOrNull{fork.idempotency_key}, TextOrNull{fork.request_hash}, tags, input,
                     fork.to.through) == 1);
  // created_at: when its time begins, for the replay.
  Statement insert_root{tx.sql.db,
      "INSERT INTO stack_runs (id, task_run_id, seq, status, epoch, attempt, priority,"
      " available_at, slice, delivered_as, created_at, updated_at, journal_length,"
      " delivered_through, call_count, open_calls, open_seq, log_count, crashes)"
      " SELECT ?1, ?2, 0, 'pending', 0, 0, t.priority, ?3, 0,"
      " iif(s.delivered_as <= ?5, s.delivered_as, 0), s.created_at, ?3, 0, 0, 0, 0, 1,"
      " 0, 0 FROM stack_runs s, task_runs t WHERE s.id = ?4 AND t.id = ?2"};
  tx.must(insert_root.run(root, run, now, point.root, fork.to.through) == 1);
  // A request to end from before the point is part of its past.
  Statement insert_request{tx.sql.db,
      "INSERT INTO cancellations (task_run_id, at, error) SELECT ?1, c.at, c.error"
      " FROM cancellations c JOIN stack_runs s ON s.id = ?3"
      " WHERE c.task_run_id = ?2 AND s.delivered_as BETWEEN 1 AND ?4"};
  insert_request.run(run, fork.source, point.root, fork.to.through);
}

// Each call gets the id that follows its root's by its number.
void copy_calls(Transaction& tx, const Fork& fork, TaskRunId run, StackRunId root, WallTime now) {
  Statement insert{tx.sql.db,
      "INSERT INTO stack_runs (id, task_run_id, seq, parent_stack_run_id, status, epoch, attempt,"
      " priority, available_at, lease_owner, slice, delivered_as, created_at, updated_at,"
      " started_at, ended_at, delivery, source_line, via, hop_us, resume_kind, resume_us,"
      " service_name, method_name, options, args, result, error)"
      " SELECT ?1 + c.seq, ?2, c.seq, ?1,"
      " iif(c.done, c.status, iif(c.dropped, 'cancelled', 'pending')), iif(c.done, epoch, 0),"
      " iif(c.done, attempt, 0), (SELECT priority FROM stack_runs WHERE id = ?1),"
      " iif(c.done, available_at, ?6), iif(c.done, lease_owner, NULL), slice,"
      " iif(c.done, delivered_as, 0), created_at, iif(c.done, updated_at, ?6),"
      " iif(c.done, started_at, NULL), iif(c.done, ended_at, iif(c.dropped, ?6, NULL)), delivery,"
      " source_line,"
      " iif(c.done, via, NULL), iif(c.done, hop_us, NULL), resume_kind, resume_us, service_name,"
      " method_name, options, args, iif(c.done, result, NULL), iif(c.done, error, NULL)"
      " FROM (SELECT *, delivered_as BETWEEN 1 AND ?5 AS done,"
      " seq <> ?8 AND seq IN (SELECT value FROM json_each(?7)) AS dropped FROM stack_runs"
      " WHERE task_run_id = ?3 AND seq BETWEEN 1 AND ?4) c"};
  const std::string dropped = list_of(fork.dropped);
  insert.run(root, run, fork.source, fork.to.calls, fork.to.through, now, dropped,
             fork.outcome ? fork.outcome->seq : 0);
  Statement wait{tx.sql.db,
      "UPDATE stack_runs SET available_at = ?3 WHERE task_run_id = ?1 AND seq = ?2"
      " AND status = 'pending'"};
  for (const auto& [seq, delay] : fork.delays) wait.run(run, seq, now + delay);
  Statement logs{tx.sql.db,
      "INSERT INTO task_logs (task_run_id, n, at, level, message, fields)"
      " SELECT ?1, n, at, level, message, fields FROM task_logs"
      " WHERE task_run_id = ?2 AND n <= ?3"};
  logs.run(run, fork.source, fork.to.logs);
}

// Answers the length of the journal.
std::int64_t add_outcome(Transaction& tx, const Fork& fork, TaskRunId run, WallTime now) {
  if (!fork.outcome) return fork.to.through;
  const EditedOutcome& edited = *fork.outcome;
  const std::string_view none;
  Statement update{tx.sql.db,
      "UPDATE stack_runs SET status = ?3, result = ?4, error = ?5, epoch = 1, delivered_as = ?6,"
      " ended_at = ?7, updated_at = ?7 WHERE task_run_id = ?1 AND seq = ?2 AND status = 'pending'"};
  tx.must(update.run(run, edited.seq,
                     stack_status_name(edited.failed ? StackStatus::failed
                                                     : StackStatus::completed),
                     TextOrNull{edited.failed ? none : std::string_view(edited.payload)},
                     TextOrNull{edited.failed ? std::string_view(edited.payload) : none},
                     fork.to.through + 1, now) == 1);
  return fork.to.through + 1;
}

bool waits_for_outcome(Transaction& tx, const Fork& fork) {
  if (!fork.outcome) return true;
  Statement select{tx.sql.db,
      "SELECT 1 FROM stack_runs WHERE task_run_id = ?1 AND seq = ?2 AND seq BETWEEN 1 AND ?3"
      " AND NOT delivered_as BETWEEN 1 AND ?4"};
  Cursor row = select.query(fork.source, fork.outcome->seq, fork.to.calls, fork.to.through);
  return row.next();
}

void count_fork(Transaction& tx, const Fork& fork, TaskRunId run, StackRunId root,
                std::int64_t length) {
  Statement update{tx.sql.db,
      "UPDATE stack_runs SET journal_length = ?3, call_count = ?4,"
      " slice = CASE WHEN ?3 = 0 THEN 0 ELSE (SELECT coalesce(max(slice), 0) FROM stack_runs"
      " WHERE task_run_id = ?2 AND seq > 0) END,"
      " open_calls = (SELECT count(*) FROM stack_runs WHERE task_run_id = ?2 AND seq > 0"
      " AND ended_at IS NULL),"
      " open_seq = coalesce((SELECT min(seq) FROM stack_runs WHERE task_run_id = ?2 AND seq > 0"
      " AND ended_at IS NULL), ?4 + 1),"
      " log_count = (SELECT count(*) FROM task_logs WHERE task_run_id = ?2) WHERE id = ?1"};
  tx.must(update.run(root, run, length, fork.to.calls) == 1);
}

Result<Rewound> fork_run(Transaction& tx, const Fork& fork) {
  if (auto known = known_fork(tx, fork)) return *std::move(known);
  const auto point = read_point(tx, fork.source);
  if (!point) return no_such_run(fork.source);
  SEQUENTIAL_TRY(check(fork.source, *point, fork.to));
  if (!function_is_there(tx, fork.to.function)) return no_such_function(fork.to.function);
  if (fork.to.calls > fork.calls_max) {
    return Error(Errc::payload_too_large,
                 "the fork would begin with " + std::to_string(fork.to.calls) + " calls");
  }
  if (!waits_for_outcome(tx, fork)) {
    return Error(Errc::conflict, "call " + std::to_string(fork.outcome->seq) +
                                     " does not wait for an outcome at that point");
  }
  SEQUENTIAL_TRY(check_webhooks(tx, fork));
  const WallTime now = tx.clock.now();
  const TaskRunId run = tx.ids.next_run();
  const StackRunId root = tx.ids.next_stack_run();
  tx.ids.stack_run += fork.to.calls;
  copy_run(tx, fork, *point, run, root, now);
  copy_calls(tx, fork, run, root, now);
  const std::int64_t length = add_outcome(tx, fork, run, now);
  fork_signals(tx, fork, run, now);
  count_fork(tx, fork, run, root, length);
  std::string tags;
  {
    Statement select{tx.sql.db, "SELECT tags FROM task_runs WHERE id = ?1"};
    Cursor row = select.query(run);
    if (row.next()) tags = row.text(0);
  }
  run_submitted(tx, run, tags, now);
  const bool queued = queue_rewound(tx, run, root, now);
  tx.faults = {"rewind.before_commit", {"rewind.after_commit"}};
  return goes_on(tx, run, root, now, queued);
}

}  // namespace

// --- the contract --------------------------------------------------------------------------------

void SqliteStore::resume_on(TaskRunId run, RewindTo to, Done<Rewound> done) {
  write(std::move(done),
        [run, to = std::move(to)](Transaction& tx) { return sqlite::resume_on(tx, run, to); });
}

void SqliteStore::retry_run(Retry retry, Done<Rewound> done) {
  write(std::move(done),
        [retry = std::move(retry)](Transaction& tx) { return sqlite::retry_run(tx, retry); });
}

void SqliteStore::fork_run(Fork fork, Done<Rewound> done) {
  write(std::move(done),
        [fork = std::move(fork)](Transaction& tx) { return sqlite::fork_run(tx, fork); });
}

void SqliteStore::origin(TaskRunId run, Done<RunOrigin> done) {
  read(std::move(done), [run](Queries& q) { return q.origin(run); });
}

void SqliteStore::failed_calls(TaskRunId run, int limit, Done<std::vector<FailedCall>> done) {
  read(std::move(done), [run, limit](Queries& q) { return q.failed_calls(run, limit); });
}

void SqliteStore::made_after(Grant call, Done<std::int64_t> done) {
  read(std::move(done), [call](Queries& q) { return q.made_after(call); });
}

}  // namespace sequential::storage::sqlite
