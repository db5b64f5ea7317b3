// Migrations: each is applied once, none may change, and a program works on a newer database only
// if the newer release left it what it needs.

#include "sqlite/migrate.h"

#include <algorithm>
#include <vector>

#include "sequential/base/bytes.h"
#include "sqlite/open.h"
#include "sqlite_files.h"

namespace sequential::storage::test {
namespace {

using sqlite::Connection;
using sqlite::embedded_migrations;
using sqlite::Migration;

class MigrateTest : public SqliteTest {
 protected:
  Result<int> migrate(const std::vector<Migration>& migrations) {
    auto connection = Connection::open(options_.path, Connection::Mode::read_write).value();
    return sqlite::migrate(*connection, migrations, clock_);
  }
  std::string applied() {
    return ask_file(options_.path,
                    "SELECT group_concat(version || ':' || name || ':' || sha256)"
                    " FROM schema_migrations");
  }
  static std::vector<Migration> two() {
    return {{1, "one", "CREATE TABLE a (x); INSERT INTO a VALUES (1);", "s1"},
            {2, "two", "CREATE TABLE b (y);", "s2"}};
  }
};

TEST_F(MigrateTest, TheEmbeddedOnesAreTheFilesOfTheTreeWithTheirChecksums) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(SEQUENTIAL_MIGRATIONS)) {
    files.push_back(entry.path().filename().string());
  }
  std::sort(files.begin(), files.end());
  const auto embedded = embedded_migrations();
  ASSERT_EQ(files.size(), embedded.size()) << "a file is not listed in storage/CMakeLists.txt";
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string text = read_file(std::string(SEQUENTIAL_MIGRATIONS) + "/" + files[i]);
    EXPECT_EQ(embedded[i].version, static_cast<int>(i) + 1);
    EXPECT_EQ(files[i].substr(5), std::string(embedded[i].name) + ".sql");
    EXPECT_EQ(embedded[i].sql, text);
    EXPECT_EQ(embedded[i].sha256, to_hex(sha256(text)));
  }
}

TEST_F(MigrateTest, AreAppliedOnceInOrderAndRecorded) {
  auto migrations = two();
  EXPECT_EQ(migrate({migrations[0]}).value(), 1);
  EXPECT_EQ(applied(), "1:one:s1");
  EXPECT_EQ(migrate(migrations).value(), 2);
  EXPECT_EQ(applied(), "1:one:s1,2:two:s2");
  EXPECT_EQ(migrate(migrations).value(), 2);
  EXPECT_EQ(ask_file(options_.path, "SELECT count(*) FROM a"), "1");
  EXPECT_EQ(ask_file(options_.path, "SELECT applied_at FROM schema_migrations"),
            std::to_string(clock_.now().ms));
}

TEST_F(MigrateTest, AnAppliedOneThatChangedIsCorruptAndNamed) {
  auto migrations = two();
  ASSERT_TRUE(migrate(migrations).has_value());
  migrations[1].sha256 = "other";
  const auto result = migrate(migrations);
  ASSERT_TRUE(refused(result, Errc::corrupt));
  EXPECT_NE(result.error().message.find("0002_two"), std::string::npos) << result.error().message;
  migrations = two();
  migrations[0].name = "renamed";
  EXPECT_TRUE(refused(migrate(migrations), Errc::corrupt));
}

TEST_F(MigrateTest, AGapInWhatWasAppliedIsCorruptAndNamed) {
  ASSERT_TRUE(migrate(two()).has_value());
  execute_on(options_.path, "DELETE FROM schema_migrations WHERE version = 1");
  const auto result = migrate(two());
  ASSERT_TRUE(refused(result, Errc::corrupt));
  EXPECT_NE(result.error().message.find("migration 1 is missing"), std::string::npos);
}

