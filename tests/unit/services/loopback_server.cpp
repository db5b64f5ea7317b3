#include "loopback_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace sequential::test {
namespace {

constexpr std::chrono::seconds kPatience{10};

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

void require(bool condition, const char* what) {
  if (condition) return;
  std::perror(what);
  std::abort();
}

// Reads until `text` holds `until`; false when the peer is gone.
bool read_until(int fd, std::string& text, std::string_view until) {
  while (text.find(until) == std::string::npos) {
    char buffer[16384];
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return true;
}

bool read_request(int fd, std::string& pending, SeenRequest& request) {
  if (!read_until(fd, pending, "\r\n\r\n")) return false;
  const std::size_t head_end = pending.find("\r\n\r\n");
  const std::string head = pending.substr(0, head_end);
  pending.erase(0, head_end + 4);
  std::size_t at = head.find("\r\n");
  const std::string first = head.substr(0, at);
  request.method = first.substr(0, first.find(' '));
  const std::size_t target_at = request.method.size() + 1;
  request.target = first.substr(target_at, first.rfind(' ') - target_at);
  while (at != std::string::npos) {
    const std::size_t begin = at + 2;
    at = head.find("\r\n", begin);
    const std::string line = head.substr(begin, at == std::string::npos ? at : at - begin);
    const std::size_t colon = line.find(':');
    const std::size_t value = line.find_first_not_of(' ', colon + 1);
    request.headers.emplace_back(line.substr(0, colon),
                                 value == std::string::npos ? "" : line.substr(value));
  }
  std::size_t left = 0;
  if (const auto length = request.header("content-length")) left = std::stoul(*length);
  while (pending.size() < left) {
    char buffer[65536];
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    pending.append(buffer, static_cast<std::size_t>(got));
  }
  request.body = pending.substr(0, left);
  pending.erase(0, left);
  return true;
}

}  // namespace

std::optional<std::string> SeenRequest::header(std::string_view name) const {
  for (const auto& [each, value] : headers) {
    if (same_name(each, name)) return value;
  }
  return std::nullopt;
}

bool Peer::send(std::string_view bytes) {
  while (open_ && !bytes.empty()) {
    const ssize_t put = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put <= 0) {
      open_ = false;
      break;
    }
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return open_;
}

void Peer::close() {
  ::shutdown(fd_, SHUT_RDWR);
  open_ = false;
}

void Peer::reset() {
  const linger now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  open_ = false;
}

void Peer::wait_closed() {
  char byte = 0;
  while (open_ && ::recv(fd_, &byte, 1, 0) > 0) {
  }
  open_ = false;
}

LoopbackServer::LoopbackServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(listener_ >= 0, "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  require(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "bind");
  require(::listen(listener_, 512) == 0, "listen");
  socklen_t length = sizeof address;
  require(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) == 0,
          "getsockname");
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

LoopbackServer::~LoopbackServer() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& [number, fd] : open_) ::shutdown(fd, SHUT_RDWR);
  }
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  {
    const std::lock_guard lock(mutex_);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
  ::close(listener_);
}

void LoopbackServer::accept_all() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const std::lock_guard lock(mutex_);
    if (stopping_) {
      ::close(fd);
      return;
    }
    const int number = ++connections_;
    open_[number] = fd;
    threads_.emplace_back([this, fd, number] { serve(fd, number); });
  }
}

void LoopbackServer::serve(int fd, int number) {
  std::string pending;
  Peer peer(fd);
  while (peer.is_open()) {
    SeenRequest request;
    request.connection = number;
    if (!read_request(fd, pending, request)) break;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      arrived_.notify_all();
    }
    handler_(request, peer);
  }
  const std::lock_guard lock(mutex_);
  open_.erase(number);
  ::close(fd);
}

std::vector<SeenRequest> LoopbackServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<SeenRequest> LoopbackServer::requests(std::string_view path) const {
  std::vector<SeenRequest> some = requests();
  std::erase_if(some, [&](const SeenRequest& each) { return each.path() != path; });
  return some;
}

bool LoopbackServer::wait_requests(std::size_t count) const {
  std::unique_lock lock(mutex_);
  return arrived_.wait_for(lock, kPatience, [&] { return requests_.size() >= count; });
}

std::string http_response(int status, std::string_view body,
                          const std::vector<std::string>& headers) {
  std::string text = "HTTP/1.1 " + std::to_string(status) + " Status\r\n";
  for (const std::string& line : headers) text += line + "\r\n";
  if (status != 204 && status != 304) {
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  }
  return text + "\r\n" + std::string(body);
}

// Stored blocks (RFC 1951 §3.2.4) in a gzip frame (RFC 1952): valid without a compressor.
std::string gzip(std::string_view text) {
  std::string out("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
  }
  const auto append = [&out](std::uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xFF);
  };
  const auto size = static_cast<std::uint32_t>(text.size());
  do {
    const auto block = text.substr(0, 65535);
    text.remove_prefix(block.size());
    out += text.empty() ? '\1' : '\0';
    append(static_cast<std::uint32_t>(block.size()), 2);
    append(~static_cast<std::uint32_t>(block.size()), 2);
    out += block;
  } while (!text.empty());
  append(~crc, 4);
  append(size, 4);
  return out;
}

// One block of fixed codes: a literal 'a', then "repeat the last byte 258 times" over and over.
std::string gzip_bomb(std::size_t decompressed_bytes) {
  std::string out("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
  unsigned pending = 0;
  int bits = 0;
  const auto put = [&](unsigned value, int count) {  // first bit lowest
    pending |= value << bits;
    for (bits += count; bits >= 8; bits -= 8, pending >>= 8) out += static_cast<char>(pending & 255);
  };
  const auto put_code = [&put](unsigned code, int count) {  // first bit highest
    for (int i = count - 1; i >= 0; --i) put((code >> i) & 1, 1);
  };
  put(1, 1);
  put(1, 2);
  put_code(0x30 + 'a', 8);
  for (std::size_t made = 1; made < decompressed_bytes; made += 258) {
    put_code(0xC5, 8);  // length 258
    put_code(0, 5);     // distance 1
  }
  put_code(0, 7);
  put(0, 7);
  return out + std::string(8, '\0');
}

}  // namespace sequential::test
