#pragma once
// One SQLite connection and its prepared statements.
//
// Threads:  a connection and its statements belong to one thread at a time.
// Errors:   they stick: the first error of a transaction is kept by the connection, later steps do
//           nothing, and whoever ends the transaction asks `failed()`. So a transition reads like
//           its SQL, and no error can be passed over.
// Lifetime: statements must go before their connection.

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/base/ids.h"

namespace sequential::storage::sqlite {

class Connection {
 public:
  enum class Mode { read_write, read_only };
  static Result<std::unique_ptr<Connection>> open(const std::string& path, Mode mode);

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  sqlite3* handle() const { return db_; }

  // Runs SQL without results at once. The answer is the error's; it does not stick.
  Result<void> execute(const char* sql);

  bool failed() const { return rc_ != SQLITE_OK; }
  void fail(int rc);                   // keeps the first
  void fail_internal(const char* what);  // a row that cannot be: SQLITE_INTERNAL sticks
  Error error() const;                 // of the sticking error
  void forgive() { rc_ = SQLITE_OK; }  // after a rollback
  int code() const { return rc_; }

 private:
  explicit Connection(sqlite3* db) : db_(db) {}
  sqlite3* const db_;
  int rc_ = SQLITE_OK;   // extended code of the first error since forgive()
  std::string message_;  // its text
};

// What an SQLite error means to a caller of the store.
Error error_of(int extended_code, std::string_view message);

// --- values to bind -----------------------------------------------------------------------------

struct Blob {
  std::string_view bytes;
};
struct TextOrNull {  // NULL when empty
  std::string_view text;
};
struct Null {};

class Cursor;

class Statement {
 public:
  Statement(Connection& connection, std::string_view sql);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  // Binds the arguments to ?1, ?2 …; texts must live until the cursor goes.
  template <class... Args>
  [[nodiscard]] Cursor query(const Args&... args);

  // Likewise, for statements that are made as they are needed.
  using Value = std::variant<std::int64_t, std::string>;
  [[nodiscard]] Cursor query_with(const std::vector<Value>& values);

  // Runs a statement without rows. Answers the rows changed; 0 after an error.
  template <class... Args>
  int run(const Args&... args) {
    if (connection_.failed()) return 0;
    bind_all(args...);
    return step_once();
  }

 private:
  friend class Cursor;

  template <class... Args>
  void bind_all(const Args&... args) {
    int index = 0;
    (bind(++index, args), ...);
  }
  void bind(int i, std::int64_t v) { note(sqlite3_bind_int64(statement_, i, v)); }
  void bind(int i, int v) { note(sqlite3_bind_int64(statement_, i, v)); }
  void bind(int i, WallTime v) { bind(i, v.ms); }
  void bind(int i, Null) { note(sqlite3_bind_null(statement_, i)); }
  void bind(int i, std::string_view v);
  void bind(int i, const std::string& v) { bind(i, std::string_view(v)); }
  void bind(int i, const char* v) { bind(i, std::string_view(v)); }
  void bind(int i, Blob v);
  void bind(int i, TextOrNull v) {
    v.text.empty() ? bind(i, Null{}) : bind(i, v.text);
  }
  template <class Tag>
  void bind(int i, Id<Tag> id) {  // 0 is no id
    id ? bind(i, id.value) : bind(i, Null{});
  }
  template <class T>
  void bind(int i, const std::optional<T>& v) {
    if (v.has_value()) {
      bind(i, *v);
    } else {
      bind(i, Null{});
    }
  }
  void note(int rc) {
    if (rc != SQLITE_OK) connection_.fail(rc);
  }
  bool step();  // true: a row
  int step_once();

  Connection& connection_;
  sqlite3_stmt* statement_ = nullptr;
};

// The rows of one execution. Texts read from it are copies unless named `view`.
class Cursor {
 public:
  explicit Cursor(Statement& statement) : statement_(statement) {}
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  ~Cursor() { sqlite3_reset(statement_.statement_); }

  bool next() { return statement_.step(); }

  std::int64_t integer(int column) const {
    return sqlite3_column_int64(statement_.statement_, column);
  }
  double real(int column) const {
    return sqlite3_column_double(statement_.statement_, column);
  }
  int small(int column) const { return sqlite3_column_int(statement_.statement_, column); }
  bool null(int column) const {
    return sqlite3_column_type(statement_.statement_, column) == SQLITE_NULL;
  }
  // Valid until the next step or reset. Empty for NULL.
  std::string_view view(int column) const;
  std::string text(int column) const { return std::string(view(column)); }
  WallTime time(int column) const { return {integer(column)}; }
  std::optional<WallTime> time_if(int column) const {
    return null(column) ? std::nullopt : std::optional(time(column));
  }
  std::optional<std::int64_t> integer_if(int column) const {
    return null(column) ? std::nullopt : std::optional(integer(column));
  }
  template <class AnId>
  AnId id(int column) const {
    return AnId(integer(column));
  }

 private:
  Statement& statement_;
};

inline Cursor Statement::query_with(const std::vector<Value>& values) {
  int index = 0;
  for (const auto& value : values) {
    if (connection_.failed()) break;
    ++index;
    std::visit([this, index](const auto& v) { bind(index, v); }, value);
  }
  return Cursor(*this);
}

template <class... Args>
Cursor Statement::query(const Args&... args) {
  if (!connection_.failed()) bind_all(args...);
  return Cursor(*this);
}

}  // namespace sequential::storage::sqlite
