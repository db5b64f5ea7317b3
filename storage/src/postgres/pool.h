#pragma once
// Connections, the threads that use them, and the bounded queue before them.
//
// A task with a key waits for those of its key that came before it: so transitions of one run never
// run side by side and keep their order, and those of different runs go on in parallel. No task
// runs on a caller's thread: a server that is slow or gone must not hold up whoever asks.
//
// A task is tried again, whole, when the server undid it because of others at work, and when the
// connection broke: then with `again`, so that a transition that was committed answers what it did.
//
// Threads: `post` any. A connection is used by one thread at a time.

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "postgres/link.h"

namespace sequential::storage::postgres {

struct Context;  // transitions.h

// One try of a task.
struct Try {
  Connection& db;
  const Context& context;
  std::int64_t token = 0;  // the same in every try
  bool again = false;      // it was sent before, and what became of it is not known
  int lock_ms = 0;
  bool prepare = true;

  Params head() const;  // now, lock_ms, token, again
  Answer<Rows> run(const Statement& statement, const Params& params) const {
    return db.run(statement, params, prepare);
  }
  // It is on disk, and about to be answered.
  void acknowledged(const Witness& witness) const;
  // The column: the task that has room in its queue now, if one has.
  void ring(const Rows& rows, int column) const;
};

class Task {
 public:
  explicit Task(std::uint64_t key);
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  virtual ~Task() = default;

  // Keeps the answer; may be called again. An error: nothing is kept.
  virtual std::optional<DbError> run(const Try& attempt) = 0;
  virtual void refuse(Error error) = 0;  // the answer is this error instead
  virtual void finish() = 0;             // gives the answer

 private:
  friend class Pool;
  const std::uint64_t key_;  // 0: waits for none
  const std::int64_t token_;
  MonoTime queued_{};
};

class Pool {
 public:
  // `writes`: refuses every task once the database turned out to have gone back in time.
  Pool(Link& link, const Context& context, int connections, int queue_max, bool writes);
  ~Pool();  // completes what is queued

  void post(std::unique_ptr<Task> task);

 private:
  using Line = std::deque<std::unique_ptr<Task>>;
  struct Session {  // a thread's
    std::unique_ptr<Connection> connection;
    std::condition_variable work;
    bool sleeping = false;  // and listed in sleeping_; guarded by mutex_
  };

  void loop();
  void done_with(std::uint64_t key);
  void wake_one();  // under mutex_
  void wake_all();  // under mutex_
  void run(Session& session, Task& task);
  bool reach(Session& session, Task& task, bool again);  // false: the task was refused
  bool patience_left(const Task& task, bool again, MonoTime now) const;
  void refuse_overdue();
  void pause(Millis length);

  Link& link_;
  const Context& context_;
  const std::size_t queue_max_;
  const bool writes_;

  std::mutex mutex_;
  std::condition_variable stop_;
  // All guarded by mutex_
  Line ready_;
  std::unordered_map<std::uint64_t, Line> busy_;  // keys under way, and who waits for each
  Line refused_;                                  // came when the queue was full
  std::size_t queued_ = 0;
  // The last to fall asleep is woken first: its connection's server process is the one whose caches
  // are warm. Going round all eight of them cost a third more of the server's processor time.
  std::vector<Session*> sleeping_;
  bool stopping_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace sequential::storage::postgres
