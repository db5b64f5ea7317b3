#include "schedules/scheduler.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "async.h"
#include "background.h"
#include "sequential/base/log.h"
#include "sequential/storage/cancellation.h"

namespace sequential::server {
namespace {

constexpr auto kToken = net::as_tuple(net::use_awaitable);
constexpr int kBatch = 256;                 // schedules looked at together
constexpr std::size_t kWatchedMax = 1'000;  // runs; the ends of others are found by the sweep
constexpr Millis kWatchFor{600'000};
constexpr const char* kOverlapError =
    R"({"name":"CancelledError","code":"cancelled",)"
    R"("message":"cancelled by its schedule: the next tick has come"})";

}  // namespace

Scheduler::Scheduler(net::io_context& io, storage::Store& store, Processor& processor,
                     const Clock& clock, SchedulerOptions options)
    : store_(store),
      processor_(processor),
      clock_(clock),
      options_(std::move(options)),
      strand_(net::make_strand(io)),
      timer_(strand_) {}

void Scheduler::begin() {
  if (store_.schedules() != nullptr) net::co_spawn(strand_, run(), log_escaped);
}

void Scheduler::kick() {
  net::post(strand_, [this] {
    kicked_ = true;
    timer_.cancel();
  });
}

void Scheduler::stop() {
  stopped_ = true;
  kick();
}

net::awaitable<void> Scheduler::run() {
  while (!stopped_) {
    kicked_ = false;
    busy_ = true;
    Millis in = options_.period;  // also after a look that came to nothing
    const auto turn = [this, &in]() -> net::awaitable<void> {
      if (!stopped_) in = co_await look();
    };
    co_await survive(turn);
    busy_ = false;
    if (kicked_ || stopped_) continue;
    timer_.expires_after(std::clamp(in, Millis{1}, options_.period));
    co_await timer_.async_wait(kToken);
  }
}

// Answers when the next one is due.
net::awaitable<Millis> Scheduler::look() {
  for (;;) {
    auto read = [this](auto done) { store_.schedules()->due(kBatch, std::move(done)); };
    auto found = co_await completes<Result<storage::DueSchedules>>(std::move(read));
    if (found.has_error()) {
      log_warn("the schedules could not be read", {{"reason", found.error().message}});
      co_return options_.period;
    }
    const storage::DueSchedules& due = found.value();
    bool again = watch(due.blocked);  // one may have ended before we listened
    for (const auto& schedule : due.due) {
      if (stopped_) co_return Millis{0};
      if (co_await fire(schedule, due.now)) again = true;
    }
    for (const auto& schedule : due.blocked) {
      if (schedule.overlap == storage::Overlap::cancel) co_await end_last_run(schedule);
    }
    if (again && !stopped_) continue;
    co_return due.next_due ? *due.next_due - due.now : options_.period;
  }
}

// Whether the schedule has gone on.
net::awaitable<bool> Scheduler::fire(const storage::Schedule& schedule, WallTime now) {
  auto spec = read_spec(schedule.spec, options_.payload_bytes_max);
  const auto ticks = spec.has_value() ? ticks_of(spec.value()) : Result<Ticks>(spec.error());
  if (ticks.has_error()) {
    log_warn("a schedule cannot be read",
             {{"schedule", schedule.name}, {"reason", ticks.error().message}});
    co_return false;
  }
  auto plan = plan_fire(schedule, spec.value(), ticks.value(), now, options_.catch_up_max);
  const std::string tick = std::to_string(plan.tick.ms);
  const auto fired = co_await start(std::move(plan), spec.value());
  if (fired.has_value()) {
    const bool skipped = fired.value().what == storage::ScheduleFired::What::skipped;
    if (skipped) log_info("a tick was skipped", {{"schedule", schedule.name}, {"tick_ms", tick}});
    co_return fired.value().what != storage::ScheduleFired::What::blocked;
  }
  const Errc why = fired.error().code;
  if (why == Errc::fenced || why == Errc::schedule_not_found) co_return true;
  log_warn("a schedule could not start its task",
           {{"schedule", schedule.name}, {"reason", fired.error().message}});
  co_return false;
}

// The task's code, and whose the work is to be.
net::awaitable<Result<void>> Scheduler::complete(storage::Submission& submission,
                                                 const ScheduleSpec& spec) {
  auto code = co_await processor_.newest_code(spec.task, spec.version);
  if (code.has_error()) co_return std::move(code).error();
  submission.task_function_id = code.value()->id;
  submission.task_name = spec.task;
  submission.task_version = code.value()->version;
  if (options_.handoff) submission.handoff = options_.lease;
  co_return success();
}

void Scheduler::take_up(const ScheduleSpec& spec, storage::Submitted& submitted) {
  storage::Submission told;
  told.task_name = spec.task;
  told.queue_key = spec.queue_key;
  if (options_.handoff) told.handoff = options_.lease;
  processor_.queues().tell(told, submitted);
  if (submitted.work) {
    processor_.adopt(*std::exchange(submitted.work, std::nullopt));
  } else if (!submitted.existing) {
    processor_.arm_timer(submitted.root, Millis{0});
  }
}

net::awaitable<Result<storage::ScheduleFired>> Scheduler::start(storage::ScheduleFire fire,
                                                                const ScheduleSpec& spec,
                                                                std::string key) {
  if (fire.start) {
    fire.submission = submission_of(fire.name, spec, fire.tick, fire.expected.has_value());
    if (!key.empty()) fire.submission.idempotency_key = std::move(key);
    auto completed = co_await complete(fire.submission, spec);
    if (completed.has_error()) co_return std::move(completed).error();
  }
  auto write = [this, &fire](auto done) {
    store_.schedules()->fire(std::move(fire), std::move(done));
  };
  auto fired = co_await completes<Result<storage::ScheduleFired>>(std::move(write));
  if (fired.has_value() && fired.value().submitted) take_up(spec, *fired.value().submitted);
  co_return fired;
}

net::awaitable<Result<storage::Submitted>> Scheduler::submit(const std::string& name,
                                                             const ScheduleSpec& spec,
                                                             WallTime tick) {
  auto submission = submission_of(name, spec, tick, true);
  auto completed = co_await complete(submission, spec);
  if (completed.has_error()) co_return std::move(completed).error();
  auto write = [this, &submission](auto done) {
    store_.submit(std::move(submission), std::move(done));
  };
  auto submitted = co_await completes<Result<storage::Submitted>>(std::move(write));
  if (submitted.has_value()) take_up(spec, submitted.value());
  co_return submitted;
}

// Asks it to end; it is cancelled when its time is over. Each look asks again, which changes
// nothing: the deadline never moves to a later time.
net::awaitable<void> Scheduler::end_last_run(const storage::Schedule& schedule) {
  storage::Cancellation* const cancellation = store_.cancellation();
  if (cancellation == nullptr) co_return;
  const TaskRunId run = schedule.last_run;
  storage::CancelRequest request{run, kOverlapError, options_.cancel_grace};
  auto write = [cancellation, &request](auto done) {
    cancellation->request_cancel(std::move(request), std::move(done));
  };
  auto asked = co_await completes<Result<storage::CancelRequested>>(std::move(write));
  if (asked.has_value()) {
    processor_.asked_to_end(run, std::move(asked).value());
  } else if (asked.error().code != Errc::conflict) {  // else it has ended meanwhile
    log_warn("a schedule could not ask its last run to end",
             {{"schedule", schedule.name}, {"reason", asked.error().message}});
  }
}

// Looks again when one of them ends; whether there was one that was not watched yet.
bool Scheduler::watch(const std::vector<storage::Schedule>& blocked) {
  bool news = false;
  for (const auto& schedule : blocked) {
    const TaskRunId run = schedule.last_run;
    if (watched_.size() >= kWatchedMax || !watched_.insert(run).second) continue;
    news = true;
    net::co_spawn(strand_, kick_at_end(run), log_escaped);
  }
  return news;
}

net::awaitable<void> Scheduler::kick_at_end(TaskRunId run) {
  {
    const auto ticket = processor_.watch().enter(strand_, run, clock_.monotonic() + kWatchFor);
    co_await ticket->wait();
  }
  watched_.erase(run);
  kick();
}

}  // namespace sequential::server
