// The guarded HTTP client against a server on this machine that answers as told.

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "http_client_fixture.h"
#include "loopback_server.h"
#include "sequential/services/builtin.h"
#include "waiting.h"

namespace sequential::services {
namespace {

using test::Answer;
using test::get;
using test::gzip;
using test::header_of;
using test::http_response;
using test::in_ms;
using test::LoopbackServer;
using test::Peer;
using test::post;
using test::SeenRequest;
using test::Waiting;

class HttpClientTest : public test::HttpClientFixture {};

// --- plain requests ---------------------------------------------------------------------------------

TEST_F(HttpClientTest, SendsWhatItWasGivenAndAnswersWhatCame) {
  const LoopbackServer server(
      always(http_response(201, "made", {"X-One: 1", "x-one: 2", "Set-Cookie: a=b"})));
  HttpRequest request = post(server.url("/p?q=%20a"), R"({"a":1})");
  request.headers = {{"Content-Type", "application/json"}, {"X-Empty", ""}};
  const Answer answer = send(request);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer.value().status, 201);
  EXPECT_EQ(answer.value().reason, "Status");
  EXPECT_EQ(answer.value().body, "made");
  EXPECT_EQ(answer.value().final_url, server.url("/p?q=%20a"));
  EXPECT_EQ(answer.value().redirects, 0);
  EXPECT_EQ(header_of(answer.value(), "x-one"), "1");
  EXPECT_EQ(answer.value().headers.size(), 4u);
  const SeenRequest seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.target, "/p?q=%20a");
  EXPECT_EQ(seen.body, R"({"a":1})");
  EXPECT_EQ(seen.header("content-type"), "application/json");
  EXPECT_EQ(seen.header("x-empty"), "");
  EXPECT_EQ(seen.header("host"), server.place());
  EXPECT_FALSE(seen.header("expect").has_value());
  EXPECT_FALSE(seen.header("cookie").has_value());
  EXPECT_TRUE(seen.header("user-agent")->starts_with("sequential-runner/"));
}

TEST_F(HttpClientTest, SendsNoBodyAndNoContentTypeUnlessThereIsOne) {
  const LoopbackServer server(always(http_response(200, "")));
  for (const char* method : {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}) {
    HttpRequest request = get(server.url("/"));
    request.method = method;
    ASSERT_TRUE(send(request).has_value()) << method;
    const SeenRequest seen = server.requests().back();
    EXPECT_EQ(seen.method, method);
    EXPECT_EQ(seen.body, "");
    EXPECT_FALSE(seen.header("content-type").has_value()) << method;
    const bool says_empty = method[0] == 'P';
    EXPECT_EQ(seen.header("content-length").value_or("-"), says_empty ? "0" : "-") << method;
  }
}

TEST_F(HttpClientTest, DeleteMayHaveABody) {
  const LoopbackServer server(always(http_response(204, "")));
  HttpRequest request = post(server.url("/"), "x");
  request.method = "DELETE";
  ASSERT_TRUE(send(request).has_value());
  EXPECT_EQ(server.requests().at(0).method, "DELETE");
  EXPECT_EQ(server.requests().at(0).body, "x");
}

TEST_F(HttpClientTest, BodiesMayHoldAnyByte) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  const LoopbackServer server(always(http_response(200, bytes)));
  EXPECT_EQ(send(post(server.url("/"), bytes)).value().body, bytes);
  EXPECT_EQ(server.requests().at(0).body, bytes);
}

TEST_F(HttpClientTest, ABodyOfManyMegabytesGoesBothWays) {
  const LoopbackServer server([](const SeenRequest& request, Peer& peer) {
    peer.send(http_response(200, request.body));
  });
  const std::string big(6 << 20, 'b');
  EXPECT_EQ(send(post(server.url("/"), big)).value().body, big);
}

TEST_F(HttpClientTest, KeepsConnectionsAlive) {
  const LoopbackServer server(always(http_response(200, "x")));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(send(get(server.url("/"))).has_value());
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(HttpClientTest, AHundredRequestsAtOnceAreAllAnswered) {
  const LoopbackServer server([](const SeenRequest& request, Peer& peer) {
    peer.send(http_response(200, request.target));
  });
  std::vector<Waiting<Answer>> waiting(100);
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    HttpRequest request = get(server.url("/" + std::to_string(i)));
    request.deadline = in_ms(15'000);
    client_->send(std::move(request), waiting[i].take());
  }
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    const auto answer = waiting[i].wait();
    ASSERT_TRUE(answer && answer->has_value());
    EXPECT_EQ(answer->value().body, "/" + std::to_string(i));
  }
  EXPECT_LE(server.connections(), 64);
}

