#pragma once
// The stores under test. Every suite of this folder runs on each of backends(); a new store adds
// itself there and must pass them all.

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/storage/store.h"

namespace sequential::storage::test {

// One empty database, gone with the object.
class Database {
 public:
  Database() = default;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  virtual ~Database() = default;

  // Opens it, the first time and after each close. At most one store is open at a time.
  virtual Result<std::unique_ptr<Store>> open(const Clock& clock) = 0;

  // Every row of every table as text, in a fixed order: equal dumps are equal contents.
  virtual std::string dump() = 0;

  // What is wrong with the file or its foreign keys; empty if nothing.
  virtual std::string damage() = 0;
};

struct Backend {
  std::string name;
  std::function<std::unique_ptr<Database>()> create;
};

inline void PrintTo(const Backend& backend, std::ostream* out) { *out << backend.name; }

std::vector<Backend> backends();

Backend sqlite_backend();
Backend postgres_backend();

}  // namespace sequential::storage::test
