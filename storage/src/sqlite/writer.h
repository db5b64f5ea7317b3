#pragma once
// The one thread that writes, and group commit: it takes everything that is queued, runs it in one
// transaction, and answers when that is committed, so that callers of one moment share a flush.
// A caller that may block writes by itself if nothing is queued or being written at that moment
// (waking the writer and being woken by it costs more than the transition).
//
// If SQLite reports an error, the whole group is rolled back and each transition runs alone, so
// that an error reaches only the one it belongs to.
//
// Checkpoints: a second thread copies the write-ahead log into the database while the writer goes
// on; what came meanwhile is copied by the writer between two groups, after which the log starts
// over. So the writer never waits for more than a small part of a checkpoint.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "room_bell.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {

// A queued transition. Not thread-safe: it is handed over.
class Task {
 public:
  explicit Task(Flush flush) : flush_(flush) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;

  virtual void apply(Transaction& tx) = 0;  // keeps the answer; may be called again
  virtual void refuse(Error error) = 0;     // the answer is this error instead
  virtual void finish() = 0;                // gives the answer
  Flush flush() const { return flush_; }

 private:
  const Flush flush_;
};

// A transition given as a function (Transaction&) → Result<T>, and a last touch to its value once
// it is committed.
template <class T, class Apply, class Touch>
class TransitionTask final : public Task {
 public:
  TransitionTask(Flush flush, Apply apply, Touch touch, Done<T> done)
      : Task(flush), apply_(std::move(apply)), touch_(std::move(touch)), done_(std::move(done)) {}

  void apply(Transaction& tx) override { result_.emplace(apply_(tx)); }
  void refuse(Error error) override { result_.emplace(std::move(error)); }
  void finish() override {
    if (result_->has_value()) touch_(apply_, *result_);
    done_(*std::move(result_));
  }

 private:
  Apply apply_;
  Touch touch_;
  Done<T> done_;
  std::optional<Result<T>> result_;
};

class Writer {
 public:
  struct Options {
    int queue_max = 0;
    int batch_max = 0;
    std::int64_t checkpoint_pages = 0;
  };
  struct Counts {  // of commits; for tests and benchmarks
    std::int64_t transitions = 0, commits = 0, durable_commits = 0;
  };

  // Both connections are to the same file; `connection` is migrated. Errors: those of reading what
  // a start needs.
  static Result<std::unique_ptr<Writer>> open(std::unique_ptr<Connection> connection,
                                              std::unique_ptr<Connection> checkpoints,
                                              const Options& options, const Clock& clock);
  ~Writer();  // completes what is queued

  // Any thread. With `may_block` the task may be run and finished before this returns.
  void post(std::unique_ptr<Task> task, bool may_block);
  Counts counts() const;
  RoomBell& room_bell() { return room_bell_; }
  std::int64_t log_bytes() const;  // of the write-ahead log that are in use

 private:
  struct Session {
    explicit Session(Connection& connection)
        : sql(connection),
          begin(connection, "BEGIN IMMEDIATE"),
          commit(connection, "COMMIT"),
          rollback(connection, "ROLLBACK") {}
    Statements sql;
    Statement begin, commit, rollback;
  };

  Writer(std::unique_ptr<Connection> connection, std::unique_ptr<Connection> checkpoints,
         const Options& options, const Clock& clock);
  Result<void> load();
  Transaction transaction();
  bool run_here(std::unique_ptr<Task>& task);
  void write_loop();
  void run(std::span<const std::unique_ptr<Task>> batch);
  std::optional<Error> run_group(std::span<const std::unique_ptr<Task>> group);
  void ring(std::set<std::string> room);
  Error roll_back(bool rebuild_leases);
  void set_synchronous(Flush flush);
  static int after_commit(void* self, sqlite3* db, const char* name, int pages);
  void checkpoint_loop();
  void finish_checkpoint();

  const Options options_;
  const Clock& clock_;
  const std::unique_ptr<Connection> connection_;
  const std::unique_ptr<Connection> checkpoint_connection_;

  std::mutex session_mutex_;  // taken before mutex_

  // Of whoever holds session_mutex_
  Session session_;
  LeaseTable leases_;
  IdSource ids_;
  Flush synchronous_ = Flush::durable;
  std::optional<Error> broken_;  // a flush failed: what is on disk is unknown until a restart
  std::atomic<std::int64_t> wal_pages_{0};  // in the log after the newest commit
  std::int64_t checkpoint_at_ = 0;  // pages in the log that call for a checkpoint
  std::set<std::string> room_;      // by what was committed, and not told yet

  std::atomic<std::int64_t> transitions_{0}, commits_{0}, durable_commits_{0};
  RoomBell room_bell_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<std::unique_ptr<Task>> queue_;    // guarded by mutex_
  std::deque<std::unique_ptr<Task>> refused_;  // guarded by mutex_; came when the queue was full
  bool stopping_ = false;                      // guarded by mutex_
  bool waiting_ = false;                       // guarded by mutex_; the writer sleeps

  enum class Checkpoint { idle, wanted, copied };
  std::mutex checkpoint_mutex_;
  std::condition_variable checkpoint_wanted_;
  std::atomic<Checkpoint> checkpoint_{Checkpoint::idle};
  bool checkpoint_stop_ = false;  // guarded by checkpoint_mutex_

  std::thread checkpoint_thread_;
  std::thread write_thread_;
};

}  // namespace sequential::storage::sqlite
