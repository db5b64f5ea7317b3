#pragma once
// HttpServer: listens, reads requests under limits and deadlines, answers by the handler.
//
// Threads:  coroutines on the io_context; each connection on its own strand.
// Bounds:   every phase of a request has a deadline, every size a limit (HttpLimits). A request
//           whose framing leaves any doubt is answered 400 and its connection closed.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "http/types.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"

namespace sequential::server {

struct HttpLimits {
  std::uint32_t header_bytes_max = 16'384;
  std::size_t header_fields_max = 64;
  Millis header_timeout{10'000};  // from its first byte to its last
  Millis body_timeout{30'000};
  Millis idle_timeout{30'000};    // between requests
  Millis write_timeout{30'000};
  int connections_max = 2'000;
  int connections_per_address_max = 1'000;  // loopback is exempt
  std::int64_t requests_per_connection_max = 1'000'000;
};

struct HttpHandler {
  // The body limit of a request, known from its head alone.
  std::function<std::uint64_t(const HttpRequest&)> body_limit;
  // Answers it. Never throws what it means to say.
  std::function<boost::asio::awaitable<HttpResponse>(HttpRequest)> handle;
};

class HttpServer {
 public:
  HttpServer() = default;
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  virtual ~HttpServer() = default;
  virtual std::string address() const = 0;
  virtual int port() const = 0;  // the one really bound
  virtual int connections() const = 0;
  // Begins to accept. Until then connections wait in the listen queue.
  virtual void start() = 0;
  // Accepts no more; idle connections are closed, busy ones after their answer.
  virtual void stop() = 0;
};

// Binds and listens before it returns. Errors: unavailable, naming address and reason.
Result<std::unique_ptr<HttpServer>> open_http_server(boost::asio::io_context& io,
                                                     const std::string& address, int port,
                                                     HttpLimits limits, HttpHandler handler);

}  // namespace sequential::server
