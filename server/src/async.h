#pragma once
// Awaiting what completes by callback on another thread (store, runtime, services).

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <utility>

#include "sequential/base/error.h"

namespace sequential::server {

namespace net = boost::asio;

// `start(done)` is called at once with a copyable `done(T)`, to be called exactly once from any
// thread; the coroutine goes on on its own executor with the value.
template <class T, class Start>
net::awaitable<T> completes(Start start) {
  auto initiate = [](auto handler, Start begin) {
    using Handler = decltype(handler);
    auto executor = net::get_associated_executor(handler);
    auto shared = std::make_shared<Handler>(std::move(handler));
    begin([shared, executor](T value) {
      auto resume = [shared, value = std::move(value)]() mutable {
        Handler once = std::move(*shared);
        std::move(once)(std::move(value));
      };
      net::post(executor, std::move(resume));
    });
  };
  co_return co_await net::async_initiate<const net::use_awaitable_t<>, void(T)>(
      std::move(initiate), net::use_awaitable, std::move(start));
}

}  // namespace sequential::server
