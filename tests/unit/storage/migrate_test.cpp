// Migrations: each is applied once, none may change, and a newer database is refused.

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
  EXPECT_NE(result.error().message.find("version 2"), std::string::npos);
  EXPECT_EQ(applied(), "1:one:s1,2:two:s2");

  std::filesystem::remove(options_.path);
  open();
  close();
  execute_on(options_.path,
             "INSERT INTO schema_migrations SELECT max(version) + 1, 'future', 'x', 0"
             " FROM schema_migrations");
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

TEST_F(MigrateTest, AStoreMigratedByLaterReleasesKeepsItsRuns) {
  open();
  const TaskFunctionId function = publish();
  const TaskRunId run = store().submit(submission(function)).value().run;
  close();
  std::vector<Migration> later(embedded_migrations().begin(), embedded_migrations().end());
  later.push_back({static_cast<int>(later.size()) + 1, "later",
                   "ALTER TABLE task_runs ADD COLUMN later TEXT;", "s"});
  auto opened = sqlite::open_store(options_, later, clock_);
  ASSERT_TRUE(opened.has_value()) << opened.error().message;
  EXPECT_EQ(SyncStore(*opened.value()).run(run).value().status, RunStatus::queued);
  opened.value().reset();
  EXPECT_TRUE(refused(try_open(), Errc::schema_newer));  // the older binary
}

}  // namespace
}  // namespace sequential::storage::test
