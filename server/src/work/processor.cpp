#include "work/processor.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <functional>
#include <utility>

#include "async.h"
#include "background.h"
#include "sequential/base/log.h"
#include "work/timer.h"

namespace sequential::server {
namespace {

constexpr int kDueBatch = 512;  // stack runs that one sweep pass asks for
constexpr Millis kDrainPoll{10};
constexpr Millis kLeaseLookPause{200};  // between looks for ended leases, which every run has
// News of runnable work is only followed up if the chain has not brought it to somebody by then.
constexpr Millis kNewsPause{250};

net::awaitable<void> after(net::awaitable<void> first, std::function<void()> then) {
  co_await std::move(first);
  then();
}

}  // namespace

Processor::Processor(net::io_context& io, storage::Store& store, engine::Runtime& runtime,
                     const services::Registry& registry, const Clock& clock,
                     ProcessorOptions options, std::function<void(StackRunId)> fire)
    : io_(io),
      store_(store),
      runtime_(runtime),
      registry_(registry),
      clock_(clock),
      options_(std::move(options)),
      fire_(std::move(fire)),
      held_(options_.lease.length * 2 / 3),
      sessions_(options_.sessions_max),
      timers_(io, clock, options_.timers_max, [this](StackRunId id) { timer_due(id); }),
      hints_(options_.hint_claims_max, options_.hints_max),
      queues_(io, store, clock, queue_options()) {}

QueueDesk::Options Processor::queue_options() {
  QueueDesk::Options options;
  options.lease = options_.lease;
  options.handoff = [this] { return handoff(); };
  options.claims_max = [this] { return std::max(1, options_.in_flight_max - in_flight_.load()); };
  options.begin = [this](storage::Wake run) { wake(std::move(run)); };
  return options;
}

void Processor::timer_due(StackRunId id) {
  if (!id) {  // armed by the sweep for whatever is due then, or by news: look again
    {
      const std::lock_guard lock(mutex_);
      if (clock_.monotonic() < look_at_) return;  // another one was to come first, and has
      look_at_ = MonoTime::max();
    }
    net::co_spawn(io_, sweep_for_timer(), log_escaped);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    if (by_timer_.size() < options_.timers_max) by_timer_.insert(id);
  }
  fire_(id);
}

void Processor::look_in(Millis in) {
  {
    const std::lock_guard lock(mutex_);
    const MonoTime now = clock_.monotonic();
    if (look_at_ > now && look_at_ <= now + in) return;
    look_at_ = now + in;
  }
  timers_.arm(StackRunId{}, in);
}

net::awaitable<void> Processor::sweep_for_timer() { co_await sweep(storage::Via::timer); }

std::optional<Processor::Slot> Processor::take_slot() {
  int taken = in_flight_.load();
  while (taken < options_.in_flight_max) {
    if (in_flight_.compare_exchange_weak(taken, taken + 1)) {
      return std::make_optional<Slot>(*this);
    }
  }
  return std::nullopt;
}

void Processor::free_slot() {
  in_flight_.fetch_sub(1);
  std::pair<StackRunId, storage::Via> next;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) {
      if (missed_.exchange(false)) fire_(StackRunId{});
      return;
    }
    next = waiting_.front();
    waiting_.pop_front();
    waiting_ids_.erase(next.first);
  }
  accept(next.first, next.second);
}

bool Processor::accept(StackRunId id, storage::Via via) {
  auto slot = take_slot();
  if (slot) {
    net::co_spawn(io_, run_detached(id, via, std::move(*slot)), log_escaped);
    return true;
  }
  if (id && held_.is_held(id)) {
    const std::lock_guard lock(mutex_);
    if (waiting_ids_.insert(id).second) waiting_.emplace_back(id, via);
    return true;
  }
  missed_ = true;
  return false;
}

Processor::Hinted Processor::hint(StackRunId id, storage::Via via) {
  // What is claimed here costs the store nothing.
  if (id && held_.is_held(id)) return accept(id, via) ? Hinted::taken : Hinted::deferred;
  switch (hints_.arrive({id, via})) {
    case HintDesk::Answer::begin:
      return begin_hint(Hint{id, via}) ? Hinted::taken : Hinted::deferred;
    case HintDesk::Answer::waits:
      return Hinted::taken;
    case HintDesk::Answer::doubled:
      return Hinted::coalesced;
    case HintDesk::Answer::full:
      break;
  }
  missed_ = true;
  return Hinted::refused;
}

