// Processor: one host call, from claim to recorded outcome.

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "async.h"
#include "sequential/base/bytes.h"
#include "sequential/base/fault.h"
#include "sequential/base/log.h"
#include "work/journal_source.h"
#include "work/one_answer.h"
#include "work/processor.h"
#include "work/timer.h"
#include "work/until_stored.h"

namespace sequential::server {
namespace {

// A service promises to answer by the call's deadline; this much later we stop believing it.
constexpr Millis kServiceGrace{2'000};

services::CallReply refused(Error error) {
  services::CallError refusal;
  refusal.errc = error.code;
  refusal.message = std::move(error.message);
  return services::CallReply::fail(std::move(refusal));
}

services::CallReply overdue() {
  services::CallError error;
  error.errc = Errc::timeout;
  error.name = "TimeoutError";
  error.message = "the service did not answer within the call's timeout";
  error.retryable = true;
  return services::CallReply::fail(std::move(error));
}

// The server stops and waits for nobody any more. No service answers that.
services::CallReply interrupted() {
  services::CallError error;
  error.errc = Errc::shutting_down;
  return services::CallReply::fail(std::move(error));
}

bool is_interrupted(const services::CallReply& reply) {
  return reply.failed && reply.error.errc == Errc::shutting_down;
}

// Gives up for the service at the deadline, unless it goes before.
class Guard {
 public:
  Guard(net::io_context& io, const std::shared_ptr<OneAnswer>& answer, MonoTime deadline)
      : timer_(io, deadline) {
    timer_.async_wait([answer](const boost::system::error_code& error) {
      if (!error) answer->give(overdue());
    });
  }

 private:
  Timer timer_;  // its end cancels the wait, which lets go of the answer
};

}  // namespace

void Processor::interrupt() {
  interrupted_ = true;
  for (const auto& answer : under_way_.all()) answer->give(interrupted());
}

double random01() { return static_cast<double>(random_u64() >> 11) * 0x1.0p-53; }

Result<services::CallPolicy> Processor::policy_of(const storage::Work& work) const {
  const services::Service* service = registry_.find(work.service_name);
  const services::CallPolicy base =
      service == nullptr ? services::CallPolicy{} : service->policy(work.method_name);
  if (work.options.empty()) return base;
  return services::merge_policy(base, work.options);
}

net::awaitable<std::optional<services::CallReply>> Processor::call_service(
    const storage::Work& work, const services::CallPolicy& policy) {
  auto answer = std::make_shared<OneAnswer>();
  const CallsUnderWay::Mark mark(under_way_, answer);
  if (interrupted_) co_return std::nullopt;
  services::CallRequest request;
  request.service = work.service_name;
  request.method = work.method_name;
  request.args = work.args;
  request.options = work.options;
  request.run = work.grant.run;
  request.seq = work.seq;
  request.attempt = work.attempt;
  request.idempotency_key = std::to_string(work.grant.run.value) + ":" + std::to_string(work.seq);
  request.deadline = clock_.monotonic() + policy.timeout;
  const MonoTime deadline = request.deadline + kServiceGrace;
  registry_.call(std::move(request),
                 [answer](services::CallReply reply) { answer->give(std::move(reply)); });
  // What answers at once costs no turn of the event loop.
  if (auto now = answer->take_now()) co_return std::move(*now);
  const Guard guard(io_, answer, deadline);
  auto start = [&answer](auto done) { answer->wait(std::move(done)); };
  co_return co_await completes<services::CallReply>(std::move(start));
}

net::awaitable<Report> Processor::run_call(Held::Taken taken, storage::Via via) {
  const storage::Work work = std::move(taken.work);
  CallDecision decision;
  if (work.outcome_unknown) {
    decision = decide_unknown(work);
  } else {
    FAULT_POINT("call.after_started");
    auto policy = policy_of(work);
    services::CallReply reply;
    auto* const inner =
        dynamic_cast<InnerService*>(registry_.find_taking(work.service_name, work.method_name));
    if (policy.has_error()) {
      reply = refused(std::move(policy).error());
    } else if (inner != nullptr) {
      auto done = co_await run_inner(*inner, work, reply);
      if (done) co_return *std::move(done);
    } else {
      auto answer = co_await call_service(work, policy.value());
      if (!answer) {
        co_await give_back(work.grant, Millis{0});
        co_return Report{work.grant.id, work.grant.run, "draining", {}};
      }
      reply = std::move(*answer);
    }
    FAULT_POINT("call.after_send");
    if (is_interrupted(reply)) {
      co_return co_await record_call(work, decide_interrupted(work), via, taken.waited);
    }
    const services::CallPolicy known = policy.has_error() ? services::CallPolicy{} : policy.value();
    const double spread = reply.failed ? options_.random() : 0.0;
    decision = decide_call(std::move(reply), work, known, options_.payload_bytes_max, spread);
  }
  co_return co_await record_call(work, std::move(decision), via, taken.waited);
}

net::awaitable<Report> Processor::record_call(const storage::Work& work, CallDecision decision,
                                              storage::Via via, Micros waited) {
  storage::OutcomeRecord record;
  record.call = work.grant;
  record.end = decision.end;
  record.payload = std::move(decision.payload);
  record.retry_after = decision.retry_after;
  record.via = via;
  record.hop_us = waited.count();
  if (handoff()) record.handoff = options_.lease;
  record.may_block = alone();
  auto write = [this, &record](auto done) { store_.record_outcome(record, std::move(done)); };
  const MonoTime asked = clock_.monotonic();
  const MonoTime give_up = asked + options_.lease.length;
  auto recorded = co_await until_stored<storage::OutcomeRecorded>(io_, clock_, give_up, write);
  if (recorded.has_error() && recorded.error().code == Errc::internal) {
    log_error("an outcome is never going to be stored: the call fails",
              {{"stack_run", work.grant.id.value}, {"reason", recorded.error().message}});
    decision = decide_refused(recorded.error(), work);
    record.end = decision.end;
    record.payload = std::move(decision.payload);
    record.retry_after = Millis{0};
    recorded = co_await until_stored<storage::OutcomeRecorded>(io_, clock_, give_up, write);
  }

  Report report{work.grant.id, work.grant.run, {}, {}};
  if (recorded.has_error()) {
    // Fenced: another claim has this call now, and its outcome will count instead of ours.
    report.status = error_code_name(recorded.error().code);
    if (recorded.error().code != Errc::fenced) {
      log_warn("an outcome could not be recorded",
               {{"stack_run", work.grant.id.value}, {"reason", recorded.error().message}});
    }
    co_return report;
  }
  if (decision.end == storage::CallEnd::retry) {
    held_.remove(work.grant);
    report.status = "retrying";
    if (recorded.value().available_at) timers_.arm(work.grant.id, decision.retry_after);
    co_return report;
  }
  CallEnded ended{std::move(recorded).value(), decision.end == storage::CallEnd::failed,
                  std::move(record.payload)};
  co_return call_ended(work, std::move(ended), asked);
}

Report Processor::call_ended(const storage::Work& work, CallEnded ended, MonoTime asked) {
  held_.remove(work.grant);
  Report report{work.grant.id, work.grant.run, ended.failed ? "failed" : "completed", {}};
  auto& done = ended.recorded;
  if (done.delivered_as > 0) {
    sessions_.add_outcome(work.grant.run, {work.seq, done.delivered_as, ended.failed,
                                           std::move(ended.payload), done.at});
  }
  if (done.wake) woken(std::move(*done.wake), asked, report);
  return report;
}

net::awaitable<std::optional<Report>> Processor::run_inner(InnerService& service,
                                                           const storage::Work& work,
                                                           services::CallReply& reply) {
  const MonoTime asked = clock_.monotonic();
  const auto lease = handoff() ? std::optional(options_.lease) : std::nullopt;
  auto answer = co_await service.run(work, lease);
  if (auto* const plain = std::get_if<services::CallReply>(&answer)) {
    reply = std::move(*plain);
    co_return std::nullopt;
  }
  if (auto* const ended = std::get_if<CallEnded>(&answer)) {
    co_return call_ended(work, std::move(*ended), asked);
  }
  held_.remove(work.grant);
  if (std::holds_alternative<CallFenced>(answer)) {
    co_return Report{work.grant.id, work.grant.run, "fenced", {}};
  }
  const auto& waits = std::get<CallWaits>(answer);
  if (waits.due_in) timers_.arm(work.grant.id, *waits.due_in);
  co_return Report{work.grant.id, work.grant.run, "waiting", {}};
}

}  // namespace sequential::server
