// The http service: fetch in task code, against a server on this machine.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base64.h"
#include "http_call.h"
#include "loopback_server.h"
#include "sequential/base/json_text.h"
#include "sequential/services/builtin.h"
#include "waiting.h"

namespace sequential::services {
namespace {

using test::call_and_wait;
using test::http_response;
using test::LoopbackServer;
using test::Peer;
using test::SeenRequest;

class HttpServiceTest : public ::testing::Test {
 protected:
  HttpServiceTest() {
    HttpClientOptions options;
    options.allow_hosts = {"127.0.0.1"};
    client_ = open_http_client(options);
    service_ = make_http_service(*client_, {});
  }
  CallReply fetch(const std::string& members, const std::string& options = "") {
    return call_and_wait(*service_, "fetch", "[{" + members + "}]", options);
  }
  std::string url_member(const LoopbackServer& server, const std::string& path = "/") {
    return "\"url\":" + json_string(server.url(path));
  }
  static std::string text(const CallReply& reply, std::string_view member) {
    EXPECT_FALSE(reply.failed) << reply.error.message;
    return std::string(json_member(reply.result, member));
  }
  static test::Handler always(std::string bytes) {
    return [bytes = std::move(bytes)](const SeenRequest&, Peer& peer) { peer.send(bytes); };
  }

  std::unique_ptr<HttpClient> client_;
  std::shared_ptr<Service> service_;
};

TEST_F(HttpServiceTest, AnswersStatusHeadersAndText) {
  const LoopbackServer server(
      always(http_response(404, "n\xC3\xB6", {"X-A: 1", "Set-Cookie: a", "Set-Cookie: b"})));
  const CallReply reply = fetch(url_member(server, "/p?q"));
  ASSERT_FALSE(reply.failed) << reply.error.message;
  EXPECT_EQ(reply.result,
            "{\"status\":404,\"statusText\":\"Status\",\"url\":\"" + server.url("/p?q") +
                "\",\"redirected\":false,\"headers\":[[\"x-a\",\"1\"],[\"set-cookie\",\"a\"],"
                "[\"set-cookie\",\"b\"],[\"content-length\",\"3\"]],\"body\":\"nö\"}");
  EXPECT_EQ(server.requests().at(0).method, "GET");
}

TEST_F(HttpServiceTest, SendsMethodHeadersAndBody) {
  const LoopbackServer server(always(http_response(200, "")));
  fetch(url_member(server) + R"(,"method":"post","headers":{"X-One":"1","X-Two":2},"body":"b\u00e9")");
  SeenRequest seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.header("x-one"), "1");
  EXPECT_EQ(seen.header("x-two"), "2");
  EXPECT_EQ(seen.header("content-type"), "text/plain;charset=UTF-8");
  EXPECT_EQ(seen.body, "b\xC3\xA9");

