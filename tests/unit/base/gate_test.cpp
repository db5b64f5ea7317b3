#include "sequential/base/gate.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <utility>

namespace sequential {
namespace {

using std::chrono::steady_clock;
constexpr std::chrono::seconds kLong{20};

TEST(Gate, AClosedGateLetsNobodyIn) {
  Gate gate;
  EXPECT_TRUE(static_cast<bool>(gate.enter()));
  gate.close();
  EXPECT_FALSE(static_cast<bool>(gate.enter()));
  EXPECT_EQ(gate.inside(), 0);
}

TEST(Gate, APassCountsOnceHoweverOftenItMoves) {
  Gate gate;
  Gate::Pass first = gate.enter();
  Gate::Pass second = std::move(first);
  EXPECT_EQ(gate.inside(), 1);
  second = Gate::Pass{};
  EXPECT_EQ(gate.inside(), 0);
}

TEST(Gate, WaitClosedGivesUpAtTheDeadline) {
  Gate gate;
  const Gate::Pass pass = gate.enter();
  gate.close();
  EXPECT_FALSE(gate.wait_closed(steady_clock::now()));
}

TEST(Gate, WaitClosedReturnsWhenTheLastLeaves) {
  Gate gate;
  Gate::Pass pass = gate.enter();
  gate.close();
  std::thread worker([leaving = std::move(pass)]() mutable { leaving = Gate::Pass{}; });
  EXPECT_TRUE(gate.wait_closed(steady_clock::now() + kLong));
  worker.join();
}

}  // namespace
}  // namespace sequential
