#pragma once
// RunEvents: streams of what happens to a run, as Server-Sent Events (docs/events.md).
//
// However many watch one run here, it is read once per wake-up: by its feed, from which their
// streams take what they have not sent yet. A stream that lags behind what the feed keeps reads
// its logs itself. News of changes is a hint; a feed looks again every `poll` without any.
//
// Threads:  any; a stream is used by its connection's coroutine.
// Blocking: never. No transaction is open between looks.
// Bounds:   `streams_max` streams; a feed keeps one page of logs.
// Lifetime: outlives every stream and the io_context's work.

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "http/stream.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/base/ids.h"
#include "sequential/storage/store.h"
#include "work/call_events.h"
#include "work/run_watch.h"

namespace sequential::server {

// How far a client has seen a run's events: the `id` of each.
struct EventCursor {
  std::int64_t log = 0;    // number of the last log entry
  std::int64_t state = 0;  // version of the state
  int status = 0;          // of the run, 0 = none seen
  bool with_calls = false;
  CallsSeen calls;

  std::string text() const;
};
// Also of a prefix of one: "12" is a client that has seen 12 log entries. Errors: invalid_field.
Result<EventCursor> parse_event_cursor(std::string_view text);

struct RunEventsOptions {
  int streams_max = 1'000;
  Millis heartbeat{15'000};
  Millis poll{1'000};
  Millis pace{50};  // between looks at one run
};

class RunFeed;

class RunEvents {
 public:
  RunEvents(boost::asio::io_context& io, storage::Store& store, const Clock& clock,
            RunEventsOptions options)
      : io_(io), store_(store), clock_(clock), options_(options) {}
  RunEvents(const RunEvents&) = delete;
  RunEvents& operator=(const RunEvents&) = delete;

  // A stream that goes on after `seen`, with calls if that says so. Null: the run is over, and this
  // client has seen its end.
  // Errors: run_not_found, overloaded, or what keeps the store from answering.
  boost::asio::awaitable<Result<std::shared_ptr<BodySource>>> open(TaskRunId run, EventCursor seen);

  // Something of this run may have changed.
  void changed(TaskRunId run);
  // Every stream says goodbye and ends; so does every later one.
  void stop();
  int streams() const { return streams_.load(); }
  std::int64_t looks() const { return looks_.load(); }

 private:
  friend class RunFeed;
  friend class RunEventStream;

  std::shared_ptr<RunFeed> enter(TaskRunId run);
  void leave(RunFeed& feed);
  boost::asio::awaitable<void> keep_up(std::shared_ptr<RunFeed> feed);
  boost::asio::awaitable<bool> look(RunFeed& feed);
  bool retire(const std::shared_ptr<RunFeed>& feed, bool last);

  boost::asio::io_context& io_;
  storage::Store& store_;
  const Clock& clock_;
  const RunEventsOptions options_;
  std::atomic<int> streams_{0};
  std::atomic<std::int64_t> looks_{0};
  std::atomic<bool> stopping_{false};
  RunWatch streams_wait_, feeds_wait_;
  std::mutex mutex_;
  std::unordered_map<TaskRunId, std::shared_ptr<RunFeed>> feeds_;  // guarded by mutex_
};

}  // namespace sequential::server
