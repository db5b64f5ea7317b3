#include "postgres/migrate.h"

#include <vector>

#include "postgres/link.h"
#include "sequential/base/fault.h"

namespace sequential::storage::postgres {
namespace {

constexpr Millis kStepDeadline{600'000};  // waiting for the lock, and one migration

struct Applied {
  int version = 0;
  std::string name, sha256;
};

std::string label(int version, std::string_view name) {
  std::string number = std::to_string(version);
  number.insert(0, number.size() < 4 ? 4 - number.size() : 0, '0');
  return number + "_" + std::string(name);
}

Result<Rows> execute(Connection& connection, std::string_view sql) {
  auto answer = connection.script(sql, kStepDeadline);
  if (const auto* error = std::get_if<DbError>(&answer)) return to_error(*error);
  return std::get<Rows>(std::move(answer));
}

Result<std::int64_t> count(Connection& connection, const std::string& sql) {
  SEQUENTIAL_TRY(const Rows rows, execute(connection, sql));
  return rows.integer(0, 0);
}

Result<std::vector<Applied>> read_applied(Connection& connection, const std::string& schema) {
  const std::string in_schema =
      "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
      " WHERE n.nspname = '" + schema + "' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
  SEQUENTIAL_TRY(const std::int64_t known,
                 count(connection, in_schema + " AND c.relname = 'schema_migrations'"));
  if (known == 0) {
    SEQUENTIAL_TRY(const std::int64_t tables, count(connection, in_schema));
    if (tables != 0) {
      return Error(Errc::corrupt, "the schema " + schema +
                                      " holds another program's tables: it has no "
                                      "schema_migrations. Name another schema");
    }
    return std::vector<Applied>();
  }
  SEQUENTIAL_TRY(const Rows rows,
                 execute(connection, "SELECT version, name, sha256 FROM \"" + schema +
                                         "\".schema_migrations ORDER BY version"));
  std::vector<Applied> applied;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    applied.push_back({rows.small(i, 0), rows.text(i, 1), rows.text(i, 2)});
  }
  return applied;
}

// The applied ones must be the first ones of ours, one by one.
Result<void> check_applied(const std::vector<Applied>& applied,
                           std::span<const Migration> migrations) {
  const int newest = static_cast<int>(migrations.size());
  for (std::size_t i = 0; i < applied.size(); ++i) {
    const Applied& a = applied[i];
    const int expected = static_cast<int>(i) + 1;
    if (a.version > newest && a.version == expected) {
      return Error(Errc::schema_newer,
                   "the database has schema version " + std::to_string(applied.back().version) +
                       ", this program knows " + std::to_string(newest) +
                       ": it was used by a newer release. Use that release, or restore a backup");
    }
    if (a.version != expected) {
      return Error(Errc::corrupt, "migration " + std::to_string(expected) +
                                      " is missing from the database's schema_migrations, though "
                                      "later ones are there");
    }
    const Migration& m = migrations[i];
    if (a.name != m.name || a.sha256 != m.sha256) {
      return Error(Errc::corrupt, "migration " + label(a.version, a.name) +
                                      " was applied to the database with checksum " + a.sha256 +
                                      ", but this program has " + label(m.version, m.name) +
                                      " with " + std::string(m.sha256) +
                                      ": an applied migration must never change");
    }
  }
  return success();
}

// Everything is checked again under the lock: another node may have been here meanwhile.
Result<int> step(Connection& connection, const std::string& schema,
                 std::span<const Migration> migrations, const Clock& clock) {
  // SET LOCAL: of this transaction only, behind a pooler too.
  SEQUENTIAL_TRY(execute(connection,
                         "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
                         " SET LOCAL idle_in_transaction_session_timeout = 60000;"
                         " SET LOCAL synchronous_commit = on;"
                         " SELECT pg_advisory_xact_lock(hashtext('sequential migrations'),"
                         " hashtext('" + schema + "'))"));
  SEQUENTIAL_TRY(const auto applied, read_applied(connection, schema));
  SEQUENTIAL_TRY(check_applied(applied, migrations));
  if (applied.size() == migrations.size()) return static_cast<int>(applied.size());
  const Migration& m = migrations[applied.size()];
  if (applied.empty()) {
    SEQUENTIAL_TRY(const std::int64_t there,
                   count(connection, "SELECT count(*) FROM pg_namespace WHERE nspname = '" +
                                         schema + "'"));
    if (there == 0) {
      SEQUENTIAL_TRY(execute(connection, "CREATE SCHEMA \"" + schema + "\""));
    }
    SEQUENTIAL_TRY(execute(connection, "CREATE TABLE \"" + schema +
                                           "\".schema_migrations (version integer PRIMARY KEY,"
                                           " name text NOT NULL, sha256 text NOT NULL,"
                                           " applied_at bigint NOT NULL)"));
  }
  SEQUENTIAL_TRY(
      execute(connection, "SET LOCAL search_path = \"" + schema + "\", pg_temp;" +
                              std::string(m.sql)));
  FAULT_POINT("migrate.midway");
  SEQUENTIAL_TRY(execute(connection, "INSERT INTO \"" + schema +
                                         "\".schema_migrations VALUES (" +
                                         std::to_string(m.version) + ", '" + std::string(m.name) +
                                         "', '" + std::string(m.sha256) + "', " +
                                         std::to_string(clock.now().ms) + ")"));
  return m.version;
}

}  // namespace

Result<int> migrate(Connection& connection, const std::string& schema,
                    std::span<const Migration> migrations, const Clock& clock) {
  const int newest = static_cast<int>(migrations.size());
  // The usual start: nothing to do, and no lock to wait for.
  SEQUENTIAL_TRY(const auto applied, read_applied(connection, schema));
  SEQUENTIAL_TRY(check_applied(applied, migrations));
  for (int version = static_cast<int>(applied.size()); version < newest;) {
    auto done = step(connection, schema, migrations, clock);
    auto ended = execute(connection, done.has_value() ? "COMMIT" : "ROLLBACK");
    if (done.has_error()) {
      const Errc code = done.error().code;
      if (code == Errc::schema_newer || code == Errc::corrupt) return done.error();
      return Error(code, "migration " +
                             label(version + 1,
                                   migrations[static_cast<std::size_t>(version)].name) +
                             ": " + done.error().message);
    }
    if (ended.has_error()) return ended.error();
    version = done.value();
  }
  return newest;
}

}  // namespace sequential::storage::postgres
