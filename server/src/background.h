#pragma once
// Work in the background that nobody waits for: what it throws is told, and loops go on.
//
// Threads: any.

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <string>

#include "sequential/base/clock.h"
#include "sequential/base/log.h"

namespace sequential::server {

// For co_spawn, in the place of `detached`.
inline void log_escaped(const std::exception_ptr& escaped) {
  if (!escaped) return;
  std::string what = "it says nothing of itself";
  try {
    std::rethrow_exception(escaped);
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {  // what is told has been said above
  }
  log_error("work ended by an exception", {{"what", what}});
}

// One turn of a loop that must not end with it. Whether it came through.
template <class Turn>
boost::asio::awaitable<bool> survive(Turn turn) {
  std::exception_ptr escaped;
  try {
    co_await turn();
  } catch (...) {
    escaped = std::current_exception();
  }
  log_escaped(escaped);
  co_return !escaped;
}

// `step()` again and again with a pause between, until `go_on` is false.
template <class Step>
boost::asio::awaitable<void> every(const std::atomic<bool>& go_on, Millis period, Step step) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor);
  while (go_on) {
    co_await survive(step);
    timer.expires_after(period);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
}

}  // namespace sequential::server
