#pragma once
// The right to serve a database file: an advisory lock on `<path>.lock`, and one on the database
// file itself, which may have other names. Held for the process's life and given up by the kernel
// when it ends, however it ends.

#include <memory>
#include <string>

#include "sequential/base/error.h"

namespace sequential::storage::sqlite {

class FileLock {
 public:
  // Errors: in_use (names the holder's process id if known), unavailable.
  static Result<std::unique_ptr<FileLock>> take(const std::string& path);

  // Locks the database file too, made with mode 0600 if it is missing. To be called before SQLite
  // has it: whoever closes a descriptor of a file drops what locks SQLite has on it. Errors: as
  // above.
  Result<void> take_database(const std::string& path);

  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  const int fd_;
  int database_fd_ = -1;
};

}  // namespace sequential::storage::sqlite
