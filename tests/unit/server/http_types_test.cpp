#include "http/types.h"

#include <gtest/gtest.h>

namespace sequential::server {
namespace {

TEST(SplitPath, DecodesSegments) {
  const auto path = split_path("/tasks/a%20b/%C3%A9");
  ASSERT_TRUE(path.has_value());
  EXPECT_EQ(path.value(), (std::vector<std::string>{"tasks", "a b", "é"}));
  EXPECT_TRUE(split_path("/").value().empty());
  EXPECT_EQ(split_path("/runs/").value().size(), 1u);
}

TEST(SplitPath, RefusesWhatTwoReadersCouldTakeForDifferentPaths) {
  for (const char* bad : {"", "tasks", "//tasks", "/a//b", "/a/../b", "/a/./b", "/a/%2e%2e/b",
                          "/a%2fb", "/a%00", "/a%", "/a%2", "/a%zz", "/a%c0%ae", "/%ff"}) {
    EXPECT_TRUE(split_path(bad).has_error()) << bad;
  }
}

TEST(QueryValue, FindsAndDecodes) {
  EXPECT_EQ(query_value("a=1&bc=x%26y+z&d", "bc"), "x&y z");
  EXPECT_EQ(query_value("a=1", "b"), "");
  EXPECT_EQ(query_value("ab=1", "b"), "");
}

TEST(ParsePrefer, ReadsWaitAndRespondAsyncInAnyCompany) {
  EXPECT_EQ(parse_prefer("wait=10").wait_s, 10);
  EXPECT_EQ(parse_prefer("foo; bar, WAIT = \"7\"").wait_s, 7);
  EXPECT_TRUE(parse_prefer("wait=3, respond-async").respond_async);
  for (const char* bad : {"", "wait", "wait=", "wait=-1", "wait=1x", "wait=99999999999999"}) {
    EXPECT_EQ(parse_prefer(bad).wait_s, -1) << bad;
  }
}

TEST(Problem, CarriesCodeFieldAndExtensionMembers) {
  Error error{Errc::code_invalid, "t.js:3:5: Unexpected token", "code"};
  error.detail = R"({"line":3,"column":5})";
  const auto response = problem(error);
  EXPECT_EQ(response.content_type, "application/problem+json");
  EXPECT_NE(response.body.find(R"("code":"code_invalid")"), std::string::npos);
  EXPECT_NE(response.body.find(R"("field":"code","line":3,"column":5})"), std::string::npos);
  EXPECT_EQ(response.status, http_status(Errc::code_invalid));
}

}  // namespace
}  // namespace sequential::server
