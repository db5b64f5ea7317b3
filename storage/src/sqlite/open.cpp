// open_sqlite: from a path to a running store.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>
#include <system_error>

#include "sequential/storage/sqlite.h"
#include "sqlite/open.h"
#include "sqlite/sqlite_store.h"

namespace sequential::storage {
namespace sqlite {
namespace {

constexpr int kReadersMax = 64;
constexpr std::int64_t kPageBytes = 4'096;
// After an unclean stop the whole file is checked, unless that would hold up the start (measured:
// some 300 MB/s).
constexpr std::int64_t kCheckBytesMax = 32ll << 20;

Error cannot_use(const std::string& path, const char* what) {
  return {Errc::unavailable, "cannot " + std::string(what) + " " + path + ": " +
                                 std::strerror(errno)};
}

// The folder, private if it is new.
Result<void> make_folder(const std::filesystem::path& folder) {
  std::error_code ec;
  if (folder.empty() || std::filesystem::is_directory(folder, ec)) return success();
  SEQUENTIAL_TRY(make_folder(folder.parent_path()));
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return cannot_use(folder.string(), "create the folder");
  }
  return success();
}

// Where the links of a path lead to, which is where SQLite puts its log. A path that does not exist
// yet is answered too.
std::string resolved(const std::string& path) {
  constexpr int kLinksMax = 40;
  std::filesystem::path at = path;
  std::error_code ec;
  for (int i = 0; i < kLinksMax && std::filesystem::is_symlink(at, ec); ++i) {
    at = at.parent_path() / std::filesystem::read_symlink(at, ec);
  }
  return at.string();
}

Result<std::string> text_of(Connection& connection, const std::string& sql) {
  std::string text;
  {
    Statement statement(connection, sql);
    Cursor row = statement.query();
    if (row.next()) text = row.text(0);
  }
  if (connection.failed()) {
    Error error = connection.error();
    connection.forgive();
    return error;
  }
  return text;
}

Result<void> configure_writer(Connection& connection, const SqliteOptions& options) {
  SEQUENTIAL_TRY(connection.execute("PRAGMA page_size=4096"));
  SEQUENTIAL_TRY(const std::string mode, text_of(connection, "PRAGMA journal_mode=WAL"));
  if (mode != "wal") {
    return Error(Errc::unavailable,
                 "its file system cannot hold a write-ahead log (a network share?)");
  }
  SEQUENTIAL_TRY(connection.execute("PRAGMA synchronous=FULL"));
  SEQUENTIAL_TRY(connection.execute("PRAGMA wal_autocheckpoint=0"));
  SEQUENTIAL_TRY(connection.execute("PRAGMA foreign_keys=OFF"));  // the transitions keep them
  SEQUENTIAL_TRY(connection.execute("PRAGMA temp_store=MEMORY"));
  const std::string cache = "PRAGMA cache_size=-" + std::to_string(options.cache_kib);
  SEQUENTIAL_TRY(connection.execute(cache.c_str()));
  if (options.size_bytes_max > 0) {
    const std::string pages =
        "PRAGMA max_page_count=" + std::to_string(options.size_bytes_max / kPageBytes);
    SEQUENTIAL_TRY(connection.execute(pages.c_str()));
  }
  return success();
}

// Gives the log its full size before it is needed. Flushing writes into blocks that a file already
// has spares the file system's journal: measured on ext4, 0.11 ms instead of 0.25 ms, and on a busy
// machine without the stalls of 4 ms and more that waiting for the journal's thread brings
// (fallocate brings them back: its blocks have to be marked as written). SQLite goes by the frames'
// checksums, not by the file's size, so zeros at its end mean nothing to it. It never shrinks the
// log, only starts it over. Best effort: without it things are merely slower.
void reserve_log(const std::string& path, std::int64_t pages) {
  constexpr std::int64_t kFrameBytes = kPageBytes + 24;
  constexpr std::int64_t kChunkBytes = 1 << 20;
  constexpr std::int64_t kReserveBytesMax = 64 << 20;  // so that a start stays quick
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  struct stat status {};
  const std::int64_t bytes = std::min(pages * kFrameBytes, kReserveBytesMax);
  bool ok = ::fstat(fd, &status) == 0;
  const std::string zeros(static_cast<std::size_t>(std::min(kChunkBytes, bytes)), '\0');
  for (std::int64_t at = status.st_size; ok && at < bytes;) {
    const auto size = static_cast<std::size_t>(std::min(kChunkBytes, bytes - at));
    const ssize_t written = ::pwrite(fd, zeros.data(), size, at);
    ok = written > 0;
    at += written;
  }
  ok = ok && ::fsync(fd) == 0;
  if (!ok && ::ftruncate(fd, status.st_size) != 0) ok = false;  // no room: as it was
  ::close(fd);
}

Result<void> check_after_unclean_stop(Connection& connection, const std::string& path) {
  std::error_code ec;
  const auto bytes = std::filesystem::file_size(path, ec);
  if (ec || static_cast<std::int64_t>(bytes) > kCheckBytesMax) return success();
  SEQUENTIAL_TRY(const std::string found, text_of(connection, "PRAGMA quick_check(1)"));
  if (found == "ok") return success();
  return Error(Errc::corrupt, "the file is damaged: " + found +
                                  ". Restore a backup, or salvage it with sqlite3 and .recover");
}

// `clean` is 0 while the file is served, 1 after a stop that ended all it had begun.
Result<void> mark(Connection& connection, int clean) {
  Statement set(connection,
                "INSERT INTO meta (key, value) VALUES ('clean', ?1)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value");
  set.run(clean);
  if (!connection.failed()) return success();
  Error error = connection.error();
  connection.forgive();
  return error;
}

Result<void> check_options(const SqliteOptions& options) {
  if (options.path.empty() || options.readers < 1 || options.readers > kReadersMax ||
      options.queue_max < 1 || options.batch_max < 1 || options.wal_checkpoint_pages < 1 ||
      options.cache_kib < 1 || options.size_bytes_max < 0) {
    return Error(Errc::config_invalid,
                 "the database needs a path, 1 to 64 readers, and limits above zero");
  }
  return success();
}

// The allocator's statistics take a lock of the whole process with every allocation.
void configure_library() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

// With the file ours alone.
Result<std::unique_ptr<Store>> open_locked(const SqliteOptions& options,
                                           std::span<const Migration> migrations,
                                           std::unique_ptr<FileLock> lock, const Clock& clock) {
  SEQUENTIAL_TRY(auto connection, Connection::open(options.path, Connection::Mode::read_write));
  SEQUENTIAL_TRY(configure_writer(*connection, options));
  SEQUENTIAL_TRY(migrate(*connection, migrations, clock));
  SEQUENTIAL_TRY(const std::string clean,
                 text_of(*connection, "SELECT value FROM meta WHERE key = 'clean'"));
  if (clean == "0") {
    SEQUENTIAL_TRY(check_after_unclean_stop(*connection, options.path));
  }
  SEQUENTIAL_TRY(mark(*connection, 0));
  // A quarter more than calls for a checkpoint: writing goes on while one is made.
  reserve_log(options.path + "-wal", options.wal_checkpoint_pages * 5 / 4);

  SEQUENTIAL_TRY(auto checkpoints, Connection::open(options.path, Connection::Mode::read_write));
  SEQUENTIAL_TRY(checkpoints->execute("PRAGMA wal_autocheckpoint=0"));
  SEQUENTIAL_TRY(auto readers, Readers::open(options.path, options.readers, options.queue_max));
  const Writer::Options writer_options{options.queue_max, options.batch_max,
                                       options.wal_checkpoint_pages};
  SEQUENTIAL_TRY(auto writer, Writer::open(std::move(connection), std::move(checkpoints),
                                           writer_options, clock));
  return std::unique_ptr<Store>(std::make_unique<SqliteStore>(
      options.path, std::move(lock), std::move(writer), std::move(readers), clock));
}

}  // namespace

Result<std::unique_ptr<Store>> open_store(const SqliteOptions& given,
                                          std::span<const Migration> migrations,
                                          const Clock& clock) {
  SEQUENTIAL_TRY(check_options(given));
  configure_library();
  SqliteOptions options = given;
  options.path = resolved(given.path);
  SEQUENTIAL_TRY(make_folder(std::filesystem::path(options.path).parent_path()));
  SEQUENTIAL_TRY(auto lock, FileLock::take(options.path + ".lock"));
  SEQUENTIAL_TRY(lock->take_database(options.path));
  auto store = open_locked(options, migrations, std::move(lock), clock);
  if (store.has_value()) return store;
  Error error = std::move(store).error();
  error.message = "database " + options.path + ": " + error.message;
  return error;
}

}  // namespace sqlite

Result<std::unique_ptr<Store>> open_sqlite(const SqliteOptions& options, const Clock& clock) {
  return sqlite::open_store(options, sqlite::embedded_migrations(), clock);
}

}  // namespace sequential::storage
