#include "client.h"

#include <gtest/gtest.h>

#include <string>

#include "fake_server.h"

namespace sequential::cli {
namespace {

std::string url_of_nobody() {
  const FakeServer server([](const FakeRequest&) { return FakeReply{}; });
  return server.url();  // closed again on return
}

TEST(Client, SendsMethodPathHeadersTokenAndBody) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.status = 201, .body = "{}"}; });
  Client client(server.url() + "/", "secret-token");
  const auto response = client.send({.method = "PUT",
                                     .path = "/tasks/a%20b",
                                     .headers = {{"Content-Type", "application/json"}},
                                     .body = "{\"code\":1}"});
  ASSERT_TRUE(response);
  EXPECT_EQ(response.value().status, 201);
  EXPECT_EQ(response.value().body, "{}");
  FakeRequest seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "PUT");
  EXPECT_EQ(seen.target, "/tasks/a%20b");
  EXPECT_EQ(seen.headers["authorization"], "Bearer secret-token");
  EXPECT_EQ(seen.headers["content-type"], "application/json");
  EXPECT_EQ(seen.body, "{\"code\":1}");
}

TEST(Client, ABodyWithNulAndMegabytesArrivesWhole) {
  FakeServer server([](const FakeRequest& r) { return FakeReply{.status = 200, .body = r.body}; });
  std::string body(3 << 20, 'x');
  body[1'000] = '\0';
  Client client(server.url(), "");
  const auto response = client.send({.method = "POST", .path = "/", .body = body});
  ASSERT_TRUE(response);
  EXPECT_EQ(response.value().body, body);
}

TEST(Client, RedirectsAreNotFollowed) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.status = 307, .body = ""}; });
  Client client(server.url(), "secret-token");
  EXPECT_EQ(client.send({.path = "/"}).value().status, 307);
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST(Client, NobodyListeningIsUnavailable) {
  Client client(url_of_nobody(), "");
  const auto response = client.send({.path = "/"});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Errc::service_unavailable);
}

TEST(Client, ASilentServerTimesOut) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.status = 0, .body = "", .hang = true}; });
  Client client(server.url(), "");
  const auto response = client.send({.path = "/", .timeout = Millis{100}});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Errc::timeout);
}

TEST(Client, AnAddressThatIsNoUrlIsToldSo) {
  for (const char* address : {"ftp://x", "file:///etc/passwd", "http://a b"}) {
    Client client(address, "");
    const auto response = client.send({.path = "/"});
    ASSERT_FALSE(response) << address;
    EXPECT_EQ(response.error().code, Errc::config_invalid) << address;
  }
}

TEST(PercentEncode, LeavesOnlyUnreservedCharacters) {
  EXPECT_EQ(percent_encode("aZ09-._~"), "aZ09-._~");
  EXPECT_EQ(percent_encode("a/b c?é"), "a%2Fb%20c%3F%C3%A9");
  EXPECT_EQ(percent_encode(".."), "..");
}

}  // namespace
}  // namespace sequential::cli
