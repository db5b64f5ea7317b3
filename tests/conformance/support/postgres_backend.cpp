#include "sequential/storage/postgres.h"

#include <memory>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "pg/cluster.h"
#include "support/backend.h"
#include "support/postgres_damage.h"

namespace sequential::storage::test {
namespace {

constexpr const char* kTables[] = {"meta",     "task_functions", "task_runs", "stack_runs",
                                   "attempts", "task_logs",      "keystore",  "checkpoints",
                                   "child_tasks", "child_cancels", "cancellations", "removed_runs",
                                   "schedules",
                                   "run_states", "cancellations", "retries",
                                   "signals",  "signal_waits",   "webhooks",
                                   "run_tags",  "run_children",   "task_retention",
                                   "queues",    "queue_keys", "queue_runs", "queue_starts"};

// Columns that say only where to look for work (migrations/postgres/0001): what they say is judged
// by damage(), and looking may move them.
bool is_bookkeeping(const std::string& column) {
  return column == "ready_at" || column == "watch_at";
}

// Schemas that were used and emptied: a new one for each test would take most of the time.
std::vector<std::string>& used_schemas() {
  static std::vector<std::string> names;
  return names;
}

// A schema of its own in the process's server.
class PostgresDatabase final : public Database {
 public:
  PostgresDatabase() {
    static int number = 0;
    if (used_schemas().empty()) {
      schema_ = "test_" + std::to_string(++number);
    } else {
      schema_ = used_schemas().back();
      used_schemas().pop_back();
    }
  }
  ~PostgresDatabase() override {
    if (!opened_) return;
    const std::string in = schema_ + ".";
    std::string sql;
    for (const char* const table : kTables) sql += "DELETE FROM " + in + table + ";";
    for (const char* const ids : {"task_function_ids", "task_run_ids", "stack_run_ids"}) {
      sql += "SELECT setval('" + in + ids + "', 1, false);";
    }
    pqxx::nontransaction(admin()).exec(sql);
    used_schemas().push_back(schema_);
  }

  Result<std::unique_ptr<Store>> open(const Clock& clock) override {
    PostgresOptions options;
    options.url = url_;
    options.schema = schema_;
    options.use_given_clock = true;
    opened_ = true;
    return open_postgres(options, clock);
  }

  std::string dump() override {
    pqxx::nontransaction tx(admin());
    std::string text;
    for (const char* const table : kTables) {
      text += std::string("== ") + table + "\n";
      // A node's mark (storage/src/postgres/history.h) moves on by itself.
      const std::string which =
          table == std::string("meta") ? " WHERE key NOT LIKE 'mark:%'" : "";
      const auto rows =
          tx.exec("SELECT * FROM " + schema_ + "." + table + which + " ORDER BY 1, 2");
      for (pqxx::result::size_type i = 0; i < rows.size(); ++i) {
        const auto row = rows[i];
        for (pqxx::row::size_type c = 0; c < row.size(); ++c) {
          const auto field = row[c];
          if (is_bookkeeping(field.name())) continue;
          text += field.is_null() ? "NULL" : field.c_str();
          text += '|';
        }
        text += '\n';
      }
    }
    return text;
  }

  std::string damage() override { return postgres_damage(admin(), schema_); }

 private:
  pqxx::connection& admin() {
    if (!admin_) admin_ = std::make_unique<pqxx::connection>(url_);
    return *admin_;
  }

  const std::string url_ = sequential::test::PgCluster::shared().url();
  std::string schema_;
  bool opened_ = false;
  std::unique_ptr<pqxx::connection> admin_;
};

}  // namespace

Backend postgres_backend() {
  return {"postgres", [] { return std::make_unique<PostgresDatabase>(); }};
}

}  // namespace sequential::storage::test
