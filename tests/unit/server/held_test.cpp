#include "work/held.h"

#include <gtest/gtest.h>

namespace sequential::server {
namespace {

storage::Work work(std::int64_t id, std::int64_t epoch) {
  storage::Work w;
  w.grant = {StackRunId{id}, TaskRunId{1}, epoch};
  w.args = "[1]";
  return w;
}

const MonoTime kStart{};
constexpr Millis kTrust{20'000};

TEST(Held, AClaimIsHandedOutOnceHoweverOftenItsHintComes) {
  Held held(kTrust);
  held.add(work(7, 1), kStart);
  std::optional<Held::Taken> taken;
  ASSERT_EQ(held.take(StackRunId{7}, kStart + Millis{3}, taken), Held::Answer::taken);
  EXPECT_EQ(taken->work.args, "[1]");
  EXPECT_EQ(taken->waited, Micros{3'000});
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(held.take(StackRunId{7}, kStart, taken), Held::Answer::busy);
  }
  EXPECT_EQ(held.take(StackRunId{8}, kStart, taken), Held::Answer::unknown);
}

TEST(Held, EndingAnOldClaimDoesNotEndTheNewerOne) {
  Held held(kTrust);
  held.add(work(7, 1), kStart);
  held.add(work(7, 2), kStart);
  held.remove({StackRunId{7}, TaskRunId{1}, 1});
  EXPECT_TRUE(held.is_held(StackRunId{7}));
  held.remove({StackRunId{7}, TaskRunId{1}, 2});
  EXPECT_FALSE(held.is_held(StackRunId{7}));
}

TEST(Held, AnOlderClaimNeverReplacesANewerOne) {
  Held held(kTrust);
  held.add(work(7, 5), kStart);
  held.add(work(7, 4), kStart);
  ASSERT_EQ(held.grants().size(), 1u);
  EXPECT_EQ(held.grants()[0].epoch, 5);
}

TEST(Held, OnlyUntouchedClaimsOfThatAgeAreForgotten) {
  Held held(kTrust);
  held.add(work(1, 1), kStart);
  held.add(work(2, 1), kStart + Millis{500});
  held.add(work(3, 1), kStart);
  std::optional<Held::Taken> taken;
  held.take(StackRunId{3}, kStart, taken);
  const auto forgotten = held.forgotten(kStart + Millis{1'000}, Millis{1'000});
  ASSERT_EQ(forgotten.size(), 1u);
  EXPECT_EQ(forgotten[0], StackRunId{1});
}

TEST(Held, TheDrainTakesWhatNobodyWorksOn) {
  Held held(kTrust);
  held.add(work(1, 1), kStart);
  held.add(work(2, 1), kStart);
  std::optional<Held::Taken> taken;
  held.take(StackRunId{1}, kStart, taken);
  const auto untouched = held.take_all_untouched();
  ASSERT_EQ(untouched.size(), 1u);
  EXPECT_EQ(untouched[0].id, StackRunId{2});
  EXPECT_EQ(held.take(StackRunId{2}, kStart, taken), Held::Answer::busy);
}

TEST(Held, AClaimThatWasNotRenewedInTimeIsDoubtful) {
  Held held(kTrust);
  held.add(work(1, 1), kStart);
  held.add(work(2, 1), kStart);
  held.add(work(3, 2), kStart);
  held.renewed({{StackRunId{2}, TaskRunId{1}, 1}, {StackRunId{3}, TaskRunId{1}, 1}},
               kStart + Millis{10'000});
  std::optional<Held::Taken> taken;
  ASSERT_EQ(held.take(StackRunId{1}, kStart + kTrust, taken), Held::Answer::taken);
  EXPECT_TRUE(taken->doubtful);
  ASSERT_EQ(held.take(StackRunId{2}, kStart + kTrust, taken), Held::Answer::taken);
  EXPECT_FALSE(taken->doubtful);
  // The renewal was of an older claim.
  ASSERT_EQ(held.take(StackRunId{3}, kStart + kTrust, taken), Held::Answer::taken);
  EXPECT_TRUE(taken->doubtful);
}

}  // namespace
}  // namespace sequential::server
