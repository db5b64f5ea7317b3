#include "sqlite/writer.h"

#include <algorithm>
#include <utility>

#include "sequential/base/fault.h"
#include "sequential/base/log.h"

namespace sequential::storage::sqlite {
namespace {

Error overloaded() {
  return {Errc::overloaded, "too many transitions wait for the database: try again later"};
}

Result<std::int64_t> read_integer(Connection& connection, const char* sql) {
  Statement statement(connection, sql);
  Cursor row = statement.query();
  const std::int64_t value = row.next() ? row.integer(0) : 0;
  if (connection.failed()) return connection.error();
  return value;
}

// The newest id given out: of a row that is there, or of those that `clear` has deleted.
Result<std::int64_t> high_id(Connection& connection, const char* table, const char* meta_key) {
  const std::string rows = std::string("SELECT coalesce(max(id), 0) FROM ") + table;
  const std::string meta =
      std::string("SELECT value FROM meta WHERE key = '") + meta_key + "'";
  SEQUENTIAL_TRY(const std::int64_t newest, read_integer(connection, rows.c_str()));
  SEQUENTIAL_TRY(const std::int64_t deleted, read_integer(connection, meta.c_str()));
  return std::max(newest, deleted);
}

}  // namespace

Result<std::unique_ptr<Writer>> Writer::open(std::unique_ptr<Connection> connection,
                                             std::unique_ptr<Connection> checkpoints,
                                             const Options& options, const Clock& clock) {
  std::unique_ptr<Writer> writer(
      new Writer(std::move(connection), std::move(checkpoints), options, clock));
  SEQUENTIAL_TRY(writer->load());
  Writer* const self = writer.get();
  sqlite3_wal_hook(self->connection_->handle(), &Writer::after_commit, self);
  writer->checkpoint_thread_ = std::thread([self] { self->checkpoint_loop(); });
  writer->write_thread_ = std::thread([self] { self->write_loop(); });
  return writer;
}

Writer::Writer(std::unique_ptr<Connection> connection, std::unique_ptr<Connection> checkpoints,
               const Options& options, const Clock& clock)
    : options_(options),
      clock_(clock),
      connection_(std::move(connection)),
      checkpoint_connection_(std::move(checkpoints)),
      session_(*connection_),
      checkpoint_at_(options.checkpoint_pages) {}

Writer::~Writer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    work_.notify_all();
  }
  if (write_thread_.joinable()) write_thread_.join();
  {
    const std::lock_guard lock(checkpoint_mutex_);
    checkpoint_stop_ = true;
    checkpoint_wanted_.notify_all();
  }
  if (checkpoint_thread_.joinable()) checkpoint_thread_.join();
  if (broken_ || connection_->failed()) return;
  set_synchronous(Flush::durable);
  session_.sql.set_meta.run("clean", 1);  // open.cpp looks at it
}

Result<void> Writer::load() {
  if (connection_->failed()) return connection_->error();  // a statement did not prepare
  SEQUENTIAL_TRY(ids_.function, high_id(*connection_, "task_functions", "task_function_id_high"));
  SEQUENTIAL_TRY(ids_.run, high_id(*connection_, "task_runs", "task_run_id_high"));
  SEQUENTIAL_TRY(ids_.stack_run, high_id(*connection_, "stack_runs", "stack_run_id_high"));
  Transaction tx = transaction();
  load_leases(tx);
  if (connection_->failed()) return connection_->error();
  return success();
}

Transaction Writer::transaction() { return {session_.sql, leases_, ids_, clock_}; }

void Writer::post(std::unique_ptr<Task> task, bool may_block) {
  if (may_block && run_here(task)) return;
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    const bool full = queue_.size() >= static_cast<std::size_t>(options_.queue_max);
    (full ? refused_ : queue_).push_back(std::move(task));
    wake = std::exchange(waiting_, false);
  }
  if (wake) work_.notify_one();
}

// Only if nothing is before it, so that transitions keep their order.
bool Writer::run_here(std::unique_ptr<Task>& task) {
  std::set<std::string> room;
  {
    const std::unique_lock session(session_mutex_, std::try_to_lock);
    if (!session.owns_lock()) return false;
    {
      const std::lock_guard lock(mutex_);
      if (!queue_.empty() || !refused_.empty()) return false;
    }
    run(std::span(&task, 1));
    room = std::exchange(room_, {});
  }
  task->finish();
  ring(std::move(room));
  return true;
}

// Without the session: whoever hears it may write.
void Writer::ring(std::set<std::string> room) {
  for (const auto& task : room) room_bell_.ring(task);
}

Writer::Counts Writer::counts() const {
  return {transitions_.load(), commits_.load(), durable_commits_.load()};
}

std::int64_t Writer::log_bytes() const {
  constexpr std::int64_t kFrameBytes = 4'096 + 24;
  return wal_pages_.load(std::memory_order_relaxed) * kFrameBytes;
}

void Writer::write_loop() {
  std::vector<std::unique_ptr<Task>> batch;
  std::deque<std::unique_ptr<Task>> refused;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      while (queue_.empty() && refused_.empty() && !stopping_ &&
             checkpoint_.load() != Checkpoint::copied) {
        waiting_ = true;
        work_.wait(lock);
      }
      waiting_ = false;
      if (queue_.empty() && refused_.empty() && stopping_) return;
    }
    std::unique_lock session(session_mutex_);
    {
      const std::lock_guard lock(mutex_);
      const std::size_t size =
          std::min(queue_.size(), static_cast<std::size_t>(options_.batch_max));
      for (std::size_t i = 0; i < size; ++i) {
        batch.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
      refused.swap(refused_);
    }
    for (auto& task : refused) {
      task->refuse(overloaded());
      task->finish();
    }
    refused.clear();
    if (!batch.empty()) run(batch);
    if (checkpoint_.load() == Checkpoint::copied) finish_checkpoint();
    std::set<std::string> room = std::exchange(room_, {});
    session.unlock();
    for (auto& task : batch) {
      task->finish();
      task.reset();
    }
    batch.clear();
    ring(std::move(room));
  }
}

