#include "sqlite/queues.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace sequential::storage::sqlite {
namespace {

constexpr int kSettledMax = 500;   // ended runs, and due ones, in one transition
constexpr int kAdmittedMax = 100;  // in one transition
constexpr int kLooksMax = kAdmittedMax + 1'000;
constexpr int kCallsMax = 1'000;  // told by one transition; the sweep finds the rest

enum State : int { kDelayed = 0, kWaiting = 1, kAdmitted = 2, kWaitingOver = 4, kAdmittedOver = 5 };

struct Queue {
  QueueLimits limits;
  std::int64_t running = 0;
  bool limited = false;
  bool rated() const { return limits.rate || limits.key_rate; }
  std::int64_t key_limit() const { return limits.key_concurrency.value_or(1); }
};

std::optional<QueueRate> rate_of(const Cursor& row, int column) {
  if (row.null(column)) return std::nullopt;
  return QueueRate{row.integer(column), Millis{row.integer(column + 1)}};
}

std::optional<Queue> read_queue(Transaction& tx, const std::string& task) {
  Cursor row = tx.sql.queue.read.query(task);
  if (!row.next()) return std::nullopt;
  Queue queue;
  queue.limits.concurrency = row.integer_if(0);
  queue.limits.key_concurrency = row.integer_if(1);
  queue.limits.rate = rate_of(row, 2);
  queue.limits.key_rate = rate_of(row, 4);
  queue.running = row.integer(6);
  queue.limited = row.integer(7) == 1;
  return queue;
}

std::int64_t step(Transaction& tx, const std::string& task, int running, int waiting) {
  tx.must(tx.sql.queue.count.run(task, running, waiting, 1) == 1);
  Cursor row = tx.sql.queue.steps.query(task);
  return row.next() ? row.integer(0) : 0;
}

void line_up(Transaction& tx, const std::string& task, const std::string& key, int priority,
             TaskRunId run, WallTime now) {
  const std::int64_t place = step(tx, task, 0, 1);
  tx.must(tx.sql.queue.line_up.run(run, place, now) == 1);
  tx.sql.queue.key_lines_up.run(task, key, place, priority);
}

// It counts from now on. The start bears the step, not the run: that may begin twice at a time.
void begin(Transaction& tx, const std::string& task, const std::string& key, int priority,
           bool rated, WallTime now) {
  const std::int64_t turn = step(tx, task, 1, 0);
  tx.sql.queue.key_begins.run(task, key, turn, priority);
  if (rated) tx.sql.queue.insert_start.run(task, key, now, -turn);
}

// When a rate lets the next one begin; nothing: now. No key: the task's rate.
std::optional<WallTime> rate_next(Transaction& tx, const std::string& task, const std::string* key,
                                  const std::optional<QueueRate>& rate, WallTime now) {
  if (!rate) return std::nullopt;
  const std::int64_t skip = rate->starts - 1;
  Cursor row = key == nullptr ? tx.sql.queue.nth_start.query(task, skip)
                              : tx.sql.queue.nth_key_start.query(task, *key, skip);
  if (!row.next()) return std::nullopt;
  const WallTime next = row.time(0) + rate->per;
  return next > now ? std::optional(next) : std::nullopt;
}

void left(Transaction& tx, const std::string& task, const std::string& key, int waited, int ran) {
  tx.sql.queue.count.run(task, -ran, -waited, 0);
  tx.sql.queue.key_settled.run(task, key, waited, ran);
  tx.sql.queue.drop_idle_key.run(task, key);
}

// What has ended gets out of the counters and lines. Whether there is more.
bool settle_ended(Transaction& tx, const std::string& task) {
  struct Sum {
    int waited = 0, ran = 0;
  };
  std::map<std::string, Sum> sums;
  std::vector<TaskRunId> gone;
  {
    Cursor row = tx.sql.queue.ended.query(task, kSettledMax);
    while (row.next()) {
      gone.push_back(row.id<TaskRunId>(0));
      Sum& sum = sums[row.text(1)];
      sum.waited += row.small(2) == kWaitingOver ? 1 : 0;
      sum.ran += row.small(2) == kAdmittedOver ? 1 : 0;
    }
  }
  for (const TaskRunId run : gone) tx.sql.queue.delete_run.run(run);
  for (const auto& [key, sum] : sums) left(tx, task, key, sum.waited, sum.ran);
  return gone.size() == kSettledMax;
}

// What the run's earlier time in the queue has left.
void settle_run(Transaction& tx, TaskRunId run) {
  std::string task, key;
  int state = 0;
  {
    Cursor row = tx.sql.queue.run_left.query(run);
    if (!row.next()) return;
    task = row.text(0);
    key = row.text(1);
    state = row.small(2);
  }
  tx.sql.queue.delete_run.run(run);
  left(tx, task, key, state == kWaitingOver ? 1 : 0, state == kAdmittedOver ? 1 : 0);
}

bool settle_due(Transaction& tx, const std::string& task, WallTime now) {
  struct Due {
    TaskRunId run;
    std::string key;
    int priority = 0;
  };
  std::vector<Due> due;
  {
    Cursor row = tx.sql.queue.delayed.query(task, now, kSettledMax);
    while (row.next()) due.push_back({row.id<TaskRunId>(0), row.text(1), row.small(2)});
  }
  for (const Due& one : due) line_up(tx, task, one.key, one.priority, one.run, now);
  return due.size() == kSettledMax;
}

// What has happened since, and what is due, gets into the counters and lines. Whether there is
// more.
bool settle(Transaction& tx, const std::string& task, const QueueLimits& limits, WallTime now) {
  const bool ended = settle_ended(tx, task);
  const bool due = settle_due(tx, task, now);
  tx.sql.queue.keys_due.run(task, now);
  if (limits.rate || limits.key_rate) {
    const Millis back = std::max(limits.rate ? limits.rate->per : Millis{0},
                                 limits.key_rate ? limits.key_rate->per : Millis{0});
    tx.sql.queue.drop_starts.run(task, WallTime{now.ms - back.count()});
    tx.sql.queue.starts_ahead.run(task, now);  // the clock was set back: they count as of now
  }
  return ended || due;
}

bool other_key_ready(Transaction& tx, const std::string& task) {
  Cursor row = tx.sql.queue.next_key.query(task);
  return row.next();
}

bool key_has_room(Transaction& tx, const Queue& queue, const std::string& task,
                  const std::string& key) {
  Cursor row = tx.sql.queue.key.query(task, key);
  if (!row.next()) return true;
  return row.integer(1) == 0 && (key.empty() || row.integer(0) < queue.key_limit());
}

bool may_begin(Transaction& tx, const Queue& queue, const Submission& submission, WallTime now) {
  const std::string& task = submission.task_name;
  const std::string& key = submission.queue_key;
  const QueueLimits& limits = queue.limits;
  if (submission.delay.count() > 0) return false;
  if (limits.concurrency && queue.running >= *limits.concurrency) return false;
  if (!key_has_room(tx, queue, task, key)) return false;
  if (queue.limited && other_key_ready(tx, task)) return false;
  if (rate_next(tx, task, nullptr, limits.rate, now)) return false;
  return key.empty() || !rate_next(tx, task, &key, limits.key_rate, now);
}

struct Chosen {
  std::string key;
  std::int64_t running = 0;
  int priority = 0;
};

std::optional<Chosen> next_key(Transaction& tx, const std::string& task) {
  Cursor row = tx.sql.queue.next_key.query(task);
  if (!row.next()) return std::nullopt;
  return Chosen{row.text(0), row.integer(1), row.small(2)};
}

// A wait for a signal lasts as long as it would have without the queue.
void unpark_calls(Transaction& tx, TaskRunId run, WallTime now) {
  Statement waits{tx.sql.db,
                  "UPDATE stack_runs SET created_at = ?2 WHERE task_run_id = ?1 AND seq > 0"
                  " AND ended_at IS NULL AND available_at = ?3 AND service_name = 'signal'"
                  " AND method_name = 'wait'"};
  waits.run(run, now, kParked);
  tx.sql.queue.unpark_calls.run(run, now, kParked);
}

// Makes the root runnable, claimed for `handoff`'s node if there is one. Nothing: the row is gone.
std::optional<Wake> wake_parked(Transaction& tx, const std::string& task, TaskRunId run,
                                StackRunId root_id, const std::optional<Lease>& handoff,
                                WallTime now) {
  RootState root;
  StackStatus status = StackStatus::pending;
  RunStatus run_status = RunStatus::queued;
  {
    Cursor row = tx.sql.queue.root.query(root_id.value);
    if (!row.next()) return std::nullopt;
    status = stack_status_of(tx, row.view(0));
    root.epoch = row.integer(1) + 1;
    root.attempt = row.integer(2) + 1;
    root.priority = row.small(3);
    run_status = run_status_of(tx, row.view(4));
    root.task_function_id = row.id<TaskFunctionId>(5);
    root.call_count = row.integer(6);
  }
  if (root.call_count > 0) unpark_calls(tx, run, now);
  root.id = root_id;
  root.run = run;
  root.task_name = task;
  Wake wake;
  wake.run = run;
  wake.root = root_id;
  // Paused: it begins when it is resumed.
  const bool can_run = status == StackStatus::pending && run_status != RunStatus::paused;
  if (!handoff || !can_run) {
    tx.must(tx.sql.queue.root_due.run(root_id, now) == 1);
    return wake;
  }
  const WallTime until = now + handoff->length;
  tx.must(tx.sql.queue.root_claimed.run(root_id, now, handoff->node, until) == 1);
  tx.sql.start_run.run(run, now);
  tx.leases.hold({root.priority, now, root_id}, until);
  wake.work = slice_work(root, until);
  return wake;
}

void read_calls(Transaction& tx, TaskRunId run, WallTime now, std::vector<StackRunId>& into) {
  Cursor row = tx.sql.queue.runnable_calls.query(run, now, kCallsMax - std::ssize(into));
  while (row.next()) into.push_back(row.id<StackRunId>(0));
}

// The first that waits in the key begins. Nothing: not now, and the key's row says why.
std::optional<Wake> admit_first(Transaction& tx, const std::string& task, const Chosen& chosen,
                                bool rated, const std::optional<Lease>& handoff, WallTime now) {
  TaskRunId run;
  StackRunId root;
  int priority = 0;
  {
    Cursor row = tx.sql.queue.first_waiting.query(task, chosen.key);
    if (row.next()) {
      run = row.id<TaskRunId>(0);
      root = row.id<StackRunId>(1);
      priority = row.small(2);
    }
  }
  if (!run) {  // those that are left have ended, and are settled soon
    tx.sql.queue.key_not_ready.run(task, chosen.key, Null{});
    return std::nullopt;
  }
  if (priority != chosen.priority) {
    tx.sql.queue.key_priority.run(task, chosen.key, priority);
    return std::nullopt;
  }
  auto wake = wake_parked(tx, task, run, root, handoff, now);
  if (!wake) {  // deleted by a program that knows of no queues
    tx.sql.queue.run_ended.run(run);
    return std::nullopt;
  }
  tx.must(tx.sql.queue.run_admitted.run(run, now) == 1);
  tx.sql.queue.count.run(task, 0, -1, 0);
  tx.sql.queue.key_admitted.run(task, chosen.key);
  begin(tx, task, chosen.key, priority, rated, now);
  return wake;
}

// Whether the key's own limits let one begin; if not its row says until when.
bool key_lets(Transaction& tx, const std::string& task, const Queue& queue, const Chosen& chosen,
              WallTime now) {
  if (chosen.key.empty()) return true;
  const bool full = chosen.running >= queue.key_limit();
  const auto next = rate_next(tx, task, &chosen.key, queue.limits.key_rate, now);
  if (!full && !next) return true;
  tx.sql.queue.key_not_ready.run(task, chosen.key, full ? std::nullopt : next);
  return false;
}

void earliest(std::optional<WallTime>& known, const std::optional<WallTime>& other) {
  if (other && (!known || *other < *known)) known = other;
}

std::optional<WallTime> min_of(Statement& select, const std::string& task) {
  Cursor row = select.query(task);
  return row.next() ? row.time_if(0) : std::nullopt;
}

std::int64_t rate_room(Transaction& tx, const std::string& task, const QueueRate& rate,
                       WallTime now) {
  Cursor row =
      tx.sql.queue.starts_since.query(task, WallTime{now.ms - rate.per.count()}, rate.starts);
  std::int64_t room = rate.starts;
  while (row.next()) --room;
  return room;
}

}  // namespace

