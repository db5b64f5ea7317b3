#include "background.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <stdexcept>

namespace sequential::server {
namespace {

namespace net = boost::asio;

net::awaitable<void> fail() {
  throw std::runtime_error("as a test wants it");
  co_return;
}

TEST(Background, ALoopGoesOnAfterATurnThatThrew) {
  net::io_context io;
  std::atomic<bool> go_on{true};
  int turns = 0;
  const auto step = [&]() -> net::awaitable<void> {
    if (++turns == 3) go_on = false;
    if (turns < 3) co_await fail();
  };
  net::co_spawn(io, every(go_on, Millis{1}, step), log_escaped);
  io.run_for(std::chrono::seconds(20));
  EXPECT_EQ(turns, 3);
}

TEST(Background, WhoSurvivesATurnIsToldWhetherItCameThrough) {
  net::io_context io;
  int through = 0, thrown = 0;
  const auto both = [&]() -> net::awaitable<void> {
    const auto good = []() -> net::awaitable<void> { co_return; };
    const auto bad = []() -> net::awaitable<void> { co_await fail(); };
    const auto strange = []() -> net::awaitable<void> {
      throw 1;  // NOLINT(hicpp-exception-baseclass): whatever a library may throw
      co_return;
    };
    (co_await survive(good) ? through : thrown) += 1;
    (co_await survive(bad) ? through : thrown) += 1;
    (co_await survive(strange) ? through : thrown) += 1;
  };
  net::co_spawn(io, both(), log_escaped);
  io.run_for(std::chrono::seconds(20));
  EXPECT_EQ(through, 1);
  EXPECT_EQ(thrown, 2);
}

}  // namespace
}  // namespace sequential::server
