#include "numbers.h"

#include <gtest/gtest.h>

#include <numeric>

namespace sequential::bench {
namespace {

TEST(Percentile, IsTheNearestRank) {
  std::vector<double> values(200);
  std::iota(values.rbegin(), values.rend(), 1.0);
  EXPECT_EQ(percentile(values, 50), 100);
  EXPECT_EQ(percentile(values, 99), 198);
  EXPECT_EQ(percentile(values, 100), 200);
  EXPECT_EQ(percentile({7}, 1), 7);
  EXPECT_EQ(percentile({}, 50), 0);
}

TEST(Median, IsTheMiddle) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(median({}), 0);
}

TEST(ParseIsoTime, ReadsWhatTheServerWrites) {
  EXPECT_EQ(parse_iso_time("1970-01-01T00:00:01.002Z")->ms, 1'002);
  EXPECT_EQ(parse_iso_time("2026-03-01T00:00:00.000Z")->ms, 1'772'323'200'000);
  for (const char* wrong :
       {"", "2026-03-01", "2026-03-01T00:00:00.000", "2026-03-01T00:00:00.000+00:00"}) {
    EXPECT_FALSE(parse_iso_time(wrong)) << wrong;
  }
}

TEST(WindowMeans, AreExactToOneMsPerWindow) {
  std::vector<std::int64_t> ended;
  for (int i = 0; i <= 1'000; ++i) ended.push_back(i * 377 / 1'000);  // 0.377 ms each, cut to ms
  const auto means = window_means(ended, 100);
  ASSERT_EQ(means.size(), 10u);
  for (const double mean : means) EXPECT_NEAR(mean, 0.377, 0.0101);
  EXPECT_TRUE(window_means({1, 2}, 100).empty());
}

TEST(Trend, IsNotMovedByOneDisturbedWindow) {
  std::vector<double> flat(50, 0.4);
  flat[49] = 9;
  EXPECT_NEAR(trend(flat), 0, 1e-12);
  std::vector<double> rising(50);
  std::iota(rising.begin(), rising.end(), 0.0);
  rising[10] = 500;
  EXPECT_NEAR(trend(rising), 1, 0.01);
}

}  // namespace
}  // namespace sequential::bench
