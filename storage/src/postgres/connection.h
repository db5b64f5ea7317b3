#pragma once
// A connection to PostgreSQL, and the only place that knows libpqxx (6.4 and 7.10 from one source).
//
// Parameters travel in binary, so that no byte of a payload is escaped, doubled or refused; there
// are no NULL parameters (0, '' or -1 say "none"; see migrations/postgres/0002_claims.sql). Each
// statement is a transaction of its own, hence one round trip.
//
// Threads: one at a time. Every wait ends: by the server's statement_timeout, or, if the server
// answers nothing at all, by the deadline (deadline.h), which cuts the connection.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "postgres/deadline.h"
#include "sequential/base/clock.h"

namespace sequential::storage::postgres {

struct DbError {
  enum class Fate {
    refused,       // the server said no: nothing was changed, and asking again would not help
    again,         // undone because of others at work (serialization, deadlock, lock timeout)
    unprepared,    // the server does not know the prepared statement: a pooler is in between
    disconnected,  // not sent, or certainly not committed; the connection is of no more use
    lost,          // sent, and the connection broke before the answer: its fate is unknown
  };
  Fate fate = Fate::refused;
  std::string sqlstate;  // empty if the server sent none
  std::string message;   // never the password, never a parameter
};

// The parameters of one statement, in order, in PostgreSQL's binary format.
class Params {
 public:
  Params& add(std::int64_t value);
  Params& add(int value);  // integer
  Params& add_small(int value);
  Params& add(bool value);
  Params& add(std::string_view bytes);  // bytea or text
  Params& add(const char*) = delete;    // would become a boolean
  Params& add(const std::vector<std::int64_t>& values);
  Params& add(const std::vector<int>& values);
  Params& add_small(const std::vector<int>& values);
  Params& add(const std::vector<std::string_view>& values);  // bytea[]

  const std::vector<std::string>& values() const { return values_; }

 private:
  std::vector<std::string> values_;
};

// The name is made of the text: behind a pooler, stores of several versions and schemas share the
// server's connections.
struct Statement {
  Statement() = default;
  explicit Statement(std::string text);
  std::string name, sql;
};

// What a statement answered. Reading it wrongly (a column that is not there) is a bug of ours.
class Rows {
 public:
  struct Data;
  explicit Rows(std::shared_ptr<const Data> data);
  std::size_t size() const;
  bool null(std::size_t row, int column) const;
  std::int64_t integer(std::size_t row, int column) const;  // 0 if NULL
  int small(std::size_t row, int column) const;
  bool boolean(std::size_t row, int column) const;          // false if NULL
  std::string text(std::size_t row, int column) const;      // of text columns; empty if NULL
  std::string bytes(std::size_t row, int column) const;     // of bytea columns; empty if NULL
  std::vector<std::int64_t> integers(std::size_t row, int column) const;  // of bigint[] columns
  WallTime time(std::size_t row, int column) const { return {integer(row, column)}; }
  std::optional<WallTime> time_if(std::size_t row, int column) const;
  std::optional<std::int64_t> integer_if(std::size_t row, int column) const;
  template <class Id>
  Id id(std::size_t row, int column) const {
    return Id(integer(row, column));
  }

 private:
  std::string_view raw(std::size_t row, int column) const;
  std::shared_ptr<const Data> data_;
};

// A value, or why there is none. (Not Result: what an error means for the transition is decided by
// who retries, not here.)
template <class T>
using Answer = std::variant<T, DbError>;

// What a connection is told when it is made.
struct ConnectionOptions {
  std::string conninfo;  // keywords of libpq, password included
  std::string secret;    // never in a message
  Millis statement_deadline{15'000};
};

class Connection {
 public:
  static Answer<std::unique_ptr<Connection>> open(const ConnectionOptions& options,
                                                  Deadlines& deadlines);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // By name after the first time if `prepare`, else with its text each time.
  Answer<Rows> run(const Statement& statement, const Params& params, bool prepare);
  // Any SQL without parameters, several statements too.
  Answer<Rows> script(std::string_view sql, Millis deadline);

  // False if the server closed it meanwhile: to be asked before a statement is sent, so that one
  // that was never sent is not taken for one whose fate is unknown.
  bool usable();

  // Notifications of one channel, read by `wait`. They arrive on the thread that calls it.
  std::optional<DbError> listen(const std::string& channel);
  // What came since, waiting until `until` for the first or for `wake_fd` to become readable.
  Answer<std::vector<std::string>> wait(MonoTime until, int wake_fd);

  std::uint64_t era = 0;  // between which failovers it was made (history.h)

  struct Impl;

 private:
  explicit Connection(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

// What an error with this SQLSTATE means. `connected`: the connection outlived it.
DbError::Fate fate_of(std::string_view sqlstate, bool connected);

}  // namespace sequential::storage::postgres
