#pragma once
// Writing a result in hand while the store is away: tried again with growing pauses for as long as
// the claim can still hold (P12). The store's fence decides whether it is still wanted.

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <utility>

#include "async.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "work/timer.h"

namespace sequential::server {

inline constexpr Millis kStorePauseFirst{20};
inline constexpr Millis kStorePauseMax{1'000};

// `write(done)` issues the same write anew each time.
template <class T, class Write>
net::awaitable<Result<T>> until_stored(net::io_context& io, const Clock& clock, MonoTime give_up,
                                       Write write) {
  Millis pause = kStorePauseFirst;
  for (;;) {
    auto answer = co_await completes<Result<T>>(write);
    if (answer.has_value()) co_return answer;
    const Errc code = answer.error().code;
    const bool passing = code == Errc::unavailable || code == Errc::overloaded;
    if (!passing || clock.monotonic() + pause >= give_up) co_return answer;
    Timer timer(io, pause);
    co_await timer.async_wait(net::use_awaitable);
    pause = std::min(pause * 2, kStorePauseMax);
  }
}

}  // namespace sequential::server
