#pragma once
// A small HTTP/1.1 client for measuring: one kept-alive connection, requests rendered once, one
// send and usually one receive per exchange, so that the client leaves the cores to the server.
//
// Threads:  one at a time.
// Blocking: send and receive block, at most for the connection's time limit.
// Errors:   unavailable (cannot connect, closed), timeout, response_invalid.

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::bench {

struct HttpAnswer {
  int status = 0;
  std::string body;
};

struct Endpoint {
  std::string host;
  int port = 0;
};

// "http://127.0.0.1:8765" → endpoint.
Result<Endpoint> parse_url(std::string_view url);

// `headers`: whole lines, each ended by \r\n.
std::string render_request(const Endpoint& to, std::string_view verb, std::string_view target,
                           std::string_view headers, std::string_view body);

// Takes the first complete answer out of `received`; nullopt while there is none.
Result<std::optional<HttpAnswer>> take_answer(std::string& received);

class HttpConnection {
 public:
  static Result<HttpConnection> open(const Endpoint& to, Millis time_limit);
  HttpConnection(HttpConnection&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), received_(std::move(other.received_)) {}
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;
  HttpConnection& operator=(HttpConnection&&) = delete;
  ~HttpConnection();

  Result<void> send(std::string_view request);
  Result<HttpAnswer> receive();
  // Reads what has arrived without waiting.
  Result<std::optional<HttpAnswer>> poll();
  Result<HttpAnswer> exchange(std::string_view request);
  int fd() const { return fd_; }

 private:
  explicit HttpConnection(int fd) : fd_(fd) {}
  Result<bool> read_some(int flags);  // false: nothing there (only with MSG_DONTWAIT)

  int fd_;
  std::string received_;
};

}  // namespace sequential::bench
