#include "work/run_events.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <charconv>
#include <chrono>
#include <deque>
#include <exception>
#include <optional>
#include <tuple>
#include <utility>

#include "async.h"
#include "http/watched_source.h"
#include "routes/render.h"
#include "sequential/base/log.h"
#include "sequential/storage/run_states.h"
#include "work/processor.h"
#include "work/timer.h"

namespace sequential::server {
namespace {

constexpr int kLogPage = 200;                  // entries that one look reads, and a feed keeps
constexpr std::size_t kKeptBytes = 256 << 10;  // of their messages
constexpr int kLagPage = 32;  // entries that a stream that lags behind reads at a time
constexpr Millis kPollMax{15'000};             // between looks at a run of which nothing is heard
constexpr std::size_t kPieceBytes = 64 << 10;  // of one piece of a stream, about
constexpr std::int64_t kReturnMs = 1'000;      // a client comes back after this, give or take half

using RunLookAnswer = Result<storage::RunLook>;

// One event. A line's end within the data, which is white space in JSON, begins a line more.
std::string event(std::string_view name, const EventCursor& at, std::string_view data) {
  std::string out = "event: " + std::string(name) + "\nid: " + at.text() + "\ndata: ";
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (data[i] != '\n' && data[i] != '\r') {
      out += data[i];
      continue;
    }
    if (data[i] == '\r' && i + 1 < data.size() && data[i + 1] == '\n') ++i;
    out += "\ndata: ";
  }
  return out + "\n\n";
}

std::string goodbye(std::string_view reason, double spread) {
  const auto after = kReturnMs / 2 + static_cast<std::int64_t>(spread * kReturnMs);
  return "event: bye\nretry: " + std::to_string(after) + "\ndata: {\"reason\":\"" +
         std::string(reason) + "\"}\n\n";
}

int status_mark(storage::RunStatus status) { return static_cast<int>(status) + 1; }

void log_escaped(const std::exception_ptr& escaped) {
  if (!escaped) return;
  try {
    std::rethrow_exception(escaped);
  } catch (const std::exception& error) {
    log_error("an event feed ended by an exception", {{"what", error.what()}});
  }
}

}  // namespace

std::string EventCursor::text() const {
  std::string out =
      std::to_string(log) + "." + std::to_string(state) + "." + std::to_string(status);
  if (!with_calls) return out;
  out += "." + std::to_string(calls.calls) + "." + std::to_string(calls.outcomes);
  if (calls.at == 0) return out;
  return out + "." + std::to_string(calls.at) + "." + std::to_string(calls.through);
}

Result<EventCursor> parse_event_cursor(std::string_view text) {
  std::array<std::int64_t, 7> parts{};
  std::size_t count = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  bool good = text.empty();
  while (at != end && count < parts.size()) {
    const auto [stop, error] = std::from_chars(at, end, parts[count]);
    if (error != std::errc{} || parts[count] < 0) break;
    ++count;
    good = stop == end;
    if (good || *stop != '.') break;
    at = stop + 1;
  }
  if (!good || parts[2] > status_mark(storage::RunStatus::cancelled)) {
    return Error{Errc::invalid_field,
                 "after and Last-Event-ID must be the id of an event of this run's stream, or the "
                 "number of the last log entry seen",
                 "after"};
  }
  EventCursor cursor;
  cursor.log = parts[0];
  cursor.state = parts[1];
  cursor.status = static_cast<int>(parts[2]);
  cursor.calls = {parts[3], parts[4], parts[5], parts[6]};
  return cursor;
}

// What all streams of one run share.
class RunFeed {
 public:
  explicit RunFeed(TaskRunId id) : run(id) {}

  const TaskRunId run;
  std::atomic<bool> stale{true};  // something may have changed since the newest look began
  int streams = 0;                // guarded by RunEvents::mutex_

  std::mutex mutex;
  std::int64_t looks_begun = 0, looks_done = 0;  // guarded, like all below
  std::optional<Error> failure;                  // of the newest look
  storage::RunLook newest;                       // its logs are in `logs`
  std::deque<storage::LogEntry> logs;            // without a gap, up to logs_through
  std::int64_t logs_through = 0;
  std::string end;    // data of the last event, once the run is over
  bool gone = false;  // the run was deleted
  bool over = false;  // there will be no further look

