#pragma once
// Awaiting what completes by callback on another thread (store, runtime, services).

#include <atomic>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "sequential/base/error.h"

namespace sequential::server {

namespace net = boost::asio;

// Where a value and the coroutine that waits for it meet, whichever comes first.
template <class T>
class Meeting {
 public:
  // Once, on any thread.
  void give(T value) {
    value_.emplace(std::move(value));
    if (first_came_.exchange(true)) resume_();
  }
  // Before wait(): the value, if it is there already.
  std::optional<T> take_now() {
    if (!first_came_.load()) return std::nullopt;
    return std::move(value_);
  }
  // Posts the handler with the value to its executor, once there is one. Whoever gives keeps the
  // meeting; this must not (the handler's coroutine would keep itself).
  template <class Handler>
  void wait(Handler handler) {
    struct Waiting {
      Handler handler;
      decltype(net::get_associated_executor(std::declval<Handler&>())) executor;
    };
    auto executor = net::get_associated_executor(handler);
    auto waiting =
        std::make_shared<Waiting>(Waiting{std::move(handler), std::move(executor)});
    resume_ = [waiting = std::move(waiting), this] {
      auto resume = [waiting, value = std::move(*value_)]() mutable {
        Handler once = std::move(waiting->handler);
        std::move(once)(std::move(value));
      };
      net::post(waiting->executor, std::move(resume));
    };
    if (first_came_.exchange(true)) resume_();
  }

 private:
  std::optional<T> value_;
  std::function<void()> resume_;
  std::atomic<bool> first_came_{false};
};

// `start(done)` is called at once with a copyable `done(T)`, to be called exactly once from any
// thread; the coroutine goes on on its own executor with the value. If `done` is called from inside
// `start`, it goes on at once.
template <class T, class Start>
net::awaitable<T> completes(Start start) {
  auto meeting = std::make_shared<Meeting<T>>();
  start([meeting](T value) { meeting->give(std::move(value)); });
  if (auto now = meeting->take_now()) co_return std::move(*now);
  auto initiate = [&meeting](auto handler) {
    const auto own = std::move(meeting);  // the coroutine may be gone before wait() returns
    own->wait(std::move(handler));
  };
  co_return co_await net::async_initiate<const net::use_awaitable_t<>, void(T)>(
      std::move(initiate), net::use_awaitable);
}

}  // namespace sequential::server
