#pragma once
// Test builds only: migrations beside those in the binary, from the folder that the environment
// variable SEQUENTIAL_EXTRA_MIGRATIONS names. So a test can run "the next release" of this one.
// Files are named like ours and go on with their numbers. Included by the generated sources alone.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <list>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "migrations.h"
#include "sequential/base/bytes.h"

namespace sequential::storage {

class ExtraMigrations {
 public:
  explicit ExtraMigrations(std::span<const Migration> embedded)
      : all_(embedded.begin(), embedded.end()) {
    if (const char* folder = std::getenv("SEQUENTIAL_EXTRA_MIGRATIONS")) add_folder(folder);
  }
  std::span<const Migration> all() const { return all_; }

 private:
  struct File {
    std::string name, sql, sha256;
  };

  // A folder that is not understood must not pass for a release that changed nothing.
  [[noreturn]] static void refuse(const std::string& what) {
    std::fprintf(stderr, "SEQUENTIAL_EXTRA_MIGRATIONS: %s\n", what.c_str());
    std::abort();
  }

  void add_folder(const std::string& folder) {
    std::vector<std::filesystem::path> paths;
    std::error_code ec;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ec)) {
      paths.push_back(entry.path());
    }
    if (ec) refuse(folder + ": " + ec.message());
    std::sort(paths.begin(), paths.end());
    for (const auto& path : paths) add_file(path);
  }

  void add_file(const std::filesystem::path& path) {
    const int version = static_cast<int>(all_.size()) + 1;
    const std::string stem = path.stem().string();
    const std::string number = migration_number(version) + "_";
    if (stem.substr(0, number.size()) != number || path.extension() != ".sql") {
      refuse(path.string() + ": its name must be " + number + "words.sql");
    }
    std::ifstream in(path, std::ios::binary);
    File& file = files_.emplace_back();
    file.name = stem.substr(number.size());
    file.sql.assign(std::istreambuf_iterator<char>(in), {});
    if (!in) refuse(path.string() + ": cannot be read");
    const Hash128 hash = fast_hash(file.sql);  // tells files apart: no more is asked of it here
    file.sha256 = std::to_string(hash.high) + "-" + std::to_string(hash.low);
    all_.push_back({version, file.name, file.sql, file.sha256});
  }

  std::list<File> files_;  // they do not move
  std::vector<Migration> all_;
};

}  // namespace sequential::storage
