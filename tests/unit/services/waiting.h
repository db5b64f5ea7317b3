#pragma once
// Waits for one callback, with a deadline. For tests.

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/services/builtin.h"
#include "sequential/services/service.h"

namespace sequential::test {

// The value given to `take()`'s function; nullopt if none came within 20 seconds.
template <class T>
class Waiting {
 public:
  auto take() {
    return [promise = promise_](T value) { promise->set_value(std::move(value)); };
  }
  std::optional<T> wait(std::chrono::seconds patience = std::chrono::seconds{20}) {
    if (future_.wait_for(patience) != std::future_status::ready) return std::nullopt;
    return future_.get();
  }
  bool ready() const {
    return future_.wait_for(std::chrono::seconds{0}) == std::future_status::ready;
  }

 private:
  std::shared_ptr<std::promise<T>> promise_ = std::make_shared<std::promise<T>>();
  std::future<T> future_ = promise_->get_future();
};

inline MonoTime in_ms(std::int64_t ms) { return system_clock().monotonic() + Millis{ms}; }

inline Result<services::HttpResponse> send_and_wait(services::HttpClient& client,
                                                    services::HttpRequest request) {
  Waiting<Result<services::HttpResponse>> waiting;
  if (request.deadline == MonoTime{}) request.deadline = in_ms(15'000);
  client.send(std::move(request), waiting.take());
  auto answer = waiting.wait();
  if (!answer) return make_error(Errc::internal, "the test waited in vain");
  return std::move(*answer);
}

inline services::CallReply call_and_wait(services::Service& service, std::string method,
                                         std::string args, std::string options = "",
                                         std::int64_t timeout_ms = 15'000) {
  services::CallRequest request;
  request.service = std::string(service.name());
  request.method = std::move(method);
  request.args = std::move(args);
  request.options = std::move(options);
  request.run = TaskRunId{12};
  request.seq = 3;
  request.idempotency_key = "12:3";
  request.deadline = in_ms(timeout_ms);
  Waiting<services::CallReply> waiting;
  service.call(std::move(request), waiting.take());
  auto reply = waiting.wait();
  if (!reply) {
    services::CallError error;
    error.errc = Errc::internal;
    error.message = "the test waited in vain";
    return services::CallReply::fail(error);
  }
  return std::move(*reply);
}

}  // namespace sequential::test
