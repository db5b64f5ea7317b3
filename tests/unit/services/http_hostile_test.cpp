// The guarded HTTP client against callees that misbehave (F47).

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
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
using test::gzip_bomb;
using test::Handler;
using test::http_response;
using test::in_ms;
using test::LoopbackServer;
using test::Peer;
using test::post;
using test::SeenRequest;
using test::Waiting;

class HttpHostileTest : public test::HttpClientFixture {};

std::int64_t resident_kib() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmRSS:")) return std::atoll(line.c_str() + 6);
  }
  return 0;
}

TEST_F(HttpHostileTest, AGzipBombIsTooLargeAndMemoryStaysFlat) {
  const std::string bomb = gzip_bomb(256u << 20);
  const LoopbackServer server(always(http_response(200, bomb, {"Content-Encoding: gzip"})));
  const std::int64_t before = resident_kib();
  const std::string message = message_of(send(get(server.url("/"))), Errc::response_too_large);
  EXPECT_NE(message.find("8388608"), std::string::npos) << message;
  EXPECT_LT(resident_kib() - before, 64 * 1024);
}

TEST_F(HttpHostileTest, AnEndlessBodyIsTooLarge) {
  const LoopbackServer server([](const SeenRequest&, Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string chunk = "4000\r\n" + std::string(16384, 'x') + "\r\n";
    while (peer.send(chunk)) {
    }
  });
  const std::int64_t before = resident_kib();
  message_of(send(get(server.url("/"))), Errc::response_too_large);
  EXPECT_LT(resident_kib() - before, 64 * 1024);
}

TEST_F(HttpHostileTest, ADeclaredLengthOverTheCapIsRefusedAtOnce) {
  const LoopbackServer server([](const SeenRequest&, Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\nx");
    peer.wait_closed();
  });
  message_of(send(get(server.url("/"))), Errc::response_too_large);
}

TEST_F(HttpHostileTest, AHundredMegabytesArriveWhenTheyAreAllowed) {
  const LoopbackServer server([](const SeenRequest&, Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n");
    const std::string part(1 << 20, 'm');
    for (int i = 0; i < 100; ++i) peer.send(part);
  });
  HttpRequest request = get(server.url("/"));
  request.response_bytes_max = 100ll << 20;
  EXPECT_EQ(send(request).value().body.size(), 104'857'600u);
}

TEST_F(HttpHostileTest, ABodyAtTheCapPassesAndOneByteMoreDoesNot) {
  const LoopbackServer server([](const SeenRequest& request, Peer& peer) {
    peer.send(http_response(200, std::string(std::stoul(request.target.substr(1)), 'x')));
  });
  for (const std::size_t bytes : {999u, 1000u, 1001u}) {
    HttpRequest request = get(server.url("/" + std::to_string(bytes)));
    request.response_bytes_max = 1000;
    EXPECT_EQ(send(request).has_value(), bytes <= 1000) << bytes;
  }
}

TEST_F(HttpHostileTest, ALyingContentLengthIsDamage) {
  const LoopbackServer server([](const SeenRequest&, Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    peer.close();
  });
  const std::string message = message_of(send(get(server.url("/"))), Errc::response_invalid);
  EXPECT_NE(message.find("before its declared length"), std::string::npos) << message;
}

TEST_F(HttpHostileTest, DamagedEncodingsAreDamage) {
  for (const char* encoding : {"gzip", "br", "wonderful"}) {
    const LoopbackServer server(always(
        http_response(200, "this is not compressed", {std::string("Content-Encoding: ") + encoding})));
    message_of(send(get(server.url("/"))), Errc::response_invalid);
  }
}

TEST_F(HttpHostileTest, WhatIsNotHttpIsDamage) {
  for (const char* bytes : {"SSH-2.0-OpenSSH_9.2\r\n", "\x15\x03\x01", "HTTP/9.9 abc\r\n\r\n"}) {
    const LoopbackServer server([bytes](const SeenRequest&, Peer& peer) {
      peer.send(bytes);
      peer.close();
    });
    const Answer answer = send(get(server.url("/")));
    ASSERT_TRUE(answer.has_error()) << bytes;
    EXPECT_TRUE(answer.error().code == Errc::response_invalid ||
                answer.error().code == Errc::service_unavailable)
        << answer.error().message;
  }
}

TEST_F(HttpHostileTest, HeadersOverTheCapAreTooLarge) {
  const LoopbackServer large(always(http_response(200, "", {"X: " + std::string(1 << 20, 'h')})));
  message_of(send(get(large.url("/"))), Errc::response_too_large);
  const LoopbackServer many(always(http_response(200, "", std::vector<std::string>(5000, "A: b"))));
  message_of(send(get(many.url("/"))), Errc::response_too_large);
}

TEST_F(HttpHostileTest, ADripOfBytesEndsAtTheDeadline) {
  const LoopbackServer server([](const SeenRequest&, Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx");
    peer.wait_closed();
  });
  HttpRequest request = get(server.url("/"));
  request.deadline = in_ms(300);
  const std::string message = message_of(send(request), Errc::timeout);
  EXPECT_NE(message.find("did not answer in time"), std::string::npos) << message;
}

