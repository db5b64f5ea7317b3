#include "sequential/base/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sequential {
namespace {

constexpr int kFirst = static_cast<int>(Errc::bad_request);
constexpr int kLast = static_cast<int>(Errc::internal);

TEST(ErrorCode, EveryCodeHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int code = kFirst; code <= kLast; ++code) {
    const std::string name(error_code_name(static_cast<Errc>(code)));
    EXPECT_FALSE(name.empty());
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string::npos) << name;
    EXPECT_TRUE(names.insert(name).second) << name << " names two codes";
  }
}

TEST(ErrorCode, EveryCodeHasAnErrorStatus) {
  for (int code = kFirst; code <= kLast; ++code) {
    const int status = http_status(static_cast<Errc>(code));
    EXPECT_GE(status, 400) << error_code_name(static_cast<Errc>(code));
    EXPECT_LT(status, 600) << error_code_name(static_cast<Errc>(code));
  }
}

TEST(ErrorCode, StatusesThatClientsActOn) {
  EXPECT_EQ(http_status(Errc::invalid_json), 400);
  EXPECT_EQ(http_status(Errc::unauthorized), 401);
  EXPECT_EQ(http_status(Errc::forbidden), 403);
  EXPECT_EQ(http_status(Errc::task_not_found), 404);
  EXPECT_EQ(http_status(Errc::idempotency_conflict), 409);
  EXPECT_EQ(http_status(Errc::payload_too_large), 413);
  EXPECT_EQ(http_status(Errc::code_invalid), 422);
  EXPECT_EQ(http_status(Errc::overloaded), 429);
  EXPECT_EQ(http_status(Errc::unavailable), 503);
}

Result<int> half(int n) {
  if (n % 2 != 0) return Error(Errc::invalid_field, "odd", "n");
  return n / 2;
}
Result<int> quarter(int n) {
  SEQUENTIAL_TRY(const int h, half(n));
  return half(h);
}

TEST(Result, TryPassesTheErrorOnWithItsField) {
  EXPECT_EQ(quarter(12).value(), 3);
  const auto failed = quarter(6);
  ASSERT_TRUE(failed.has_error());
  EXPECT_EQ(failed.error().code, Errc::invalid_field);
  EXPECT_EQ(failed.error().field, "n");
}

}  // namespace
}  // namespace sequential