  // The number of the next look to begin.
  std::int64_t next_look() {
    const std::lock_guard lock(mutex);
    return looks_begun + 1;
  }
  // How that look, or a later one, went; nothing as long as there was none.
  std::optional<Result<void>> looked(std::int64_t wanted) {
    const std::lock_guard lock(mutex);
    if (looks_done < wanted && !over) return std::nullopt;
    if (failure) return Result<void>(*failure);
    return success();
  }
  // How far the newest look that came through has got; what it differs in has changed.
  std::tuple<std::int64_t, std::int64_t, int, bool> reached() {
    const std::lock_guard lock(mutex);
    return {logs_through, newest.state.version, static_cast<int>(newest.run.status),
            failure.has_value()};
  }
  // The log entry after which to look.
  std::int64_t begin_look() {
    stale = false;
    const std::lock_guard lock(mutex);
    ++looks_begun;
    return logs_through;
  }
  // `last`: the data of the last event, if the run is over. True if no further look is worth it.
  bool end_look(RunLookAnswer found, std::int64_t after, std::string last) {
    const std::lock_guard lock(mutex);
    ++looks_done;
    failure.reset();
    if (found.has_error()) {
      failure = found.error();
      gone = found.error().code == Errc::run_not_found;
      return gone;
    }
    take(std::move(found).value(), after);
    end = std::move(last);
    return !end.empty();
  }

 private:
  void take(storage::RunLook look, std::int64_t asked_after) {
    // More came than a page holds, or fewer are there than were: begin anew with the newest. A
    // stream that lacks what was between reads it itself.
    const std::int64_t last = look.logs.empty() ? asked_after : look.logs.back().n;
    if (last < look.run.log_count || look.run.log_count < logs_through) {
      logs.clear();
      bytes_ = 0;
      logs_through = look.run.log_count;
    } else {
      for (auto& entry : look.logs) {
        bytes_ += entry.message.size();
        logs.push_back(std::move(entry));
      }
      while (logs.size() > kLogPage || (bytes_ > kKeptBytes && !logs.empty())) {
        bytes_ -= logs.front().message.size();
        logs.pop_front();
      }
      logs_through = last;
    }
    look.logs.clear();
    newest = std::move(look);
  }

  std::size_t bytes_ = 0;  // of the messages in `logs`; guarded by mutex
};

class RunEventStream final : public WatchedSource {
 public:
  RunEventStream(RunEvents& events, std::shared_ptr<RunFeed> feed, EventCursor seen)
      : events_(events), feed_(std::move(feed)), seen_(seen), trail_(seen.calls) {}
  ~RunEventStream() override {
    events_.leave(*feed_);
    events_.streams_.fetch_sub(1);
  }

  // Waits for a look begun after this was called. Errors: that look's.
  net::awaitable<Result<void>> first_look() {
    const std::int64_t wanted = feed_->next_look();
    events_.changed(feed_->run);
    while (!events_.stopping_) {
      const auto ticket =
          events_.streams_wait_.enter(co_await net::this_coro::executor, feed_->run,
                                      events_.clock_.monotonic() + events_.options_.poll);
      auto looked = feed_->looked(wanted);
      if (looked) co_return *std::move(looked);
      co_await ticket->wait();
    }
    co_return success();
  }

  // This client has been told how the run ended.
  bool nothing_left() {
    const std::lock_guard lock(feed_->mutex);
    if (seen_.with_calls && trail_.behind(feed_->newest.run)) return false;
    return !feed_->end.empty() && seen_.status == status_mark(feed_->newest.run.status) &&
           seen_.log >= feed_->newest.run.log_count;
  }

  void abandon() override {
    over_ = true;
    events_.streams_wait_.ended(feed_->run);  // the others find nothing new
  }

  net::awaitable<std::string> next() override {
    const MonoTime silent_until = events_.clock_.monotonic() + events_.options_.heartbeat;
    while (!over_) {
      if (events_.stopping_) co_return say_goodbye("stopping");
      const auto ticket =
          events_.streams_wait_.enter(co_await net::this_coro::executor, feed_->run, silent_until);
      Piece piece = take();
      if (piece.logs_missing) {
        piece.text = co_await read_logs(piece.logs_missing);
        if (piece.text.empty()) piece.text = say_goodbye("unavailable");
      }
      if (piece.text.empty() && piece.calls_missing) {
        auto text = co_await read_calls();
        if (text.has_error()) co_return say_goodbye("unavailable");
        if (text.value().empty()) continue;
        piece.text = std::move(text).value();
      }
      if (!piece.text.empty()) co_return piece.text;
      if (events_.stopping_) continue;  // told before this ticket was there
      if (events_.clock_.monotonic() >= silent_until) co_return ": nothing new\n\n";
      co_await ticket->wait();
    }
    co_return std::string();
  }

