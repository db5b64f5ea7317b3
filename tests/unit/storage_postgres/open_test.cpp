// Opening: migrations (each applied once, none may change, a newer schema is refused, nodes that
// start together take turns), strict mode, and poolers.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "pg_store_test.h"
#include "pgbouncer.h"
#include "postgres/link.h"
#include "postgres/open.h"
#include "sequential/base/bytes.h"

namespace sequential::storage::test {
namespace {

using postgres::Migration;

class Open : public PgStoreTest {
 protected:
  Open() { check_damage_ = false; }
  Result<int> migrate(const std::vector<Migration>& migrations) {
    auto opened = postgres::Connection::open({cluster().url(), "", Millis{10'000}}, deadlines_);
    return postgres::migrate(*std::get<std::unique_ptr<postgres::Connection>>(opened),
                             options_.schema, migrations, clock_);
  }
  std::string applied() {
    return ask("SELECT string_agg(version || ':' || name || ':' || sha256, ',' ORDER BY version)"
               " FROM schema_migrations");
  }
  static std::vector<Migration> two() {
    return {{1, "one", "CREATE TABLE a (x int); INSERT INTO a VALUES (1);", "s1"},
            {2, "two", "CREATE TABLE b (y int);", "s2"}};
  }
  postgres::Deadlines deadlines_{system_clock()};
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_F(Open, TheEmbeddedMigrationsAreTheFilesOfTheTreeWithTheirChecksums) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(SEQUENTIAL_MIGRATIONS)) {
    if (entry.path().extension() == ".sql") files.push_back(entry.path().filename().string());
  }
  std::sort(files.begin(), files.end());
  const auto embedded = postgres::embedded_migrations();
  ASSERT_EQ(files.size(), embedded.size()) << "a file is not listed in storage/CMakeLists.txt";
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string text = read_file(std::string(SEQUENTIAL_MIGRATIONS) + "/" + files[i]);
    EXPECT_EQ(embedded[i].version, static_cast<int>(i) + 1);
    EXPECT_EQ(files[i].substr(5), std::string(embedded[i].name) + ".sql");
    EXPECT_EQ(embedded[i].sql, text);
    EXPECT_EQ(embedded[i].sha256, to_hex(sha256(text)));
  }
}

TEST_F(Open, MigrationsAreAppliedOnceInOrderAndRecorded) {
  auto migrations = two();
  EXPECT_EQ(migrate({migrations[0]}).value(), 1);
  EXPECT_EQ(applied(), "1:one:s1");
  EXPECT_EQ(migrate(migrations).value(), 2);
  EXPECT_EQ(migrate(migrations).value(), 2);
  EXPECT_EQ(applied(), "1:one:s1,2:two:s2");
  EXPECT_EQ(ask("SELECT count(*) FROM a"), "1");
}

TEST_F(Open, AChangedMigrationAGapAndANewerSchemaAreRefusedAndNamed) {
  ASSERT_TRUE(migrate(two()).has_value());
  auto changed = two();
  changed[1].sha256 = "other";
  auto result = migrate(changed);
  ASSERT_TRUE(refused(result, Errc::corrupt));
  EXPECT_NE(result.error().message.find("0002_two"), std::string::npos) << result.error().message;
  EXPECT_TRUE(refused(migrate({two()[0]}), Errc::schema_newer));
  ask("DELETE FROM schema_migrations WHERE version = 1");
  result = migrate(two());
  ASSERT_TRUE(refused(result, Errc::corrupt));
  EXPECT_NE(result.error().message.find("migration 1"), std::string::npos);
}

TEST_F(Open, AMigrationThatFailsLeavesNothingOfItselfAndIsNamed) {
  auto migrations = two();
  migrations[1].sql = "CREATE TABLE c (z int); SELECT 1 / 0;";
  const auto result = migrate(migrations);
  ASSERT_TRUE(result.has_error());
  EXPECT_NE(result.error().message.find("0002_two"), std::string::npos) << result.error().message;
  EXPECT_EQ(applied(), "1:one:s1");
  EXPECT_EQ(ask("SELECT count(*) FROM pg_class WHERE relname = 'c'"), "0");
  EXPECT_EQ(migrate(two()).value(), 2);
}

TEST_F(Open, AnotherProgramsSchemaIsLeftAlone) {
  ask("CREATE SCHEMA " + options_.schema + "; CREATE TABLE " + options_.schema + ".theirs (x int)");
  const auto opened = open_postgres(options_, clock_);
  ASSERT_TRUE(refused(opened, Errc::corrupt));
  EXPECT_NE(opened.error().message.find(options_.schema), std::string::npos);
}

TEST_F(Open, StoresThatStartTogetherOnAnEmptyDatabaseAllStart) {
  std::vector<std::thread> threads;
  std::vector<std::unique_ptr<Store>> stores(6);
  for (auto& store : stores) {
    threads.emplace_back([&] {
      auto opened = open_postgres(options_, clock_);
      ASSERT_TRUE(opened.has_value()) << opened.error().message;
      store = std::move(opened).value();
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(ask("SELECT count(*) FROM schema_migrations"),
            std::to_string(postgres::embedded_migrations().size()));
}

TEST_F(Open, ARoleThatMayNotMakeSchemasUsesOneMadeForIt) {
  const std::string s = options_.schema;
  ask("CREATE SCHEMA " + s + "; CREATE ROLE " + s + " LOGIN;"
      " GRANT ALL ON SCHEMA " + s + " TO " + s);
  options_.url += " user=" + s;
  {
    Opened store = open();
    EXPECT_TRUE(store->due(1).has_value());
  }
  ask("DROP OWNED BY " + s + " CASCADE; DROP ROLE " + s);
}

TEST_F(Open, StrictModeRefusesAServerThatMayLoseCommitsAndNamesTheSetting) {
  options_.url += " options='-c synchronous_commit=off'";
  auto opened = open_postgres(options_, clock_);
  ASSERT_TRUE(refused(opened, Errc::config_invalid));
  EXPECT_NE(opened.error().message.find("synchronous_commit=off"), std::string::npos);
  options_.strict = false;
  EXPECT_TRUE(open_postgres(options_, clock_).has_value());

  options_.strict = true;
  options_.url = cluster().url();
  for (const std::string setting : {"fsync", "full_page_writes"}) {
    ask("ALTER SYSTEM SET " + setting + " = off");
    ask("SELECT pg_reload_conf()");
    while (ask("SHOW " + setting) != "off") {
    }
    opened = open_postgres(options_, clock_);
    EXPECT_TRUE(refused(opened, Errc::config_invalid));
    if (opened.has_error()) {
      EXPECT_NE(opened.error().message.find(setting + "=off"), std::string::npos);
    }
    ask("ALTER SYSTEM RESET " + setting);
    ask("SELECT pg_reload_conf()");
    while (ask("SHOW " + setting) != "on") {
    }
  }
  EXPECT_TRUE(open_postgres(options_, clock_).has_value());
}

TEST_F(Open, EverySessionHasItsLimits) {
  Opened store = open();
  ASSERT_TRUE(store->due(1).has_value());
  // Read by the store's own kind of connection.
  postgres::Link link(options_, postgres::read_conninfo(options_).value(), clock_);
  auto opened = link.connect();
  auto& connection = *std::get<std::unique_ptr<postgres::Connection>>(opened);
  const auto setting = [&](const std::string& name) {
    auto rows = connection.script("SELECT setting FROM pg_settings WHERE name = '" + name + "'",
                                  Millis{5'000});
    return std::get<postgres::Rows>(rows).text(0, 0);
  };
  EXPECT_EQ(setting("statement_timeout"), "10000");
  EXPECT_EQ(setting("lock_timeout"), "5000");
  EXPECT_EQ(setting("idle_in_transaction_session_timeout"), "5000");
  EXPECT_EQ(setting("client_connection_check_interval"), "5000");
  EXPECT_EQ(setting("application_name"), "sequential-runner");
  EXPECT_EQ(setting("default_transaction_isolation"), "read committed");
  EXPECT_EQ(link.lock_ms(), 0);
  // What the server itself does on TCP; on the socket that this test uses it shows none of it.
  for (const char* const option : {"tcp_user_timeout=10000", "tcp_keepalives_idle=5",
                                   "tcp_keepalives_interval=2", "tcp_keepalives_count=3"}) {
    EXPECT_NE(link.conninfo().keywords.find(option), std::string::npos) << option;
  }
}

// --- behind a pooler in transaction mode ---------------------------------------------------------

class Pooled : public PgStoreTest {
 protected:
  Pooled() {
    options_.url = bouncer_.url();
    options_.listen = false;
  }
  // A run of ten calls, then its end, on several threads at once.
  void work(Opened& store) {
    const TaskFunctionId function = publish(store.sync);
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t) {
      threads.emplace_back([&] {
        const Running running = start(store.sync, function);
        Grant root = running.grant;
        for (int seq = 1; seq <= 10; ++seq) {
          const Work call = issue_one(store.sync, root, seq);
          OutcomeRecord record = outcome_of(call.grant);
          record.handoff = lease_of("a");
          root = store->record_outcome(record).value().wake->work->grant;
          ASSERT_EQ(store->outcomes(running.run, seq - 1, 5).value().size(), 1u);
        }
        ASSERT_TRUE(store->commit_slice(end_of(root, SliceEnd::completed, "1", 10)).has_value());
      });
    }
    for (auto& thread : threads) thread.join();
  }
  PgBouncer bouncer_{cluster()};
};

TEST_F(Pooled, EverythingWorksWithStatementsSentAsText) {
  options_.prepare = false;
  Opened store = open();
  work(store);
  // Session settings are nobody's there: none may be left behind for others.
  pqxx::connection other(bouncer_.url());
  for (int i = 0; i < 20; ++i) {
    const auto row = pqxx::nontransaction(other).exec("SHOW statement_timeout");
    EXPECT_STREQ(row[0][0].c_str(), "0");
  }
}

TEST_F(Pooled, PreparedStatementsThatGetLostAreNoticedAndDoneWithout) {
  options_.prepare = true;
  Opened store = open();
  work(store);
}

TEST_F(Pooled, LocksAreWaitedForNoLongerThanElsewhere) {
  options_.prepare = false;
  options_.lock_timeout = Millis{20};
  Opened store = open();
  const Running running = start(store.sync, publish(store.sync));
  pqxx::connection other(cluster().url());
  pqxx::work holds(other);
  holds.exec("SELECT 1 FROM " + options_.schema + ".stack_runs FOR UPDATE");
  EXPECT_TRUE(refused(store->commit_slice(end_of(running.grant, SliceEnd::completed, "1")),
                      Errc::unavailable));
}

TEST_F(Pooled, ManyStoresShareAFewServerConnections) {
  options_.prepare = false;
  Opened a = open(), b = open();
  work(a);
  work(b);
  EXPECT_TRUE(a->claim_next(lease_of("x")).has_value());
}

}  // namespace
}  // namespace sequential::storage::test
