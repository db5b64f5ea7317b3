#include "http.h"

#include <gtest/gtest.h>

namespace sequential::bench {
namespace {

TEST(HttpAnswer, IsTakenOnlyWhenComplete) {
  const std::string whole =
      "HTTP/1.1 200 OK\r\nDate: x\r\ncontent-LENGTH: 5\r\n\r\nhelloHTTP/1.1 202 Accepted\r\n"
      "Content-Length: 0\r\n\r\n";
  std::string received;
  std::vector<HttpAnswer> answers;
  for (const char letter : whole) {
    received += letter;
    auto taken = take_answer(received);
    ASSERT_TRUE(taken.has_value());
    if (taken.value()) answers.push_back(*taken.value());
  }
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].status, 200);
  EXPECT_EQ(answers[0].body, "hello");
  EXPECT_EQ(answers[1].status, 202);
  EXPECT_TRUE(received.empty());
}

TEST(HttpAnswer, RefusesWhatIsNotHttp) {
  for (std::string text : {"SSH-2.0-x\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP\r\n\r\n",
                           "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
                           "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"}) {
    EXPECT_TRUE(take_answer(text).has_error()) << text;
  }
}

TEST(ParseUrl, ReadsHostAndPort) {
  const auto url = parse_url("http://127.0.0.1:8765");
  ASSERT_TRUE(url.has_value());
  EXPECT_EQ(url.value().host, "127.0.0.1");
  EXPECT_EQ(url.value().port, 8765);
  for (const char* wrong :
       {"", "http://x", "https://x:1", "http://x:0", "http://x:70000", "http://x:1/"}) {
    EXPECT_TRUE(parse_url(wrong).has_error()) << wrong;
  }
}

TEST(RenderRequest, CarriesTheBodysLength) {
  EXPECT_EQ(render_request({"h", 1}, "PUT", "/t", "A: b\r\n", "xy"),
            "PUT /t HTTP/1.1\r\nHost: h:1\r\nA: b\r\nContent-Length: 2\r\n\r\nxy");
  EXPECT_EQ(render_request({"h", 1}, "GET", "/t", "", ""), "GET /t HTTP/1.1\r\nHost: h:1\r\n\r\n");
}

}  // namespace
}  // namespace sequential::bench
