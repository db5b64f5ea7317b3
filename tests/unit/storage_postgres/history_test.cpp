// A database that went back in time (fault test F22): what each transition leaves to be looked for,
// that its loss is noticed, and what is no loss. (A real failover: tests/faults/failover.test.mjs.)

#include "postgres/history.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "pg_store_test.h"
#include "postgres/link.h"
#include "postgres/transitions.h"

namespace sequential::storage::test {
namespace {

using postgres::Context;
using postgres::Statements;
using postgres::Try;
using postgres::Witness;

class HistoryTest : public PgStoreTest {
 protected:
  // A node, as far as its memory of the database goes.
  struct Node {
    Node(const PostgresOptions& options, const Clock& clock)
        : link(options, postgres::read_conninfo(options).value(), clock),
          connection(std::get<std::unique_ptr<postgres::Connection>>(link.connect())),
          history(options.schema, options.strict, clock),
          context{Statements(options.schema), clock, history, room_bell, false} {
      const auto error = history.begin(*connection);
      EXPECT_FALSE(error.has_value()) << error->message;
    }
    Try attempt() { return {*connection, context, ++token, false, 0, false}; }
    bool misses_something() {
      EXPECT_FALSE(history.look(*connection, true).has_value());
      return history.gone_back();
    }
    postgres::Link link;
    std::unique_ptr<postgres::Connection> connection;
    postgres::History history;
    RoomBell room_bell;
    Context context;
    std::int64_t token = 1'000;
  };

  HistoryTest() : store_(open(lax(options_))) {
    function_ = publish(store_.sync);
    check_damage_ = false;
  }
  static PostgresOptions lax(PostgresOptions options) {
    options.strict = false;
    return options;
  }
  Node node() { return {options_, system_clock()}; }
  Running started() { return start(store_.sync, function_); }

