#pragma once
// ChainClient: sends the hints that drive processing, as real HTTP requests on kept-alive
// connections, fire and forget. A hint carries only a stack run id; losing one costs latency.
//
// Threads:  any may call `fire`.
// Blocking: never.
// Bounds:   `connections_max` connections, each with one request outstanding; `queue_max` hints
//           wait. Above that the oldest is dropped: the sweep finds its row.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "chain/signature.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/base/ids.h"

namespace sequential::server {

struct ChainOptions {
  std::string host = "127.0.0.1";
  std::string port;
  int connections_max = 32;
  std::size_t queue_max = 100'000;
  Millis timeout{10'000};  // connect, and answer to one hint
  bool enabled = true;     // false: every hint is dropped (tests of the sweep)
};

// Errors: config_invalid unless `url` is http://host[:port] (TLS ends at the load balancer).
Result<ChainOptions> parse_chain_url(const std::string& url);

class ChainClient {
 public:
  ChainClient(boost::asio::io_context& io, ChainSigner& signer, ChainOptions options);
  ~ChainClient();

  // 0: for the oldest runnable stack run.
  void fire(StackRunId id);
  void stop();

  struct Stats {
    std::int64_t sent = 0, dropped = 0, failed = 0;
    std::size_t queued = 0;
    int connections = 0;
  };
  Stats stats() const;

 private:
  struct State;
  class Connection;
  std::shared_ptr<State> state_;  // shared with the connections' handlers, which may outlive us
};

}  // namespace sequential::server
