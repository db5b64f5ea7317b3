#pragma once
// The embedded store: one SQLite file, served by one process (WAL, synchronous=FULL, one writer,
// group commit).

#include <cstdint>
#include <memory>
#include <string>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/storage/store.h"

namespace sequential::storage {

struct SqliteOptions {
  std::string path = "data/sequential.db";  // its folder is created if missing, mode 0700
  int readers = 2;                // threads with a read-only connection each, 1…64
  int queue_max = 100'000;        // transitions waiting for the writer
  int batch_max = 512;            // transitions per commit
  std::int64_t wal_checkpoint_pages = 4'000;
  std::int64_t cache_kib = 65'536;  // page cache of the writer
  std::int64_t size_bytes_max = 0;  // 0 = unlimited (PRAGMA max_page_count; tests of a full disk)
};

// Opens or creates the file, migrates it, and starts the store's threads. `clock` outlives the
// store. Errors: in_use if another process has it open; schema_newer; corrupt; unavailable;
// config_invalid for options out of range. All but the last name the path.
Result<std::unique_ptr<Store>> open_sqlite(const SqliteOptions& options, const Clock& clock);

}  // namespace sequential::storage
