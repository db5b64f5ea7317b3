// The Queues of an SqliteStore.

#include <utility>

#include "sqlite/queues.h"
#include "sqlite/store_templates.h"

namespace sequential::storage::sqlite {
namespace {

constexpr int kDueMax = 10'000;

std::optional<QueueRate> rate_of(const Cursor& row, int column) {
  if (row.null(column)) return std::nullopt;
  return QueueRate{row.integer(column), Millis{row.integer(column + 1)}};
}

QueueInfo read_info(const Cursor& row, WallTime now) {
  QueueInfo info;
  info.task = row.text(0);
  info.limits.concurrency = row.integer_if(1);
  info.limits.key_concurrency = row.integer_if(2);
  info.limits.rate = rate_of(row, 3);
  info.limits.key_rate = rate_of(row, 5);
  info.running = row.integer(7);
  info.waiting = row.integer(8);
  if (const auto since = row.time_if(9)) info.oldest_wait = std::max(now - *since, Millis{0});
  return info;
}

constexpr std::string_view kInfo =
    "SELECT task, concurrency, key_concurrency, rate_starts, rate_ms, key_rate_starts,"
    " key_rate_ms, running, waiting, (SELECT r.since FROM queue_runs r WHERE r.task = queues.task"
    " AND r.state = 1 ORDER BY r.place LIMIT 1) FROM queues";

// What was read, or the error that stuck meanwhile.
template <class T>
Result<T> answer(Connection& db, T value) {
  if (!db.failed()) return value;
  Error error = db.error();
  db.forgive();
  return error;
}

Result<std::vector<QueueInfo>> list(Connection& db, const std::string& after, int limit,
                                    WallTime now) {
  Statement select(db, std::string(kInfo) +
      " WHERE task > ?1 AND (running > 0 OR waiting > 0 OR limited = 1"
      " OR key_concurrency IS NOT NULL OR key_rate_starts IS NOT NULL) ORDER BY task LIMIT ?2");
  std::vector<QueueInfo> found;
  Cursor row = select.query(after, limit);
  while (row.next()) found.push_back(read_info(row, now));
  return answer(db, std::move(found));
}

Result<QueueInfo> one(Connection& db, const std::string& task, WallTime now) {
  Statement select(db, std::string(kInfo) + " WHERE task = ?1");
  QueueInfo info;
  info.task = task;
  Cursor row = select.query(task);
  if (row.next()) info = read_info(row, now);
  return answer(db, std::move(info));
}

Result<std::vector<QueueKey>> keys(Connection& db, const std::string& task,
                                   const std::optional<std::string>& after, int limit) {
  Statement select(db,
      "SELECT key, running, waiting FROM queue_keys WHERE task = ?1 AND (?2 = 1 OR key > ?3)"
      " ORDER BY key LIMIT ?4");
  std::vector<QueueKey> found;
  Cursor row = select.query(task, after ? 0 : 1, after.value_or(""), limit);
  while (row.next()) found.push_back({row.text(0), row.integer(1), row.integer(2)});
  return answer(db, std::move(found));
}

Result<std::vector<QueueDue>> due_now(Connection& db) {
  Statement select(db,
      "SELECT task, EXISTS (SELECT 1 FROM queue_runs r WHERE r.task = queues.task AND r.state < 2)"
      " OR EXISTS (SELECT 1 FROM queue_runs r WHERE r.task = queues.task AND r.state > 2)"
      " FROM queues WHERE EXISTS (SELECT 1 FROM queue_runs r WHERE r.task = queues.task)"
      " ORDER BY task LIMIT ?1");
  std::vector<QueueDue> found;
  Cursor row = select.query(kDueMax);
  while (row.next()) found.push_back({row.text(0), row.integer(1) == 1});
  return answer(db, std::move(found));
}

Result<std::vector<TaskRunId>> waiting(Connection& db, const std::vector<TaskRunId>& runs) {
  Statement select(db, "SELECT 1 FROM queue_runs WHERE run = ?1 AND state = 1");
  std::vector<TaskRunId> found;
  for (const TaskRunId run : runs) {
    Cursor row = select.query(run);
    if (row.next()) found.push_back(run);
  }
  return answer(db, std::move(found));
}

}  // namespace

void SqliteStore::admit(std::string task, std::optional<Lease> handoff, int claims_max,
                        Done<Admission> done) {
  write(std::move(done),
        [task = std::move(task), handoff = std::move(handoff), claims_max](Transaction& tx) {
          return sqlite::admit(tx, task, handoff, claims_max);
        });
}

void SqliteStore::change_queue(std::string task, QueueChange change, Done<QueueLimits> done) {
  write(std::move(done), [task = std::move(task), change](Transaction& tx) {
    return sqlite::change_queue(tx, task, change);
  });
}

void SqliteStore::on_room(std::function<void(const std::string&)> listener) {
  writer_->room_bell().listen(std::move(listener));
}

void SqliteStore::queues_due(Done<std::vector<QueueDue>> done) {
  read(std::move(done), [](Queries& q) { return due_now(q.connection()); });
}

void SqliteStore::queue_list(std::string after, int limit, Done<std::vector<QueueInfo>> done) {
  read(std::move(done), [this, after = std::move(after), limit](Queries& q) {
    return list(q.connection(), after, limit, clock_.now());
  });
}

void SqliteStore::queue_of(std::string task, Done<QueueInfo> done) {
  read(std::move(done), [this, task = std::move(task)](Queries& q) {
    return one(q.connection(), task, clock_.now());
  });
}

void SqliteStore::queue_keys(std::string task, std::optional<std::string> after, int limit,
                             Done<std::vector<QueueKey>> done) {
  read(std::move(done),
       [task = std::move(task), after = std::move(after), limit](Queries& q) {
         return keys(q.connection(), task, after, limit);
       });
}

Result<bool> Queries::waits_in_queue(TaskRunId run) {
  SEQUENTIAL_TRY(const auto found, waiting(db_, {run}));
  return !found.empty();
}

void SqliteStore::waiting_in_queues(std::vector<TaskRunId> runs,
                                    Done<std::vector<TaskRunId>> done) {
  read(std::move(done),
       [runs = std::move(runs)](Queries& q) { return waiting(q.connection(), runs); });
}

}  // namespace sequential::storage::sqlite
