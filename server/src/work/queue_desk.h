#pragma once
// QueueDesk: asks the store to admit runs that wait in queues (storage/queues.h) when something
// happened that may let them begin: a slot came free, a limit was changed, a time has come. All of
// it is in the database too, so what is missed here is found by the next sweep.
//
// Threads: any; every method locks.
// Bounds:  one request to the store per task at a time; at most kTasksMax tasks are remembered.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "sequential/base/clock.h"
#include "sequential/storage/store.h"
#include "work/timer.h"

namespace sequential::server {

class QueueDesk {
 public:
  struct Options {
    storage::Lease lease;
    std::function<bool()> handoff;    // whether what begins is claimed for this node
    std::function<int()> claims_max;  // how many at once
    std::function<void(storage::Wake)> begin;
  };
  QueueDesk(boost::asio::io_context& io, storage::Store& store, const Clock& clock,
            Options options);
  ~QueueDesk();
  QueueDesk(const QueueDesk&) = delete;
  QueueDesk& operator=(const QueueDesk&) = delete;

  // What was submitted with this may have gone into its queue. True if it surely waits to be
  // admitted: it would have been claimed otherwise.
  bool tell(const storage::Submission& submission, const storage::Submitted& submitted);
  // A run was submitted into the task's queue and, if it `waits`, there may be a time to wait for.
  void submitted(const std::string& task, bool waits);
  bool knows(const std::string& task);
  // Asks now, or again once the answer to the last request is there.
  void ask(const std::string& task);
  // Asks for every task of which runs wait or have ended.
  boost::asio::awaitable<void> sweep();
  void stop();

 private:
  struct Line {
    bool asking = false, again = false;
    MonoTime at = MonoTime::max();  // in timers_
  };
  using Entry = std::pair<MonoTime, std::string>;
  // What the store tells. Either may be gone before the other.
  struct Ear {
    std::mutex mutex;
    QueueDesk* desk;  // guarded by mutex
  };

  boost::asio::awaitable<void> serve(std::string task);
  void ask_in(const std::string& task, Millis in);
  void schedule();  // with mutex_ held
  void due();

  boost::asio::io_context& io_;
  storage::Store& store_;
  const Clock& clock_;
  const Options options_;
  std::mutex mutex_;
  Timer timer_;                           // guarded by mutex_
  MonoTime scheduled_ = MonoTime::max();  // guarded by mutex_
  std::set<Entry> timers_;                // guarded by mutex_
  // Of tasks known to have a queue; guarded by mutex_
  std::unordered_map<std::string, Line> lines_;
  bool stopped_ = false;  // guarded by mutex_
  const std::shared_ptr<Ear> ear_{new Ear{{}, this}};
};

}  // namespace sequential::server
