#pragma once
// The records that the pool keeps: a Job is one accepted request, an Engine one process, a Flight
// one sending of a job to an engine. Who may touch which member is said at each group.

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "process.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/engine/protocol.h"
#include "sequential/engine/runtime.h"

namespace sequential::engine::pool {

// Owned by exactly one of: a queue, a Flight, or the completion that answers it. So it is answered
// exactly once.
struct Job {
  // Constant after acceptance.
  std::optional<SliceRequest> slice;  // nullopt: a check
  std::shared_ptr<const TaskCode> code;
  std::function<void(Result<SliceResult>)> slice_done;
  std::function<void(Result<std::optional<CodeProblem>>)> check_done;
  std::uint64_t number = 0;  // of arrival

  // Guarded by the pool's mutex.
  bool cold_only = false;  // what was warm is not any more
  bool alone = false;
  int sendings = 0;

  void fail(Error error) {
    if (slice) {
      slice_done(std::move(error));
    } else {
      check_done(std::move(error));
    }
  }
};
using JobPtr = std::shared_ptr<Job>;

// Guarded by the pool's mutex.
struct Flight {
  std::uint64_t number = 0;
  JobPtr job;  // null: given up here; the answer is awaited but nobody's
  TaskRunId run;
  bool check = false, cold = false, alone = false;
  bool begun = false;     // the engine may have seen something of it
  bool sent = false;      // its last frame is on its way: the engine may answer
  bool unwanted = false;  // forgotten meanwhile: the context is not to be kept
  std::int64_t calls_recorded = 0, through = 0;
  std::int64_t progress = -1;  // as last reported
};

// A frame that is to be sent. Members that the pool's mutex guards are copied into it.
struct SendHello {};
struct SendForget {
  TaskRunId run;
};
struct SendJob {
  std::uint64_t flight = 0;
  JobPtr job;
  bool cold = true, alone = false, with_code = false, with_journal = false;
  std::int64_t from = 0;  // warm only
};
struct SendJournalChunk {  // of Engine::page; the sender finds out which
  TaskRunId run;
  bool ends_page = false, last = false;
};
struct SendAbandon {
  TaskRunId run;
};
using Outgoing = std::variant<SendHello, SendForget, SendJob, SendJournalChunk, SendAbandon>;

// The journal of one cold start on its way to the engine. `job`, `flight` are constant; `source` is
// set before anything is asked of it; the rest is guarded by the pool's mutex.
struct Feed {
  JobPtr job;
  std::uint64_t flight = 0;
  std::shared_ptr<JournalSource> source;
  std::deque<RecordedPage> pages;
  std::int64_t rows_seen = 0;
  bool request_seen = false;  // the row of number 0
  bool asking = false;
  bool ended = false;
  std::optional<Error> error;
  MonoTime asked_at;
};

// Why the pool ended an engine itself.
struct Fate {
  std::string cause;  // killed_at_limit, protocol, start, stopped
  std::string limit;  // wall_limit, cpu_limit or empty
  std::string why;
};

struct Engine {
  enum class State { starting, ready, dead };

  Engine(int slot_index, Process::Started started, boost::asio::io_context& io,
         std::int64_t frame_bytes_max)
      : slot(slot_index),
        process(std::move(started.process)),
        fd(started.socket.get()),
        socket(io, boost::asio::local::stream_protocol(), started.socket.release()),
        tick(io),
        reap(io),
        reader(frame_bytes_max) {}

  // Constant after construction. `fd` is the socket's, which is closed only with this record.
  const int slot;
  const std::unique_ptr<Process> process;
  const int fd;

  // Asio's objects are not thread-safe: starting and cancelling operations takes this mutex, always
  // after the pool's.
  std::mutex asio_mutex;
  boost::asio::local::stream_protocol::socket socket;
  boost::asio::steady_timer tick;
  boost::asio::steady_timer reap;

  // Touched only by the one read that is under way.
  protocol::FrameReader reader;
  int idle_frames = 0;  // that nothing was expected to cause, since the last answer

  // Touched only by the thread that set `sending`.
  std::string out;
  std::size_t out_offset = 0;
  Outgoing work;
  std::size_t page_row = 0;

  // Guarded by the pool's mutex.
  State state = State::starting;
  bool had_been_ready = false;
  bool sending = false;
  bool ticking = false;
  bool stalled = false;  // its first slice runs so long that the others were given elsewhere
  MonoTime start_deadline;
  std::deque<Flight> flights;  // sent or about to be, in order
  std::deque<JobPtr> waiting;  // their runs are warm here
  std::deque<Outgoing> outbox;
  std::shared_ptr<Feed> feed;  // while its journal is sent nothing else is
  bool page_held = false;      // `page` is being sent, by the sender
  RecordedPage page;           // the sender's while page_held
  protocol::CodeLedger ledger;
  MonoTime head_arrived;         // when the first flight became first
  MonoTime head_since;           // the first flight's clock: first in line, progress, journal
  std::uint64_t head_epoch = 0;  // rises whenever head_since is set
  std::uint64_t cpu_epoch = 0;   // head_epoch to which cpu_base_ms belongs
  std::int64_t cpu_base_ms = 0;
  std::optional<Fate> fate;
  std::optional<protocol::Dying> dying;
  bool blamed_alone = false;  // as the engine died: whether the first slice had its isolate alone
  bool told = false;          // its death has been logged and answered for; only `reap` touches it

  bool has_outgoing() const {
    if (state == State::dead) return false;
    if (feed) return page_held || !feed->pages.empty() || feed->error.has_value();
    return !outbox.empty();
  }
  Flight* find_flight(std::uint64_t number) {
    for (Flight& flight : flights) {
      if (flight.number == number) return &flight;
    }
    return nullptr;
  }
  void new_head(MonoTime now) {
    head_arrived = now;
    restart_head_clock(now);
  }
  void restart_head_clock(MonoTime now) {
    head_since = now;
    ++head_epoch;
  }
};
using EnginePtr = std::shared_ptr<Engine>;

}  // namespace sequential::engine::pool
