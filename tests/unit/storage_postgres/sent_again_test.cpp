// Transitions that are sent again when the try before was committed, or is still at work on the
// server, and others came in between. Called by their SQL: a store sends again at once.

#include <chrono>
#include <future>
#include <thread>

#include "pg_store_test.h"

namespace sequential::storage::test {
namespace {

class SentAgain : public PgStoreTest {
 protected:
  SentAgain() : store_(open()), function_(publish(store_.sync)) {}

  // The answer's columns, each followed by a blank.
  static std::string call(pqxx::transaction_base& tx, const std::string& what) {
    std::string text;
    const auto rows = tx.exec(what);
    for (const auto& field : rows[0]) text += std::string(field.c_str()) + " ";
    return text;
  }
  std::string call(const std::string& what) {
    pqxx::connection db(cluster().url());
    pqxx::nontransaction tx(db);
    tx.exec("SET search_path = " + options_.schema);
    return call(tx, what);
  }
  std::string count(const std::string& from) { return ask("SELECT count(*) FROM " + from); }
  Running start() { return PgStoreTest::start(store_.sync, function_); }

  std::string fire(int token, bool again, const std::string& overlap) const {
    return "SELECT o_code, o_done, o_run FROM schedule_fire_v1(0, 0, " + std::to_string(token) +
           ", " + (again ? "true" : "false") + ", 's', 1, 0, 0, 0, true, 0, 0, '" + overlap +
           "', 0, " + std::to_string(function_.value) +
           ", 'task', 1, '{}', '', 0, '', '', '0123456789abcdef', '', 0)";
  }
  static std::string put(int token, int revision) {
    return "SELECT o_code FROM schedule_put_v1(0, 0, " + std::to_string(token) +
           ", false, 's', '{}', 'allow', false, " + std::to_string(revision) + ", 0, 0, 10)";
  }
  std::string start_child(const Grant& parent, int token, bool again) const {
    return "SELECT o_code, o_existing, o_run FROM start_child_v1(0, 0, " + std::to_string(token) +
           ", " + (again ? "true" : "false") + ", " + std::to_string(parent.id.value) + ", " +
           std::to_string(parent.run.value) + ", " + std::to_string(parent.epoch) +
           ", 200, 253402300799999, true, " + std::to_string(function_.value) +
           ", 'task', 1, '{}', 0, '', '', 0, '0123456789abcdef', '', 0)";
  }
  // Makes the first try, and the second while the first is still at work; the second's answer.
  std::string beside(const std::string& first, const std::string& second) {
    pqxx::connection db(cluster().url());
    pqxx::work tx(db);
    tx.exec("SET search_path = " + options_.schema);
    call(tx, first);
    auto answer = std::async(std::launch::async, [&] { return call(second); });
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (count("pg_locks WHERE NOT granted") == "0" &&
           std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    tx.commit();
    return answer.get();
  }

  Opened store_;
  TaskFunctionId function_;
};

TEST_F(SentAgain, AManualTriggerStartsOneRunAlsoIfTheScheduleWasFiredSince) {
  call(put(50, 0));
  const std::string first = call(fire(51, false, "allow"));
  EXPECT_NE(call(fire(52, false, "allow")), first);
  EXPECT_EQ(call(fire(51, true, "allow")), first);
  EXPECT_EQ(call(fire(51, true, "skip")), first);
  EXPECT_EQ(count("task_runs"), "2");
  EXPECT_EQ(ask("SELECT started FROM schedules"), "2");
}

TEST_F(SentAgain, ATriggerIsKnownAlsoIfTheScheduleWasChangedOrRemovedSince) {
  call(put(50, 0));
  const std::string first = call(fire(51, false, "skip"));
  call(put(52, 1));
  EXPECT_EQ(call(fire(51, true, "skip")), first);
  ask("DELETE FROM schedules");
  EXPECT_EQ(call(fire(51, true, "skip")), first);
  EXPECT_EQ(call(fire(53, true, "skip")), "schedule_not_found   ");
}

TEST_F(SentAgain, AChildIsStartedOnceAndToldAlsoWhileTheTryBeforeIsAtWork) {
  const Grant parent = issue_one(store_.sync, start().grant, 1).grant;
  const std::string answer =
      beside(start_child(parent, 7, false), start_child(parent, 7, true));
  EXPECT_EQ(answer, " f " + ask("SELECT max(id) FROM task_runs") + " ");
  EXPECT_EQ(count("task_runs"), "2");
}

TEST_F(SentAgain, ACallThatWaitsForTheChildItHasKnowsIt) {
  Work parent = issue_one(store_.sync, start().grant, 1);
  call(start_child(parent.grant, 7, false));
  // The call's node was lost with the answer: it is made again.
  ask("UPDATE stack_runs SET available_at = 0, ready_at = 0 WHERE id = " +
      std::to_string(parent.grant.id.value));
  parent = store_->claim(parent.grant.id, lease_of("b")).value().value();
  const std::string first = call(start_child(parent.grant, 8, false));
  EXPECT_EQ(first, " t " + ask("SELECT max(id) FROM task_runs") + " ");
  EXPECT_EQ(call(start_child(parent.grant, 8, true)), first);
  EXPECT_EQ(call(start_child(parent.grant, 9, true)).substr(0, 7), "fenced ");
}

TEST_F(SentAgain, AClearDeletesNothingThatCameAfterIt) {
  start();
  const auto clear = [this](int token, bool again) {
    return call("SELECT clear_v1(0, " + std::to_string(token) + (again ? ", true)" : ", false)"));
  };
  EXPECT_EQ(clear(3, false), "1 ");
  const Running running = start();
  ASSERT_TRUE(store_->cancel(running.run, "{}").has_value());
  EXPECT_EQ(call("SELECT o_code FROM retry_run_v1(0, 0, 4, false, " +
                 std::to_string(running.run.value) + ", 0, " + std::to_string(function_.value) +
                 ", 1, 0, 0, 0, 0, false)"),
            " ");
  EXPECT_EQ(clear(3, true), "1 ");
  EXPECT_EQ(count("task_runs"), "1");
  EXPECT_EQ(clear(5, false), "1 ");
  start();
  EXPECT_EQ(clear(3, true), "1 ");
  EXPECT_EQ(clear(5, true), "1 ");
  EXPECT_EQ(count("task_runs"), "1");
}

TEST_F(SentAgain, ARequestToEndIsNoCancellationOfARunThatWasPausedSince) {
  const Running running = start();
  issue_one(store_.sync, running.grant, 1);
  const auto request = [&](int token, bool again) {
    return call("SELECT o_code, o_over FROM request_cancel_v1(0, 0, " + std::to_string(token) +
                (again ? ", true, " : ", false, ") + std::to_string(running.run.value) +
                ", '{}', 60000)");
  };
  EXPECT_EQ(request(3, false), " f ");
  ASSERT_TRUE(store_->pause(running.run).has_value());
  EXPECT_EQ(request(3, true), " f ");
  EXPECT_EQ(store_->run(running.run).value().status, RunStatus::paused);
}

}  // namespace
}  // namespace sequential::storage::test