 private:
  struct Piece {
    std::string text;
    std::int64_t logs_missing = 0;  // read entries of the log up to this one first
    bool calls_missing = false;     // read calls first
  };

  std::string say_goodbye(std::string_view reason) {
    over_ = true;
    return goodbye(reason, random01());
  }

  // What the feed has that this client has not seen.
  Piece take() {
    const std::lock_guard lock(feed_->mutex);
    Piece piece;
    const auto& [run, state, none] = feed_->newest;
    const std::int64_t first =
        feed_->logs.empty() ? feed_->logs_through + 1 : feed_->logs.front().n;
    if (seen_.log + 1 < first) {
      piece.logs_missing = first - 1;
      return piece;
    }
    for (const auto& entry : feed_->logs) {
      if (entry.n <= seen_.log) continue;
      add_log(piece.text, entry);
      if (piece.text.size() >= kPieceBytes) return piece;
    }
    if (seen_.with_calls && !feed_->gone && trail_.behind(run)) {
      piece.calls_missing = true;
      return piece;
    }
    if (state.version > seen_.state) {
      seen_.state = state.version;
      piece.text += event("state", seen_, render_state(state));
    }
    if (feed_->gone) {
      piece.text += say_goodbye("deleted");
    } else if (!feed_->end.empty()) {
      seen_.status = status_mark(run.status);
      piece.text += event("end", seen_, feed_->end);
      over_ = true;
    } else if (status_mark(run.status) != seen_.status && !storage::is_terminal(run.status)) {
      seen_.status = status_mark(run.status);
      piece.text += event("run", seen_, render_run_summary(run));
    }
    return piece;
  }

  void add_log(std::string& text, const storage::LogEntry& entry) {
    seen_.log = entry.n;
    text += event("log", seen_, render_log(entry));
  }

  // The next entries that the feed no longer has; empty if the store does not give them.
  net::awaitable<std::string> read_logs(std::int64_t through) {
    const auto limit = static_cast<int>(std::min<std::int64_t>(through - seen_.log, kLagPage));
    auto read = [this, limit](auto done) {
      events_.store_.logs(feed_->run, seen_.log, limit, std::move(done));
    };
    const auto entries =
        co_await completes<Result<std::vector<storage::LogEntry>>>(std::move(read));
    std::string text;
    if (entries.has_error()) co_return text;
    for (const auto& entry : entries.value()) add_log(text, entry);
    co_return text;
  }

  // A page of calls, some of which this client may have seen.
  net::awaitable<Result<std::string>> read_calls() {
    auto read = [this, asked = trail_.next(feed_->run)](auto done) mutable {
      events_.store_.run_states()->calls(std::move(asked), std::move(done));
    };
    const auto page =
        co_await completes<Result<std::vector<storage::CallTrace>>>(std::move(read));
    if (page.has_error()) co_return page.error();
    std::string text;
    trail_.take(page.value(), [this, &text](std::string_view name, const std::string& data) {
      seen_.calls = trail_.seen();
      text += event(name, seen_, data);
    });
    seen_.calls = trail_.seen();
    co_return text;
  }

