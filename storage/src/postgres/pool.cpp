#include "postgres/pool.h"

#include <algorithm>

#include "postgres/jitter.h"

namespace sequential::storage::postgres {
namespace {

constexpr int kConflictTries = 20;           // tries of one task that others' work undid,
constexpr Millis kConflictPatience{15'000};  // and not for longer than this
constexpr Millis kConflictPauseMax{200};
constexpr int kReconnectTries = 100;         // of one task, each with a pause after the first
// How long a task that was not sent waits for a connection: a restart of the server, not an outage.
constexpr Millis kConnectPatience{1'000};
constexpr Millis kReconnectPause{25};

Error overloaded() {
  return {Errc::overloaded, "too many transitions wait for the database: try again later"};
}

}  // namespace

Task::Task(std::uint64_t key) : key_(key), token_(random_token()) {}

Pool::Pool(Link& link, const Context& context, int connections, int queue_max, bool writes)
    : link_(link),
      context_(context),
      queue_max_(static_cast<std::size_t>(queue_max)),
      writes_(writes) {
  for (int i = 0; i < connections; ++i) threads_.emplace_back([this] { loop(); });
}

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_all();
    stop_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

void Pool::post(std::unique_ptr<Task> task) {
  task->queued_ = link_.clock().monotonic();
  const std::lock_guard lock(mutex_);
  if (queued_ >= queue_max_) {
    refused_.push_back(std::move(task));
    return wake_one();
  }
  ++queued_;
  if (task->key_ != 0) {
    const auto [line, fresh] = busy_.try_emplace(task->key_);
    if (!fresh) {
      line->second.push_back(std::move(task));
      return;  // whoever has the key takes it next
    }
  }
  ready_.push_back(std::move(task));
  wake_one();
}

void Pool::wake_one() {
  if (sleeping_.empty()) return;
  Session& session = *sleeping_.back();
  sleeping_.pop_back();
  session.sleeping = false;
  session.work.notify_one();
}

void Pool::wake_all() {
  while (!sleeping_.empty()) wake_one();
}

// The next of that key may go.
void Pool::done_with(std::uint64_t key) {
  if (key == 0) return;
  const std::lock_guard lock(mutex_);
  const auto line = busy_.find(key);
  if (line->second.empty()) {
    busy_.erase(line);
  } else {
    ready_.push_back(std::move(line->second.front()));
    line->second.pop_front();
    wake_one();
  }
}

void Pool::loop() {
  Session session;
  std::unique_lock lock(mutex_);
  for (;;) {
    while (ready_.empty() && refused_.empty()) {
      if (stopping_ && queued_ == 0) return;
      session.sleeping = true;
      sleeping_.push_back(&session);
      session.work.wait(lock, [&] { return !session.sleeping; });
    }
    const bool refuse = !refused_.empty();
    Line& line = refuse ? refused_ : ready_;
    std::unique_ptr<Task> task = std::move(line.front());
    line.pop_front();
    lock.unlock();
    if (refuse) {
      task->refuse(overloaded());
    } else {
      run(session, *task);
      done_with(task->key_);
      lock.lock();
      if (--queued_ == 0 && stopping_) wake_all();
      lock.unlock();
    }
    task->finish();
    task.reset();
    lock.lock();
  }
}

// To the end: the task has its answer.
void Pool::run(Session& session, Task& task) {
  bool again = false;
  int conflicts = 0;
  const MonoTime began = link_.clock().monotonic();
  for (int tries = 0; tries < kReconnectTries; ++tries) {
    if (!reach(session, task, again)) return;
    if (writes_ && link_.history().gone_back()) return task.refuse(link_.history().why());
    const Try attempt{*session.connection, context_,        task.token_,
                          again,               link_.lock_ms(), link_.prepare()};
    const auto error = task.run(attempt);
    if (!error) return;
    switch (error->fate) {
      case DbError::Fate::refused:
        return task.refuse(to_error(*error));
      case DbError::Fate::again:
        if (++conflicts == kConflictTries ||
            link_.clock().monotonic() - began > kConflictPatience) {
          return task.refuse(to_error(*error));
        }
        pause(jittered(std::min(Millis{1 << std::min(conflicts, 8)}, kConflictPauseMax)));
        break;
      case DbError::Fate::unprepared:
        link_.stop_preparing();
        break;
      case DbError::Fate::lost:
        again = true;
        session.connection.reset();
        break;
      case DbError::Fate::disconnected:
        session.connection.reset();
        break;
    }
  }
  task.refuse({Errc::unavailable, "the database's connections break again and again"});
}

bool Pool::reach(Session& session, Task& task, bool again) {
  if (session.connection && (!link_.is_current(*session.connection) ||
                             !session.connection->usable())) {
    session.connection.reset();
  }
  while (!session.connection) {
    auto opened = link_.connect();
    if (auto* connection = std::get_if<std::unique_ptr<Connection>>(&opened)) {
      session.connection = std::move(*connection);
      return true;
    }
    const DbError& error = std::get<DbError>(opened);
    if (!patience_left(task, again, link_.clock().monotonic())) {
      const std::string unknown =
          again ? "the connection broke, and whether this was stored is not known: " : "";
      task.refuse({Errc::unavailable, "the database cannot be reached: " + unknown +
                                          error.message});
      return false;
    }
    refuse_overdue();
    pause(jittered(kReconnectPause));
  }
  return true;
}

bool Pool::patience_left(const Task& task, bool again, MonoTime now) const {
  return now - task.queued_ < (again ? link_.options().unknown_patience : kConnectPatience);
}

// While there is no server, nobody else may get to it: what waits is told so.
void Pool::refuse_overdue() {
  std::vector<std::unique_ptr<Task>> overdue;
  {
    const std::lock_guard lock(mutex_);
    const MonoTime now = link_.clock().monotonic();
    const auto take_from = [&](Line& line) {
      while (!line.empty() && !patience_left(*line.front(), false, now)) {
        overdue.push_back(std::move(line.front()));
        line.pop_front();
        --queued_;
      }
    };
    for (auto& [key, line] : busy_) take_from(line);
    Line ready;
    ready.swap(ready_);
    for (auto& task : ready) {
      if (patience_left(*task, false, now)) {
        ready_.push_back(std::move(task));
        continue;
      }
      --queued_;
      if (task->key_ != 0) {  // the next of its key, if it is not overdue too, takes its place
        const auto line = busy_.find(task->key_);
        if (line->second.empty()) {
          busy_.erase(line);
        } else {
          ready_.push_back(std::move(line->second.front()));
          line->second.pop_front();
        }
      }
      overdue.push_back(std::move(task));
    }
    if (stopping_ && queued_ == 0) wake_all();
  }
  for (auto& task : overdue) {
    task->refuse({Errc::unavailable, "the database cannot be reached: try again later"});
    task->finish();
  }
}

void Pool::pause(Millis length) {
  std::unique_lock lock(mutex_);
  stop_.wait_for(lock, length, [] { return false; });
}

}  // namespace sequential::storage::postgres