void Writer::run(std::span<const std::unique_ptr<Task>> batch) {
  transitions_.fetch_add(static_cast<std::int64_t>(batch.size()), std::memory_order_relaxed);
  auto error = run_group(batch);
  if (!error) return;
  if (batch.size() == 1) return batch.front()->refuse(*std::move(error));
  for (std::size_t i = 0; i < batch.size(); ++i) {
    auto own = run_group(batch.subspan(i, 1));
    if (own) batch[i]->refuse(*std::move(own));
  }
}

// One transaction. An error means that nothing of it was stored.
std::optional<Error> Writer::run_group(std::span<const std::unique_ptr<Task>> group) {
  if (broken_) return broken_;
  const bool durable = std::any_of(group.begin(), group.end(), [](const auto& task) {
    return task->flush() == Flush::durable;
  });
  set_synchronous(durable ? Flush::durable : Flush::lazy);
  session_.begin.run();
  std::vector<FaultMarks> faults;
  std::set<std::string> room;
  bool cleared = false;
  for (const auto& task : group) {
    Transaction tx = transaction();
    tx.room = &room;
    task->apply(tx);
    cleared = cleared || tx.cleared;
    if (connection_->failed()) return roll_back(cleared);
#ifdef SEQUENTIAL_FAULT_POINTS
    faults.push_back(tx.faults);
#endif
  }
  for ([[maybe_unused]] const FaultMarks& marks : faults) {
    if (marks.before_commit != nullptr) FAULT_POINT(marks.before_commit);
  }
  session_.commit.run();
  if (connection_->failed()) return roll_back(cleared);
  leases_.keep();
  room_.merge(room);
  commits_.fetch_add(1, std::memory_order_relaxed);
  if (durable) durable_commits_.fetch_add(1, std::memory_order_relaxed);
  for (const FaultMarks& marks : faults) {
    for ([[maybe_unused]] const char* const mark : marks.after_commit) {
      if (mark != nullptr) FAULT_POINT(mark);
    }
  }
  return std::nullopt;
}

Error Writer::roll_back(bool rebuild_leases) {
  Error error = connection_->error();
  const int code = connection_->code();
  connection_->forgive();
  // Some errors have rolled back already.
  if (sqlite3_get_autocommit(connection_->handle()) == 0) session_.rollback.run();
  if (code == SQLITE_IOERR_FSYNC || connection_->failed()) {
    // After a failed flush the kernel may report success for pages it has dropped: what is on disk
    // is only known after a restart has read it.
    broken_ = Error(Errc::unavailable,
                    "the database file could not be flushed to disk; restart the server");
    log_error("database flush failed: refusing writes until a restart",
              {{"sqlite_code", static_cast<std::int64_t>(code)}});
    connection_->forgive();
    return *broken_;
  }
  if (rebuild_leases) {
    Transaction tx = transaction();
    load_leases(tx);
    connection_->forgive();
  } else {
    leases_.undo();
  }
  return error;
}

// Only between transactions. A flush of the log covers all that was written to it before, so a
// durable commit also puts the lazy ones before it on disk.
void Writer::set_synchronous(Flush flush) {
  if (flush == synchronous_) return;
  const char* const sql =
      flush == Flush::durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL";
  const int rc = sqlite3_exec(connection_->handle(), sql, nullptr, nullptr, nullptr);
  if (rc == SQLITE_OK) {
    synchronous_ = flush;
  } else if (flush == Flush::durable) {
    connection_->fail(rc);
  }
}

int Writer::after_commit(void* self, sqlite3* /*db*/, const char* /*name*/, int pages) {
  auto& writer = *static_cast<Writer*>(self);
  if (pages < writer.wal_pages_) writer.checkpoint_at_ = writer.options_.checkpoint_pages;
  writer.wal_pages_ = pages;  // fewer than before: the log was started over
  if (pages < writer.checkpoint_at_) return SQLITE_OK;
  auto idle = Checkpoint::idle;
  if (writer.checkpoint_.compare_exchange_strong(idle, Checkpoint::wanted)) {
    const std::lock_guard lock(writer.checkpoint_mutex_);
    writer.checkpoint_wanted_.notify_one();
  }
  return SQLITE_OK;
}

void Writer::checkpoint_loop() {
  for (;;) {
    {
      std::unique_lock lock(checkpoint_mutex_);
      checkpoint_wanted_.wait(lock, [this] {
        return checkpoint_stop_ || checkpoint_.load() == Checkpoint::wanted;
      });
      if (checkpoint_stop_) return;
    }
    // Its result does not matter: what it could not copy stays in the log, where it is as safe.
    sqlite3_wal_checkpoint_v2(checkpoint_connection_->handle(), nullptr,
                              SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    const std::lock_guard lock(mutex_);
    checkpoint_ = Checkpoint::copied;
    work_.notify_one();
  }
}

// Copies what was written during the big copy. If no reader is in its way, the next commit starts
// the log over; else the log grows until the next checkpoint.
void Writer::finish_checkpoint() {
  sqlite3_wal_checkpoint_v2(connection_->handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr,
                            nullptr);
  // If a reader keeps the log from starting over, trying again at each commit would not help it.
  checkpoint_at_ = wal_pages_ + options_.checkpoint_pages;
  checkpoint_ = Checkpoint::idle;
}

}  // namespace sequential::storage::sqlite
