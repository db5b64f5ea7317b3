#pragma once
// Dry replays: a run's code is run again, any version of it, with the journal up to some position,
// and what comes of it is thrown away. All effects go through the store, so this has none. It tells
// whether the code repeats what is recorded, and how far it gets: which calls it has issued by then
// and which it would make next.
//
// Threads: any; coroutines run on the io_context.
// Bounds:  so many at once, each so long.

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/engine/runtime.h"
#include "sequential/storage/store.h"

namespace sequential::server {

struct DryReplayOptions {
  int at_once_max = 4;
  Millis deadline{60'000};
  std::int64_t page_bytes = 1ll << 20;
};

struct ReplayAsk {
  storage::TaskRun head;  // as Store::journal_head answers it
  std::shared_ptr<const engine::TaskCode> code;
  std::int64_t through = 0;          // journal position, at most head.journal_length
  std::optional<std::string> input;  // instead of the run's own
  TaskRunId shown_as;                // what the task sees as its id; 0: the run's
  bool count_logs = false;
  // Of whoever asks for several; at most `deadline` after the beginning in any case.
  std::optional<MonoTime> give_up;
};

// One call as recorded, or as the replay made it.
struct CallShown {
  std::string service, method, args;  // args may be cut: its first bytes
};
struct Difference {
  std::int64_t seq = 0;
  std::optional<CallShown> recorded, replayed;
};

struct Replayed {
  std::optional<Difference> difference;
  engine::SliceStatus status = engine::SliceStatus::suspended;  // where the code stands
  std::string payload;     // its result or error, if it has ended
  std::int64_t calls = 0;  // issued by that position, recorded or not
  std::int64_t logs = 0;   // with count_logs
  std::vector<std::int64_t> dropped;  // calls that the code waits for no more
  std::vector<engine::IssuedCall> next;  // of those, the ones that are not recorded
  std::int64_t took_ms = 0;

  bool ended() const { return status != engine::SliceStatus::suspended; }
};

// {"seq": n, "recorded": {service, method, args} or null, "replayed": likewise}
std::string render_difference(const Difference& difference);

class DryReplays {
 public:
  // The store and the runtime outlive it.
  DryReplays(storage::Store& store, engine::Runtime& runtime, const Clock& clock,
             DryReplayOptions options)
      : store_(store), runtime_(runtime), clock_(clock), options_(options) {}

  // When somebody who begins now has to be done.
  MonoTime give_up() const { return clock_.monotonic() + options_.deadline; }

  // Errors: overloaded, timeout, engine_lost, and the store's.
  boost::asio::awaitable<Result<Replayed>> replay(ReplayAsk ask);

 private:
  boost::asio::awaitable<Result<Replayed>> run(const ReplayAsk& ask, MonoTime deadline);
  boost::asio::awaitable<Result<engine::SliceResult>> slice(const ReplayAsk& ask,
                                                            std::int64_t calls, std::int64_t logs,
                                                            MonoTime deadline);
  boost::asio::awaitable<Result<std::int64_t>> calls_delivered(const ReplayAsk& ask,
                                                               MonoTime deadline);
  boost::asio::awaitable<Result<std::int64_t>> count_logs(const ReplayAsk& ask,
                                                          std::int64_t calls, std::int64_t found,
                                                          MonoTime deadline);
  boost::asio::awaitable<Result<void>> compare(const ReplayAsk& ask, std::int64_t calls,
                                               Replayed& replayed, MonoTime deadline);
  boost::asio::awaitable<Result<std::optional<storage::JournalRow>>> recorded_call(
      TaskRunId run, std::int64_t seq);

  storage::Store& store_;
  engine::Runtime& runtime_;
  const Clock& clock_;
  const DryReplayOptions options_;
  std::atomic<int> at_work_{0};
  std::atomic<std::int64_t> ids_{-1};  // of the runs that the engines are told of
};

}  // namespace sequential::server