  Opened store_;  // goes on whatever is missing: it is only there to do things with
  TaskFunctionId function_;
};

struct Loss {
  const char* what;
  std::function<void(Try, SyncStore&, const Running&)> act;
  std::string lose;  // the id of the run's root is $root
};

template <class T>
void succeeded(const postgres::Answered<T>& answered) {
  const auto* const result = std::get_if<Result<T>>(&answered);
  ASSERT_NE(result, nullptr) << std::get<postgres::DbError>(answered).message;
  ASSERT_TRUE(result->has_value()) << result->error().message;
}

std::vector<Loss> losses(TaskFunctionId function, const std::function<Work(const Running&)>& call) {
  const auto submit = [function](Try t, SyncStore&, const Running&) {
    Submission s;
    s.task_function_id = function;
    s.task_name = "task";
    s.task_version = 1;
    s.input = "{}";
    s.seed = "0123456789abcdef";
    succeeded(postgres::submit(t, s, TaskRunId{0}));
  };
  const auto given_back = [](SyncStore& store, const Running& r) {
    ASSERT_TRUE(store.release(r.grant).has_value());
  };
  const auto claim = [given_back](Try t, SyncStore& store, const Running& r) {
    given_back(store, r);
    succeeded(postgres::claim(t, r.root, lease_of("a")));
  };
  const auto complete = [](Try t, SyncStore&, const Running& r) {
    succeeded(postgres::commit_slice(t, end_of(r.grant, SliceEnd::completed, "1"), {}));
  };
  const auto record = [call](Try t, SyncStore&, const Running& r) {
    succeeded(postgres::record_outcome(t, outcome_of(call(r).grant)));
  };
  return {
      {"publish",
       [](Try t, SyncStore&, const Running&) {
         Publication p;
         p.name = "lost";
         p.code_sha256 = "sha";
         succeeded(postgres::publish(t, p));
       },
       "DELETE FROM task_functions WHERE name = 'lost'"},
      {"submit", submit, "DELETE FROM task_runs WHERE id = (SELECT max(id) FROM task_runs)"},
      {"submit, its number given to another run", submit,
       "UPDATE task_runs SET created_at = created_at + 1"
       " WHERE id = (SELECT max(id) FROM task_runs)"},
      {"claim", claim, "UPDATE stack_runs SET epoch = epoch - 1 WHERE id = $root"},
      {"claim_next",
       [given_back](Try t, SyncStore& store, const Running& r) {
         given_back(store, r);
         succeeded(postgres::claim_next(t, lease_of("a")));
       },
       "UPDATE stack_runs SET epoch = epoch - 1 WHERE status = 'processing'"},
      {"the end of a run", complete, "UPDATE stack_runs SET ended_at = NULL WHERE id = $root"},
      {"the end of a run, ended by another node", complete,
       "UPDATE stack_runs SET token = 1 WHERE id = $root"},
      {"a call that may be made once",
       [](Try t, SyncStore&, const Running& r) {
         SliceCommit commit = slice_of(r.grant, {call_of(1)});
         commit.calls[0].delivery = Delivery::at_most_once;
         const auto ids = postgres::new_stack_run_ids(t, 1);
         t.context.history.acknowledged();
         succeeded(postgres::commit_slice(t, commit, std::get<std::vector<std::int64_t>>(ids)));
       },
       "DELETE FROM stack_runs WHERE parent_stack_run_id = $root"},
      {"an outcome", record,
       "UPDATE stack_runs SET ended_at = NULL WHERE parent_stack_run_id = $root"},
      {"an outcome, recorded by another node", record,
       "UPDATE stack_runs SET token = 1 WHERE parent_stack_run_id = $root"},
      {"a retry",
       [call](Try t, SyncStore&, const Running& r) {
         succeeded(postgres::record_outcome(t, retry_of(call(r).grant, Millis{1})));
       },
       "DELETE FROM attempts"},
      {"release",
       [](Try t, SyncStore&, const Running& r) { succeeded(postgres::release(t, r.grant)); },
       "DELETE FROM attempts"},
      {"an engine's death",
       [](Try t, SyncStore&, const Running& r) {
         SliceLost lost;
         lost.root = r.grant;
         succeeded(postgres::slice_lost(t, lost));
       },
       "DELETE FROM attempts"},
      {"numbers taken in advance",
       [](Try t, SyncStore&, const Running&) { postgres::new_stack_run_ids(t, 512); },
       "SELECT setval('stack_run_ids', last_value - 1) FROM stack_run_ids"},
  };
}

TEST_F(HistoryTest, EveryDurableTransitionThatIsLostIsMissed) {
  const auto call = [this](const Running& r) { return issue_one(store_.sync, r.grant, 1); };
  for (const Loss& loss : losses(function_, call)) {
    SCOPED_TRACE(loss.what);
    Node one = node();
    const Running running = started();
    loss.act(one.attempt(), store_.sync, running);
    EXPECT_FALSE(one.misses_something());
    std::string lose = loss.lose;
    if (const auto at = lose.find("$root"); at != std::string::npos) {
      lose.replace(at, 5, std::to_string(running.root.value));
    }
    ask(lose);
    EXPECT_TRUE(one.misses_something());
    EXPECT_EQ(one.history.why().code, Errc::database_went_back);
    ask("DELETE FROM stack_runs; DELETE FROM task_runs");  // nothing for claim_next to find
  }
}

TEST_F(HistoryTest, ASliceThatMayBeLostWithTheServerIsNotMissed) {
  Node one = node();
  const Running running = started();
  const auto ids =
      std::get<std::vector<std::int64_t>>(postgres::new_stack_run_ids(one.attempt(), 1));
  succeeded(postgres::commit_slice(one.attempt(), slice_of(running.grant, {call_of(1)}), ids));
  ask("DELETE FROM stack_runs WHERE seq > 0");
  EXPECT_FALSE(one.misses_something());
}

TEST_F(HistoryTest, MarksOfThisAndOfOtherNodesAreMissed) {
  // By its key: the others' marks, store_'s among them, may have the same value or become newer.
  const std::string keys =
      "SELECT string_agg(quote_literal(key), ',') FROM meta WHERE key LIKE 'mark:%'";
  const std::string of_others = ask(keys);
  Node a = node();
  const std::string of_a = ask(keys + " AND key NOT IN (" + of_others + ")");
  Node b = node();
  a.history.acknowledged();
  EXPECT_FALSE(a.history.tick(*a.connection).has_value());
  EXPECT_FALSE(b.misses_something());
  ask("UPDATE meta SET value = value - 1 WHERE key = " + of_a);
  EXPECT_TRUE(b.misses_something());
  EXPECT_NE(b.history.why().message.find("another node"), std::string::npos);
  EXPECT_TRUE(a.misses_something());
  EXPECT_NE(a.history.why().message.find("this node"), std::string::npos);
  EXPECT_FALSE(node().misses_something()) << "a node that starts now knows of nothing before";
}

TEST_F(HistoryTest, AMarkIsNeverRaisedInADatabaseThatLacksTheOneBefore) {
  Node a = node();
  a.history.acknowledged();
  EXPECT_FALSE(a.history.tick(*a.connection).has_value());
  ask("UPDATE meta SET value = value - 1 WHERE key LIKE 'mark:%'");
  a.history.acknowledged();
  EXPECT_FALSE(a.history.tick(*a.connection).has_value());
  EXPECT_TRUE(a.history.gone_back());
}

TEST_F(HistoryTest, WhatOneNodeMissesStopsTheOthers) {
  Node a = node();
  Node b = node();
  a.history.acknowledged({Witness::Kind::run, 4711, 1, 0, 4711});
  EXPECT_TRUE(a.misses_something());
  EXPECT_NE(a.history.why().message.find("task run 4711"), std::string::npos);
  EXPECT_TRUE(b.misses_something());
  EXPECT_FALSE(node().misses_something());
}

TEST_F(HistoryTest, WhatWasMarkedMayBeRemovedByAPerson) {
  Node a = node();
  const Running running = started();
  succeeded(
      postgres::commit_slice(a.attempt(), end_of(running.grant, SliceEnd::completed, "1"), {}));
  EXPECT_FALSE(a.history.tick(*a.connection).has_value());
  ask("DELETE FROM stack_runs; DELETE FROM task_runs");
  EXPECT_FALSE(a.misses_something());
}

TEST_F(HistoryTest, ClearingAllRunsIsNoLoss) {
  Node a = node();
  const Running running = started();
  succeeded(
      postgres::commit_slice(a.attempt(), end_of(running.grant, SliceEnd::completed, "1"), {}));
  ASSERT_TRUE(store_->clear().has_value());
  EXPECT_FALSE(a.misses_something());
  EXPECT_FALSE(a.misses_something());
}

TEST_F(HistoryTest, TablesThatAreGoneAreALoss) {
  Node a = node();
  ask("ALTER TABLE meta RENAME TO elsewhere");
  EXPECT_TRUE(a.misses_something());
  ask("ALTER TABLE elsewhere RENAME TO meta");
}

TEST_F(HistoryTest, OnlyTheNewestAreRemembered) {
  Node a = node();
  a.history.acknowledged({Witness::Kind::run, 4711, 1, 0, 4711});
  for (int i = 0; i < 1'000; ++i) {
    a.history.acknowledged({Witness::Kind::function, function_.value, 0, 0, 0});
  }
  ask("UPDATE task_functions SET token = 0");
  EXPECT_FALSE(a.misses_something());
}

TEST_F(HistoryTest, WithStrictOffALossIsToldAndAccepted) {
  options_.strict = false;
  Node a = node();
  a.history.acknowledged({Witness::Kind::run, 4711, 1, 0, 4711});
  EXPECT_FALSE(a.misses_something());
  EXPECT_FALSE(a.misses_something());
}

// How often something was told to be lost.
int told(const std::string& log, const std::string& what) {
  const std::string line = "lacking=\"" + what + "\"";
  int times = 0;
  for (auto at = log.find(line); at != std::string::npos; at = log.find(line, at + 1)) ++times;
  return times;
}

// Nodes that accept losses. What they tell is kept.
class LaxHistoryTest : public HistoryTest {
 protected:
  LaxHistoryTest() {
    options_.strict = false;
    options_.url += " application_name=looking";  // store_ looks too, and is not waited for
    testing::internal::CaptureStderr();
  }
  ~LaxHistoryTest() override {
    if (!over_) log();
  }
  std::string log() {
    over_ = true;
    return testing::internal::GetCapturedStderr();
  }
  // They know what must be there, and wait for what is there, while that is done.
  void look_at_once(Node& node, int connections, const std::function<void()>& meanwhile) {
    std::vector<std::unique_ptr<postgres::Connection>> opened;
    for (int i = 0; i < connections; ++i) {
      opened.push_back(std::get<std::unique_ptr<postgres::Connection>>(node.link.connect()));
    }
    pqxx::connection blocker(options_.url);
    pqxx::work lock(blocker);
    lock.exec("LOCK TABLE \"" + options_.schema + "\".meta IN ACCESS EXCLUSIVE MODE");
    std::vector<std::thread> looks;
    for (const auto& connection : opened) {
      looks.emplace_back(
          [&node, &connection] { EXPECT_FALSE(node.history.look(*connection, true).has_value()); });
    }
    const std::string waiting =
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'looking' AND wait_event_type = 'Lock'";
    const std::string all = std::to_string(connections);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (ask(waiting) != all && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    EXPECT_EQ(ask(waiting), all);
    meanwhile();
    lock.abort();
    for (auto& look : looks) look.join();
  }
  bool over_ = false;
};

TEST_F(LaxHistoryTest, ALossThatSeveralConnectionsFindAtOnceIsToldOnce) {
  Node a = node();
  a.history.acknowledged({Witness::Kind::run, 4711, 1, 0, 4711});
  look_at_once(a, 3, [] {});
  EXPECT_FALSE(a.misses_something());
  const std::string told_in_all = log();
  EXPECT_EQ(told(told_in_all, "task run 4711"), 1) << told_in_all;
}

TEST_F(LaxHistoryTest, AfterALossThatIsAcceptedConnectionsMadeBeforeAreNotCurrent) {
  Node a = node();
  const auto before = a.history.era();
  EXPECT_FALSE(a.misses_something());
  EXPECT_EQ(a.history.era(), before);
  a.history.acknowledged({Witness::Kind::run, 4711, 1, 0, 4711});
  EXPECT_FALSE(a.misses_something());
  EXPECT_EQ(a.history.era(), before + 1);
  EXPECT_FALSE(a.misses_something());
  EXPECT_EQ(a.history.era(), before + 1);
}

TEST_F(LaxHistoryTest, WhatIsAcknowledgedWhileALossIsFoundIsLookedForAllTheSame) {
  Node a = node();
  a.history.acknowledged({Witness::Kind::run, 4711, 1, 0, 4711});
  look_at_once(a, 1, [&] { a.history.acknowledged({Witness::Kind::run, 4712, 1, 0, 4712}); });
  EXPECT_FALSE(a.misses_something());
  const std::string told_in_all = log();
  EXPECT_EQ(told(told_in_all, "task run 4711"), 1) << told_in_all;
  EXPECT_EQ(told(told_in_all, "task run 4712"), 1) << told_in_all;
}

TEST_F(LaxHistoryTest, TablesThatAreGoneAreToldOnceUntilTheyAreBack) {
  Node a = node();  // store_ may tell of them too, so it is not the lines that are counted
  const auto before = a.history.era();
  for (int times = 0; times < 2; ++times) {
    ask("ALTER TABLE meta RENAME TO elsewhere");
    for (int looks = 0; looks < 3; ++looks) EXPECT_FALSE(a.misses_something());
    EXPECT_EQ(a.history.era(), before + 1 + times);
    ask("ALTER TABLE elsewhere RENAME TO meta");
    EXPECT_FALSE(a.misses_something());
  }
}

TEST_F(LaxHistoryTest, ADatabaseFromBeforeTheNodeWasThereIsToldOnceAndGetsItsMark) {
  const std::string marks = "SELECT count(*) FROM meta WHERE key LIKE 'mark:%'";
  const std::string of_others =
      ask("SELECT string_agg(quote_literal(key), ',') FROM meta WHERE key LIKE 'mark:%'");
  Node a = node();
  const std::string of_all = ask(marks);
  ask("DELETE FROM meta WHERE key LIKE 'mark:%' AND key NOT IN (" + of_others + ")");
  EXPECT_NE(ask(marks), of_all);
  for (int i = 0; i < 2; ++i) {
    a.history.acknowledged();
    EXPECT_FALSE(a.history.tick(*a.connection).has_value());
    a.history.acknowledged();
    EXPECT_FALSE(a.history.tick(*a.connection).has_value());
  }
  EXPECT_EQ(ask(marks), of_all);
  const std::string told_in_all = log();
  EXPECT_EQ(told(told_in_all, "what this node stored last"), 1) << told_in_all;
}

TEST_F(HistoryTest, AServerThatKeepsItsPositionToItselfIsWatchedAllTheSame) {
  const std::string role = options_.schema;
  const std::string functions =
      " EXECUTE ON FUNCTION pg_current_wal_flush_lsn(), pg_walfile_name(pg_lsn) ";
  ask("CREATE ROLE " + role + " LOGIN; GRANT ALL ON SCHEMA " + role + " TO " + role +
      "; GRANT ALL ON ALL TABLES IN SCHEMA " + role + " TO " + role +
      "; GRANT ALL ON ALL SEQUENCES IN SCHEMA " + role + " TO " + role + "; REVOKE" + functions +
      "FROM PUBLIC");
  options_.url += " user=" + role;
  {
    Node a = node();
    EXPECT_FALSE(a.misses_something());
    a.history.acknowledged({Witness::Kind::run, 4711, 1, 0, 4711});
    EXPECT_TRUE(a.misses_something());
  }
  ask("GRANT" + functions + "TO PUBLIC; DROP OWNED BY " + role + "; DROP ROLE " + role);
}

TEST_F(HistoryTest, AStoreThatMissesSomethingRefusesEveryChangeAndReadsOn) {
  const Running running = started();
  Opened store = open();
  EXPECT_TRUE(store.store->standing().has_value());
  ask("UPDATE meta SET value = 1 WHERE key LIKE 'mark:%'");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (store.store->standing().has_value() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  constexpr Errc kBack = Errc::database_went_back;
  EXPECT_TRUE(refused(store.store->standing(), kBack));
  EXPECT_TRUE(refused(store->submit(submission(function_)), kBack));
  EXPECT_TRUE(refused(store->commit_slice(end_of(running.grant, SliceEnd::completed, "1")), kBack));
  EXPECT_TRUE(refused(store->claim_next(lease_of("a")), kBack));
  EXPECT_TRUE(refused(store->extend({running.grant}, lease_of("a")), kBack));
  EXPECT_TRUE(refused(store->release(running.grant), kBack));
  EXPECT_TRUE(refused(store->due(1), kBack));
  EXPECT_TRUE(refused(store->cancel(running.run, "1"), kBack));
  EXPECT_TRUE(store->run(running.run).has_value());
  EXPECT_TRUE(store->status().has_value());
  Opened restarted = open();
  EXPECT_TRUE(restarted->commit_slice(end_of(running.grant, SliceEnd::completed, "1")).has_value());
}

}  // namespace
}  // namespace sequential::storage::test
