#include "sqlite/connection.h"

#include "sequential/base/check.h"

namespace sequential::storage::sqlite {
namespace {

// Nobody else opens the file, so a lock is only ever held for a moment by one of our own.
constexpr int kBusyTimeoutMs = 5'000;

}  // namespace

Error error_of(int extended_code, std::string_view message) {
  const auto text = [&](const char* what) {
    return std::string(what) + ": " + std::string(message);
  };
  switch (extended_code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Errc::corrupt, text("the database file is damaged")};
    case SQLITE_FULL:
      return {Errc::unavailable, "the disk, or the size allowed for the database, is full"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
      return {Errc::unavailable, text("the database file cannot be used")};
    case SQLITE_TOOBIG:
      return {Errc::payload_too_large, "a value is larger than the database can hold"};
    default:
      return {Errc::internal, text("the database refused a statement")};
  }
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, Mode mode) {
  sqlite3* db = nullptr;
  const int access = mode == Mode::read_write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                              : SQLITE_OPEN_READONLY;
  const int rc = sqlite3_open_v2(path.c_str(), &db,
                                 access | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, nullptr);
  if (rc != SQLITE_OK) {
    Error error = error_of(rc, std::string(sqlite3_errstr(rc)) + " (" + path + ")");
    sqlite3_close(db);
    return error;
  }
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_timeout(db, kBusyTimeoutMs);
  return std::unique_ptr<Connection>(new Connection(db));
}

Connection::~Connection() {
  // Busy means a statement outlived its connection.
  SEQUENTIAL_CHECK(sqlite3_close(db_) == SQLITE_OK);
}

Result<void> Connection::execute(const char* sql) {
  const int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return error_of(rc, sqlite3_errmsg(db_));
  return success();
}

void Connection::fail(int rc) {
  if (rc_ != SQLITE_OK) return;
  rc_ = rc;
  message_ = sqlite3_errmsg(db_);
}

void Connection::fail_internal(const char* what) {
  if (rc_ != SQLITE_OK) return;
  rc_ = SQLITE_INTERNAL;
  message_ = what;
}

Error Connection::error() const { return error_of(rc_, message_); }

Statement::Statement(Connection& connection, std::string_view sql) : connection_(connection) {
  note(sqlite3_prepare_v3(connection.handle(), sql.data(), static_cast<int>(sql.size()),
                          SQLITE_PREPARE_PERSISTENT, &statement_, nullptr));
}

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::bind(int i, std::string_view v) {
  // A null pointer would bind NULL; an empty text is not NULL.
  const char* const data = v.data() == nullptr ? "" : v.data();
  note(sqlite3_bind_text64(statement_, i, data, v.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void Statement::bind(int i, Blob v) {
  const char* const data = v.bytes.data() == nullptr ? "" : v.bytes.data();
  note(sqlite3_bind_blob64(statement_, i, data, v.bytes.size(), SQLITE_STATIC));
}

bool Statement::step() {
  if (connection_.failed()) return false;
  const int rc = sqlite3_step(statement_);
  if (rc == SQLITE_ROW) return true;
  if (rc != SQLITE_DONE) connection_.fail(rc);
  return false;
}

int Statement::step_once() {
  if (connection_.failed()) return 0;
  const int rc = sqlite3_step(statement_);
  if (rc != SQLITE_DONE) {
    connection_.fail(rc == SQLITE_ROW ? SQLITE_MISUSE : rc);
    sqlite3_reset(statement_);
    return 0;
  }
  const int changed = sqlite3_changes(connection_.handle());
  sqlite3_reset(statement_);
  return changed;
}

std::string_view Cursor::view(int column) const {
  // Asked as a blob, text comes back as its bytes, whatever they are.
  const void* const data = sqlite3_column_blob(statement_.statement_, column);
  const int size = sqlite3_column_bytes(statement_.statement_, column);
  if (data == nullptr || size <= 0) return {};
  return {static_cast<const char*>(data), static_cast<std::size_t>(size)};
}

}  // namespace sequential::storage::sqlite
