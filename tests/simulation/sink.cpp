#include "sink.h"

#include <cstdlib>
#include <utility>

namespace sequential::simulation {
namespace {

// How long after the deadline the Processor gives a service up.
constexpr Millis kGrace{2'000};

services::CallReply reply_to(const services::CallRequest& request) {
  const std::string what = request.idempotency_key + "#" + std::to_string(request.attempt);
  const auto luck = mix(static_cast<std::uint64_t>(request.run.value * 1'000'003 +
                                                   request.seq * 1'009 + request.attempt));
  services::CallError error;
  error.message = "the sink failed " + what;
  if (request.method == "broken") return services::CallReply::fail(std::move(error));
  const bool fails =
      (request.method == "flaky" && luck % 2 == 0) || (request.method == "once" && luck % 8 == 0);
  if (fails) {
    error.retryable = true;
    return services::CallReply::fail(std::move(error));
  }
  return services::CallReply::ok("\"" + what + "\"");
}

}  // namespace

void Sink::call(const std::string& node, services::CallRequest request, services::CallDone done) {
  watcher_(node, request);
  services::CallReply reply = reply_to(request);
  Ledger& entry = ledger[request.idempotency_key];
  entry.arrivals.push_back({node, request.attempt});
  entry.answers.emplace_back(
      reply.failed,
      reply.failed ? reply.error.to_json(request.service, request.method) : reply.result);
  if (reply.failed && reply.error.retryable) ++entry.retryable;
  if (random_.chance(at_once_per_mille)) {
    done(std::move(reply));
    return;
  }
  pending.push_back({request.idempotency_key, node, request.deadline + kGrace, false,
                     std::move(reply), std::move(done)});
}

void Sink::answer(Pending call, MonoTime now) {
  if (now >= call.overdue_at) ++ledger[call.key].late;
  call.done(std::move(call.reply));
}

void Sink::hang_up(const std::string& node, MonoTime now) {
  std::vector<Pending> gone;
  for (auto& call : pending) {
    if (call.node == node) gone.push_back(std::move(call));
  }
  std::erase_if(pending, [](const Pending& call) { return !call.done; });
  // Nobody runs on with it any more, but what waits for it is let go.
  for (auto& call : gone) answer(std::move(call), now);
}

services::CallPolicy SinkService::policy(std::string_view method) const {
  services::CallPolicy policy;
  policy.timeout = Millis{2'000};
  policy.backoff_initial = Millis{60};
  policy.at_most_once = method == "once";
  return policy;
}

Result<Millis> SimTimerService::delay(std::string_view, std::string_view args) const {
  return Millis{std::atoi(std::string(args.substr(1)).c_str())};
}

void SimTimerService::call(services::CallRequest request, services::CallDone done) {
  done(services::CallReply::ok("\"" + request.idempotency_key + " slept\""));
}

}  // namespace sequential::simulation
