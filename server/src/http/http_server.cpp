#include "http/http_server.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "background.h"
#include "http/framing.h"
#include "http/watched_source.h"
#include "sequential/base/log.h"

namespace sequential::server {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = net::ip::tcp;

constexpr auto kToken = net::as_tuple(net::use_awaitable);
constexpr Millis kAcceptPause{100};  // after running out of descriptors (beast #3010)
constexpr Millis kLingerMax{1'000};  // for a refused request's client to read our answer
constexpr std::size_t kLingerBytesMax = 32 << 20;
constexpr int kBacklog = 512;

Verb verb_of(http::verb verb) {
  switch (verb) {
    case http::verb::get:
      return Verb::get;
    case http::verb::head:
      return Verb::head;
    case http::verb::put:
      return Verb::put;
    case http::verb::post:
      return Verb::post;
    case http::verb::delete_:
      return Verb::del;
    case http::verb::options:
      return Verb::options;
    default:
      return Verb::other;
  }
}

const char* reason_of(int status) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(status));
  return reason.data();
}

std::string date_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[40];
  const auto length = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text, length};
}

std::string render_head(const HttpResponse& response, bool keep_alive) {
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + " " +
                    reason_of(response.status) + "\r\nDate: " + date_now() + "\r\n";
  if (!response.body.empty()) out += "Content-Type: " + response.content_type + "\r\n";
  for (const auto& [name, value] : response.headers) out += name + ": " + value + "\r\n";
  if (!keep_alive) out += "Connection: close\r\n";
  return out;
}

// One chunk of RFC 9112; of nothing, the last one.
std::string chunk_of(const std::string& piece) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
  return size + piece + "\r\n";
}

std::string render(const HttpResponse& response, bool head_only, bool keep_alive) {
  std::string out = render_head(response, keep_alive);
  if (response.status != 204) {
    out += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  }
  out += "\r\n";
  if (!head_only) out += response.body;
  return out;
}

// What a webhook's task may see: everything but what speaks for the sender elsewhere.
template <class Message>
std::vector<std::pair<std::string, std::string>> fields_of(const Message& message) {
  std::vector<std::pair<std::string, std::string>> fields;
  for (const auto& field : message) {
    std::string name(field.name_string());
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (name == "authorization" || name == "cookie" || name == "proxy-authorization") continue;
    fields.emplace_back(std::move(name), std::string(field.value()));
  }
  return fields;
}

template <class Message>
HttpRequest head_of(const Message& message) {
  HttpRequest request;
  request.verb = verb_of(message.method());
  const std::string_view target{message.target().data(), message.target().size()};
  const auto question = std::min(target.find('?'), target.size());
  request.path = target.substr(0, question);
  if (question < target.size()) request.query = target.substr(question + 1);
  const auto field = [&message](auto name) { return std::string(message[name]); };
  request.authorization = field(http::field::authorization);
  request.chain = field("X-Chain");
  request.prefer = field("Prefer");
  if (message.find("Idempotency-Key") != message.end()) {
    request.idempotency_key = field("Idempotency-Key");
  }
  request.content_type = field(http::field::content_type);
  request.origin = field(http::field::origin);
  request.host = field(http::field::host);
  request.accept = field(http::field::accept);
  request.last_event_id = field("Last-Event-ID");
  if (request.path.starts_with("/webhooks/")) request.fields = fields_of(message);
  return request;
}

class Server final : public HttpServer {
 public:
  Server(net::io_context& io, HttpLimits limits, HttpHandler handler)
      : io_(io), limits_(limits), handler_(std::move(handler)), acceptor_(net::make_strand(io)) {}

