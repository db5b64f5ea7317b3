#include "fake_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace sequential::cli {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

FakeRequest parse(const std::string& head) {
  FakeRequest request;
  std::istringstream lines(head);
  std::string line, version;
  std::getline(lines, line);
  std::istringstream(line) >> request.method >> request.target >> version;
  while (std::getline(lines, line) && line != "\r") {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string value = line.substr(colon + 1);
    value.erase(0, value.find_first_not_of(' '));
    value.erase(value.find_last_not_of("\r ") + 1);
    request.headers[lower(line.substr(0, colon))] = value;
  }
  return request;
}

}  // namespace

FakeServer::FakeServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(::bind(listener_, generic, size), 0);
  EXPECT_EQ(::listen(listener_, 16), 0);
  EXPECT_EQ(::getsockname(listener_, generic, &size), 0);
  port_ = ntohs(address.sin_port);
  EXPECT_EQ(::pipe(stop_), 0);
  thread_ = std::thread([this] { serve(); });
}

FakeServer::~FakeServer() {
  ::close(stop_[1]);
  thread_.join();
  ::close(stop_[0]);
  ::close(listener_);
  for (const int connection : hanging_) ::close(connection);
}

std::string FakeServer::url() const { return "http://127.0.0.1:" + std::to_string(port_); }

std::vector<FakeRequest> FakeServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void FakeServer::serve() {
  for (;;) {
    pollfd ready[2] = {{.fd = listener_, .events = POLLIN, .revents = 0},
                       {.fd = stop_[0], .events = POLLIN, .revents = 0}};
    if (::poll(ready, 2, -1) < 0) continue;
    if (ready[1].revents != 0) return;
    const int connection = ::accept(listener_, nullptr, nullptr);
    if (connection >= 0) answer(connection);
  }
}

void FakeServer::answer(int connection) {
  std::string text;
  std::size_t head_end = std::string::npos, body_bytes = 0;
  FakeRequest request;
  while (head_end == std::string::npos || text.size() < head_end + body_bytes) {
    char buffer[65'536];
    const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
    if (got <= 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
    if (head_end != std::string::npos) continue;
    const auto found = text.find("\r\n\r\n");
    if (found == std::string::npos) continue;
    head_end = found + 4;
    request = parse(text.substr(0, head_end));
    body_bytes = std::strtoul(request.headers["content-length"].c_str(), nullptr, 10);
  }
  if (head_end != std::string::npos) request.body = text.substr(head_end);
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  const FakeReply reply = handler_(request);
  if (reply.hang) {
    hanging_.push_back(connection);
    return;
  }
  const std::string out = "HTTP/1.1 " + std::to_string(reply.status) +
                          " Fake\r\nContent-Type: application/json\r\nContent-Length: " +
                          std::to_string(reply.body.size()) + "\r\nConnection: close\r\n\r\n" +
                          reply.body;
  std::size_t sent = 0;
  while (sent < out.size()) {
    const ssize_t wrote =
        ::send(connection, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
    if (wrote <= 0) break;
    sent += static_cast<std::size_t>(wrote);
  }
  ::close(connection);
}

}  // namespace sequential::cli
