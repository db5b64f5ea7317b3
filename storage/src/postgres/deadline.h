#pragma once
// Cuts connections whose server has stopped answering. libpqxx waits without end for an answer; a
// server that is stopped (or a pooler that is) keeps its sockets alive, so neither keepalives nor
// statement_timeout end that wait. One thread looks at all connections a few times a second.
//
// Threads: any. A watch is set and ended by the thread that waits.

#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "sequential/base/clock.h"

namespace sequential::storage::postgres {

class Deadlines {
 public:
  explicit Deadlines(const Clock& clock);
  ~Deadlines();
  Deadlines(const Deadlines&) = delete;
  Deadlines& operator=(const Deadlines&) = delete;

  // From construction to destruction `fd` is shut down once `until` has passed.
  class Watch {
   public:
    Watch(Deadlines& deadlines, int fd, Millis length);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    Deadlines& deadlines_;
  };

 private:
  struct Watched {
    int fd = -1;
    MonoTime until{};
  };
  void loop();

  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;                        // guarded by mutex_
  // By watch: libpq closes a connection that broke, and another thread may be given its descriptor
  // before the watch has ended. Guarded by mutex_.
  std::unordered_map<const Watch*, Watched> watched_;
  std::thread thread_;
};

}  // namespace sequential::storage::postgres
