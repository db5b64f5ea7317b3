#include "sqlite/readers.h"

#include <utility>

namespace sequential::storage::sqlite {

Result<std::unique_ptr<Readers>> Readers::open(const std::string& path, int threads,
                                               int queue_max) {
  std::unique_ptr<Readers> readers(new Readers(queue_max));
  for (int i = 0; i < threads; ++i) {
    SEQUENTIAL_TRY(auto connection, Connection::open(path, Connection::Mode::read_only));
    SEQUENTIAL_TRY(connection->execute("PRAGMA query_only=ON"));
    readers->queries_.push_back(std::make_unique<Queries>(*connection));
    if (connection->failed()) {
      Error error = connection->error();
      readers->queries_.pop_back();  // statements go before their connection
      return error;
    }
    readers->connections_.push_back(std::move(connection));
  }
  Readers* const self = readers.get();
  for (std::size_t i = 0; i < readers->connections_.size(); ++i) {
    readers->threads_.emplace_back([self, i] { self->loop(i); });
  }
  return readers;
}

Readers::~Readers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    work_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  queries_.clear();
}

void Readers::post(Job job) {
  {
    const std::lock_guard lock(mutex_);
    const bool full = queue_.size() >= static_cast<std::size_t>(queue_max_);
    (full ? refused_ : queue_).push_back(std::move(job));
  }
  work_.notify_one();
}

void Readers::loop(std::size_t index) {
  const Error overloaded(Errc::overloaded,
                         "too many queries wait for the database: try again later");
  for (;;) {
    Job job;
    bool refuse = false;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [this] { return !queue_.empty() || !refused_.empty() || stopping_; });
      if (queue_.empty() && refused_.empty()) return;
      refuse = !refused_.empty();
      auto& from = refuse ? refused_ : queue_;
      job = std::move(from.front());
      from.pop_front();
    }
    job(*queries_[index], refuse ? &overloaded : nullptr);
  }
}

}  // namespace sequential::storage::sqlite
