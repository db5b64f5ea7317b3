#include "sequential/base/env.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sequential {
namespace {

TEST(Environment, TellsUnsetFromEmpty) {
  ::unsetenv("SEQUENTIAL_ENV_TEST_A");
  EXPECT_EQ(environment("SEQUENTIAL_ENV_TEST_A"), std::nullopt);
  ::setenv("SEQUENTIAL_ENV_TEST_A", "", 1);
  EXPECT_EQ(environment("SEQUENTIAL_ENV_TEST_A"), "");
  ::unsetenv("SEQUENTIAL_ENV_TEST_A");
}

TEST(Environment, ListsAPrefixInOrderWithValuesThatHoldEqualsSigns) {
  ::setenv("SEQUENTIAL_ENV_TEST_B", "2=two", 1);
  ::setenv("SEQUENTIAL_ENV_TEST_A", "1", 1);
  const auto found = environment_with_prefix("SEQUENTIAL_ENV_TEST_");
  ::unsetenv("SEQUENTIAL_ENV_TEST_A");
  ::unsetenv("SEQUENTIAL_ENV_TEST_B");
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"SEQUENTIAL_ENV_TEST_A", "1"}, {"SEQUENTIAL_ENV_TEST_B", "2=two"}};
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace sequential