bool is_queued(Transaction& tx, const Submission& submission) {
  if (!submission.queue_key.empty()) return true;
  Cursor row = tx.sql.queue.limited.query(submission.task_name);
  return row.next();
}

bool queue_enter(Transaction& tx, const Submission& submission, TaskRunId run, StackRunId root,
                 WallTime now) {
  const std::string& task = submission.task_name;
  tx.sql.queue.make.run(task, now);
  auto queue = read_queue(tx, task);
  if (!queue) return false;  // an error, and it sticks
  settle(tx, task, queue->limits, now);
  queue = read_queue(tx, task);
  if (!queue) return false;
  const bool delayed = submission.delay.count() > 0;
  const bool free = may_begin(tx, *queue, submission, now);
  const std::int64_t place = delayed ? (now + submission.delay).ms : 0;
  tx.sql.queue.insert_run.run(run, root, place, now, submission.priority,
                              delayed ? kDelayed
                              : free  ? kAdmitted
                                      : kWaiting,
                              task, submission.queue_key);
  if (free) {
    begin(tx, task, submission.queue_key, submission.priority, queue->rated(), now);
  } else if (!delayed) {
    line_up(tx, task, submission.queue_key, submission.priority, run, now);
  }
  return free;
}

bool queue_rewound(Transaction& tx, TaskRunId run, StackRunId root, WallTime now) {
  unpark_calls(tx, run, now);  // cancelled while it waited, it has left them so
  Submission entry;
  {
    Cursor row = tx.sql.queue.rewound.query(run);
    if (!row.next()) return false;  // an error, and it sticks
    entry.task_name = row.text(0);
    entry.queue_key = row.text(1);
    entry.priority = row.small(2);
    if (row.integer(4) == 0) entry.delay = std::max(row.time(3) - now, Millis{0});
  }
  if (!is_queued(tx, entry)) return false;
  settle_run(tx, run);
  const bool free = queue_enter(tx, entry, run, root, now);
  tx.must(tx.sql.queue.run_enters.run(run) == 1);
  tx.must(tx.sql.queue.root_enters.run(root, free ? now : kParked) == 1);
  if (!free) tx.sql.queue.park_calls.run(run, now, kParked);
  return true;
}

