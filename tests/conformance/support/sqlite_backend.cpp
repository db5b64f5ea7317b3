#include <sqlite3.h>

#include "sequential/storage/sqlite.h"
#include "support/backend.h"
#include "support/child_damage.h"
#include "support/queue_damage.h"
#include "support/temp_dir.h"
#include "support/wait_damage.h"

namespace sequential::storage::test {
namespace {

// Rows of one statement, columns quoted as SQL literals, so that types and bytes are told apart.
std::string rows_of(sqlite3* db, const std::string& sql) {
  std::string text;
  sqlite3_stmt* statement = nullptr;
  SEQUENTIAL_CHECK(sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK);
  while (sqlite3_step(statement) == SQLITE_ROW) {
    for (int i = 0; i < sqlite3_column_count(statement); ++i) {
      const int type = sqlite3_column_type(statement, i);
      const auto* const data = static_cast<const char*>(sqlite3_column_blob(statement, i));
      text += std::to_string(type) + ":";
      text.append(data == nullptr ? "" : data,
                  static_cast<std::size_t>(sqlite3_column_bytes(statement, i)));
      text += '|';
    }
    text += '\n';
  }
  sqlite3_finalize(statement);
  return text;
}

class SqliteDatabase final : public Database {
 public:
  Result<std::unique_ptr<Store>> open(const Clock& clock) override {
    SqliteOptions options;
    options.path = path_;
    options.wal_checkpoint_pages = 100;  // small files, and many checkpoints on the way
    return open_sqlite(options, clock);
  }

  std::string dump() override {
    sqlite3* const db = connect();
    std::string text;
    for (const char* const table :
         {"meta", "task_functions", "task_runs", "stack_runs", "attempts", "task_logs", "keystore",
          "checkpoints", "child_tasks", "child_cancels", "cancellations", "schedules", "run_states", "retries", "signals", "signal_waits", "webhooks", "run_tags", "run_children", "task_retention", "queues", "queue_keys", "queue_runs", "queue_starts", "schema_migrations"}) {
      text += std::string("== ") + table + "\n";
      text += rows_of(db, std::string("SELECT * FROM ") + table + " ORDER BY 1, 2");
    }
    sqlite3_close(db);
    return text;
  }

  std::string damage() override {
    sqlite3* const db = connect();
    std::string found = rows_of(db, "SELECT * FROM pragma_foreign_key_check");
    const std::string integrity =
        rows_of(db, "SELECT integrity_check FROM pragma_integrity_check"
                    " WHERE integrity_check <> 'ok'");
    const auto check = [db, &found](const char* what, const char* broken_by) {
      const std::string rows = rows_of(db, broken_by);
      if (!rows.empty()) found += std::string(what) + ": " + rows;
    };
    for (const auto& [what, broken_by] : kQueueRules) check(what, broken_by);
    for (const auto& [what, broken_by] : kWaitRules) check(what, broken_by);
    for (const auto& [what, broken_by] : kChildRules) check(what, broken_by);
    sqlite3_close(db);
    return found + integrity;
  }

 private:
  sqlite3* connect() const {
    sqlite3* db = nullptr;
    SEQUENTIAL_CHECK(sqlite3_open_v2(path_.c_str(), &db, SQLITE_OPEN_READONLY, nullptr) ==
                     SQLITE_OK);
    sqlite3_busy_timeout(db, 5'000);
    return db;
  }

  TempDir folder_;
  const std::string path_ = folder_.file("test.db");
};

}  // namespace

Backend sqlite_backend() {
  return {"sqlite", [] { return std::make_unique<SqliteDatabase>(); }};
}

}  // namespace sequential::storage::test