  fetch(url_member(server) +
        R"(,"method":"PUT","headers":[["content-type","a/b"]],"bodyBase64":"AP8=")");
  seen = server.requests().at(1);
  EXPECT_EQ(seen.header("content-type"), "a/b");
  EXPECT_EQ(seen.body, std::string("\0\xFF", 2));
}

TEST_F(HttpServiceTest, LeavesFramingHeadersToTheClient) {
  const LoopbackServer server(always(http_response(200, "")));
  const CallReply reply = fetch(url_member(server) +
                                R"(,"headers":{"Host":"evil","Content-Length":"9","TE":"x",)"
                                R"("Connection":"close","Accept-Encoding":"br"})");
  ASSERT_FALSE(reply.failed) << reply.error.message;
  EXPECT_EQ(server.requests().at(0).header("host"), server.place());
  EXPECT_FALSE(server.requests().at(0).header("te").has_value());
}

TEST_F(HttpServiceTest, OtherThanGetCarriesTheCallsIdempotencyKey) {
  const LoopbackServer server(always(http_response(200, "")));
  fetch(url_member(server));
  fetch(url_member(server) + R"(,"method":"POST")");
  fetch(url_member(server) + R"(,"method":"POST","headers":{"idempotency-key":"mine"})");
  EXPECT_FALSE(server.requests().at(0).header("idempotency-key").has_value());
  EXPECT_EQ(server.requests().at(1).header("idempotency-key"), "\"12:3\"");
  EXPECT_EQ(server.requests().at(2).header("idempotency-key"), "mine");
}

TEST_F(HttpServiceTest, BytesThatAreNoTextComeAsBase64) {
  const LoopbackServer server(always(http_response(200, "\xFF\xFE")));
  EXPECT_EQ(text(fetch(url_member(server)), "bodyBase64"), "\"//4=\"");
  const LoopbackServer ascii(always(http_response(200, "hi")));
  EXPECT_EQ(text(fetch(url_member(ascii) + R"(,"responseType":"base64")"), "bodyBase64"),
            "\"aGk=\"");
  EXPECT_EQ(text(fetch(url_member(ascii) + R"(,"responseType":"text")"), "body"), "\"hi\"");
}

TEST_F(HttpServiceTest, FollowsReturnsOrRefusesRedirects) {
  const LoopbackServer server([](const SeenRequest& request, Peer& peer) {
    if (request.target == "/end") return void(peer.send(http_response(200, "end")));
    peer.send(http_response(302, "", {"Location: /end"}));
  });
  const CallReply followed = fetch(url_member(server));
  EXPECT_EQ(text(followed, "redirected"), "true");
  EXPECT_EQ(text(followed, "url"), json_string(server.url("/end")));
  EXPECT_EQ(text(fetch(url_member(server) + R"(,"redirect":"manual")"), "status"), "302");
  const CallReply refused = fetch(url_member(server) + R"(,"redirect":"error")");
  EXPECT_EQ(refused.error.errc, Errc::response_invalid);
}

TEST_F(HttpServiceTest, TakesTheFormOfFetchToo) {
  const LoopbackServer server(always(http_response(200, "")));
  const CallReply reply = call_and_wait(
      *service_, "fetch", "[" + json_string(server.url("/x")) + R"(,{"method":"DELETE"}])");
  EXPECT_FALSE(reply.failed);
  EXPECT_EQ(server.requests().at(0).method, "DELETE");
}

TEST_F(HttpServiceTest, RefusesWrongArgumentsAndSaysWhich) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"()", "url is missing"},
      {R"("url":5)", "url is missing"},
      {R"("url":"nonsense")", "not a URL"},
      {R"("url":"http://a.test/","method":5)", "method"},
      {R"("url":"http://a.test/","headers":5)", "headers"},
      {R"("url":"http://a.test/","headers":[["a"]])", "headers"},
      {R"("url":"http://a.test/","headers":{"a":{}})", "header a"},
      {R"("url":"http://a.test/","headers":{"a b":"x"})", "token"},
      {R"("url":"http://a.test/","body":"x")", "GET request has no body"},
      {R"("url":"http://a.test/","method":"POST","body":{})", "body is text"},
      {R"("url":"http://a.test/","method":"POST","bodyBase64":"*")", "base64"},
      {R"("url":"http://a.test/","redirect":"maybe")", "redirect"},
      {R"("url":"http://a.test/","responseType":"blob")", "responseType"},
      {R"("url":"http://a.test/","timeoutMs":0)", "timeoutMs"}};
  for (const auto& [members, words] : cases) {
    const CallReply reply = fetch(members);
    ASSERT_TRUE(reply.failed) << members;
    EXPECT_EQ(reply.error.errc, Errc::invalid_arguments) << members;
    EXPECT_NE(reply.error.message.find(words), std::string::npos) << reply.error.message;
    EXPECT_FALSE(reply.error.retryable);
  }
}

TEST_F(HttpServiceTest, DeniedAddressesAreErrorsWithTheirCode) {
  const CallReply reply = fetch(R"("url":"http://169.254.169.254/latest")");
  EXPECT_EQ(reply.error.errc, Errc::ssrf_denied);
  EXPECT_NE(reply.error.to_json("http", "fetch").find("\"code\":\"ssrf_denied\""),
            std::string::npos);
}

TEST_F(HttpServiceTest, ItsOwnTimeLimitCounts) {
  const LoopbackServer server([](const SeenRequest&, Peer& peer) { peer.wait_closed(); });
  const CallReply reply = fetch(url_member(server) + R"(,"timeoutMs":200)");
  EXPECT_EQ(reply.error.errc, Errc::timeout);
  EXPECT_TRUE(reply.error.retryable) << "a GET may be sent again";
}

TEST_F(HttpServiceTest, OnlyRequestsThatMayBeRepeatedAreRetryable) {
  const LoopbackServer server([](const SeenRequest&, Peer& peer) { peer.close(); });
  EXPECT_TRUE(fetch(url_member(server)).error.retryable);
  EXPECT_TRUE(fetch(url_member(server) + R"(,"method":"PUT")").error.retryable);
  EXPECT_FALSE(fetch(url_member(server) + R"(,"method":"POST")").error.retryable);
  EXPECT_FALSE(fetch(url_member(server) + R"(,"method":"PATCH")").error.retryable);
  EXPECT_TRUE(
      fetch(url_member(server) + R"(,"method":"POST")", R"({"idempotent":true})").error.retryable);
}

TEST_F(HttpServiceTest, APostThatWasNeverSentMayBeRepeated) {
  int port = 0;
  { port = LoopbackServer(always("")).port(); }
  const CallReply reply = fetch("\"url\":\"http://127.0.0.1:" + std::to_string(port) +
                                R"(/","method":"POST")");
  EXPECT_EQ(reply.error.errc, Errc::service_unavailable);
  EXPECT_TRUE(reply.error.retryable);
}

TEST_F(HttpServiceTest, AnAtMostOnceCallThatGotNoAnswerHasAnUnknownOutcome) {
  const LoopbackServer server([](const SeenRequest&, Peer& peer) { peer.close(); });
  const CallReply post =
      fetch(url_member(server) + R"(,"method":"POST")", R"({"delivery":"at_most_once"})");
  EXPECT_EQ(post.error.errc, Errc::outcome_unknown);
  EXPECT_FALSE(post.error.retryable);
  EXPECT_EQ(server.requests().size(), 1u);
  const CallReply get = fetch(url_member(server), R"({"delivery":"at_most_once"})");
  EXPECT_EQ(get.error.errc, Errc::service_unavailable) << "a GET has no effect to be unsure of";
}

TEST_F(HttpServiceTest, AnAnswerOfAnyStatusIsNoFailure) {
  for (const int status : {400, 401, 429, 500, 503}) {
    const LoopbackServer server(always(http_response(status, "x")));
    EXPECT_EQ(text(fetch(url_member(server)), "status"), std::to_string(status));
  }
}

TEST(Base64Test, GoesThereAndBack) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes) << i;
    bytes += static_cast<char>(i * 7);
  }
  EXPECT_EQ(to_base64("light w"), "bGlnaHQgdw==");
  EXPECT_EQ(from_base64("bGlnaHQgdw"), "light w");
  EXPECT_EQ(from_base64("_-8"), "\xFF\xEF");
  EXPECT_EQ(from_base64("bGln\r\naHQgdw=="), "light w");
  EXPECT_FALSE(from_base64("bGln*").has_value());
  EXPECT_FALSE(from_base64("b").has_value());
}

}  // namespace
}  // namespace sequential::services
