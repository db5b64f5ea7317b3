#include "node_mark.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "sequential/base/log.h"

namespace sequential::server {
namespace {

constexpr std::size_t kBytesMax = 256;

std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  return id;
}

std::string read_mark(int fd) {
  std::array<char, kBytesMax> bytes{};
  const ssize_t got = ::pread(fd, bytes.data(), bytes.size(), 0);
  return got > 0 ? std::string(bytes.data(), static_cast<std::size_t>(got)) : std::string();
}

void not_marked(const std::string& path) {
  log_warn("work that this node leaves behind in a crash waits for its leases to end",
           {{"file", path}, {"reason", std::generic_category().message(errno)}});
}

}  // namespace

NodeMark::NodeMark(const std::string& folder)
    : path_((std::filesystem::path(folder) / "node.lock").string()) {
  std::error_code ignored;  // open() says it better
  std::filesystem::create_directories(folder, ignored);
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0 || ::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    not_marked(path_);
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    return;
  }
  const std::string boot = boot_id();
  std::istringstream mark(read_mark(fd_));
  std::string name;
  std::string its_boot;
  mark >> name >> its_boot;
  if (!boot.empty() && its_boot == boot) died_ = name;
}

void NodeMark::write(const std::string& node) {
  if (fd_ < 0) return;
  // Written before it is cut: a crash in between leaves this node's name with something behind it.
  const std::string own = node + " " + boot_id() + "\n";
  if (::pwrite(fd_, own.data(), own.size(), 0) != static_cast<ssize_t>(own.size()) ||
      ::ftruncate(fd_, static_cast<off_t>(own.size())) != 0) {
    not_marked(path_);
  }
}

NodeMark::~NodeMark() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace sequential::server
