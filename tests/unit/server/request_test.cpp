// What a request may carry besides its path and body: query parameters, Idempotency-Key, a header of
// bounded size.
#include <gtest/gtest.h>

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <string>

#include "http/framing.h"
#include "http/types.h"

namespace sequential::server {
namespace {

TEST(CheckQuery, TakesWhatIsKnownAndNamesWhatIsNot) {
  EXPECT_TRUE(check_query("", {}).has_value());
  EXPECT_TRUE(check_query("limit=1&&cursor=", {"cursor", "limit"}).has_value());
  EXPECT_TRUE(check_query("li%6Dit=1", {"limit"}).has_value());
  const auto slip = check_query("limit=1&limt=2", {"cursor", "limit"});
  ASSERT_TRUE(slip.has_error());
  EXPECT_EQ(slip.error().code, Errc::invalid_field);
  EXPECT_EQ(slip.error().field, "limt");
  EXPECT_EQ(slip.error().message,
            "limt is not a query parameter of this path; there are: cursor, limit");
  EXPECT_EQ(check_query("x", {}).error().message,
            "x is not a query parameter of this path; it takes none");
}

TEST(CheckQuery, RefusesMalformedEscapesInsteadOfOverlookingThem) {
  EXPECT_EQ(check_query("limit=%zz", {"limit"}).error().code, Errc::bad_request);
  EXPECT_EQ(check_query("%ff=1", {"limit"}).error().code, Errc::bad_request);
}

TEST(IdempotencyKey, MayStandInQuotes) {
  EXPECT_EQ(unquoted("abc"), "abc");
  EXPECT_EQ(unquoted("\"abc\""), "abc");
  EXPECT_EQ(unquoted("\"\""), "");
  EXPECT_EQ(unquoted("\"abc"), "\"abc");
  EXPECT_EQ(unquoted("\""), "\"");
}

TEST(Framing, TooManyFieldsAreAHeaderThatIsTooLarge) {
  boost::beast::http::request<boost::beast::http::empty_body> request;
  request.version(11);
  request.target("/");
  request.set("Host", "localhost");
  for (int i = 0; i < 4; ++i) request.insert("X-" + std::to_string(i), "1");
  EXPECT_FALSE(framing_problem(request.base(), 5).has_value());
  const auto refused = framing_problem(request.base(), 4);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->code, Errc::headers_too_large);
  EXPECT_EQ(http_status(refused->code), 431);
}

}  // namespace
}  // namespace sequential::server
