#pragma once
// The fixture for what is PostgreSQL's own: a schema of the test's, and stores on it, several at a
// time if need be, by the server's clock unless a test says otherwise.

#include <gtest/gtest.h>

#include <memory>
#include <pqxx/pqxx>
#include <string>

#include "pg/cluster.h"
#include "sequential/storage/postgres.h"
#include "support/postgres_damage.h"
#include "support/store_test.h"

namespace sequential::storage::test {

class PgStoreTest : public ::testing::Test {
 protected:
  struct Opened {
    std::unique_ptr<Store> store;
    SyncStore sync{*store};
    SyncStore* operator->() { return &sync; }
  };

  PgStoreTest() {
    static int number = 0;
    options_.url = cluster().url();
    options_.schema = "own_test_" + std::to_string(++number);
  }
  void TearDown() override {
    pqxx::connection admin(cluster().url());
    EXPECT_EQ(check_damage_ ? postgres_damage(admin, options_.schema) : "", "");
    pqxx::nontransaction(admin).exec("SET client_min_messages = warning; DROP SCHEMA IF EXISTS " +
                                     options_.schema + " CASCADE");
  }

  static sequential::test::PgCluster& cluster() { return sequential::test::PgCluster::shared(); }

  Opened open(const PostgresOptions& options) {
    auto opened = open_postgres(options, clock_);
    if (opened.has_error()) ADD_FAILURE() << opened.error().message;
    return Opened{std::move(opened).value()};
  }
  Opened open() { return open(options_); }

  // One value of the schema's, as text.
  std::string ask(const std::string& sql) {
    pqxx::connection admin(cluster().url());
    pqxx::nontransaction tx(admin);
    tx.exec("SET search_path = " + options_.schema);
    const auto rows = tx.exec(sql);
    return rows.empty() || rows[0][0].is_null() ? "" : rows[0][0].c_str();
  }

  static TaskFunctionId publish(SyncStore& store) {
    Publication p;
    p.name = "task";
    p.code = "1";
    p.code_sha256 = "sha";
    return store.publish(p).value().id;
  }
  static Submission submission(TaskFunctionId function) {
    Submission s;
    s.task_function_id = function;
    s.task_name = "task";
    s.task_version = 1;
    s.input = "{}";
    s.seed = "0123456789abcdef";
    return s;
  }
  // Submitted and claimed for node "a".
  static Running start(SyncStore& store, TaskFunctionId function) {
    Submission s = submission(function);
    s.handoff = lease_of("a");
    const Submitted submitted = store.submit(s).value();
    return {submitted.run, submitted.root, submitted.work.value().grant};
  }
  static Work issue_one(SyncStore& store, const Grant& root, std::int64_t seq) {
    SliceCommit commit = slice_of(root, {call_of(seq)}, seq - 1);
    commit.handoff = lease_of("a");
    return store.commit_slice(commit).value().calls[0].work.value();
  }

  ManualClock clock_;
  PostgresOptions options_;
  bool check_damage_ = true;
};

}  // namespace sequential::storage::test
