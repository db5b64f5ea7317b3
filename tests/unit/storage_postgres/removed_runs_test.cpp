// Runs that end and are removed before this node's mark covers what it was told of them: whatever
// told it, that is no loss (postgres/history.h).

#include <chrono>
#include <thread>

#include "pg_store_test.h"
#include "sequential/storage/children.h"
#include "sequential/storage/queues.h"
#include "sequential/storage/rewinds.h"
#include "sequential/storage/schedules.h"
#include "sequential/storage/search.h"
#include "sequential/storage/signals.h"

namespace sequential::storage::test {
namespace {

class RemovedRuns : public PgStoreTest {
 protected:
  RemovedRuns() : store_(open()), function_(publish(store_.sync)) {}

  template <class T, class Contract, class Method, class... Args>
  T ask_of(Contract* contract, Method method, Args... args) {
    Answer<T> answer;
    (contract->*method)(std::move(args)..., answer.done());
    auto result = answer.get();
    EXPECT_TRUE(result.has_value()) << (result.has_error() ? result.error().message : "");
    return std::move(result).value();
  }
  Store& store() { return *store_.store; }
  Running start() { return PgStoreTest::start(store_.sync, function_); }
  Work call() { return issue_one(store_.sync, start().grant, 1); }

  void start_child() {
    ChildStart child;
    child.call = call().grant;
    child.submission = submission(function_);
    ask_of<Submitted>(store().children(), &Children::start_child, child);
  }
  // A call waits, and what comes is delivered to it.
  void wait_for_a_signal() {
    SignalTake take;
    take.call = call().grant;
    take.name = "go";
    EXPECT_FALSE(ask_of<SignalTaken>(store().signals(), &Signals::take, take).recorded);
  }
  void be_sent_a_signal() {
    SignalTake take;
    take.call = call().grant;
    take.name = "go";
    SignalSend send;
    send.run = take.call.run;
    send.name = take.name;
    ask_of<SignalTaken>(store().signals(), &Signals::take, take);
    EXPECT_TRUE(ask_of<SignalSent>(store().signals(), &Signals::send, send).delivered);
  }
  void take_a_kept_signal() {
    SignalTake take;
    take.call = call().grant;
    take.name = "go";
    SignalSend send;
    send.run = take.call.run;
    send.name = take.name;
    ask_of<SignalSent>(store().signals(), &Signals::send, send);
    EXPECT_TRUE(ask_of<SignalTaken>(store().signals(), &Signals::take, take).recorded);
  }
  void make_a_webhook() {
    WebhookNew webhook;
    webhook.call = call().grant;
    webhook.key = "key";
    webhook.name = "webhook:1";
    webhook.expires = Millis{1'000};
    webhook.outcome = "{}";
    ask_of<OutcomeRecorded>(store().signals(), &Signals::create_webhook, webhook);
  }
  void be_admitted() {
    Submission s = submission(function_);
    s.queue_key = "k";
    s.handoff = lease_of("a");
    const Submitted first = store_->submit(s).value();
    ASSERT_FALSE(store_->submit(s).value().work.has_value());
    ASSERT_TRUE(store_->cancel(first.run, "{}").has_value());
    const auto admitted = ask_of<Admission>(store().queues(), &Queues::admit, std::string("task"),
                                            std::optional(lease_of("a")), 1);
    EXPECT_EQ(admitted.admitted.size(), 1u);
  }
  void fire_a_schedule() {
    SchedulePut put;
    put.name = "s";
    put.spec = "{}";
    ask_of<Schedule>(store().schedules(), &Schedules::put, put);
    ScheduleFire fire;
    fire.name = "s";
    fire.revision = 1;
    fire.submission = submission(function_);
    ask_of<ScheduleFired>(store().schedules(), &Schedules::fire, fire);
  }
  void fork() {
    Fork fork;
    fork.source = start().run;
    fork.to.function = function_;
    fork.to.version = 1;
    ask_of<Rewound>(store().rewinds(), &Rewinds::fork_run, fork);
  }

  // All of them, at once.
  void remove_runs() {
    RunQuery all;
    const auto page = ask_of<RunPage>(store().search(), &Search::find_runs, all, TaskRunId{}, 100,
                                      10'000);
    std::vector<TaskRunId> ids;
    for (const TaskRun& run : page.runs) {
      ids.push_back(run.id);
      static_cast<void>(store_->cancel(run.id, "{}"));  // some have ended
    }
    const auto removed = ask_of<Removed>(store().search(), &Search::remove_runs, ids,
                                         WallTime{1LL << 60}, 1'000);
    EXPECT_EQ(removed.runs, static_cast<std::int64_t>(ids.size()));
  }
  std::string mark() { return ask("SELECT max(value) FROM meta WHERE key LIKE 'mark:%'"); }
  // One that covers all that was told by now. It is raised before what is told is looked for.
  void wait_for_a_mark() {
    const std::string before = mark();
    static_cast<void>(store_->submit(submission(function_)));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (mark() == before && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
  }

  Opened store_;
  TaskFunctionId function_;
};

TEST_F(RemovedRuns, WhateverWasToldOfThemAreNoLoss) {
  wait_for_a_mark();  // so the next one is a second away
  start_child();
  wait_for_a_signal();
  be_sent_a_signal();
  take_a_kept_signal();
  make_a_webhook();
  be_admitted();
  fire_a_schedule();
  fork();
  remove_runs();
  wait_for_a_mark();
  wait_for_a_mark();  // so all that was told before has been looked for
  const auto sound = store().standing();
  EXPECT_TRUE(sound.has_value()) << sound.error().message;
}

}  // namespace
}  // namespace sequential::storage::test