  RunEvents& events_;
  const std::shared_ptr<RunFeed> feed_;
  EventCursor seen_;
  CallTrail trail_;
  bool over_ = false;
};

net::awaitable<Result<std::shared_ptr<BodySource>>> RunEvents::open(TaskRunId run,
                                                                    EventCursor seen) {
  using Opened = Result<std::shared_ptr<BodySource>>;
  if (streams_.fetch_add(1) >= options_.streams_max) {
    streams_.fetch_sub(1);
    co_return Opened(Error{Errc::overloaded,
                           "as many event streams are open as server.event_streams_max allows (" +
                               std::to_string(options_.streams_max) +
                               "): try again later, or ask "
                               "GET /runs/{id} instead"});
  }
  auto stream = std::make_shared<RunEventStream>(*this, enter(run), seen);
  const auto looked = co_await stream->first_look();
  if (looked.has_error()) co_return Opened(looked.error());
  if (stream->nothing_left()) co_return Opened(std::shared_ptr<BodySource>());
  co_return Opened(std::shared_ptr<BodySource>(std::move(stream)));
}

std::shared_ptr<RunFeed> RunEvents::enter(TaskRunId run) {
  std::shared_ptr<RunFeed> feed;
  {
    const std::lock_guard lock(mutex_);
    auto& known = feeds_[run];
    const bool is_new = !known;
    if (is_new) known = std::make_shared<RunFeed>(run);
    ++known->streams;
    if (!is_new) return known;
    feed = known;
  }
  // Without the lock: it may run at once, and to its end.
  net::co_spawn(net::make_strand(io_), keep_up(feed), log_escaped);
  return feed;
}

void RunEvents::leave(RunFeed& feed) {
  {
    const std::lock_guard lock(mutex_);
    if (--feed.streams > 0) return;
  }
  feeds_wait_.ended(feed.run);  // it ends
}

void RunEvents::changed(TaskRunId run) {
  if (streams_.load() == 0) return;
  {
    const std::lock_guard lock(mutex_);
    const auto found = feeds_.find(run);
    if (found == feeds_.end() || found->second->stale.exchange(true)) return;
  }
  feeds_wait_.ended(run);
}

void RunEvents::stop() {
  stopping_ = true;
  streams_wait_.wake_all();
  feeds_wait_.wake_all();
}

// Looks whenever there may be something new, until nobody watches or the run is over. Without news,
// and as long as a look finds nothing new, ever more rarely: most runs that are watched wait.
net::awaitable<void> RunEvents::keep_up(std::shared_ptr<RunFeed> feed) {
  const auto executor = co_await net::this_coro::executor;
  Millis poll = options_.poll;
  for (;;) {
    const auto before = feed->reached();
    const bool heard = feed->stale;
    const bool last = co_await look(*feed);
    const auto now = feed->reached();
    const bool quiet = !heard && now == before && !std::get<bool>(now);
    poll = quiet ? std::max(options_.poll, std::min(poll * 2, kPollMax)) : options_.poll;
    if (retire(feed, last)) co_return;
    streams_wait_.ended(feed->run);
    if (options_.pace.count() > 0) {
      Timer pause(executor, clock_.monotonic() + options_.pace);
      co_await pause.async_wait(net::as_tuple(net::use_awaitable));
    }
    const auto ticket = feeds_wait_.enter(executor, feed->run, clock_.monotonic() + poll);
    if (retire(feed, false)) co_return;
    if (!feed->stale) co_await ticket->wait();
  }
}

// Whether there is nobody to look for any more, or nothing: then it is nobody's feed from now on.
bool RunEvents::retire(const std::shared_ptr<RunFeed>& feed, bool last) {
  {
    const std::lock_guard lock(mutex_);
    if (!last && !stopping_ && feed->streams > 0) return false;
    const auto found = feeds_.find(feed->run);
    if (found != feeds_.end() && found->second == feed) feeds_.erase(found);
    const std::lock_guard inner(feed->mutex);
    feed->over = true;
  }
  streams_wait_.ended(feed->run);
  return true;
}

// One look; true if it was the last that is worth it.
net::awaitable<bool> RunEvents::look(RunFeed& feed) {
  const std::int64_t after = feed.begin_look();
  ++looks_;
  auto read = [this, run = feed.run, after](auto done) {
    store_.run_states()->look(run, after, kLogPage, std::move(done));
  };
  auto found = co_await completes<RunLookAnswer>(std::move(read));
  std::string end;
  if (found.has_value() && storage::is_terminal(found.value().run.status)) {
    auto read_end = [this, run = feed.run](auto done) { store_.run(run, std::move(done)); };
    auto whole = co_await completes<Result<storage::TaskRun>>(std::move(read_end));
    if (whole.has_value()) {
      end = render_end(whole.value(), found.value().state);
    } else {
      found = RunLookAnswer(whole.error());
    }
  }
  co_return feed.end_look(std::move(found), after, std::move(end));
}

}  // namespace sequential::server