TEST_F(MigrateTest, ADatabaseNewerThanTheBinaryIsRefusedAndLeftAlone) {
  ASSERT_TRUE(migrate(two()).has_value());
  const auto result = migrate({two()[0]});
  ASSERT_TRUE(refused(result, Errc::schema_newer));
  EXPECT_NE(result.error().message.find("0002_two"), std::string::npos) << result.error().message;
  EXPECT_EQ(applied(), "1:one:s1,2:two:s2");

  std::filesystem::remove(options_.path);
  open();
  close();
  execute_on(options_.path,
             "INSERT INTO schema_migrations (version, name, sha256, applied_at)"
             " SELECT max(version) + 1, 'future', 'x', 0 FROM schema_migrations");
  EXPECT_TRUE(refused(try_open(), Errc::schema_newer));
}

TEST_F(MigrateTest, AnotherProgramsDatabaseIsRefusedAndLeftAlone) {
  execute_on(options_.path, "CREATE TABLE theirs (x)");
  EXPECT_TRUE(refused(migrate(two()), Errc::corrupt));
  EXPECT_EQ(ask_file(options_.path, "SELECT group_concat(name) FROM sqlite_schema"), "theirs");
}

TEST_F(MigrateTest, OneThatFailsLeavesNothingAndTheNextRunGoesOn) {
  auto migrations = two();
  migrations[1].sql = "CREATE TABLE b (y); INSERT INTO nowhere VALUES (1);";
  const auto result = migrate(migrations);
  ASSERT_TRUE(result.has_error());
  EXPECT_NE(result.error().message.find("0002_two"), std::string::npos);
  EXPECT_EQ(applied(), "1:one:s1");
  EXPECT_EQ(ask_file(options_.path, "SELECT count(*) FROM sqlite_schema WHERE name = 'b'"), "0");
  EXPECT_EQ(migrate(two()).value(), 2);
}

// --- releases side by side -----------------------------------------------------------------------

TEST(CompatibleLevel, IsWhatTheFirstLineSaysAndElseTheMigrationsOwn) {
  const auto level = [](std::string_view sql) { return compatible_level({7, "x", sql, "s"}); };
  EXPECT_EQ(level("-- expand\nCREATE TABLE a (x);"), 0);
  EXPECT_EQ(level("-- expand"), 0);
  EXPECT_EQ(level("-- contract, compatible from 0006\nDROP TABLE a;"), 6);
  EXPECT_EQ(level("-- contract, compatible from 0007\n"), 7);
  // What is not understood spares nobody.
  for (const char* sql : {"", "CREATE TABLE a (x);", "-- Expand\n", "-- expand and more\n",
                          "\n-- expand\n", "-- contract\n", "-- contract, compatible from\n",
                          "-- contract, compatible from 0008\n", "-- contract, compatible from 0\n",
                          "-- contract, compatible from 0006 or so\n",
                          "-- contract, compatible from -6\n"}) {
    EXPECT_EQ(level(sql), 7) << sql;
  }
}

// The releases of a product with two tables: the third adds one, the fourth takes the first away,
// which the third no longer used.
class Releases : public MigrateTest {
 protected:
  // The migrations of the release that has `level` of them.
  Result<int> start(std::size_t level) {
    std::vector<Migration> all = two();
    all.push_back({3, "add", "-- expand\nCREATE TABLE c (z);", "s3"});
    all.push_back({4, "drop_a", "-- contract, compatible from 0003\nDROP TABLE a;", "s4"});
    all.push_back({5, "add_more", "-- expand\nCREATE TABLE d (z);", "s5"});
    all.resize(level);
    return migrate(all);
  }
  std::string recorded() {
    return ask_file(options_.path,
                    "SELECT group_concat(version || ':' || program || ':' || compatible_from)"
                    " FROM schema_migrations");
  }
};

TEST_F(Releases, AfterAnExpandTheOlderOneStartsAgainAndChangesNothing) {
  ASSERT_EQ(start(2).value(), 2);
  ASSERT_EQ(start(3).value(), 3);
  EXPECT_EQ(start(2).value(), 3);
  EXPECT_EQ(recorded(), "1:2:1,2:2:2,3:3:2");
  EXPECT_TRUE(refused(start(1), Errc::schema_newer));  // two is no expand
  EXPECT_EQ(start(3).value(), 3);
}

