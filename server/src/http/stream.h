#pragma once
// A body that is made while it is sent.

#include <boost/asio/awaitable.hpp>
#include <string>

namespace sequential::server {

// Threads:  used by the coroutine of one connection.
// Lifetime: destroyed with the connection, which may be before the body is over.
class BodySource {
 public:
  BodySource() = default;
  BodySource(const BodySource&) = delete;
  BodySource& operator=(const BodySource&) = delete;
  virtual ~BodySource() = default;
  // The next piece. Empty: the body is over. Asked for once the client has taken the one before, so
  // a slow client holds up nobody else.
  virtual boost::asio::awaitable<std::string> next() = 0;
};

}  // namespace sequential::server
