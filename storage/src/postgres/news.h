#pragma once
// Word between nodes of one database, by NOTIFY: what became runnable, which runs have ended. It is
// sent after the commit it tells of, many at a time and by a connection of its own, because NOTIFY
// inside a transition would make all commits of the database wait for each other (the server takes
// one lock for it until the commit is on disk). So it may get lost, and only speed may depend on
// it. Nothing is sent while no other node is heard.
// On the same connection, once a second: whether the database still has what it acknowledged
// (history.h). Not on the one that renews leases: where answers take long, that one has no time.
//
// Channel: sequential_<schema>. Payload: <sender> <word>…, a word being r<stack run id>,
// e<task run id>, or h for "hello, I am here".
//
// Threads: `tell_…` any. `listen` once. News is given on the thread of this class.

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "postgres/link.h"
#include "sequential/storage/store.h"

namespace sequential::storage::postgres {

class NewsWire {
 public:
  NewsWire(Link& link, const Clock& clock);
  ~NewsWire();

  void listen(News news);
  void tell_runnable(StackRunId id) { tell('r', id.value); }
  void tell_ended(TaskRunId run) { tell('e', run.value); }

 private:
  void tell(char kind, std::int64_t id);
  void loop();
  bool connect();
  bool listen_on(Connection& connection);  // false: the connection is gone
  bool exchange();                         // likewise
  bool send(const std::vector<std::string>& payloads);
  void receive(const std::string& payload);
  bool anybody_there() const;
  std::vector<std::string> take_payloads(bool hello);
  void nap(Millis length);
  void wake();

  Link& link_;
  const Clock& clock_;
  const std::string channel_, self_;
  const int wake_fd_;
  std::unique_ptr<Connection> connection_;  // the thread's
  MonoTime next_hello_{};                   // the thread's
  MonoTime next_look_{};                    // the thread's; into the history
  bool listening_ = false;                  // the thread's
  bool listen_refused_ = false;             // the thread's; said once
  std::atomic<std::int64_t> heard_until_ms_{0};  // monotonic; others are there until then

  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;          // guarded by mutex_
  bool woken_ = false;             // guarded by mutex_
  std::vector<std::string> outbox_;  // guarded by mutex_
  News news_;                      // guarded by mutex_
  std::thread thread_;
};

}  // namespace sequential::storage::postgres