// Begins that one, or the next for which there is a slot; false if there was none for the first.
bool Processor::begin_hint(std::optional<Hint> hint) {
  for (bool first = true; hint; first = false) {
    if (auto slot = take_slot()) {
      net::co_spawn(io_, run_hint(hint->id, hint->via, std::move(*slot)), log_escaped);
      return first;
    }
    missed_ = true;
    hint = hints_.answered(hint->id, false);
  }
  return false;
}

net::awaitable<void> Processor::run_hint(StackRunId id, storage::Via via, Slot slot) {
  Asking asking(*this, id);
  co_await process_in_slot(id, via, &asking);
  (void)slot;
}

net::awaitable<void> Processor::run_detached(StackRunId id, storage::Via via, Slot slot) {
  co_await process_in_slot(id, via);
  (void)slot;
}

net::awaitable<Report> Processor::process(StackRunId id, storage::Via via) {
  auto slot = take_slot();
  if (!slot) {
    missed_ = true;
    co_return Report{id, {}, "no_free_slot", {}};
  }
  co_return co_await process_in_slot(id, via);
}

net::awaitable<Report> Processor::process_in_slot(StackRunId id, storage::Via via, Asking* asking) {
  const Gate::Pass pass = gate_.enter();
  if (!pass) co_return Report{id, {}, "draining", {}};
  if (id) {
    const std::lock_guard lock(mutex_);
    if (by_timer_.erase(id) > 0) via = storage::Via::timer;
  }
  std::optional<Held::Taken> taken;
  if (id) {
    const auto answer = held_.take(id, clock_.monotonic(), taken);
    if (answer == Held::Answer::busy) co_return Report{id, {}, "busy", {}};
  }
  if (!taken) {
    auto start = [this, id](auto done) {
      if (id) {
        store_.claim(id, options_.lease, std::move(done));
      } else {
        store_.claim_next(options_.lease, std::move(done));
      }
    };
    const MonoTime asked = clock_.monotonic();
    auto claimed = co_await completes<Result<std::optional<storage::Work>>>(std::move(start));
    if (asking != nullptr) asking->answered(claimed.has_value() && !claimed.value());
    if (claimed.has_error()) {
      co_return Report{id, {}, std::string(error_code_name(claimed.error().code)), {}};
    }
    if (!claimed.value()) co_return Report{id, {}, "not_runnable", {}};
    if (!id) missed_ = true;  // there may be more behind the oldest
    const MonoTime now = clock_.monotonic();
    taken = Held::Taken{std::move(*claimed.value()), Micros{0}, !held_.is_trusted(asked, now)};
    held_.add_taken(taken->work, now, asked);
  }
  if (asking != nullptr) asking->answered(false);
  if (taken->doubtful && !co_await still_ours(taken->work.grant)) {
    held_.remove(taken->work.grant);
    co_return Report{id, taken->work.grant.run, "fenced", {}};
  }
  const storage::Grant grant = taken->work.grant;
  if (const auto standing = store_.standing(); standing.has_error()) {
    held_.remove(grant);  // nobody knows whether this claim is still one
    co_return Report{id, grant.run, std::string(error_code_name(standing.error().code)), {}};
  }
  Report report = co_await run_work(std::move(*taken), via);
  held_.remove(grant);
  co_return report;
}

// A process that was stopped for a while, or could not reach the store, asks before it begins
// something that another node may have taken over.
net::awaitable<bool> Processor::still_ours(storage::Grant grant) {
  auto start = [this, grant](auto done) {
    store_.extend({grant}, options_.lease, std::move(done));
  };
  for (;;) {
    const MonoTime asked = clock_.monotonic();
    const auto lost = co_await completes<Result<std::vector<storage::Grant>>>(start);
    if (lost.has_error() || !lost.value().empty()) co_return false;
    if (held_.is_trusted(asked, clock_.monotonic())) co_return true;
  }
}

net::awaitable<Report> Processor::run_work(Held::Taken taken, storage::Via via) {
  if (taken.work.seq == 0) co_return co_await run_slice(std::move(taken.work));
  co_return co_await run_call(std::move(taken), via);
}

