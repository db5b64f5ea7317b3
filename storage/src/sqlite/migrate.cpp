#include "sqlite/migrate.h"

#include <string>
#include <vector>

#include "sequential/base/fault.h"

namespace sequential::storage::sqlite {
namespace {

constexpr const char* kCreateRecord =
    "CREATE TABLE IF NOT EXISTS schema_migrations ("
    "  version    INTEGER PRIMARY KEY,"
    "  name       TEXT NOT NULL,"
    "  sha256     TEXT NOT NULL,"
    "  applied_at INTEGER NOT NULL"
    ")";

struct Applied {
  int version = 0;
  std::string name, sha256;
};

std::string label(int version, std::string_view name) {
  std::string number = std::to_string(version);
  number.insert(0, number.size() < 4 ? 4 - number.size() : 0, '0');
  return number + "_" + std::string(name);
}

Result<std::int64_t> count(Connection& connection, const char* sql) {
  Statement statement(connection, sql);
  Cursor row = statement.query();
  const std::int64_t n = row.next() ? row.integer(0) : 0;
  if (connection.failed()) return connection.error();
  return n;
}

Result<std::vector<Applied>> read_applied(Connection& connection) {
  SEQUENTIAL_TRY(const std::int64_t known,
                 count(connection,
                       "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migrations'"));
  if (known == 0) {
    SEQUENTIAL_TRY(const std::int64_t tables,
                   count(connection,
                         "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"));
    if (tables != 0) {
      return Error(Errc::corrupt,
                   "the file is an SQLite database, but not one of ours: it has tables and no "
                   "schema_migrations. Name another file");
    }
    return std::vector<Applied>();
  }
  std::vector<Applied> applied;
  Statement select(connection,
                   "SELECT version, name, sha256 FROM schema_migrations ORDER BY version");
  Cursor row = select.query();
  while (row.next()) applied.push_back({row.small(0), row.text(1), row.text(2)});
  if (connection.failed()) return connection.error();
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

Result<void> apply_in_transaction(Connection& connection, const Migration& migration,
                                  const Clock& clock) {
  SEQUENTIAL_TRY(connection.execute(kCreateRecord));
  SEQUENTIAL_TRY(connection.execute(std::string(migration.sql).c_str()));
  FAULT_POINT("migrate.midway");
  Statement insert(connection, "INSERT INTO schema_migrations VALUES (?1, ?2, ?3, ?4)");
  insert.run(migration.version, migration.name, migration.sha256, clock.now());
  if (connection.failed()) return connection.error();
  return connection.execute("COMMIT");
}

Result<void> apply(Connection& connection, const Migration& migration, const Clock& clock) {
  SEQUENTIAL_TRY(connection.execute("BEGIN IMMEDIATE"));
  auto applied = apply_in_transaction(connection, migration, clock);
  if (applied.has_error()) {
    connection.forgive();
    if (sqlite3_get_autocommit(connection.handle()) == 0) {
      static_cast<void>(connection.execute("ROLLBACK"));  // The first error is the one to tell.
    }
    return Error(applied.error().code,
                 "migration " + label(migration.version, migration.name) + ": " +
                     applied.error().message);
  }
  return success();
}

}  // namespace

Result<int> migrate(Connection& connection, std::span<const Migration> migrations,
                    const Clock& clock) {
  auto applied = read_applied(connection);
  if (applied.has_error()) {
    connection.forgive();
    return applied.error();
  }
  SEQUENTIAL_TRY(check_applied(applied.value(), migrations));
  for (std::size_t i = applied.value().size(); i < migrations.size(); ++i) {
    SEQUENTIAL_TRY(apply(connection, migrations[i], clock));
  }
  return static_cast<int>(migrations.size());
}

}  // namespace sequential::storage::sqlite
