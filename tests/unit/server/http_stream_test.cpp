// Bodies that are made while they are sent, over a real connection; and the ids of events.

#include "http/stream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "http/http_server.h"
#include "work/run_events.h"

namespace sequential::server {
namespace {

namespace net = boost::asio;

// These pieces, and a promise that is kept when the connection lets go of it.
class Pieces final : public BodySource {
 public:
  Pieces(std::vector<std::string> pieces, std::atomic<int>& asked, std::promise<void>& gone)
      : pieces_(std::move(pieces)), asked_(asked), gone_(gone) {}
  ~Pieces() override { gone_.set_value(); }
  net::awaitable<std::string> next() override {
    const auto n = static_cast<std::size_t>(asked_.fetch_add(1));
    co_return n < pieces_.size() ? pieces_[n] : std::string();
  }

 private:
  const std::vector<std::string> pieces_;
  std::atomic<int>& asked_;
  std::promise<void>& gone_;
};

class HttpStream : public ::testing::Test {
 protected:
  void SetUp() override {
    HttpLimits limits;
    limits.write_timeout = Millis{300};
    HttpHandler handler;
    handler.body_limit = [](const HttpRequest&) { return 0; };
    handler.handle = [this](HttpRequest request) { return answer(std::move(request)); };
    server_ = open_http_server(io_, "127.0.0.1", 0, limits, std::move(handler)).value();
    server_->start();
    thread_ = std::thread([this] { io_.run(); });
  }
  void TearDown() override {
    io_.stop();
    thread_.join();
  }

  net::awaitable<HttpResponse> answer(HttpRequest) {
    HttpResponse response;
    response.content_type = "text/event-stream";
    response.source = std::make_shared<Pieces>(pieces_, asked_, gone_);
    co_return response;
  }

  net::ip::tcp::socket send(const std::string& request) {
    net::ip::tcp::socket socket(client_io_);
    socket.connect(
        {net::ip::make_address("127.0.0.1"), static_cast<unsigned short>(server_->port())});
    net::write(socket, net::buffer(request));
    return socket;
  }
  std::string ask(const std::string& request) {
    auto socket = send(request);
    std::string text;
    boost::system::error_code closed;
    net::read(socket, net::dynamic_buffer(text), closed);
    return text;
  }
  bool let_go() {
    return gone_.get_future().wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  }

  net::io_context io_, client_io_;
  std::vector<std::string> pieces_{"one\n", "two\n"};
  std::atomic<int> asked_{0};
  std::promise<void> gone_;
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

TEST_F(HttpStream, PiecesAreChunksAndTheConnectionEndsWithThem) {
  const std::string text = ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_NE(text.find("\r\nTransfer-Encoding: chunked\r\n"), std::string::npos);
  EXPECT_NE(text.find("\r\nContent-Type: text/event-stream\r\n"), std::string::npos);
  EXPECT_NE(text.find("\r\nConnection: close\r\n"), std::string::npos);
  EXPECT_EQ(text.find("Content-Length"), std::string::npos);
  EXPECT_TRUE(text.ends_with("\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n")) << text;
  EXPECT_TRUE(let_go());
}

TEST_F(HttpStream, AClientOfHttp10GetsThePiecesAsTheyAre) {
  const std::string text = ask("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(text.find("Transfer-Encoding"), std::string::npos);
  EXPECT_TRUE(text.ends_with("\r\n\r\none\ntwo\n")) << text;
}

TEST_F(HttpStream, HeadAsksForNoPiece) {
  const std::string text = ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(text.ends_with("\r\n\r\n")) << text;
  EXPECT_TRUE(let_go());
  EXPECT_EQ(asked_.load(), 0);
}

TEST_F(HttpStream, WhoTakesNothingForTheWriteTimeoutIsCutOffAndIsAskedForNoMore) {
  pieces_.assign(1'000, std::string(1 << 20, 'x'));
  const auto socket = send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(let_go());
  EXPECT_LT(asked_.load(), 100);
}

TEST(EventCursors, AreReadAsTheyAreWritten) {
  EventCursor cursor;
  cursor.log = 12;
  cursor.state = 3;
  cursor.status = 5;
  EXPECT_EQ(cursor.text(), "12.3.5");
  const auto again = parse_event_cursor("12.3.5").value();
  EXPECT_EQ(again.text(), "12.3.5");
  EXPECT_EQ(parse_event_cursor("12").value().text(), "12.0.0");
  EXPECT_EQ(parse_event_cursor("12.4").value().text(), "12.4.0");
  EXPECT_EQ(parse_event_cursor("").value().text(), "0.0.0");
  for (const char* text :
       {"x", "1.", ".1", "1..2", "1.2.3.4.5.6.7.8", "1.2.99", "-1", "1 ", "+1", "99999999999999999999"}) {
    EXPECT_TRUE(parse_event_cursor(text).has_error()) << text;
  }
}

}  // namespace
}  // namespace sequential::server