TEST_F(HttpClientTest, DecompressesGzip) {
  const std::string text(100'000, 'z');
  const LoopbackServer server(always(http_response(200, gzip(text), {"Content-Encoding: gzip"})));
  EXPECT_EQ(send(get(server.url("/"))).value().body, text);
  EXPECT_NE(server.requests().at(0).header("accept-encoding")->find("gzip"), std::string::npos);
}

TEST_F(HttpClientTest, InterimAnswersAndTrailersAreNotTheAnswersHeaders) {
  const LoopbackServer server(
      always("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Folded: a\r\n  b\r\n\r\n"
             "2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n"));
  const Answer answer = send(get(server.url("/")));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer.value().body, "ok");
  EXPECT_EQ(header_of(answer.value(), "link"), "(none)");
  EXPECT_EQ(header_of(answer.value(), "x-trailer"), "(none)");
  EXPECT_EQ(header_of(answer.value(), "x-folded"), "a b");
}

TEST_F(HttpClientTest, TheEnvironmentNamesNoProxy) {
  const LoopbackServer server(always(http_response(200, "direct")));
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  ::setenv("all_proxy", "http://127.0.0.1:1", 1);
  EXPECT_EQ(send(get(server.url("/"))).value().body, "direct");
  ::unsetenv("http_proxy");
  ::unsetenv("all_proxy");
}

TEST_F(HttpClientTest, AConfiguredProxyIsUsedForOtherMachinesOnly) {
  const LoopbackServer proxy(always(http_response(200, "by proxy")));
  const LoopbackServer direct(always(http_response(200, "direct")));
  HttpClientOptions options;
  options.proxy = proxy.url("");
  client_ = open_http_client(options);
  HttpRequest outside = get("http://example.test/x");
  outside.operator_trusted = false;
  EXPECT_EQ(send(outside).value().body, "by proxy");
  EXPECT_EQ(proxy.requests().at(0).target, "http://example.test/x");
  EXPECT_EQ(send(get(direct.url("/"))).value().body, "direct");
  HttpRequest inside = get("http://10.0.0.1/");
  inside.operator_trusted = false;
  message_of(send(inside), Errc::ssrf_denied);
}

// --- refusals ---------------------------------------------------------------------------------------

TEST_F(HttpClientTest, RefusesHeadersThatWouldBreakTheRequest) {
  const LoopbackServer server(always(http_response(200, "")));
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"X", "a\r\nY: b"}, {"X", std::string("a\0b", 3)}, {"X Y", "a"},
      {"", "a"},          {"X:", "a"},                   {"Host", "evil"},
      {"Content-Length", "5"}, {"transfer-encoding", "chunked"}, {"Connection", "close"}};
  for (const auto& header : bad) {
    HttpRequest request = get(server.url("/"));
    request.headers = {header};
    message_of(send(request), Errc::invalid_arguments);
  }
  for (const char* method : {"", "GE T", "GET\r\n", "CONNECT", "TRACE"}) {
    HttpRequest request = get(server.url("/"));
    request.method = method;
    message_of(send(request), Errc::invalid_arguments);
  }
  EXPECT_EQ(server.connections(), 0);
}