TEST_F(HttpHostileTest, ADeadlineInThePastSendsNothing) {
  const LoopbackServer server(always(http_response(200, "")));
  HttpRequest request = get(server.url("/"));
  request.deadline = in_ms(-1);
  message_of(send(request), Errc::timeout);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(HttpHostileTest, ARequestThatWaitsForItsTurnEndsAtItsDeadline) {
  HttpClientOptions options;
  options.connections_per_host_max = 1;
  client_ = open_http_client(options);
  const LoopbackServer server([](const SeenRequest&, Peer& peer) { peer.wait_closed(); });
  Waiting<Answer> first;
  HttpRequest slow = get(server.url("/slow"));
  slow.deadline = in_ms(10'000);
  client_->send(std::move(slow), first.take());
  ASSERT_TRUE(server.wait_requests(1));
  HttpRequest waiting = get(server.url("/waiting"));
  waiting.deadline = in_ms(200);
  const Answer answer = send(waiting);
  message_of(answer, Errc::timeout);
  EXPECT_EQ(answer.error().field, "connect") << "it was certainly not sent";
  EXPECT_FALSE(first.ready());
}

TEST_F(HttpHostileTest, ASlowHostDelaysNoOther) {
  HttpClientOptions options;
  options.connections_per_host_max = 2;
  client_ = open_http_client(options);
  const LoopbackServer slow([](const SeenRequest&, Peer& peer) { peer.wait_closed(); });
  const LoopbackServer fast(always(http_response(200, "fast")));
  std::vector<Waiting<Answer>> waiting(50);
  for (auto& each : waiting) {
    HttpRequest request = get(slow.url("/"));
    request.deadline = in_ms(15'000);
    client_->send(std::move(request), each.take());
  }
  EXPECT_EQ(send(get(fast.url("/"))).value().body, "fast");
  EXPECT_LE(slow.connections(), 2);
}

TEST_F(HttpHostileTest, ConnectionsThatBreakAreNamed) {
  const LoopbackServer server([](const SeenRequest& request, Peer& peer) {
    if (request.target == "/reset") {
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
      peer.reset();
    } else {
      peer.close();
    }
  });
  const std::string nothing =
      message_of(send(get(server.url("/close"))), Errc::service_unavailable);
  EXPECT_NE(nothing.find("without an answer"), std::string::npos) << nothing;
  const Answer reset = send(get(server.url("/reset")));
  ASSERT_TRUE(reset.has_error());
  EXPECT_TRUE(reset.error().code == Errc::service_unavailable ||
              reset.error().code == Errc::response_invalid);
  EXPECT_EQ(reset.error().field, "");
}

TEST_F(HttpHostileTest, ARefusedConnectionSaysSoAndThatNothingWasSent) {
  int port = 0;
  {
    const LoopbackServer gone(always(""));
    port = gone.port();
  }
  const Answer answer = send(get("http://127.0.0.1:" + std::to_string(port) + "/secret?token=1"));
  const std::string message = message_of(answer, Errc::service_unavailable);
  EXPECT_NE(message.find("Connection refused"), std::string::npos) << message;
  EXPECT_EQ(message.find("token"), std::string::npos) << "no query in messages";
  EXPECT_EQ(answer.error().field, "connect");
}

TEST_F(HttpHostileTest, AnUnknownNameSaysSo) {
  const std::string message =
      message_of(send(get("http://no-such-host.invalid/")), Errc::service_unavailable);
  EXPECT_NE(message.find("does not resolve"), std::string::npos) << message;
}

TEST_F(HttpHostileTest, ATlsHandshakeWithWhatIsNoTlsFails) {
  const LoopbackServer server(always(http_response(200, "")));
  HttpRequest request = get("https://" + server.place() + "/");
  // The peer waits for a blank line that never comes; the client's hello is no request.
  request.deadline = in_ms(500);
  const Answer answer = send(request);
  ASSERT_TRUE(answer.has_error());
  EXPECT_EQ(answer.error().field, "connect");
}

// --- sending twice ----------------------------------------------------------------------------------

// Answers the first request on each connection and closes on the second, after it was read: what a
// server does that shuts an idle connection down just when the next request is on its way.
Handler closes_on_second() {
  auto per_connection = std::make_shared<std::map<int, int>>();
  auto mutex = std::make_shared<std::mutex>();
  return [=](const SeenRequest& request, Peer& peer) {
    int nth = 0;
    {
      const std::lock_guard lock(*mutex);
      nth = ++(*per_connection)[request.connection];
    }
    if (nth == 1) {
      peer.send(http_response(200, "x"));
    } else {
      peer.close();
    }
  };
}

TEST_F(HttpHostileTest, ADeadKeptAliveConnectionIsReplacedForIdempotentRequests) {
  const LoopbackServer server(closes_on_second());
  ASSERT_TRUE(send(get(server.url("/1"))).has_value());
  EXPECT_TRUE(send(get(server.url("/2"))).has_value());
  EXPECT_EQ(server.requests("/2").size(), 2u);
}

TEST_F(HttpHostileTest, APostIsNeverSentTwiceByItself) {
  const LoopbackServer server(closes_on_second());
  ASSERT_TRUE(send(get(server.url("/1"))).has_value());
  const Answer answer = send(post(server.url("/2"), "x"));
  const std::string message = message_of(answer, Errc::service_unavailable);
  EXPECT_EQ(server.requests("/2").size(), 1u) << message;
  EXPECT_EQ(answer.error().field, "") << "it was sent";
}

TEST_F(HttpHostileTest, SendOnceHoldsForEveryMethod) {
  const LoopbackServer server(closes_on_second());
  ASSERT_TRUE(send(get(server.url("/1"))).has_value());
  HttpRequest request = get(server.url("/2"));
  request.send_once = true;
  message_of(send(request), Errc::service_unavailable);
  EXPECT_EQ(server.requests("/2").size(), 1u);
}

}  // namespace
}  // namespace sequential::services
