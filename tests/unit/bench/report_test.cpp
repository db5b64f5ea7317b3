#include <gtest/gtest.h>

#include "bench.h"

namespace sequential::bench {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson sample(const char* bench, int run, OrderedJson metrics) {
  return {{"bench", bench},
          {"run", run},
          {"metrics", std::move(metrics)},
          {"detail", OrderedJson::object()}};
}

TEST(Report, HasMediansExtremesAndRatiosOfTheSameRepetition) {
  const auto report = build_report({
      sample("floor", 1, {{"floor_sequential_calls_per_s", 10'000}}),
      sample("chain", 1, {{"chain_calls_per_s", 2'000}, {"peak_rss_mb", 90}}),
      sample("fleet", 1, {{"fleet_calls_per_s", 4'000}, {"peak_rss_mb", 150}}),
      sample("floor", 2, {{"floor_sequential_calls_per_s", 20'000}}),
      sample("chain", 2, {{"chain_calls_per_s", 6'000}, {"peak_rss_mb", 80}}),
      sample("chain", 3, {{"chain_calls_per_s", 3'000}, {"peak_rss_mb", 70}}),
  });
  EXPECT_EQ(report["chain_calls_per_s"], 3'000);
  EXPECT_EQ(report["min"]["chain_calls_per_s"], 2'000);
  EXPECT_EQ(report["max"]["chain_calls_per_s"], 6'000);
  EXPECT_EQ(report["runs"]["chain_calls_per_s"], OrderedJson({2'000.0, 6'000.0, 3'000.0}));
  EXPECT_EQ(report["ratio_to_floor"]["chain_calls_per_s"], 0.25);  // 0.2 and 0.3
  EXPECT_EQ(report["peak_rss_mb"], 80);  // of each repetition the largest: 150, 80, 70
  EXPECT_EQ(report["repetitions"], 3);
  EXPECT_FALSE(report.contains("start_p50_ms"));
}

TEST(ReportTable, SaysWhichAimsAreMet) {
  const auto table = report_table(build_report({
      sample("chain", 1, {{"chain_calls_per_s", 2'600}}),
      sample("start", 1, {{"start_p50_ms", 2.5}}),
  }));
  EXPECT_NE(table.find(">= 2500   yes"), std::string::npos) << table;
  EXPECT_NE(table.find("<= 2.00   NO"), std::string::npos) << table;
}

}  // namespace
}  // namespace sequential::bench
