// How many hints may ask the store at once, and what happens to those that come meanwhile.

#include "chain/hint_desk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace sequential::server {
namespace {

using Answer = HintDesk::Answer;

Hint hint(std::int64_t id) { return {StackRunId(id), storage::Via::chain}; }

TEST(HintDesk, SoManyAskAtOnceAndTheRestWaitInTheirOrder) {
  HintDesk desk(2, 10);
  EXPECT_EQ(desk.arrive(hint(1)), Answer::begin);
  EXPECT_EQ(desk.arrive(hint(2)), Answer::begin);
  for (const int id : {3, 4, 5}) EXPECT_EQ(desk.arrive(hint(id)), Answer::waits) << id;
  EXPECT_EQ(desk.stats().asking, 2u);
  EXPECT_EQ(desk.stats().waiting, 3u);
  EXPECT_EQ(desk.answered(StackRunId(2), false)->id, StackRunId(3));
  EXPECT_EQ(desk.answered(StackRunId(1), false)->id, StackRunId(4));
  EXPECT_EQ(desk.answered(StackRunId(3), false)->id, StackRunId(5));
  EXPECT_FALSE(desk.answered(StackRunId(4), false));
  EXPECT_FALSE(desk.answered(StackRunId(5), false));
  EXPECT_EQ(desk.stats().asking, 0u);
  EXPECT_EQ(desk.arrive(hint(1)), Answer::begin);
}

TEST(HintDesk, OfOneThatWaitsTheOthersAreDoubles) {
  HintDesk desk(1, 10);
  desk.arrive(hint(1));
  EXPECT_EQ(desk.arrive(hint(2)), Answer::waits);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(desk.arrive(hint(2)), Answer::doubled);
  EXPECT_EQ(desk.answered(StackRunId(1), false)->id, StackRunId(2));
  EXPECT_FALSE(desk.answered(StackRunId(2), false));
  EXPECT_EQ(desk.stats().coalesced, 5);
}

TEST(HintDesk, OneThatComesWhileItIsAskedForIsAskedForOnceMore) {
  // What made the stack run runnable may have been committed after the claim had looked.
  HintDesk desk(4, 10);
  EXPECT_EQ(desk.arrive(hint(1)), Answer::begin);
  EXPECT_EQ(desk.arrive(hint(1)), Answer::waits);
  EXPECT_EQ(desk.arrive(hint(1)), Answer::doubled);
  EXPECT_EQ(desk.answered(StackRunId(1), false)->id, StackRunId(1));
  EXPECT_FALSE(desk.answered(StackRunId(1), false));
}

TEST(HintDesk, TheOneAskedForOnceMoreComesAfterThoseThatWaitedLonger) {
  HintDesk desk(1, 10);
  desk.arrive(hint(1));
  desk.arrive(hint(2));
  desk.arrive(hint(1));
  EXPECT_EQ(desk.answered(StackRunId(1), false)->id, StackRunId(2));
  EXPECT_EQ(desk.arrive(hint(1)), Answer::doubled);
  EXPECT_EQ(desk.answered(StackRunId(2), false)->id, StackRunId(1));
}

TEST(HintDesk, AboveItsLimitItRefuses) {
  HintDesk desk(1, 2);
  desk.arrive(hint(1));
  EXPECT_EQ(desk.arrive(hint(1)), Answer::waits);
  EXPECT_EQ(desk.arrive(hint(2)), Answer::waits);
  EXPECT_EQ(desk.arrive(hint(3)), Answer::full);
  EXPECT_EQ(desk.arrive(hint(2)), Answer::doubled);  // costs nothing more
  EXPECT_EQ(desk.stats().refused, 1);
  EXPECT_EQ(desk.answered(StackRunId(1), false)->id, StackRunId(2));
  EXPECT_EQ(desk.arrive(hint(3)), Answer::waits);
}

TEST(HintDesk, ForTheOldestAsManyMayAskAsThereAreClaims) {
  HintDesk desk(2, 10);
  EXPECT_EQ(desk.arrive(hint(0)), Answer::begin);
  EXPECT_EQ(desk.arrive(hint(0)), Answer::begin);
  EXPECT_EQ(desk.arrive(hint(0)), Answer::waits);
  EXPECT_EQ(desk.arrive(hint(0)), Answer::waits);
  EXPECT_EQ(desk.arrive(hint(0)), Answer::doubled);
  // Found something: the next may too.
  EXPECT_EQ(desk.answered(StackRunId(), false)->id, StackRunId());
  EXPECT_EQ(desk.arrive(hint(7)), Answer::waits);
  // Found nothing: whoever waits to ask the same would not either.
  EXPECT_EQ(desk.answered(StackRunId(), true)->id, StackRunId(7));
  EXPECT_FALSE(desk.answered(StackRunId(), true));
  EXPECT_EQ(desk.stats().waiting, 0u);
  EXPECT_EQ(desk.arrive(hint(0)), Answer::begin);
}

// Any order of arrivals and answers: the limits hold, and after the last hint of a stack run its
// row is looked at once more, unless the hint was refused.
TEST(HintDesk, LosesNoHintThatItTakes) {
  std::mt19937 random(20261122);
  for (int round = 0; round < 200; ++round) {
    const std::size_t claims = 1 + random() % 3, waiting = 1 + random() % 5;
    HintDesk desk(claims, waiting);
    std::vector<std::int64_t> asking;
    std::set<std::int64_t> owed;  // a hint came after its row was last looked at
    const auto begin = [&](std::int64_t id) {
      EXPECT_EQ(std::count(asking.begin(), asking.end(), id), 0) << "asked for twice at once";
      asking.push_back(id);
      owed.erase(id);
    };
    const auto answer = [&](std::size_t which) {
      const std::int64_t id = asking[which];
      asking.erase(asking.begin() + static_cast<std::ptrdiff_t>(which));
      if (const auto next = desk.answered(StackRunId(id), false)) begin(next->id.value);
    };
    for (int step = 0; step < 100; ++step) {
      if (!asking.empty() && random() % 2 == 0) {
        answer(random() % asking.size());
      } else {
        const std::int64_t id = 1 + static_cast<std::int64_t>(random() % 6);
        const Answer how = desk.arrive(hint(id));
        if (how == Answer::begin) begin(id);
        if (how == Answer::waits) owed.insert(id);
        EXPECT_TRUE(how != Answer::doubled || owed.contains(id));
      }
      ASSERT_LE(asking.size(), claims);
      ASSERT_LE(desk.stats().waiting, waiting);
      ASSERT_EQ(desk.stats().asking, asking.size());
    }
    while (!asking.empty()) answer(0);
    EXPECT_TRUE(owed.empty());
  }
}

}  // namespace
}  // namespace sequential::server
