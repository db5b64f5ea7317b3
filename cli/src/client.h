#pragma once
// Client: one server, asked one question at a time over HTTP.
//
// Threads:  one.
// Blocking: until the answer is there or Request::timeout has passed; Ctrl-C ends it (interrupt.h).
// Errors:   service_unavailable (nobody answers, with the reason), timeout, cancelled (Ctrl-C),
//           response_too_large, config_invalid (a URL that is none). Any answer is a Response.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::cli {

inline constexpr Millis kConnectTimeout{5'000};
inline constexpr Millis kRequestTimeout{30'000};
inline constexpr std::size_t kResponseBytesMax = 256u << 20;

struct Request {
  std::string method = "GET";
  std::string path;  // with query, already encoded
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  Millis timeout = kRequestTimeout;
  bool interruptible = true;  // Ctrl-C ends the request; false: its answer is waited for
  // The body of a 200 goes here as it comes, and nowhere else; false ends the request.
  std::function<bool(std::string_view)> on_piece = {};
  std::function<bool()> on_tick = {};  // about once a second; false ends the request
  Millis silence_max{0};               // so long without a byte is an error; 0: see timeout
};

struct Response {
  int status = 0;
  std::string body;
  bool stopped = false;  // by on_piece or on_tick
};

class Client {
 public:
  // `server` is a URL, or host:port for http. `token` is sent as bearer token unless empty.
  Client(std::string server, std::string token);

  Result<Response> send(const Request& request);
  const std::string& server() const { return server_; }

 private:
  struct Close {
    void operator()(void* handle) const;
  };
  std::string server_;
  const std::string token_;
  std::unique_ptr<void, Close> curl_;  // kept, so that its connection is
};

// For one segment of a path or one value of a query.
std::string percent_encode(std::string_view text);

}  // namespace sequential::cli
