#include "sqlite/file_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sequential::storage::sqlite {
namespace {

Error cannot(const std::string& path) {
  return {Errc::unavailable, "cannot lock " + path + ": " + std::strerror(errno)};
}

std::string holder(int fd) {
  std::array<char, 24> text{};
  const ssize_t n = ::pread(fd, text.data(), text.size() - 1, 0);
  if (n <= 0) return "another process";
  std::string pid(text.data(), static_cast<std::size_t>(n));
  const auto end = pid.find_first_not_of("0123456789");
  pid.resize(end == std::string::npos ? pid.size() : end);
  return pid.empty() ? "another process" : "process " + pid;
}

}  // namespace

Result<std::unique_ptr<FileLock>> FileLock::take(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return cannot(path);
  // An open-file-description lock: unlike a process's lock it also keeps out a second opening in
  // this process, and closing another descriptor of the file does not drop it.
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &lock) != 0) {
    const bool held = errno == EAGAIN || errno == EACCES;
    Error error = held ? Error(Errc::in_use, "the database is served by " + holder(fd) +
                                                 " already (lock file " + path + ")")
                       : cannot(path);
    ::close(fd);
    return error;
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  const bool told = ::ftruncate(fd, 0) == 0 &&
                    ::pwrite(fd, pid.data(), pid.size(), 0) == static_cast<ssize_t>(pid.size());
  static_cast<void>(told);  // The number is for people; the lock is what counts.
  return std::unique_ptr<FileLock>(new FileLock(fd));
}

// The file stays: removing it would let two processes hold locks on two files of one name.
FileLock::~FileLock() { ::close(fd_); }

}  // namespace sequential::storage::sqlite