void queue_over(Transaction& tx, TaskRunId run) {
  if (tx.sql.queue.run_over.run(run) == 0 || tx.room == nullptr) return;
  Cursor row = tx.sql.queue.task_of.query(run);
  if (row.next()) tx.room->insert(row.text(0));
}

void queue_clear(Transaction& tx) {
  tx.sql.queue.clear_runs.run();
  tx.sql.queue.clear_keys.run();
  tx.sql.queue.clear_starts.run();
  tx.sql.queue.clear_counts.run();
}

Result<Admission> admit(Transaction& tx, const std::string& task,
                        const std::optional<Lease>& handoff, int claims_max) {
  Admission admission;
  auto queue = read_queue(tx, task);
  if (!queue) return admission;
  const WallTime now = tx.clock.now();
  admission.more = settle(tx, task, queue->limits, now);
  queue = read_queue(tx, task);
  if (!queue) return admission;
  const QueueLimits& limits = queue->limits;
  auto& admitted = admission.admitted;
  std::optional<WallTime> next;
  std::int64_t room = limits.rate ? rate_room(tx, task, *limits.rate, now) : kAdmittedMax;
  for (int looks = 0; !tx.failed(); ++looks) {
    if (admitted.size() >= kAdmittedMax || looks == kLooksMax) {
      admission.more = true;
      break;
    }
    if (limits.concurrency && queue->running >= *limits.concurrency) break;
    const auto chosen = next_key(tx, task);
    if (!chosen) break;
    if (room <= 0) {
      next = rate_next(tx, task, nullptr, limits.rate, now);
      break;
    }
    if (!key_lets(tx, task, *queue, *chosen, now)) continue;
    const bool claims = admitted.size() < static_cast<std::size_t>(std::max(claims_max, 0));
    auto wake =
        admit_first(tx, task, *chosen, queue->rated(), claims ? handoff : std::nullopt, now);
    if (!wake) continue;
    ++queue->running;
    --room;
    read_calls(tx, wake->run, now, admission.calls);
    admitted.push_back(*std::move(wake));
  }
  earliest(next, min_of(tx.sql.queue.next_not_before, task));
  earliest(next, min_of(tx.sql.queue.next_delayed, task));
  if (next) admission.next_in = *next - now;
  tx.faults = {"queue.before_admit", {"queue.after_admit"}};
  return admission;
}

