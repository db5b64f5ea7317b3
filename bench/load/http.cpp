#include "http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace sequential::bench {
namespace {

constexpr std::size_t kAnswerBytesMax = 64u << 20;

Error failed(std::string what, int code) {
  return Error{Errc::unavailable, std::move(what) + ": " + std::strerror(code)};
}

template <class Number>
std::optional<Number> number(std::string_view text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

// The value of Content-Length in a head; 0 if there is none.
std::optional<std::size_t> content_length(std::string_view head) {
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;) {
    const std::size_t begin = at + 2;
    at = head.find("\r\n", begin);
    const std::string_view line =
        head.substr(begin, at == std::string_view::npos ? at : at - begin);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || !same_name(line.substr(0, colon), "content-length")) {
      continue;
    }
    auto value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    return number<std::size_t>(value);
  }
  return 0;
}

}  // namespace

Result<Endpoint> parse_url(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  const Error invalid{Errc::invalid_field,
                      "not a URL like http://127.0.0.1:8765: " + std::string(url)};
  if (!url.starts_with(kScheme)) return invalid;
  url.remove_prefix(kScheme.size());
  const auto colon = url.rfind(':');
  if (colon == std::string_view::npos) return invalid;
  const auto port = number<int>(url.substr(colon + 1));
  if (!port || *port <= 0 || *port > 65'535) return invalid;
  return Endpoint{std::string(url.substr(0, colon)), *port};
}

std::string render_request(const Endpoint& to, std::string_view verb, std::string_view target,
                           std::string_view headers, std::string_view body) {
  std::string out(verb);
  out.append(" ").append(target).append(" HTTP/1.1\r\nHost: ").append(to.host);
  out.append(":").append(std::to_string(to.port)).append("\r\n").append(headers);
  if (!body.empty())
    out.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  return out.append("\r\n").append(body);
}

Result<std::optional<HttpAnswer>> take_answer(std::string& received) {
  const auto head_end = received.find("\r\n\r\n");
  if (head_end == std::string::npos) return std::optional<HttpAnswer>();
  const std::string_view head = std::string_view(received).substr(0, head_end);
  constexpr std::size_t kStatusAt = 9;  // "HTTP/1.1 200"
  const auto status =
      head.size() >= kStatusAt + 3 ? number<int>(head.substr(kStatusAt, 3)) : std::optional<int>();
  const auto length = content_length(head);
  if (!head.starts_with("HTTP/1.") || !status || !length || *length > kAnswerBytesMax) {
    return Error{Errc::response_invalid, "not an HTTP answer this client understands"};
  }
  const std::size_t body_at = head_end + 4;
  if (received.size() < body_at + *length) return std::optional<HttpAnswer>();
  HttpAnswer answer{*status, received.substr(body_at, *length)};
  received.erase(0, body_at + *length);
  return std::optional<HttpAnswer>(std::move(answer));
}

Result<HttpConnection> HttpConnection::open(const Endpoint& to, Millis time_limit) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(to.port));
  if (::inet_pton(AF_INET, to.host.c_str(), &address.sin_addr) != 1) {
    return Error{Errc::invalid_field, "not an IPv4 address: " + to.host};
  }
  HttpConnection connection(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connection.fd_ < 0) return failed("cannot make a socket", errno);
  const timeval limit{time_limit.count() / 1000, (time_limit.count() % 1000) * 1000};
  const int on = 1;
  ::setsockopt(connection.fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(connection.fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  ::setsockopt(connection.fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr generic{};
  static_assert(sizeof generic == sizeof address);
  std::memcpy(&generic, &address, sizeof address);
  if (::connect(connection.fd_, &generic, sizeof address) != 0) {
    return failed("cannot connect to port " + std::to_string(to.port), errno);
  }
  return connection;
}

HttpConnection::~HttpConnection() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> HttpConnection::send(std::string_view request) {
  while (!request.empty()) {
    const auto sent = ::send(fd_, request.data(), request.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return failed("the server does not take requests", errno);
    request.remove_prefix(static_cast<std::size_t>(sent));
  }
  return success();
}

Result<bool> HttpConnection::read_some(int flags) {
  std::array<char, 65'536> chunk;
  const auto got = ::recv(fd_, chunk.data(), chunk.size(), flags);
  if (got > 0) {
    received_.append(chunk.data(), static_cast<std::size_t>(got));
    return true;
  }
  if (got == 0) return Error{Errc::unavailable, "the server closed the connection"};
  if (errno == EINTR) return true;
  if (errno != EAGAIN && errno != EWOULDBLOCK) return failed("the connection broke", errno);
  if ((flags & MSG_DONTWAIT) != 0) return false;
  return Error{Errc::timeout, "the server did not answer within the time limit"};
}

Result<HttpAnswer> HttpConnection::receive() {
  for (;;) {
    SEQUENTIAL_TRY(auto answer, take_answer(received_));
    if (answer) return std::move(*answer);
    SEQUENTIAL_TRY(read_some(0));
  }
}

Result<std::optional<HttpAnswer>> HttpConnection::poll() {
  SEQUENTIAL_TRY(read_some(MSG_DONTWAIT));
  return take_answer(received_);
}

Result<HttpAnswer> HttpConnection::exchange(std::string_view request) {
  SEQUENTIAL_TRY(send(request));
  return receive();
}

}  // namespace sequential::bench
