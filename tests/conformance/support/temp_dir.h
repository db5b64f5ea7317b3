#pragma once
// A folder of the test's own, removed after it.

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "sequential/base/check.h"

namespace sequential::storage::test {

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "sequential-test-XXXXXX").string();
    SEQUENTIAL_CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace sequential::storage::test
