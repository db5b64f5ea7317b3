#include "sqlite/migrate.h"

#include <algorithm>
#include <string>
#include <vector>

#include "sequential/base/fault.h"
#include "sequential/base/log.h"

namespace sequential::storage::sqlite {
namespace {

constexpr const char* kCreateRecord =
    "CREATE TABLE IF NOT EXISTS schema_migrations ("
    "  version    INTEGER PRIMARY KEY,"
    "  name       TEXT NOT NULL,"
    "  sha256     TEXT NOT NULL,"
    "  applied_at INTEGER NOT NULL"
    ")";
// The first releases made the table without these.
constexpr const char* kExtendRecord =
    "ALTER TABLE schema_migrations ADD COLUMN program INTEGER;"
    "ALTER TABLE schema_migrations ADD COLUMN compatible_from INTEGER";

Result<std::int64_t> count(Connection& connection, const char* sql) {
  Statement statement(connection, sql);
  Cursor row = statement.query();
  const std::int64_t n = row.next() ? row.integer(0) : 0;
  if (connection.failed()) return connection.error();
  return n;
}

Result<bool> record_is_extended(Connection& connection) {
  SEQUENTIAL_TRY(const std::int64_t columns,
                 count(connection,
                       "SELECT count(*) FROM pragma_table_info('schema_migrations')"
                       " WHERE name = 'compatible_from'"));
  return columns > 0;
}

Result<std::vector<AppliedMigration>> read_applied(Connection& connection) {
  SEQUENTIAL_TRY(
      const std::int64_t known,
      count(connection, "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migrations'"));
  if (known == 0) {
    SEQUENTIAL_TRY(
        const std::int64_t tables,
        count(connection, "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"));
    if (tables != 0) {
      return Error(Errc::corrupt,
                   "the file is an SQLite database, but not one of ours: it has tables and no "
                   "schema_migrations. Name another file");
    }
    return std::vector<AppliedMigration>();
  }
  SEQUENTIAL_TRY(const bool extended, record_is_extended(connection));
  std::vector<AppliedMigration> applied;
  Statement select(connection,
                   std::string("SELECT version, name, sha256, applied_at, ") +
                       (extended ? "coalesce(program, version), coalesce(compatible_from, version)"
                                 : "version, version") +
                       " FROM schema_migrations ORDER BY version");
  Cursor row = select.query();
  while (row.next()) {
    applied.push_back(
        {row.small(0), row.text(1), row.text(2), row.integer(3), row.small(4), row.small(5)});
  }
  if (connection.failed()) return connection.error();
  return applied;
}

Result<void> apply_in_transaction(Connection& connection, const Migration& migration, int program,
                                  int compatible_from, const Clock& clock) {
  SEQUENTIAL_TRY(connection.execute(kCreateRecord));
  SEQUENTIAL_TRY(const bool extended, record_is_extended(connection));
  if (!extended) {
    SEQUENTIAL_TRY(connection.execute(kExtendRecord));
  }
  SEQUENTIAL_TRY(connection.execute(std::string(migration.sql).c_str()));
  FAULT_POINT("migrate.midway");
  Statement insert(connection,
                   "INSERT INTO schema_migrations (version, name, sha256, applied_at, program,"
                   " compatible_from) VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
  insert.run(migration.version, migration.name, migration.sha256, clock.now(), program,
             compatible_from);
  if (connection.failed()) return connection.error();
  return connection.execute("COMMIT");
}

Result<void> apply(Connection& connection, const Migration& migration, int program,
                   int compatible_from, const Clock& clock) {
  SEQUENTIAL_TRY(connection.execute("BEGIN IMMEDIATE"));
  auto applied = apply_in_transaction(connection, migration, program, compatible_from, clock);
  if (applied.has_error()) {
    connection.forgive();
    if (sqlite3_get_autocommit(connection.handle()) == 0) {
      static_cast<void>(connection.execute("ROLLBACK"));  // The first error is the one to tell.
    }
    return Error(applied.error().code, "migration " +
                                           migration_label(migration.version, migration.name) +
                                           ": " + applied.error().message);
  }
  return success();
}

}  // namespace

Result<int> migrate(Connection& connection, std::span<const Migration> migrations,
                    const Clock& clock) {
  auto read = read_applied(connection);
  if (read.has_error()) {
    connection.forgive();
    return read.error();
  }
  const std::vector<AppliedMigration>& applied = read.value();
  SEQUENTIAL_TRY(check_applied(applied, migrations));
  const int newest = static_cast<int>(migrations.size());
  const int found = static_cast<int>(applied.size());
  if (found > newest) {
    log_warn("the database is of a newer release, which left this one what it needs",
             {{"schema", found}, {"program", newest}});
    return found;
  }
  // Nobody else has the file, so a contract migration cuts off nobody at work.
  int compatible_from = applied.empty() ? 0 : applied.back().compatible_from;
  for (const Migration& migration : migrations.subspan(applied.size())) {
    compatible_from = std::max(compatible_from, compatible_level(migration));
    SEQUENTIAL_TRY(apply(connection, migration, newest, compatible_from, clock));
  }
  return newest;
}

}  // namespace sequential::storage::sqlite
