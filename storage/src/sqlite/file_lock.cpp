#include "sqlite/file_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sequential::storage::sqlite {
namespace {

constexpr off_t kWholeFile = 0;
constexpr off_t kLockedByte = off_t{1} << 40;  // far behind those that SQLite locks

Error cannot(const char* what, const std::string& path) {
  return {Errc::unavailable,
          "cannot " + std::string(what) + " " + path + ": " + std::strerror(errno)};
}

// An open-file-description lock: unlike a process's lock it also keeps out a second opening in this
// process, and closing another descriptor of the file does not drop it.
bool lock_at(int fd, off_t start, off_t length) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
}
bool is_held() { return errno == EAGAIN || errno == EACCES; }

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
  if (fd < 0) return cannot("lock", path);
  std::unique_ptr<FileLock> lock(new FileLock(fd));
  if (!lock_at(fd, 0, kWholeFile)) {
    if (!is_held()) return cannot("lock", path);
    return Error(Errc::in_use, "the database is served by " + holder(fd) +
                                   " already (lock file " + path + ")");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  const bool told = ::ftruncate(fd, 0) == 0 &&
                    ::pwrite(fd, pid.data(), pid.size(), 0) == static_cast<ssize_t>(pid.size());
  static_cast<void>(told);  // The number is for people; the lock is what counts.
  return lock;
}

Result<void> FileLock::take_database(const std::string& path) {
  database_fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (database_fd_ < 0) return cannot("open", path);
  // SQLite takes the mode of its log from the database file.
  if (::fchmod(database_fd_, 0600) != 0) return cannot("set the mode of", path);
  if (lock_at(database_fd_, kLockedByte, 1)) return success();
  if (!is_held()) return cannot("lock", path);
  return Error(Errc::in_use,
               "the database is served by another process already, under another name (a link)");
}

// The lock file stays: removing it would let two processes hold locks on two files of one name.
FileLock::~FileLock() {
  if (database_fd_ >= 0) ::close(database_fd_);
  ::close(fd_);
}

}  // namespace sequential::storage::sqlite