  Result<void> listen(const std::string& address, int port) {
    boost::system::error_code error;
    const auto ip = net::ip::make_address(address, error);
    if (error) return failed(address, port, "is not an IP address");
    const tcp::endpoint endpoint(ip, static_cast<std::uint16_t>(port));
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(net::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(kBacklog, error);
    if (error) return failed(address, port, error.message());
    address_ = address;
    port_ = acceptor_.local_endpoint(error).port();
    return success();
  }

  void start() override { net::co_spawn(acceptor_.get_executor(), accept_loop(), log_escaped); }

  std::string address() const override { return address_; }
  int port() const override { return port_; }
  int connections() const override { return connections_.load(); }

  void stop() override {
    stopping_ = true;
    net::post(acceptor_.get_executor(), [this] {
      boost::system::error_code ignored;
      acceptor_.close(ignored);
    });
    const std::lock_guard lock(mutex_);
    for (auto* stream : idle_) {
      net::post(stream->get_executor(), [stream, this] {
        const std::lock_guard inner(mutex_);
        if (idle_.contains(stream)) stream->cancel();
      });
    }
  }

 private:
  static Error failed(const std::string& address, int port, const std::string& why) {
    return Error{Errc::unavailable,
                 "cannot listen on " + address + ":" + std::to_string(port) + ": " + why};
  }

  net::awaitable<void> accept_loop() {
    bool closed = false;
    const auto turn = [this, &closed]() -> net::awaitable<void> { closed = co_await accept_one(); };
    while (!stopping_ && !closed) co_await survive(turn);
  }

  // Whether there is nothing to accept any more.
  net::awaitable<bool> accept_one() {
    auto [error, socket] = co_await acceptor_.async_accept(net::make_strand(io_), kToken);
    if (stopping_ || error == net::error::operation_aborted) co_return true;
    if (error) {
      log_warn("a connection could not be accepted", {{"reason", error.message()}});
      net::steady_timer pause(io_, kAcceptPause);
      co_await pause.async_wait(kToken);
      co_return false;
    }
    boost::system::error_code ignored;
    const auto peer = socket.remote_endpoint(ignored).address();
    if (!admit(peer)) co_return false;  // the socket closes
    socket.set_option(tcp::no_delay(true), ignored);
    auto executor = socket.get_executor();
    net::co_spawn(executor, serve(beast::tcp_stream(std::move(socket)), peer), log_escaped);
    co_return false;
  }

  bool admit(const net::ip::address& peer) {
    if (connections_.load() >= limits_.connections_max) return false;
    const std::lock_guard lock(mutex_);
    int& here = per_address_[peer];
    if (!peer.is_loopback() && here >= limits_.connections_per_address_max) return false;
    ++here;
    ++connections_;
    return true;
  }

  void leave(const net::ip::address& peer) {
    --connections_;
    const std::lock_guard lock(mutex_);
    const auto found = per_address_.find(peer);
    if (found != per_address_.end() && --found->second == 0) per_address_.erase(found);
  }

  net::awaitable<void> serve(beast::tcp_stream stream, net::ip::address peer) {
    const auto turn = [this, &stream]() -> net::awaitable<void> {
      beast::flat_buffer buffer;
      for (std::int64_t n = 1; !stopping_; ++n) {
        const bool last = n >= limits_.requests_per_connection_max;
        if (!co_await serve_one(stream, buffer, last)) break;
      }
    };
    co_await survive(turn);
    boost::system::error_code ignored;
    stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
    leave(peer);
  }

  // Waits for a first byte without holding a parser; false when the connection is to be closed.
  net::awaitable<bool> await_request(beast::tcp_stream& stream, beast::flat_buffer& buffer) {
    if (buffer.size() > 0) co_return true;
    stream.expires_after(limits_.idle_timeout);
    {
      const std::lock_guard lock(mutex_);
      idle_.insert(&stream);
    }
    auto [error, bytes] = co_await stream.async_read_some(buffer.prepare(4'096), kToken);
    {
      const std::lock_guard lock(mutex_);
      idle_.erase(&stream);
    }
    buffer.commit(bytes);
    co_return !error;
  }

  net::awaitable<bool> serve_one(beast::tcp_stream& stream, beast::flat_buffer& buffer, bool last) {
    if (!co_await await_request(stream, buffer)) co_return false;
    http::request_parser<http::string_body> parser;
    parser.header_limit(limits_.header_bytes_max);
    parser.body_limit(boost::none);  // set below, when the route is known
    stream.expires_after(limits_.header_timeout);
    auto [head_error, head_bytes] =
        co_await http::async_read_header(stream, buffer, parser, kToken);
    if (head_error) co_return co_await refuse_head(stream, head_error);
    if (const auto doubt = framing_problem(parser.get(), limits_.header_fields_max)) {
      co_return co_await refuse(stream, *doubt);
    }
    HttpRequest request = head_of(parser.get());
    auto segments = split_path(request.path);
    if (segments.has_error()) co_return co_await refuse(stream, segments.error());
    request.segments = std::move(segments).value();

    const std::uint64_t body_max = handler_.body_limit(request);
    const auto declared = parser.content_length();
    if (declared && *declared > body_max) {
      co_return co_await refuse(stream, body_too_large(body_max));
    }
    parser.body_limit(body_max);
    if (!parser.is_done()) {
      auto [body_error, body_bytes] = co_await read_body(stream, buffer, parser);
      if (body_error == http::error::body_limit) {
        co_return co_await refuse(stream, body_too_large(body_max));
      }
      if (body_error) co_return co_await refuse_head(stream, body_error);
    }
    request.body = std::move(parser.get().body());
    const bool head_only = request.verb == Verb::head;
    const bool wants_more = parser.get().keep_alive() && !last;
    stream.expires_never();  // the handler has deadlines of its own
    HttpResponse response = co_await handler_.handle(std::move(request));
    const bool keep = wants_more && !response.close && !stopping_;
    if (response.source) {
      co_await write_source(stream, std::move(response), head_only, parser.get().version());
      co_return false;
    }
    co_return co_await write(stream, render(response, head_only, keep)) && keep;
  }

  // Piece by piece, each with the time that a whole answer has. The connection is not used again: a
  // client of HTTP/1.0 knows no other end.
  net::awaitable<void> write_source(beast::tcp_stream& stream, HttpResponse response,
                                    bool head_only, unsigned version) {
    const bool chunked = version >= 11;
    const auto source = std::move(response.source);
    if (chunked) response.headers.emplace_back("Transfer-Encoding", "chunked");
    response.headers.emplace_back("Content-Type", response.content_type);
    if (!co_await write(stream, render_head(response, false) + "\r\n")) co_return;
    if (head_only) co_return;
    auto* const watched = dynamic_cast<WatchedSource*>(source.get());
    auto pieces = write_pieces(stream, *source, chunked);
    if (watched == nullptr) co_return co_await std::move(pieces);
    auto gone = client_gone(stream, *watched);
    using boost::asio::experimental::awaitable_operators::operator||;
    co_await (std::move(pieces) || std::move(gone));
  }

  net::awaitable<void> write_pieces(beast::tcp_stream& stream, BodySource& source, bool chunked) {
    for (;;) {
      std::string piece = co_await source.next();
      const bool over = piece.empty();
      if (chunked) piece = chunk_of(piece);
      if (!piece.empty() && !co_await write(stream, std::move(piece))) co_return;
      if (over) co_return;
    }
  }

  // Without this, one that waits for news would be missed only by the next piece. What it sends now
  // belongs to nothing.
  net::awaitable<void> client_gone(beast::tcp_stream& stream, WatchedSource& source) {
    std::string sink(1'024, '\0');
    for (std::size_t total = 0; total < kLingerBytesMax;) {
      auto [error, bytes] = co_await stream.socket().async_read_some(net::buffer(sink), kToken);
      if (error) break;
      total += bytes;
    }
    source.abandon();
  }

  using BodyRead = std::tuple<boost::system::error_code, std::size_t>;
  net::awaitable<BodyRead> read_body(beast::tcp_stream& stream, beast::flat_buffer& buffer,
                                     http::request_parser<http::string_body>& parser) {
    stream.expires_after(limits_.body_timeout);
    if (parser.get()[http::field::expect] == "100-continue" && buffer.size() == 0) {
      const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      auto [error, bytes] = co_await net::async_write(stream, net::buffer(go_on), kToken);
      if (error) co_return BodyRead{error, bytes};
    }
    co_return co_await http::async_read(stream, buffer, parser, kToken);
  }

  static Error body_too_large(std::uint64_t body_max) {
    return Error{Errc::payload_too_large, "the body has more than " + std::to_string(body_max) +
                                              " bytes, the limit for this route (GET /limits)"};
  }

  net::awaitable<bool> refuse_head(beast::tcp_stream& stream, boost::system::error_code error) {
    const bool gone = error == http::error::end_of_stream ||
                      error == http::error::partial_message ||
                      error.category() != make_error_code(http::error::bad_method).category();
    if (gone) co_return false;  // closed, reset or timed out: nobody to answer
    if (error == http::error::header_limit) {
      co_return co_await refuse(
          stream, Error{Errc::headers_too_large,
                        "the header has more than " + std::to_string(limits_.header_bytes_max) +
                            " bytes, the setting server.header_bytes_max"});
    }
    co_return co_await refuse(stream,
                              Error{Errc::bad_request, "malformed HTTP: " + error.message()});
  }

  // Answers and closes; reads on for a moment, so that the client sees the answer and not a reset.
  net::awaitable<bool> refuse(beast::tcp_stream& stream, Error error) {
    HttpResponse response = problem(error);
    co_await write(stream, render(response, false, false));
    boost::system::error_code ignored;
    stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
    stream.expires_after(kLingerMax);
    std::string sink(8'192, '\0');
    std::size_t total = 0;
    while (total < kLingerBytesMax) {
      auto [failed, bytes] = co_await stream.async_read_some(net::buffer(sink), kToken);
      if (failed) break;
      total += bytes;
    }
    co_return false;
  }

  net::awaitable<bool> write(beast::tcp_stream& stream, std::string text) {
    stream.expires_after(limits_.write_timeout);
    auto [error, bytes] = co_await net::async_write(stream, net::buffer(text), kToken);
    co_return !error;
  }

  net::io_context& io_;
  const HttpLimits limits_;
  const HttpHandler handler_;
  tcp::acceptor acceptor_;
  std::string address_;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> connections_{0};
  std::mutex mutex_;
  std::map<net::ip::address, int> per_address_;  // guarded by mutex_
  std::set<beast::tcp_stream*> idle_;            // guarded by mutex_
};

}  // namespace

Result<std::unique_ptr<HttpServer>> open_http_server(net::io_context& io,
                                                     const std::string& address, int port,
                                                     HttpLimits limits, HttpHandler handler) {
  auto server = std::make_unique<Server>(io, limits, std::move(handler));
  SEQUENTIAL_TRY(server->listen(address, port));
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace sequential::server
