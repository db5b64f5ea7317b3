// What errors of the server do: tried again or not, connections given up (fault test F24), a server
// that crashes, and messages that hold no secrets.

#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "pg_store_test.h"
#include "postgres/deadline.h"

namespace sequential::storage::test {
namespace {

class Errors : public PgStoreTest {
 protected:
  // The next `times` updates of stack runs fail with this SQLSTATE. (A sequence counts: it is not
  // undone with the transaction.)
  void fail_updates(const std::string& sqlstate, int times) {
    ask("CREATE SEQUENCE failures;"
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('" + options_.schema + ".failures') <= " + std::to_string(times) +
        " THEN RAISE EXCEPTION 'made to fail' USING ERRCODE = '" + sqlstate + "'; END IF;"
        " RETURN NEW; END $$;"
        "CREATE TRIGGER fail BEFORE UPDATE ON stack_runs FOR EACH ROW EXECUTE FUNCTION fail()");
  }
  // How often it was tried, at least once.
  int tries() { return std::stoi(ask("SELECT last_value FROM failures")); }
};

TEST_F(Errors, WhatOthersUndidIsTriedAgainUntilItSucceeds) {
  for (const char* const sqlstate : {"40001", "40P01", "55P03"}) {
    SCOPED_TRACE(sqlstate);
    Opened store = open();
    const Running running = start(store.sync, publish(store.sync));
    fail_updates(sqlstate, 5);
    EXPECT_TRUE(store->commit_slice(end_of(running.grant, SliceEnd::completed, "1")).has_value());
    EXPECT_GE(tries(), 6);
    ask("DROP FUNCTION fail() CASCADE; DROP SEQUENCE failures");
  }
}

TEST_F(Errors, WhatIsUndoneAgainAndAgainIsGivenUpWithNothingChanged) {
  Opened store = open();
  const Running running = start(store.sync, publish(store.sync));
  fail_updates("40001", 1'000'000);
  EXPECT_TRUE(refused(store->commit_slice(end_of(running.grant, SliceEnd::completed, "1")),
                      Errc::unavailable));
  EXPECT_LE(tries(), 100);
  ask("DROP FUNCTION fail() CASCADE; DROP SEQUENCE failures");
  EXPECT_TRUE(store->commit_slice(end_of(running.grant, SliceEnd::completed, "1")).has_value());
}

TEST_F(Errors, RefusedDataIsNotTriedAgain) {
  for (const char* const sqlstate : {"22012", "23514", "54000"}) {
    SCOPED_TRACE(sqlstate);
    Opened store = open();
    const Running running = start(store.sync, publish(store.sync));
    fail_updates(sqlstate, 1'000'000);
    EXPECT_TRUE(refused(store->commit_slice(end_of(running.grant, SliceEnd::completed, "1")),
                        Errc::internal));
    EXPECT_EQ(tries(), 1);
    ask("DROP FUNCTION fail() CASCADE; DROP SEQUENCE failures");
  }
}

TEST_F(Errors, AFullDiskIsUnavailableAtOnce) {
  Opened store = open();
  const Running running = start(store.sync, publish(store.sync));
  fail_updates("53100", 1);
  EXPECT_TRUE(refused(store->commit_slice(end_of(running.grant, SliceEnd::completed, "1")),
                      Errc::unavailable));
  EXPECT_TRUE(store->commit_slice(end_of(running.grant, SliceEnd::completed, "1")).has_value());
}

TEST_F(Errors, AConnectionToADemotedPrimaryIsGivenUp) {
  Opened store = open();
  const Running running = start(store.sync, publish(store.sync));
  const std::string before = ask("SELECT max(backend_start) FROM pg_stat_activity"
                                 " WHERE application_name = 'sequential-runner'");
  fail_updates("25006", 1);
  EXPECT_TRUE(store->commit_slice(end_of(running.grant, SliceEnd::completed, "1")).has_value());
  EXPECT_NE(ask("SELECT max(backend_start) FROM pg_stat_activity"
                " WHERE application_name = 'sequential-runner'"),
            before);
}

TEST_F(Errors, ALockThatIsNotGivenUpIsWaitedForInBoundedSteps) {
  options_.lock_timeout = Millis{20};
  Opened store = open();
  const Running running = start(store.sync, publish(store.sync));
  pqxx::connection other(cluster().url());
  Answer<SliceCommitted> answer;
  {
    pqxx::work holds(other);
    holds.exec("SELECT 1 FROM " + options_.schema + ".stack_runs FOR UPDATE");
    EXPECT_TRUE(refused(store->commit_slice(end_of(running.grant, SliceEnd::completed, "1")),
                        Errc::unavailable));
    // Leases are renewed beside it, also when their row is the one that is locked.
    EXPECT_TRUE(refused(store->extend({running.grant}, lease_of("a")), Errc::unavailable));
    store->async().commit_slice(end_of(running.grant, SliceEnd::completed, "1"), answer.done());
  }
  EXPECT_TRUE(answer.get().has_value());
}

TEST_F(Errors, BackendsThatAreTerminatedIdleOrAtWorkCostNothing) {
  Opened store = open();
  const TaskFunctionId function = publish(store.sync);
  const std::string kill =
      "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name ="
      " 'sequential-runner' AND (query LIKE '%" + options_.schema + ".%' OR query LIKE '%" +
      options_.schema + "\"%')";
  for (int i = 0; i < 5; ++i) {
    const Running running = start(store.sync, function);
    ask(kill);
    EXPECT_TRUE(store->run(running.run).has_value());
    Answer<SliceCommitted> answer;
    {
      pqxx::connection other(cluster().url());
      pqxx::work holds(other);
      holds.exec("SELECT 1 FROM " + options_.schema + ".stack_runs WHERE id = " +
                 std::to_string(running.root.value) + " FOR UPDATE");
      store->async().commit_slice(end_of(running.grant, SliceEnd::completed, "1"), answer.done());
      // It waits for that lock now, or soon.
      while (ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query"
                 " LIKE '%" + options_.schema + "%commit_slice%'") == "0") {
      }
      ask(kill);
    }
    EXPECT_TRUE(answer.get().has_value());
  }
}

TEST_F(Errors, ACrashOfTheServerLosesNothingThatWasAnswered) {
  Opened store = open();
  const TaskFunctionId function = publish(store.sync);
  std::vector<TaskRunId> accepted;
  for (int crash = 0; crash < 3; ++crash) {
    for (int i = 0; i < 20; ++i) accepted.push_back(start(store.sync, function).run);
    cluster().crash();
    const auto began = std::chrono::steady_clock::now();
    EXPECT_TRUE(refused(store->submit(submission(function)), Errc::unavailable));
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
    cluster().run();
    Result<Submitted> submitted = store->submit(submission(function));
    for (int i = 0; i < 100 && submitted.has_error(); ++i) {
      submitted = store->submit(submission(function));
    }
    ASSERT_TRUE(submitted.has_value()) << submitted.error().message;
  }
  for (const TaskRunId run : accepted) EXPECT_TRUE(store->run(run).has_value());
}

TEST_F(Errors, NoMessageHoldsThePassword) {
  for (const std::string url :
       {"postgresql://test:s3cr3t-pw@127.0.0.1:1/postgres",
        "postgresql://test:s3cr3t-pw%zz@127.0.0.1:1/postgres",
        "postgresql://test:s3cr3t-pw@[::1/postgres", "host=127.0.0.1 password=s3cr3t-pw' port=1",
        "password=s3cr3t-pw port=notaport", "password=s3cr3t-pw port"}) {
    PostgresOptions options;
    options.url = url;
    const auto opened = open_postgres(options, clock_);
    ASSERT_TRUE(opened.has_error()) << url;
    const Error& error = opened.error();
    EXPECT_TRUE(error.code == Errc::unavailable || error.code == Errc::config_invalid);
    EXPECT_EQ(error.message.find("s3cr3t-pw"), std::string::npos) << error.message;
    EXPECT_FALSE(error.message.empty());
  }
  PostgresOptions with_password = options_;
  with_password.url += " password=s3cr3t-pw";
  Opened store = open(with_password);
  EXPECT_EQ(store->status().value().location.find("s3cr3t-pw"), std::string::npos);
}

TEST_F(Errors, OptionsOutOfRangeAreRefused) {
  const auto refuses = [&](auto change) {
    PostgresOptions options = options_;
    change(options);
    return refused(open_postgres(options, clock_), Errc::config_invalid);
  };
  EXPECT_TRUE(refuses([](auto& o) { o.connections = 0; }));
  EXPECT_TRUE(refuses([](auto& o) { o.readers = 65; }));
  EXPECT_TRUE(refuses([](auto& o) { o.schema = "a\"; DROP SCHEMA x; --"; }));
  EXPECT_TRUE(refuses([](auto& o) { o.schema = "pg_mine"; }));
  EXPECT_TRUE(refuses([](auto& o) { o.schema = ""; }));
  EXPECT_TRUE(refuses([](auto& o) { o.lock_timeout = Millis{0}; }));
  check_damage_ = false;  // there is no schema
}

TEST_F(Errors, AServerThatFallsSilentIsNotWaitedForForEver) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  postgres::Deadlines deadlines(clock_);
  {
    const postgres::Deadlines::Watch watch(deadlines, ends[0], Millis{1});
    char byte = 0;
    EXPECT_EQ(::recv(ends[0], &byte, 1, 0), 0);  // cut: nobody ever wrote to it
  }
  ::close(ends[0]);
  ::close(ends[1]);
  check_damage_ = false;
}

}  // namespace
}  // namespace sequential::storage::test
