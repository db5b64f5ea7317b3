#pragma once
// Threads that read: each has a read-only connection and sees everything that was committed before
// its query began, without ever holding up the writer.

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "sequential/base/error.h"
#include "sqlite/connection.h"
#include "sqlite/queries.h"

namespace sequential::storage::sqlite {

class Readers {
 public:
  // A query to run. With an error, it must only pass it on.
  using Job = std::function<void(Queries&, const Error* refused)>;

  static Result<std::unique_ptr<Readers>> open(const std::string& path, int threads,
                                               int queue_max);
  ~Readers();  // completes what is queued

  void post(Job job);  // any thread

 private:
  explicit Readers(int queue_max) : queue_max_(queue_max) {}
  void loop(std::size_t index);

  const int queue_max_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Queries>> queries_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Job> queue_;    // guarded by mutex_
  std::deque<Job> refused_;  // guarded by mutex_; came when the queue was full
  bool stopping_ = false;    // guarded by mutex_

  std::vector<std::thread> threads_;
};

}  // namespace sequential::storage::sqlite
