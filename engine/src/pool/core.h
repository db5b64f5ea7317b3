#pragma once
// The pool's working part, shared by the Runtime handed out and the handlers waiting in the
// io_context.
//
// One mutex guards the routing state; it is held for table work only. Encoding, decoding,
// validation and system calls that carry data happen outside it. An engine's frames stay in order
// because one thread at a time is its sender (Engine::sending) and one read at a time is under way.
//
//   accept → route → launch → outbox → sender → engine → on_read → answer → fill → …
//
// core_route.cpp: where a job goes · core_send.cpp: frames out · core_receive.cpp: frames in ·
// core_watch.cpp: limits, death, restart · core.cpp: start, stop, statistics.

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/error_code.hpp>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine.h"
#include "restart_policy.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/base/ids.h"
#include "sequential/engine/engine_pool.h"
#include "sequential/engine/protocol.h"
#include "sequential/engine/runtime.h"
#include "warm_map.h"

namespace sequential::engine::pool {

class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(boost::asio::io_context& io, const PoolOptions& options, std::string engine_path);
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Starts every engine and waits, without needing the io_context, until one is ready.
  Result<void> open();
  void accept(const JobPtr& job);
  std::optional<std::int64_t> warm_through(TaskRunId run) const;
  void forget(TaskRunId run);
  Runtime::Stats stats() const;
  std::vector<int> engine_pids() const;
  void stop(MonoTime deadline);

 private:
  using Lock = std::unique_lock<std::mutex>;
  // Answers that are due, called once no mutex is held.
  using Completions = std::vector<std::function<void()>>;
  struct Slot {
    explicit Slot(boost::asio::io_context& io) : restart(io) {}
    EnginePtr engine;  // null while it waits for its restart
    boost::asio::steady_timer restart;
  };

  // core.cpp
  Result<EnginePtr> start_engine(int slot);
  Result<void> await_first_ready();
  std::optional<Error> receive_now(const EnginePtr& engine);
  void answered();
  void complete(Completions& completions, const JobPtr& job, Result<SliceResult> result);
  void complete_check(Completions& completions, const JobPtr& job,
                      std::optional<CodeProblem> problem);
  void complete_error(Completions& completions, const JobPtr& job, Error error);
  void post(Completions completions);
  void end_engines(Lock& lock);

  // core_route.cpp; the mutex is held
  std::optional<Error> refuse(const Job& job) const;
  bool has_room(const Engine& engine) const;
  bool another_has_room(const Engine& engine) const;
  const WarmRun* usable_warm(const Job& job) const;
  Engine* warm_home(const Job& job) const;
  EnginePtr choose(const Job& job) const;
  void route(const JobPtr& job);
  void launch(Engine& engine, const JobPtr& job);
  void fill(Engine& engine);
  void fill_all();
  void enqueue(std::deque<JobPtr>& queue, const JobPtr& job);
  JobPtr dequeue(std::deque<JobPtr>& queue);
  void requeue(const JobPtr& job, Completions& completions);
  void drop_warm(TaskRunId run);
  void keep_warm(Engine& engine, const Flight& flight, std::int64_t calls);
  void fail_waiting(const Error& error, Completions& completions);

  // core_send.cpp
  void pump(Lock& lock);
  void send_from(const EnginePtr& engine, Lock& lock);
  bool take_work(Engine& engine);
  std::string encode_work(Engine& engine);
  std::string encode_job(const SendJob& send) const;
  std::string encode_journal_chunk(Engine& engine, SendJournalChunk& chunk) const;
  std::string encode_hello() const;
  void prepare_feed(const EnginePtr& engine);
  bool flush(const EnginePtr& engine);
  void work_sent(Engine& engine);
  void ask_journal(const EnginePtr& engine, const std::shared_ptr<Feed>& feed);
  void on_journal_page(const EnginePtr& engine, const std::shared_ptr<Feed>& feed,
                       Result<RecordedPage> page);
  std::optional<Error> check_page(Feed& feed, RecordedPage& page) const;
  void fail_feed(Engine& engine, Feed& feed, Error error, Completions& completions);

  // core_receive.cpp
  void start_read(const EnginePtr& engine);
  void on_read(const EnginePtr& engine, const boost::system::error_code& error, std::size_t bytes);
  Result<void> take_frames(const EnginePtr& engine, Completions& completions);
  Result<void> on_frame(const EnginePtr& engine, std::string_view frame, Completions& completions);
  Result<void> on_message(const EnginePtr& engine, protocol::Ready&& ready, Completions&);
  Result<void> on_message(const EnginePtr& engine, protocol::SliceDone&& done, Completions&);
  Result<void> on_message(const EnginePtr& engine, protocol::Checked&& checked, Completions&);
  Result<void> on_message(const EnginePtr& engine, protocol::Evicted&& evicted, Completions&);
  Result<void> on_message(const EnginePtr& engine, protocol::Progress&& progress, Completions&);
  Result<void> on_message(const EnginePtr& engine, protocol::Dying&& dying, Completions&);
  Result<Flight> answered_flight(const Engine& engine, bool check, TaskRunId run) const;
  Flight pop_flight(Engine& engine);

  // core_watch.cpp
  void start_tick(const EnginePtr& engine);
  void arm_tick(const EnginePtr& engine);
  void on_tick(const EnginePtr& engine);
  std::optional<Fate> judge(Engine& engine, MonoTime now, std::optional<std::int64_t> cpu_ms,
                            std::uint64_t epoch, Completions& completions);
  void relieve(Engine& engine, MonoTime now, Completions& completions);
  void kill(Engine& engine, Fate fate);
  void engine_gone(const EnginePtr& engine);
  void reap(const EnginePtr& engine, const JobPtr& blamed, MonoTime since, Millis pause);
  void after_death(const EnginePtr& engine, const JobPtr& blamed,
                   const std::optional<ExitStatus>& status);
  void restart_later(int slot, bool had_been_ready);
  void restart(int slot);

  // Constant after construction.
  boost::asio::io_context& io_;
  const PoolOptions options_;
  const std::string engine_path_;
  const Millis tick_;

  std::atomic<int> pending_{0};        // accepted and not answered
  std::atomic<bool> stopping_{false};  // set under mutex_

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  // Guarded by mutex_.
  std::vector<std::unique_ptr<Slot>> slots_;  // as many as engines; the vector itself is constant
  std::deque<JobPtr> waiting_;                // for any engine, by number
  std::size_t waiting_count_ = 0;             // there and in the engines' queues
  WarmMap warm_;
  RestartPolicy restarts_;
  Runtime::Stats counts_;  // of events only
  std::uint64_t last_job_ = 0;
  std::uint64_t last_flight_ = 0;
  bool stopped_ = false;
};

}  // namespace sequential::engine::pool