void Processor::adopt(storage::Work work, MonoTime asked) {
  const StackRunId id = work.grant.id;
  held_.add(std::move(work), clock_.monotonic(), asked);
  fire_(id);
}

void Processor::remember(TaskRunId run, Session session) {
  if (const auto evicted = sessions_.put(run, std::move(session))) runtime_.forget(*evicted);
}

void Processor::forget(TaskRunId run) { drop_run(run); }

void Processor::wake(storage::Wake wake) {
  const bool claimed = wake.work.has_value();
  if (claimed) held_.add(std::move(*wake.work), clock_.monotonic());
  if (!claimed || !gate_.is_closed()) return fire_(wake.root);
  // Asked for before the drain began: whoever takes it up must find it free.
  auto tell = [this, root = wake.root] { fire_(root); };
  net::co_spawn(io_, after(give_back_untouched(), std::move(tell)), log_escaped);
}

void Processor::hear_of_work() {
  if (look_soon_.exchange(true)) return;
  look_in(kNewsPause);
}

void Processor::hear_of_end(TaskRunId run) {
  if (sessions_.view(run)) drop_run(run);
  watch_.ended(run);
}

void Processor::drop_run(TaskRunId run) {
  sessions_.drop(run);
  runtime_.forget(run);
}

void Processor::fire(StackRunId id, Report& report) {
  report.fired.push_back(id);
  fire_(id);
}

void Processor::woken(storage::Wake wake, MonoTime asked, Report& report) {
  if (wake.work) held_.add(std::move(*wake.work), clock_.monotonic(), asked);
  fire(wake.root, report);
}

net::awaitable<int> Processor::sweep(storage::Via via) {
  int started = 0;
  look_soon_ = false;
  if (via == storage::Via::sweep) cancel_orphans();
  for (const auto id : held_.forgotten(clock_.monotonic(), options_.hint_wait)) {
    if (accept(id, via)) ++started;
  }
  auto start = [this](auto done) { store_.due(kDueBatch, std::move(done)); };
  auto due = co_await completes<Result<storage::DueWork>>(std::move(start));
  if (due.has_error()) {
    log_warn("the sweep could not read the store", {{"reason", due.error().message}});
    co_return started;
  }
  for (const auto id : due.value().ids) {
    if (held_.is_held(id)) continue;
    if (!accept(id, via)) break;
    ++started;
  }
  co_await queues_.sweep();
  // What is due before the next pass is not left to it.
  const auto& [ids, next, watch, now] = due.value();
  Millis in = options_.sweep_period + Millis{1};
  if (next) in = std::min(in, *next - now);
  if (watch) in = std::min(in, std::max(*watch - now, kLeaseLookPause));
  if (in <= options_.sweep_period) look_in(in);
  co_await cancel_overdue();
  co_return started;
}

net::awaitable<void> Processor::renew_leases() {
  auto grants = held_.grants();
  if (grants.empty()) co_return;
  const MonoTime sent = clock_.monotonic();
  auto start = [this, &grants](auto done) {
    store_.extend(grants, options_.lease, std::move(done));
  };
  auto lost = co_await completes<Result<std::vector<storage::Grant>>>(std::move(start));
  if (lost.has_error()) {
    log_warn("leases could not be renewed", {{"reason", lost.error().message}});
    co_return;
  }
  for (const auto& grant : lost.value()) held_.remove(grant);
  held_.renewed(grants, sent);
}

net::awaitable<bool> Processor::drain(MonoTime deadline, const std::atomic<bool>& hurry) {
  gate_.close();
  timers_.stop();
  queues_.stop();
  Timer pause(io_);
  while (gate_.inside() > 0 && clock_.monotonic() < deadline && !hurry) {
    pause.expires_after(kDrainPoll);
    co_await pause.async_wait(net::use_awaitable);
  }
  co_await give_back_untouched();
  watch_.wake_all();
  co_return gate_.inside() == 0;
}

net::awaitable<void> Processor::give_back_untouched() {
  for (const auto& grant : held_.take_all_untouched()) {
    auto start = [this, grant](auto done) { store_.release(grant, std::move(done)); };
    const auto released = co_await completes<Result<void>>(std::move(start));
    if (released.has_error() && released.error().code != Errc::fenced) {
      log_warn("a claim could not be given back", {{"reason", released.error().message}});
    }
    held_.remove(grant);
  }
}

}  // namespace sequential::server
