#pragma once
// The right to serve a database file: an advisory lock on `<path>.lock`, held for the process's
// life and given up by the kernel when it ends, however it ends.

#include <memory>
#include <string>

#include "sequential/base/error.h"

namespace sequential::storage::sqlite {

class FileLock {
 public:
  // Errors: in_use (names the holder's process id if known), unavailable.
  static Result<std::unique_ptr<FileLock>> take(const std::string& path);

  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace sequential::storage::sqlite
