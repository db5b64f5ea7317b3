#include "routes/page_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sequential::server {
namespace {

struct Read {
  std::int64_t items = 0, rows = 0;
  int portions = 0;
};

// As a route does, from a list of which all have the same size.
Read read(std::int64_t items_max, std::int64_t bytes_max, std::int64_t there, std::size_t size) {
  PageBudget page(items_max, bytes_max);
  Read read;
  while (const int portion = page.portion()) {
    ++read.portions;
    const std::int64_t rows = std::min<std::int64_t>(portion, there - read.items);
    read.rows += rows;
    for (std::int64_t i = 0; i < rows && page.take(size); ++i) ++read.items;
    if (rows < portion) break;
  }
  return read;
}

TEST(PageBudget, EndsAfterTheItemsAskedForInFewPortions) {
  const Read many = read(1'000, 4 << 20, 5'000, 100);
  EXPECT_EQ(many.items, 1'000);
  EXPECT_EQ(many.rows, 1'000);
  EXPECT_LE(many.portions, 5);
  EXPECT_EQ(read(3, 4 << 20, 5'000, 100).rows, 3);
  EXPECT_EQ(read(1'000, 4 << 20, 5, 100).items, 5);
  EXPECT_EQ(read(1'000, 4 << 20, 0, 100).items, 0);
}

TEST(PageBudget, EndsAfterTheBytesAndReadsLittleMore) {
  const Read large = read(1'000, 4 << 20, 5'000, 100 << 10);
  EXPECT_EQ(large.items, 40);
  EXPECT_LE(large.rows, 41);
}

TEST(PageBudget, HoldsOneItemHoweverLarge) {
  const Read huge = read(1'000, 4 << 20, 5'000, 64 << 20);
  EXPECT_EQ(huge.items, 1);
  EXPECT_LE(huge.rows, 8);
}

}  // namespace
}  // namespace sequential::server