Result<QueueLimits> change_queue(Transaction& tx, const std::string& task,
                                 const QueueChange& change) {
  const WallTime now = tx.clock.now();
  tx.sql.queue.make.run(task, now);
  auto queue = read_queue(tx, task);
  if (!queue) return QueueLimits{};  // an error, and it sticks
  QueueLimits& limits = queue->limits;
  if (change.concurrency) limits.concurrency = change.to.concurrency;
  if (change.key_concurrency) limits.key_concurrency = change.to.key_concurrency;
  if (change.rate) limits.rate = change.to.rate;
  if (change.key_rate) limits.key_rate = change.to.key_rate;
  const auto starts = [](const std::optional<QueueRate>& rate) {
    return rate ? std::optional(rate->starts) : std::nullopt;
  };
  const auto per = [](const std::optional<QueueRate>& rate) {
    return rate ? std::optional<std::int64_t>(rate->per.count()) : std::nullopt;
  };
  const bool limited = limits.concurrency || limits.rate;
  tx.must(tx.sql.queue.change.run(task, limits.concurrency, limits.key_concurrency,
                                  starts(limits.rate), per(limits.rate), starts(limits.key_rate),
                                  per(limits.key_rate), limited ? 1 : 0, now) == 1);
  if (!queue->rated()) tx.sql.queue.drop_starts.run(task, kParked);
  tx.sql.queue.judge_keys.run(task);  // each is judged anew by the next admission
  return limits;
}

}  // namespace sequential::storage::sqlite
