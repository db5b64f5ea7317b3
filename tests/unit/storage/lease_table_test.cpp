#include "sqlite/lease_table.h"

#include <gtest/gtest.h>

namespace sequential::storage::sqlite {
namespace {

ClaimOrder order(std::int64_t id, int priority = 0, std::int64_t available_ms = 0) {
  return {priority, {available_ms}, StackRunId(id)};
}

TEST(LeaseTable, ProposesExpiredLeasesInClaimOrder) {
  LeaseTable table;
  table.hold(order(1, 0, 5), {100});
  table.hold(order(2, 0, 4), {100});
  table.hold(order(3, 9, 9), {100});
  table.hold(order(4, 99, 0), {101});
  table.expire({99});
  EXPECT_FALSE(table.first_expired().has_value());
  table.expire({100});
  for (const std::int64_t id : {3, 2, 1}) {
    ASSERT_TRUE(table.first_expired().has_value());
    EXPECT_EQ(table.first_expired()->id, StackRunId(id));
    table.drop(StackRunId(id));
  }
  EXPECT_FALSE(table.first_expired().has_value());
  EXPECT_EQ(table.size(), 1u);
}

TEST(LeaseTable, HoldingAgainReplacesAlsoAnExpiredLease) {
  LeaseTable table;
  table.hold(order(1), {100});
  table.expire({100});
  table.hold(order(1), {200});
  table.expire({199});
  EXPECT_FALSE(table.first_expired().has_value());
  table.expire({200});
  EXPECT_TRUE(table.first_expired().has_value());
  EXPECT_EQ(table.size(), 1u);
}

TEST(LeaseTable, UndoGoesBackToTheLastKeep) {
  LeaseTable table;
  table.hold(order(1), {100});
  table.hold(order(2), {100});
  table.keep();
  table.hold(order(1), {500});
  table.drop(StackRunId(2));
  table.hold(order(3), {100});
  table.drop(StackRunId(3));
  table.hold(order(3), {100});
  table.drop(StackRunId(77));
  table.undo();
  EXPECT_EQ(table.size(), 2u);
  table.expire({100});
  EXPECT_EQ(table.expired().size(), 2u);
  table.undo();  // nothing to undo
  EXPECT_EQ(table.size(), 2u);
}

TEST(LeaseTable, UndoRestoresWhatHadExpired) {
  LeaseTable table;
  table.hold(order(1), {100});
  table.keep();
  table.expire({100});
  table.hold(order(1), {900});
  table.undo();
  ASSERT_TRUE(table.first_expired().has_value());
  EXPECT_EQ(table.first_expired()->id, StackRunId(1));
}

}  // namespace
}  // namespace sequential::storage::sqlite
