#include "cut_proxy.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "sequential/base/check.h"

namespace sequential::storage::test {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  SEQUENTIAL_CHECK(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

bool send_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = ::send(fd, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

// The answer to a statement is complete: ReadyForQuery, idle.
bool complete(const std::string& bytes) {
  constexpr char kReady[] = {'Z', 0, 0, 0, 5, 'I'};
  return bytes.size() >= sizeof kReady &&
         std::memcmp(bytes.data() + bytes.size() - sizeof kReady, kReady, sizeof kReady) == 0;
}

}  // namespace

struct CutProxy::Pair {
  int client = -1, server = -1;
  bool withhold = false;  // the answer under way is not for the client
  std::string withheld;
};

CutProxy::CutProxy(std::string server) : server_(std::move(server)) {
  std::string name = (std::filesystem::temp_directory_path() / "sequential-cut-XXXXXX").string();
  SEQUENTIAL_CHECK(::mkdtemp(name.data()) != nullptr);
  folder_ = name;
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(folder_ + "/.s.PGSQL.5432");
  const auto* const any = reinterpret_cast<const sockaddr*>(&address);
  SEQUENTIAL_CHECK(::bind(listener_, any, sizeof address) == 0);
  SEQUENTIAL_CHECK(::listen(listener_, 64) == 0);
  wake_ = ::eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { loop(); });
}

CutProxy::~CutProxy() {
  ::eventfd_write(wake_, 1);
  thread_.join();
  for (const Pair& pair : pairs_) {
    ::close(pair.client);
    ::close(pair.server);
  }
  ::close(listener_);
  ::close(wake_);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void CutProxy::cut_at(const std::string& text, When when, int times) {
  const std::lock_guard lock(mutex_);
  text_ = text;
  when_ = when;
  left_ = times;
}

bool CutProxy::due(const std::string& bytes, When when) {
  const std::lock_guard lock(mutex_);
  if (left_ == 0 || when_ != when || bytes.find(text_) == std::string::npos) return false;
  --left_;
  return true;
}

void CutProxy::loop() {
  for (;;) {
    std::vector<pollfd> fds = {{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
    for (const Pair& pair : pairs_) {
      fds.push_back({pair.client, POLLIN, 0});
      fds.push_back({pair.server, POLLIN, 0});
    }
    if (::poll(fds.data(), fds.size(), -1) <= 0) continue;
    if (fds[0].revents != 0) return;
    std::vector<Pair> kept;
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      Pair& pair = pairs_[i];
      bool open = fds[2 + 2 * i].revents == 0 || forward_request(pair);
      open = open && (fds[3 + 2 * i].revents == 0 || forward_answer(pair));
      if (open) {
        kept.push_back(std::move(pair));
      } else {
        ::close(pair.client);
        ::close(pair.server);
      }
    }
    pairs_ = std::move(kept);
    if (fds[1].revents != 0) accept_one();
  }
}

void CutProxy::accept_one() {
  Pair pair;
  pair.client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  pair.server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(server_);
  if (::connect(pair.server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(pair.client);
    ::close(pair.server);
    return;
  }
  pairs_.push_back(std::move(pair));
}

bool CutProxy::forward_request(Pair& pair) {
  char buffer[1 << 16];
  const ssize_t size = ::recv(pair.client, buffer, sizeof buffer, 0);
  if (size <= 0) return false;
  const std::string bytes(buffer, static_cast<std::size_t>(size));
  if (due(bytes, When::before_it_is_sent)) {
    ++cuts_;
    return false;
  }
  if (due(bytes, When::after_it_is_committed)) pair.withhold = true;
  return send_all(pair.server, bytes.data(), bytes.size());
}

bool CutProxy::forward_answer(Pair& pair) {
  char buffer[1 << 16];
  const ssize_t size = ::recv(pair.server, buffer, sizeof buffer, 0);
  if (size <= 0) return false;
  if (!pair.withhold) return send_all(pair.client, buffer, static_cast<std::size_t>(size));
  pair.withheld.append(buffer, static_cast<std::size_t>(size));
  if (!complete(pair.withheld)) return true;
  ++cuts_;
  return false;
}

}  // namespace sequential::storage::test