TEST_F(Releases, AfterAContractOnlyThoseThatItSparesStart) {
  ASSERT_EQ(start(2).value(), 2);
  ASSERT_EQ(start(4).value(), 4);
  EXPECT_EQ(start(3).value(), 4);
  const auto result = start(2);
  ASSERT_TRUE(refused(result, Errc::schema_newer));
  // Enough for somebody who has never seen this to know what to do.
  for (const std::string part : {"newer release", "schema 0004", "knows 0002", "0004_drop_a",
                                 "programs below 0003", "backup"}) {
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  }
  // An expand after it brings nobody back.
  ASSERT_EQ(start(5).value(), 5);
  EXPECT_EQ(recorded(), "1:2:1,2:2:2,3:4:2,4:4:3,5:5:3");
  EXPECT_EQ(start(3).value(), 5);
  EXPECT_TRUE(refused(start(2), Errc::schema_newer));
}

TEST_F(Releases, ANewerDatabaseIsStillCheckedForWhatThisProgramKnows) {
  ASSERT_EQ(start(3).value(), 3);
  execute_on(options_.path, "UPDATE schema_migrations SET sha256 = 'other' WHERE version = 2");
  EXPECT_TRUE(refused(start(2), Errc::corrupt));
  execute_on(options_.path, "UPDATE schema_migrations SET sha256 = 's2' WHERE version = 2;"
                            " INSERT INTO schema_migrations VALUES (5, 'e', 's', 0, 5, 2)");
  EXPECT_TRUE(refused(start(2), Errc::corrupt));  // 4 is missing
}

TEST_F(Releases, ARecordOfTheFirstReleasesIsUnderstoodAndExtended) {
  execute_on(options_.path,
             "CREATE TABLE a (x); CREATE TABLE b (y);"
             "CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL,"
             " sha256 TEXT NOT NULL, applied_at INTEGER NOT NULL);"
             "INSERT INTO schema_migrations VALUES (1, 'one', 's1', 0), (2, 'two', 's2', 0)");
  EXPECT_TRUE(refused(start(1), Errc::schema_newer));
  EXPECT_EQ(start(2).value(), 2);
  ASSERT_EQ(start(3).value(), 3);
  EXPECT_EQ(ask_file(options_.path,
                     "SELECT program || ':' || compatible_from FROM schema_migrations"
                     " WHERE version = 3"),
            "3:2");
  EXPECT_EQ(start(2).value(), 3);
}

TEST_F(MigrateTest, AStoreMigratedByLaterReleasesKeepsItsRuns) {
  open();
  const TaskFunctionId function = publish();
  const TaskRunId run = store().submit(submission(function)).value().run;
  close();
  std::vector<Migration> later(embedded_migrations().begin(), embedded_migrations().end());
  later.push_back({static_cast<int>(later.size()) + 1, "later",
                   "-- expand\nALTER TABLE task_runs ADD COLUMN later TEXT;", "s"});
  auto opened = sqlite::open_store(options_, later, clock_);
  ASSERT_TRUE(opened.has_value()) << opened.error().message;
  EXPECT_EQ(SyncStore(*opened.value()).run(run).value().status, RunStatus::queued);
  opened.value().reset();
  // The older binary works on it too, until something is taken away from it.
  open();
  EXPECT_EQ(store().run(run).value().status, RunStatus::queued);
  EXPECT_TRUE(store().submit(submission(function)).has_value());
  close();
  const std::string level = migration_number(static_cast<int>(later.size()));
  const std::string sql = "-- contract, compatible from " + level + "\nDROP VIEW runs;";
  later.push_back({static_cast<int>(later.size()) + 1, "contract", sql, "s"});
  ASSERT_TRUE(sqlite::open_store(options_, later, clock_).has_value());
  EXPECT_TRUE(refused(try_open(), Errc::schema_newer));
}

}  // namespace
}  // namespace sequential::storage::test