TEST_F(HttpClientTest, RefusesMoreThanItsQueueHolds) {
  HttpClientOptions options;
  options.queue_max = 2;
  client_ = open_http_client(options);
  const LoopbackServer server([](const SeenRequest&, Peer& peer) { peer.wait_closed(); });
  std::vector<Waiting<Answer>> waiting(2);
  for (auto& each : waiting) {
    HttpRequest request = get(server.url("/"));
    request.deadline = in_ms(10'000);
    client_->send(std::move(request), each.take());
  }
  message_of(send(get(server.url("/"))), Errc::overloaded);
  client_.reset();
  for (auto& each : waiting) message_of(*each.wait(), Errc::shutting_down);
}

TEST_F(HttpClientTest, StoppingAnswersWhatIsUnderWayAndWhatWaits) {
  HttpClientOptions options;
  options.connections_per_host_max = 1;
  client_ = open_http_client(options);
  const LoopbackServer server([](const SeenRequest&, Peer& peer) { peer.wait_closed(); });
  std::vector<Waiting<Answer>> waiting(5);
  for (auto& each : waiting) {
    HttpRequest request = get(server.url("/"));
    request.deadline = in_ms(10'000);
    client_->send(std::move(request), each.take());
  }
  ASSERT_TRUE(server.wait_requests(1));
  client_.reset();
  for (auto& each : waiting) message_of(*each.wait(), Errc::shutting_down);
}

// --- what it may reach (F46) ------------------------------------------------------------------------

TEST_F(HttpClientTest, DeniesLoopbackUnlessTrustedOrListed) {
  const LoopbackServer server(always(http_response(200, "inside")));
  HttpRequest request = get(server.url("/"));
  request.operator_trusted = false;
  const std::string message = message_of(send(request), Errc::ssrf_denied);
  EXPECT_NE(message.find("services.http.allow_hosts"), std::string::npos) << message;
  EXPECT_EQ(server.connections(), 0);

  HttpClientOptions options;
  options.allow_hosts = {"127.0.0.1:" + std::to_string(server.port())};
  client_ = open_http_client(options);
  EXPECT_EQ(send(request).value().body, "inside");
}

TEST_F(HttpClientTest, DeniesANameThatLeadsToAForbiddenAddress) {
  // The port is open to all, so that only the address, known when connecting, is in the way.
  const LoopbackServer canary(always(http_response(200, "inside")));
  HttpClientOptions options;
  options.ports = {canary.port()};
  client_ = open_http_client(options);
  for (const char* host : {"localhost", "localhost.", "LOCALHOST", "sub.localhost", "127.1",
                           "0x7f.0.0.1", "2130706433", "017700000001", "127.0.0.1", "[::1]",
                           "[::ffff:127.0.0.1]", "0.0.0.0", "0"}) {
    HttpRequest request = get("http://" + std::string(host) + ":" + std::to_string(canary.port()));
    request.operator_trusted = false;
    const Answer answer = send(request);
    ASSERT_TRUE(answer.has_error()) << host;
    if (answer.error().message.find("does not resolve") != std::string::npos) continue;
    EXPECT_EQ(answer.error().code, Errc::ssrf_denied) << host << ": " << answer.error().message;
  }
  EXPECT_EQ(canary.connections(), 0);
}

TEST_F(HttpClientTest, ATrustedConnectionIsNotLentToAnUntrustedRequest) {
  const LoopbackServer server(always(http_response(200, "inside")));
  HttpClientOptions options;
  options.ports = {server.port()};
  client_ = open_http_client(options);
  HttpRequest request = get("http://localhost:" + std::to_string(server.port()) + "/");
  ASSERT_TRUE(send(request).has_value());
  ASSERT_TRUE(send(request).has_value());
  ASSERT_EQ(server.connections(), 1) << "the connection is kept alive";
  request.operator_trusted = false;
  message_of(send(request), Errc::ssrf_denied);
  EXPECT_EQ(server.requests().size(), 2u);
}

TEST_F(HttpClientTest, JudgesEveryRedirect) {
  const LoopbackServer inside(always(http_response(200, "inside")));
  const LoopbackServer outside([&](const SeenRequest& request, Peer& peer) {
    peer.send(http_response(std::stoi(request.target.substr(1)), "",
                            {"Location: " + inside.url("/secret")}));
  });
  HttpClientOptions options;
  options.allow_hosts = {outside.place()};
  client_ = open_http_client(options);
  for (const int status : {301, 302, 303, 307, 308}) {
    HttpRequest request = get(outside.url("/" + std::to_string(status)));
    request.operator_trusted = false;
    request.redirects_max = 5;
    message_of(send(request), Errc::ssrf_denied);
    // The operator's word is good for the URL it was given for, not for where that leads.
    request.operator_trusted = true;
    message_of(send(request), Errc::ssrf_denied);
  }
  EXPECT_EQ(inside.connections(), 0);
}

// --- redirects --------------------------------------------------------------------------------------

struct MethodCase {
  int status;
  const char* before;
  const char* after;
  bool keeps_body;
};

TEST_F(HttpClientTest, RedirectsChangeTheMethodAsFetchDoes) {
  const LoopbackServer server([](const SeenRequest& request, Peer& peer) {
    if (request.target == "/end") return void(peer.send(http_response(200, "end")));
    peer.send(http_response(std::stoi(request.target.substr(1)), "moved", {"Location: end"}));
  });
  const std::vector<MethodCase> cases = {
      {301, "POST", "GET", false},  {302, "POST", "GET", false},  {303, "POST", "GET", false},
      {303, "PUT", "GET", false},   {303, "DELETE", "GET", false}, {301, "PUT", "PUT", true},
      {302, "PATCH", "PATCH", true}, {307, "POST", "POST", true},  {308, "POST", "POST", true}};
  for (const MethodCase& each : cases) {
    HttpRequest request = post(server.url("/" + std::to_string(each.status)), "body");
    request.method = each.before;
    request.redirects_max = 1;
    request.headers = {{"Content-Type", "text/x"}, {"Authorization", "Bearer t"}};
    const Answer answer = send(request);
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(answer.value().final_url, server.url("/end"));
    EXPECT_EQ(answer.value().redirects, 1);
    const SeenRequest seen = server.requests("/end").back();
    EXPECT_EQ(seen.method, each.after) << each.status << each.before;
    EXPECT_EQ(seen.body, each.keeps_body ? "body" : "");
    EXPECT_EQ(seen.header("content-type").has_value(), each.keeps_body);
    EXPECT_EQ(seen.header("authorization"), "Bearer t") << "the same origin keeps credentials";
  }
}

TEST_F(HttpClientTest, ARedirectToAnotherOriginDropsCredentials) {
  const LoopbackServer other(always(http_response(200, "other")));
  const LoopbackServer server(always(http_response(302, "", {"Location: " + other.url("/x")})));
  HttpClientOptions options;
  options.allow_hosts = {"127.0.0.1"};
  client_ = open_http_client(options);
  HttpRequest request = get(server.url("/"));
  request.redirects_max = 3;
  request.headers = {{"Authorization", "Bearer t"}, {"COOKIE", "a=b"}, {"X-Kept", "1"}};
  ASSERT_EQ(send(request).value().body, "other");
  const SeenRequest seen = other.requests().at(0);
  EXPECT_FALSE(seen.header("authorization").has_value());
  EXPECT_FALSE(seen.header("cookie").has_value());
  EXPECT_EQ(seen.header("x-kept"), "1");
}

TEST_F(HttpClientTest, EndlessRedirectsEnd) {
  const LoopbackServer server(always(http_response(302, "", {"Location: /again"})));
  HttpRequest request = get(server.url("/"));
  request.redirects_max = 5;
  const std::string message = message_of(send(request), Errc::response_invalid);
  EXPECT_NE(message.find("more than 5 redirects"), std::string::npos);
  EXPECT_EQ(server.requests().size(), 6u);
}

TEST_F(HttpClientTest, WithoutRedirectsTheAnswerIsTheRedirectItself) {
  const LoopbackServer server(always(http_response(302, "body", {"Location: /x"})));
  const Answer answer = send(get(server.url("/")));
  EXPECT_EQ(answer.value().status, 302);
  EXPECT_EQ(answer.value().body, "body");
}

TEST_F(HttpClientTest, ARedirectToWhatIsNoUrlIsAnInvalidAnswer) {
  const LoopbackServer server(always(http_response(302, "", {"Location: http://[bad"})));
  HttpRequest request = get(server.url("/"));
  request.redirects_max = 5;
  message_of(send(request), Errc::response_invalid);
}

TEST_F(HttpClientTest, AnEndlessRedirectBodyIsNotReadToItsEnd) {
  const LoopbackServer server([](const SeenRequest& request, Peer& peer) {
    if (request.target == "/end") return void(peer.send(http_response(200, "end")));
    peer.send("HTTP/1.1 302 F\r\nLocation: /end\r\nContent-Length: 99999999999\r\n\r\n");
    while (peer.send(std::string(16384, 'x'))) {
    }
  });
  HttpRequest request = get(server.url("/"));
  request.redirects_max = 5;
  EXPECT_EQ(send(request).value().body, "end");
}

}  // namespace
}  // namespace sequential::services
