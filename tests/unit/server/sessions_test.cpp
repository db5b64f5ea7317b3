#include "work/sessions.h"

#include <gtest/gtest.h>

namespace sequential::server {
namespace {

constexpr TaskRunId kRun{1};

storage::Outcome outcome(std::int64_t delivered_as) {
  return {delivered_as, delivered_as, false, "1", WallTime{0}};
}

TEST(Sessions, OutcomesAreHandedOutInOrderAndWithoutGapsHoweverTheyCameIn) {
  Sessions sessions(10);
  sessions.put(kRun, {});
  for (const int position : {3, 1, 5, 2}) sessions.add_outcome(kRun, outcome(position));
  const auto view = sessions.view(kRun);
  ASSERT_TRUE(view);
  ASSERT_EQ(view->outcomes.size(), 3u);
  for (std::int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(view->outcomes[static_cast<std::size_t>(i)].delivered_as, i + 1);
  }
}

TEST(Sessions, ACommittedSliceForgetsWhatItHasSeenAndKeepsTheRest) {
  Sessions sessions(10);
  sessions.put(kRun, {});
  for (const int position : {1, 2, 3}) sessions.add_outcome(kRun, outcome(position));
  sessions.advance({StackRunId{5}, kRun, 7}, 2, 4, 1);
  const auto view = sessions.view(kRun);
  ASSERT_EQ(view->outcomes.size(), 1u);
  EXPECT_EQ(view->outcomes[0].delivered_as, 3);
  EXPECT_EQ(view->session.call_count, 4);
  EXPECT_EQ(view->session.log_count, 1);
  EXPECT_EQ(view->session.delivered_through, 2);
  EXPECT_EQ(view->session.epoch, 7);
}

TEST(Sessions, TheLeastRecentlyUsedRunMakesRoomAndIsNamed) {
  Sessions sessions(2);
  EXPECT_FALSE(sessions.put(TaskRunId{1}, {}));
  EXPECT_FALSE(sessions.put(TaskRunId{2}, {}));
  ASSERT_TRUE(sessions.view(TaskRunId{1}));
  const auto evicted = sessions.put(TaskRunId{3}, {});
  ASSERT_TRUE(evicted);
  EXPECT_EQ(*evicted, TaskRunId{2});
  EXPECT_EQ(sessions.size(), 2u);
}

TEST(Sessions, WithoutASessionOutcomesAreNotKept) {
  Sessions sessions(2);
  sessions.add_outcome(kRun, outcome(1));
  EXPECT_EQ(sessions.size(), 0u);
  sessions.put(kRun, {});
  EXPECT_TRUE(sessions.view(kRun)->outcomes.empty());
  sessions.drop(kRun);
  EXPECT_FALSE(sessions.view(kRun));
}

}  // namespace
}  // namespace sequential::server
