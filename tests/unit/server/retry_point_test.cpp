// From where a retried run goes on.
#include "work/retry_point.h"

#include <gtest/gtest.h>

namespace sequential::server {
namespace {

using Points = std::vector<std::int64_t>;

TEST(RetryPoint, IsBeforeTheNewestFailureThatTheErrorBears) {
  const std::deque<FailedOutcome> failed{{1, 2, "gone"}, {2, 5, "down"}, {3, 9, "late"}};
  const std::string error = R"({"message":"importing: down","code":"task_error"})";
  EXPECT_EQ(retry_points(failed, error, 12, false), (Points{4, 1, 12}));
  EXPECT_EQ(retry_points(failed, error, 12, true), (Points{4, 1, 12}));
}

TEST(RetryPoint, OfAnErrorInItsOwnWordsKeepsAllResultsForOtherCodeFirst) {
  const std::deque<FailedOutcome> failed{{1, 2, "gone"}, {2, 5, "down"}};
  const std::string error = R"({"message":"no luck"})";
  EXPECT_EQ(retry_points(failed, error, 12, true), (Points{12, 4, 1}));
  EXPECT_EQ(retry_points(failed, error, 12, false), (Points{4, 1, 12}));
}

TEST(RetryPoint, WithoutAFailedCallKeepsAllResults) {
  EXPECT_EQ(retry_points({}, "{}", 7, false), Points{7});
  EXPECT_EQ(retry_points({}, "{}", 7, true), Points{7});
}

TEST(RetryPoint, AnEmptyMessageIsBorneByNoError) {
  EXPECT_EQ(retry_points({{1, 2, ""}}, R"({"message":""})", 3, true), (Points{3, 1}));
}

TEST(RetryPoint, OnlyLimitsOfTheEngineMayGoAnotherWayNextTime) {
  EXPECT_TRUE(ended_by_limit(R"({"name":"LimitError","code":"memory_limit"})"));
  EXPECT_TRUE(ended_by_limit(R"({"code":"wall_limit"})"));
  EXPECT_FALSE(ended_by_limit(R"({"code":"task_error","message":"memory_limit"})"));
  EXPECT_FALSE(ended_by_limit("{}"));
}

}  // namespace
}  // namespace sequential::server
