#pragma once
// How the store reaches the server: what every connection is told, what was learned about the
// server, and how long to leave it alone after it could not be reached.
//
// Threads: any.

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "postgres/conninfo.h"
#include "postgres/connection.h"
#include "postgres/history.h"

namespace sequential::storage::postgres {

class Link {
 public:
  Link(const PostgresOptions& options, Conninfo conninfo, const Clock& clock);

  // A connection to the primary, with its session settings. Fails at once while the server is left
  // alone after a failure (a few milliseconds, growing to a second).
  Answer<std::unique_ptr<Connection>> connect();

  // Errors: config_invalid naming the settings under which the server acknowledges commits that
  // are not on disk.
  Result<void> check_durability() const;

  const PostgresOptions& options() const { return options_; }
  const Conninfo& conninfo() const { return conninfo_; }
  const Clock& clock() const { return clock_; }
  History& history() { return history_; }
  // False if the database failed over since: it may lead to what was the primary before.
  bool is_current(const Connection& connection) const {
    return connection.era == history_.era();
  }

  // Whether to send statements by name: until the server turns out not to keep them.
  bool prepare() const { return prepare_.load(std::memory_order_relaxed); }
  void stop_preparing();
  // 0 where the session's own lock_timeout holds.
  int lock_ms() const { return lock_ms_.load(std::memory_order_relaxed); }

 private:
  struct Facts {  // of the newest connection
    std::string fsync, full_page_writes, synchronous_commit;
  };
  Answer<std::unique_ptr<Connection>> open_and_look();
  std::optional<DbError> look(Connection& connection);
  ConnectionOptions how() const;

  const PostgresOptions options_;
  const Conninfo conninfo_;
  const Clock& clock_;
  Deadlines deadlines_;
  History history_;
  std::atomic<bool> prepare_;
  std::atomic<bool> bare_{false};  // a pooler refuses session settings at the start
  std::atomic<int> lock_ms_{0};

  mutable std::mutex mutex_;
  Facts facts_;            // guarded by mutex_
  int failures_ = 0;       // guarded by mutex_; in a row
  MonoTime not_before_{};  // guarded by mutex_
  DbError last_error_;     // guarded by mutex_
};

// What an error of the server means to a caller of the store.
Error to_error(const DbError& error);

}  // namespace sequential::storage::postgres
