#include "postgres/migrate.h"

#include <thread>
#include <utility>
#include <vector>

#include "postgres/jitter.h"
#include "postgres/link.h"
#include "sequential/base/fault.h"
#include "sequential/base/log.h"

namespace sequential::storage::postgres {
namespace {

constexpr Millis kStepDeadline{600'000};  // waiting for the turn, and one migration
// For one lock. Whoever wants the table meanwhile queues up behind the migration, so not for long;
// but longer than deadlock_timeout, after which the server sends autovacuum away.
constexpr const char* kLockWaitMs = "2000";
constexpr Millis kLockPause{1'000};
constexpr int kLockTries = 60;
// How long nodes that were just stopped may take to be gone.
constexpr Millis kLeavePoll{100};
constexpr int kLeavePolls = 50;

class Runner {
 public:
  Runner(Connection& connection, const std::string& schema, std::span<const Migration> migrations,
         const Clock& clock)
      : connection_(connection), schema_(schema), migrations_(migrations), clock_(clock) {}

  Result<std::vector<AppliedMigration>> read_applied();
  Result<int> step();
  // The last error came of others at work: another time it may go.
  bool hindered() const { return hindered_; }

 private:
  Result<Rows> execute(std::string_view sql);
  Result<std::int64_t> count(const std::string& sql);
  Result<int> step_in_transaction();
  Result<void> prepare_record(bool first);
  Result<void> apply(const Migration& migration, int compatible_from);
  Result<void> see_that_nobody_is_cut_off(std::span<const AppliedMigration> applied);
  Result<std::int64_t> other_nodes();

  Connection& connection_;
  const std::string& schema_;
  const std::span<const Migration> migrations_;
  const Clock& clock_;
  bool hindered_ = false;
};

Result<Rows> Runner::execute(std::string_view sql) {
  auto answer = connection_.script(sql, kStepDeadline);
  if (const auto* error = std::get_if<DbError>(&answer)) {
    hindered_ = error->fate == DbError::Fate::again;
    return to_error(*error);
  }
  return std::get<Rows>(std::move(answer));
}

Result<std::int64_t> Runner::count(const std::string& sql) {
  SEQUENTIAL_TRY(const Rows rows, execute(sql));
  return rows.integer(0, 0);
}

Result<std::vector<AppliedMigration>> Runner::read_applied() {
  const std::string in_schema =
      "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
      " WHERE n.nspname = '" +
      schema_ + "' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
  SEQUENTIAL_TRY(const std::int64_t known,
                 count(in_schema + " AND c.relname = 'schema_migrations'"));
  if (known == 0) {
    SEQUENTIAL_TRY(const std::int64_t tables, count(in_schema));
    if (tables != 0) {
      return Error(Errc::corrupt, "the schema " + schema_ +
                                      " holds another program's tables: it has no "
                                      "schema_migrations. Name another schema");
    }
    return std::vector<AppliedMigration>();
  }
  // By way of JSON: the first releases made this table without the last two columns.
  SEQUENTIAL_TRY(const Rows rows,
                 execute("SELECT version, name, sha256, applied_at,"
                         " coalesce((to_jsonb(m) ->> 'program')::integer, version),"
                         " coalesce((to_jsonb(m) ->> 'compatible_from')::integer, version)"
                         " FROM \"" +
                         schema_ + "\".schema_migrations m ORDER BY version"));
  std::vector<AppliedMigration> applied;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    applied.push_back({rows.small(i, 0), rows.text(i, 1), rows.text(i, 2), rows.integer(i, 3),
                       rows.small(i, 4), rows.small(i, 5)});
  }
  return applied;
}

Result<void> Runner::prepare_record(bool first) {
  if (first) {
    SEQUENTIAL_TRY(const std::int64_t there,
                   count("SELECT count(*) FROM pg_namespace WHERE nspname = '" + schema_ + "'"));
    if (there == 0) {
      SEQUENTIAL_TRY(execute("CREATE SCHEMA \"" + schema_ + "\""));
    }
  }
  const std::string table = "\"" + schema_ + "\".schema_migrations";
  if (first) {
    SEQUENTIAL_TRY(execute("CREATE TABLE " + table +
                           " (version integer PRIMARY KEY, name text NOT NULL,"
                           " sha256 text NOT NULL, applied_at bigint NOT NULL, program integer,"
                           " compatible_from integer)"));
    return success();
  }
  // Only if need be: nodes that start meanwhile read this table.
  SEQUENTIAL_TRY(const std::int64_t columns,
                 count("SELECT count(*) FROM pg_attribute WHERE attname = 'compatible_from' AND"
                       " attrelid = '" +
                       table + "'::regclass"));
  if (columns == 0) {
    SEQUENTIAL_TRY(execute("ALTER TABLE " + table +
                           " ADD COLUMN program integer, ADD COLUMN compatible_from integer"));
  }
  return success();
}

Result<void> Runner::apply(const Migration& m, int compatible_from) {
  SEQUENTIAL_TRY(
      execute("SET LOCAL search_path = \"" + schema_ + "\", pg_temp;" + std::string(m.sql)));
  FAULT_POINT("migrate.midway");
  SEQUENTIAL_TRY(execute("INSERT INTO \"" + schema_ +
                         "\".schema_migrations (version, name, sha256, applied_at, program,"
                         " compatible_from) VALUES (" +
                         std::to_string(m.version) + ", '" + std::string(m.name) + "', '" +
                         std::string(m.sha256) + "', " + std::to_string(clock_.now().ms) + ", " +
                         std::to_string(migrations_.size()) + ", " +
                         std::to_string(compatible_from) + ")"));
  return success();
}

// Nodes of one installation have the same URL, hence the same user and name. Those that wait for
// their turn to migrate (they started together with this one) are of no older release.
Result<std::int64_t> Runner::other_nodes() {
  return count(
      "SELECT pg_stat_clear_snapshot(); SELECT count(*) FROM pg_stat_activity s"
      " WHERE s.datname = current_database() AND s.pid <> pg_backend_pid()"
      " AND s.usename = session_user AND s.application_name <> ''"
      " AND s.application_name = current_setting('application_name')"
      " AND NOT EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = s.pid"
      " AND l.locktype = 'advisory' AND NOT l.granted)");
}

Result<void> Runner::see_that_nobody_is_cut_off(std::span<const AppliedMigration> applied) {
  for (const Migration& m : migrations_.subspan(applied.size())) {
    if (!leaps_over_a_release(applied, m)) continue;
    std::int64_t others = 0;
    for (int poll = 0; poll < kLeavePolls; ++poll) {
      if (poll > 0) std::this_thread::sleep_for(kLeavePoll);
      SEQUENTIAL_TRY(others, other_nodes());
      if (others == 0) return success();
    }
    const std::string level = migration_number(compatible_level(m));
    return Error(Errc::in_use,
                 "nodes of an older release are at work (" + std::to_string(others) +
                     " connections to the database), and " + migration_label(m.version, m.name) +
                     " takes away what they use. Bring all nodes to a release with schema " +
                     level +
                     " first, or stop them all before this one starts. Connections that "
                     "a pooler keeps for nodes long gone count too: let it drop them");
  }
  return success();
}

Result<int> Runner::step_in_transaction() {
  // SET LOCAL: of this transaction only, behind a pooler too.
  SEQUENTIAL_TRY(
      execute("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
              " SET LOCAL idle_in_transaction_session_timeout = 60000;"
              " SET LOCAL synchronous_commit = on;"
              " SELECT pg_advisory_xact_lock(hashtext('sequential migrations'),"
              " hashtext('" +
              schema_ + "'))"));
  SEQUENTIAL_TRY(execute("SET LOCAL lock_timeout = " + std::string(kLockWaitMs)));
  // Everything is checked again under the lock: another node may have been here meanwhile.
  SEQUENTIAL_TRY(const auto applied, read_applied());
  SEQUENTIAL_TRY(check_applied(applied, migrations_));
  if (applied.size() >= migrations_.size()) return static_cast<int>(applied.size());
  SEQUENTIAL_TRY(see_that_nobody_is_cut_off(applied));
  const Migration& m = migrations_[applied.size()];
  SEQUENTIAL_TRY(prepare_record(applied.empty()));
  SEQUENTIAL_TRY(apply(m, compatible_after(applied, m)));
  return m.version;
}

// Applies one. Answers the level the schema has then.
Result<int> Runner::step() {
  hindered_ = false;
  auto done = step_in_transaction();
  const bool hindered = hindered_;
  auto ended = execute(done.has_value() ? "COMMIT" : "ROLLBACK");
  if (done.has_error()) {
    hindered_ = hindered;
    return done;
  }
  if (ended.has_error()) return ended.error();
  return done;
}

Error told_of(Error error, const Migration& migration, bool hindered) {
  const Errc code = error.code;
  if (code == Errc::schema_newer || code == Errc::corrupt || code == Errc::in_use) return error;
  error.message =
      "migration " + migration_label(migration.version, migration.name) + ": " + error.message;
  if (hindered) {
    error.message +=
        ". Some other transaction keeps what it needs locked (a backup, or a session that forgot "
        "to commit): see pg_stat_activity";
  }
  return error;
}

}  // namespace

Result<int> migrate(Connection& connection, const std::string& schema,
                    std::span<const Migration> migrations, const Clock& clock) {
  Runner runner(connection, schema, migrations, clock);
  // The usual start: nothing to do, and no lock to wait for.
  SEQUENTIAL_TRY(const auto applied, runner.read_applied());
  SEQUENTIAL_TRY(check_applied(applied, migrations));
  const int newest = static_cast<int>(migrations.size());
  int version = static_cast<int>(applied.size());
  for (int tries = 0; version < newest;) {
    auto done = runner.step();
    if (done.has_value()) {
      version = done.value();
      tries = 0;
    } else if (runner.hindered() && ++tries < kLockTries) {
      log_info("a migration waits for others", {{"migration", version + 1}, {"tries", tries}});
      std::this_thread::sleep_for(jittered(kLockPause));
    } else {
      return told_of(std::move(done).error(), migrations[static_cast<std::size_t>(version)],
                     runner.hindered());
    }
  }
  if (version > newest) {
    log_warn("the database is of a newer release, which left this one what it needs",
             {{"schema", version}, {"program", newest}});
  }
  return version;
}

}  // namespace sequential::storage::postgres
