// Releases side by side on one schema: who may go on after a migration, and that those at work go
// on while it is made. (Opening and the plain order of migrations: open_test.cpp.)

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "pg_store_test.h"
#include "postgres/migrate.h"
#include "postgres/open.h"

namespace sequential::storage::test {
namespace {

using postgres::Migration;

class MigratePg : public PgStoreTest {
 protected:
  MigratePg() { check_damage_ = false; }

  // Connections of nodes are known by the name they give themselves.
  std::string url() const { return cluster().url() + " application_name=" + options_.schema; }

  Result<int> migrate(const std::vector<Migration>& migrations) {
    auto opened = postgres::Connection::open({url(), "", Millis{60'000}}, deadlines_);
    return postgres::migrate(*std::get<std::unique_ptr<postgres::Connection>>(opened),
                             options_.schema, migrations, clock_);
  }
  // The migrations of the release that has `level` of them: the third adds a table, the fourth
  // takes the first away, which the third no longer used.
  static std::vector<Migration> release(std::size_t level) {
    std::vector<Migration> all = {
        {1, "one", "CREATE TABLE a (x int);", "s1"},
        {2, "two", "CREATE TABLE b (y int);", "s2"},
        {3, "add", "-- expand\nCREATE TABLE c (z int); ALTER TABLE a ADD COLUMN more int;", "s3"},
        {4, "drop_a", "-- contract, compatible from 0003\nDROP TABLE a;", "s4"},
        {5, "add_more", "-- expand\nCREATE TABLE d (z int);", "s5"}};
    all.resize(level);
    return all;
  }
  Result<int> start_as(std::size_t level) { return migrate(release(level)); }
  static int level_of(Result<int> result) {
    if (result.has_value()) return result.value();
    ADD_FAILURE() << result.error().message;
    return 0;
  }
  std::string recorded() {
    return ask(
        "SELECT string_agg(concat_ws(':', version, program, compatible_from), ','"
        " ORDER BY version) FROM schema_migrations");
  }

  postgres::Deadlines deadlines_{system_clock()};
};

TEST_F(MigratePg, AfterAnExpandTheOlderReleaseStartsAgainAndChangesNothing) {
  ASSERT_EQ(level_of(start_as(2)), 2);
  ASSERT_EQ(level_of(start_as(3)), 3);
  EXPECT_EQ(level_of(start_as(2)), 3);
  EXPECT_EQ(recorded(), "1:2:1,2:2:2,3:3:2");
  EXPECT_TRUE(refused(start_as(1), Errc::schema_newer));
  EXPECT_EQ(level_of(start_as(3)), 3);
}

TEST_F(MigratePg, AfterAContractOnlyTheReleasesThatItSparesStart) {
  ASSERT_EQ(level_of(start_as(2)), 2);
  ASSERT_EQ(level_of(start_as(4)), 4);
  EXPECT_EQ(level_of(start_as(3)), 4);
  const auto result = start_as(2);
  ASSERT_TRUE(refused(result, Errc::schema_newer));
  for (const std::string part : {"newer release", "schema 0004", "knows 0002", "0004_drop_a",
                                 "programs below 0003", "backup"}) {
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  }
  ASSERT_EQ(level_of(start_as(5)), 5);
  EXPECT_EQ(recorded(), "1:2:1,2:2:2,3:4:2,4:4:3,5:5:3");
  EXPECT_EQ(level_of(start_as(3)), 5);
  EXPECT_TRUE(refused(start_as(2), Errc::schema_newer));
}

TEST_F(MigratePg, ARecordOfTheFirstReleasesIsUnderstoodAndExtended) {
  ASSERT_EQ(level_of(start_as(2)), 2);
  ask("ALTER TABLE schema_migrations DROP COLUMN program, DROP COLUMN compatible_from");
  EXPECT_TRUE(refused(start_as(1), Errc::schema_newer));
  EXPECT_EQ(level_of(start_as(2)), 2);
  ASSERT_EQ(level_of(start_as(3)), 3);
  EXPECT_EQ(ask("SELECT string_agg(coalesce(program, 0) || ':' || coalesce(compatible_from, 0),"
                " ',' ORDER BY version) FROM schema_migrations"),
            "0:0,0:0,3:2");
  EXPECT_EQ(level_of(start_as(2)), 3);
}

// --- who is cut off ------------------------------------------------------------------------------

TEST_F(MigratePg, AContractWaitsForNodesThatItCutsOffAndRefusesIfTheyStay) {
  ASSERT_EQ(level_of(start_as(2)), 2);
  auto node = std::make_unique<pqxx::connection>(url());
  const auto result = start_as(4);
  ASSERT_TRUE(refused(result, Errc::in_use));
  for (const std::string part : {"older release", "1 connections", "0004_drop_a", "schema 0003"}) {
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  }
  // Not even the expand before it was made: the release between can still be brought in.
  EXPECT_EQ(recorded(), "1:2:1,2:2:2");
  auto waiting = std::async(std::launch::async, [&] { return start_as(4); });
  while (ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0") {
  }
  node.reset();
  EXPECT_EQ(level_of(waiting.get()), 4);
}

TEST_F(MigratePg, AContractDoesNotMindNodesOfTheReleaseBetweenNorOfAnEmptySchema) {
  pqxx::connection node(url());
  ASSERT_EQ(level_of(start_as(4)), 4);  // nobody of an older release was ever here
  ask("DROP SCHEMA " + options_.schema + " CASCADE");
  ASSERT_EQ(level_of(start_as(2)), 2);
  ASSERT_EQ(level_of(start_as(3)), 3);
  EXPECT_EQ(level_of(start_as(4)), 4);
}

TEST_F(MigratePg, NodesThatLeapOverAReleaseTogetherAllStart) {
  ASSERT_EQ(level_of(start_as(2)), 2);
  std::vector<std::future<Result<int>>> nodes;
  for (int i = 0; i < 6; ++i)
    nodes.push_back(std::async(std::launch::async, [&] { return start_as(5); }));
  for (auto& node : nodes) EXPECT_EQ(level_of(node.get()), 5);
  EXPECT_EQ(recorded(), "1:2:1,2:2:2,3:5:2,4:5:3,5:5:3");
}

// --- while others work ---------------------------------------------------------------------------

TEST_F(MigratePg, AMigrationThatMustWaitForALockLetsOthersThroughMeanwhile) {
  ASSERT_EQ(level_of(start_as(2)), 2);
  const std::string a = options_.schema + ".a";
  std::future<Result<int>> migrating;  // outlives what it waits for, should this test fail
  pqxx::connection backup(cluster().url());
  auto reading = std::make_unique<pqxx::work>(backup);
  reading->exec("SELECT count(*) FROM " + a);
  migrating = std::async(std::launch::async, [&] { return start_as(3); });
  const std::string waits =
      "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '" + a + "'::regclass";
  while (ask(waits) == "0") {
  }
  // Behind the migration in the queue; a node gives up after lock_timeout, 5 s.
  pqxx::connection node(cluster().url());
  pqxx::nontransaction(node).exec("SET lock_timeout = 5000; INSERT INTO " + a + " VALUES (1)");
  EXPECT_EQ(migrating.wait_for(Millis{0}), std::future_status::timeout);
  reading.reset();
  EXPECT_EQ(level_of(migrating.get()), 3);
}

TEST_F(MigratePg, AMigrationThatDeadlocksWithOthersIsMadeAgain) {
  ASSERT_EQ(level_of(start_as(2)), 2);
  auto migrations = release(2);
  migrations.push_back({3, "both",
                        "-- expand\nALTER TABLE a ADD COLUMN n int;"
                        " ALTER TABLE b ADD COLUMN n int;",
                        "s"});
  std::future<Result<int>> migrating;
  pqxx::connection node(cluster().url());
  pqxx::work tx(node);
  tx.exec("SET search_path = " + options_.schema + "; LOCK b IN ROW EXCLUSIVE MODE");
  migrating = std::async(std::launch::async, [&] { return migrate(migrations); });
  const std::string waits =
      "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'b'::regclass";
  while (ask(waits) == "0") {
  }
  // Now each has what the other wants. The server undoes one of them; a node would begin again too.
  try {
    tx.exec("LOCK a IN ROW EXCLUSIVE MODE");
    tx.commit();
  } catch (const pqxx::deadlock_detected&) {
    tx.abort();
  }
  EXPECT_EQ(level_of(migrating.get()), 3);
}

// Every function, replaced by itself.
std::string replaced_functions() {
  static const std::regex head("CREATE (?:OR REPLACE )?(FUNCTION ([a-z0-9_]+)\\()");
  constexpr std::string_view kBody = "$$";
  std::map<std::string, std::string> newest;
  for (const Migration& m : postgres::embedded_migrations()) {
    const std::string text(m.sql);
    for (std::sregex_iterator it(text.begin(), text.end(), head), end; it != end; ++it) {
      const auto at = static_cast<std::size_t>(it->position(1));
      const std::size_t body = text.find(kBody, text.find(kBody, at) + kBody.size());
      newest[(*it)[2].str()] =
          "CREATE OR REPLACE " + text.substr(at, text.find(';', body) + 1 - at) + "\n";
    }
  }
  std::string sql;
  for (const auto& [name, definition] : newest) sql += definition;
  return sql;
}

// All that the next release may do: columns more in every table, a table and a function more, and
// every function replaced.
std::string great_expand() {
  std::string sql = "-- expand\n";
  static const std::regex table("CREATE TABLE ([a-z_]+) \\(");
  for (const Migration& m : postgres::embedded_migrations()) {
    const std::string text(m.sql);
    for (std::sregex_iterator it(text.begin(), text.end(), table), end; it != end; ++it) {
      sql += "ALTER TABLE " + (*it)[1].str() +
             " ADD COLUMN later bytea,"
             " ADD COLUMN later_too integer NOT NULL DEFAULT 7;\n";
    }
  }
  return sql +
         "CREATE TABLE later_things (id bigint PRIMARY KEY);\n"
         "CREATE FUNCTION later_v1(p_id bigint) RETURNS bigint LANGUAGE sql AS"
         " $$ SELECT p_id $$;\n" +
         replaced_functions();
}

TEST_F(MigratePg, WhatWasPreparedAndPlannedBeforeAnExpandWorksAfterIt) {
  options_.connections = 1;
  options_.readers = 1;
  Opened store = open();
  const TaskFunctionId function = publish(store.sync);
  // Often enough for plans to be kept (the sixth time), on connections that stay.
  const auto work = [&] {
    for (int round = 0; round < 8; ++round) {
      const Running running = start(store.sync, function);
      const Work call = issue_one(store.sync, running.grant, 1);
      OutcomeRecord record = outcome_of(call.grant);
      record.handoff = lease_of("a");
      const Grant root = store->record_outcome(record).value().wake->work->grant;
      EXPECT_EQ(store->outcomes(running.run, 0, 5).value().size(), 1u);
      EXPECT_TRUE(store->extend({root}, lease_of("a")).value().empty());
      EXPECT_TRUE(store->commit_slice(end_of(root, SliceEnd::completed, "1", 1)).has_value());
      EXPECT_EQ(store->run(running.run).value().status, RunStatus::completed);
      const Submitted other = store->submit(submission(function)).value();
      EXPECT_EQ(store->due(10).value().ids.size(), 1u);
      EXPECT_TRUE(store->pause(other.run).has_value());
      EXPECT_TRUE(store->resume(other.run).has_value());
      const auto claimed = store->claim_next(lease_of("a")).value();
      EXPECT_TRUE(store->release(claimed->grant).has_value());
      EXPECT_TRUE(store->claim(other.root, lease_of("b")).value().has_value());
      EXPECT_TRUE(store->cancel(other.run, "1").has_value());
    }
  };
  work();
  std::vector<Migration> migrations(postgres::embedded_migrations().begin(),
                                    postgres::embedded_migrations().end());
  const std::string sql = great_expand();
  migrations.push_back({static_cast<int>(migrations.size()) + 1, "great", sql, "s"});
  ASSERT_EQ(level_of(migrate(migrations)), static_cast<int>(migrations.size()));
  EXPECT_EQ(ask("SELECT count(*) FROM information_schema.columns WHERE column_name = 'later_too'"
                " AND table_schema = current_schema()"),
            ask("SELECT count(*) - 2 FROM pg_tables WHERE schemaname = current_schema()"));
  work();
  check_damage_ = true;
}

TEST_F(MigratePg, WorkUnderWayWhileAnExpandIsMadeIsNotDisturbed) {
  Opened a = open(), b = open();
  const TaskFunctionId function = publish(a.sync);
  std::atomic<bool> stop = false;
  std::atomic<int> done = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      SyncStore& store = t % 2 == 0 ? a.sync : b.sync;
      while (!stop) {
        const Running running = start(store, function);
        Grant root = running.grant;
        for (int seq = 1; seq <= 4; ++seq) {
          OutcomeRecord record = outcome_of(issue_one(store, root, seq).grant);
          record.handoff = lease_of("a");
          const auto recorded = store.record_outcome(record);
          ASSERT_TRUE(recorded.has_value()) << recorded.error().message;
          root = recorded.value().wake->work->grant;
        }
        ASSERT_TRUE(store.commit_slice(end_of(root, SliceEnd::completed, "1", 4)).has_value());
        ++done;
      }
    });
  }
  const auto at_least = [&](int more) {
    for (const int before = done; done < before + more;) std::this_thread::yield();
  };
  at_least(40);
  std::vector<Migration> migrations(postgres::embedded_migrations().begin(),
                                    postgres::embedded_migrations().end());
  const std::string great = great_expand(), again = "-- expand\n" + replaced_functions();
  for (const std::string_view sql :
       {std::string_view(great), std::string_view(again), std::string_view(again)}) {
    const int level = static_cast<int>(migrations.size()) + 1;
    migrations.push_back({level, "later", sql, "s"});
    EXPECT_EQ(level_of(migrate(migrations)), level);
    at_least(40);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  check_damage_ = true;
}

}  // namespace
}  // namespace sequential::storage::test
