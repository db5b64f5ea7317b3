// Signals and webhooks: what runs are told from outside.

#include "sequential/storage/signals.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

constexpr std::int64_t kKeptMax = 5;

NewCall wait_for(std::int64_t seq, const std::string& name) {
  NewCall call = call_of(seq, "[\"" + name + "\"]");
  call.service_name = "signal";
  call.method_name = "wait";
  return call;
}

class SignalsOf : public StoreTest {
 protected:
  Signals& signals() { return *store_->signals(); }
  template <class T, class... Args, class Method>
  Result<T> ask(Method method, Args... args) {
    Answer<T> answer;
    (signals().*method)(std::move(args)..., answer.done());
    return answer.get();
  }
  SignalTake take_of(const Work& call, const std::string& name = "go") {
    SignalTake take;
    take.call = call.grant;
    take.name = name;
    take.timeout_error = "{\"code\":\"timeout\"}";
    take.over_error = "{\"code\":\"cancelled\"}";
    return take;
  }
  Result<SignalTaken> take(SignalTake t) { return ask<SignalTaken>(&Signals::take, std::move(t)); }
  SignalTaken take(const Work& call, const std::string& name = "go") {
    return take(take_of(call, name)).value();
  }
  Result<SignalSent> send(TaskRunId run, const std::string& payload, const std::string& name = "go",
                          const std::string& key = "") {
    SignalSend s;
    s.run = run;
    s.name = name;
    s.payload = payload;
    s.key = key;
    if (!key.empty()) s.request_hash = name + payload;
    s.kept_max = kKeptMax;
    return ask<SignalSent>(&Signals::send, std::move(s));
  }
  std::vector<std::string> kept(TaskRunId run) {
    std::vector<std::string> payloads;
    const auto found = ask<std::vector<KeptSignal>>(&Signals::kept, run, std::int64_t{0}, 100);
    for (const auto& signal : found.value()) payloads.push_back(signal.name + signal.payload);
    return payloads;
  }
  // A run whose slice waits for each of these names, in that order.
  std::vector<Work> waits(const Running& running, const std::vector<std::string>& names) {
    std::vector<NewCall> calls;
    for (const auto& name : names) {
      calls.push_back(wait_for(static_cast<std::int64_t>(calls.size()) + 1, name));
    }
    SliceCommit commit = slice_of(running.grant, std::move(calls));
    commit.handoff = lease_of("a");
    auto committed = store().commit_slice(std::move(commit)).value();
    std::vector<Work> works;
    for (auto& call : committed.calls) works.push_back(std::move(call.work).value());
    const NewCall made = wait_for(1, names[0]);
    for (std::size_t i = 0; i < works.size(); ++i) works[i].args = made.args;
    return works;
  }
  std::vector<std::string> outcomes(TaskRunId run) {
    std::vector<std::string> all;
    const auto found = store().outcomes(run, 0, 100).value();
    for (const auto& outcome : found) {
      all.push_back(std::to_string(outcome.seq) + outcome.payload);
    }
    return all;
  }
  OutcomeRecorded hook(const Work& call, Millis expires, const std::string& key = "k") {
    WebhookNew w;
    w.call = call.grant;
    w.key = key;
    w.name = "webhook:" + std::to_string(call.seq);
    w.expires = expires;
    w.rules = "{\"methods\":[\"POST\"]}";
    w.outcome = "{\"token\":\"t\"}";
    return ask<OutcomeRecorded>(&Signals::create_webhook, w).value();
  }
  Result<SignalSent> use(const std::string& key, const std::string& payload = "1") {
    return ask<SignalSent>(&Signals::answer_webhook, WebhookAnswer{key, payload, std::nullopt});
  }
  Result<Webhook> look(const std::string& key) { return ask<Webhook>(&Signals::webhook, key); }
};
SEQUENTIAL_ON_EVERY_BACKEND(SignalsOf);

using List = std::vector<std::string>;

TEST_P(SignalsOf, OneSentBeforeTheWaitIsKeptAndTakenWithItsBytes) {
  const Running running = start();
  const std::string payload("{\"a\": 1.0,  \"b\":\"\\u0000\"}");
  EXPECT_FALSE(send(running.run, payload).value().delivered);
  EXPECT_EQ(kept(running.run), List{"go" + payload});
  const Work call = waits(running, {"go"})[0];
  SignalTake t = take_of(call);
  t.handoff = lease_of("a");
  const SignalTaken taken = take(t).value();
  EXPECT_EQ(taken.payload, payload);
  EXPECT_FALSE(taken.failed);
  ASSERT_TRUE(taken.recorded.has_value());
  EXPECT_EQ(taken.recorded->delivered_as, 1);
  ASSERT_TRUE(taken.recorded->wake.has_value());
  EXPECT_EQ(taken.recorded->wake->work.value().grant.id, running.root);
  EXPECT_TRUE(kept(running.run).empty());
  EXPECT_EQ(outcomes(running.run), List{"1" + payload});
}

TEST_P(SignalsOf, OneSentAfterTheWaitEndsItAndWakesTheRun) {
  const Running running = start();
  const Work call = waits(running, {"go"})[0];
  const SignalTaken taken = take(call);
  EXPECT_FALSE(taken.recorded.has_value());
  EXPECT_FALSE(taken.due_in.has_value());
  EXPECT_EQ(status_of(call.grant.id), StackStatus::pending);
  EXPECT_TRUE(store().due(9).value().ids.empty());
  EXPECT_TRUE(send(running.run, "0", "other").value().wake == std::nullopt);
  const SignalSent sent = send(running.run, "7").value();
  EXPECT_TRUE(sent.delivered);
  EXPECT_EQ(sent.wake.value().root, running.root);
  EXPECT_EQ(outcomes(running.run), List{"17"});
  EXPECT_EQ(kept(running.run), List{"other0"});
  EXPECT_TRUE(store().claim(running.root, lease_of("b")).value().has_value());
}

TEST_P(SignalsOf, OfOneNameTheFirstSentGoesToTheFirstWaitWhateverTheOrderTheyComeIn) {
  const Running running = start();
  const auto calls = waits(running, {"go", "go", "go"});
  for (const char* payload : {"1", "2", "3"}) send(running.run, payload).value();
  // The last call comes first, and lets the others go before it.
  EXPECT_FALSE(take(calls[2]).recorded.has_value());
  EXPECT_FALSE(take(calls[1]).recorded.has_value());
  EXPECT_EQ(take(calls[0]).payload, "1");
  EXPECT_EQ(outcomes(running.run), (List{"11", "22", "33"}));
}

TEST_P(SignalsOf, ACallThatLetsOthersGoFirstLooksAgainByItself) {
  const Running running = start();
  const auto calls = waits(running, {"go", "go"});
  send(running.run, "1").value();
  EXPECT_LE(take(calls[1]).due_in.value(), Millis{1'000});
  // The first ends otherwise, as a call with wrong arguments does.
  ASSERT_TRUE(store().record_outcome(failure_of(calls[0].grant)).has_value());
  clock_.advance(Millis{1'000});
  const Work again = store().claim(calls[1].grant.id, lease_of("b")).value().value();
  EXPECT_EQ(again.attempt, 1);
  EXPECT_EQ(take(again).payload, "1");
}

TEST_P(SignalsOf, AWaitFailsWhenItsTimeIsOverAndTheSignalIsKept) {
  const Running running = start();
  const Work call = waits(running, {"go"})[0];
  SignalTake t = take_of(call);
  t.timeout = Millis{5'000};
  EXPECT_EQ(take(t).value().due_in, Millis{5'000});
  EXPECT_EQ(store().due(9).value().next_due, ManualClock::kStart + Millis{5'000});
  clock_.advance(Millis{4'999});
  EXPECT_FALSE(store().claim_next(lease_of("b")).value().has_value());
  clock_.advance(Millis{1});
  const Work due = store().claim_next(lease_of("b")).value().value();
  EXPECT_EQ(due.grant.id, call.grant.id);
  t.call = due.grant;
  const SignalTaken taken = take(t).value();
  EXPECT_TRUE(taken.failed);
  EXPECT_EQ(outcomes(running.run), List{"1{\"code\":\"timeout\"}"});
  EXPECT_FALSE(send(running.run, "late").value().delivered);
  EXPECT_EQ(kept(running.run), List{"golate"});
}

TEST_P(SignalsOf, AWaitThatIsDueTakesASignalThatCameInTime) {
  const Running running = start();
  const Work call = waits(running, {"go"})[0];
  SignalTake t = take_of(call);
  t.until = ManualClock::kStart + Millis{1'000};
  take(t).value();
  clock_.advance(Millis{1'000});
  const Work due = store().claim_next(lease_of("b")).value().value();
  EXPECT_TRUE(send(running.run, "1").value().delivered);  // while it is being claimed
  t.call = due.grant;
  EXPECT_TRUE(refused(take(t), Errc::fenced));
  EXPECT_EQ(outcomes(running.run), List{"11"});
}

TEST_P(SignalsOf, ALostClaimWaitsOnceMoreUnderTheNextOne) {
  const Running running = start();
  const Work call = waits(running, {"go"})[0];
  clock_.advance(kLease);
  const Work again = store().claim(call.grant.id, lease_of("b")).value().value();
  EXPECT_TRUE(refused(take(take_of(call)), Errc::fenced));
  EXPECT_FALSE(take(again).recorded.has_value());
  EXPECT_TRUE(send(running.run, "1").value().delivered);
}

TEST_P(SignalsOf, APausedRunIsToldAndSeesItWhenItIsResumed) {
  const Running running = start();
  const Work call = waits(running, {"go"})[0];
  take(call);
  ASSERT_TRUE(store().pause(running.run).has_value());
  EXPECT_EQ(status_of(call.grant.id), StackStatus::paused);
  const SignalSent sent = send(running.run, "1").value();
  EXPECT_TRUE(sent.delivered);
  EXPECT_FALSE(sent.wake.has_value());
  EXPECT_TRUE(store().due(9).value().ids.empty());
  EXPECT_EQ(store().resume(running.run).value(), std::vector<StackRunId>{running.root});
  EXPECT_EQ(outcomes(running.run), List{"11"});
}

TEST_P(SignalsOf, AWaitBegunBeforeAPauseStaysWaitingThroughIt) {
  const Running running = start();
  const Work call = waits(running, {"go"})[0];
  ASSERT_TRUE(store().pause(running.run).has_value());
  SignalTake t = take_of(call);
  t.timeout = Millis{60'000};
  take(t).value();
  EXPECT_EQ(status_of(call.grant.id), StackStatus::paused);
  EXPECT_TRUE(store().resume(running.run).value().empty());
  EXPECT_EQ(status_of(call.grant.id), StackStatus::pending);
  EXPECT_EQ(store().due(9).value().next_due, ManualClock::kStart + Millis{60'000});
  EXPECT_TRUE(send(running.run, "1").value().wake.has_value());
}

TEST_P(SignalsOf, ARunThatIsOverTakesNoMoreAndLetsItsWaitsGo) {
  const Running running = start();
  const auto calls = waits(running, {"go", "other"});
  take(calls[0]);
  send(running.run, "1", "other").value();
  const SignalTaken taken = take(calls[1], "other");
  const Grant root = store().claim(running.root, lease_of("a")).value().value().grant;
  ASSERT_TRUE(store().commit_slice(end_of(root, SliceEnd::completed, "1", 1)).has_value());
  EXPECT_TRUE(refused(send(running.run, "1"), Errc::conflict));
  EXPECT_EQ(taken.payload, "1");
  const Work let_go = store().claim_next(lease_of("b")).value().value();
  EXPECT_EQ(let_go.grant.id, calls[0].grant.id);
  EXPECT_TRUE(take(let_go).failed);
  EXPECT_EQ(status_of(calls[0].grant.id), StackStatus::failed);
  reopen();
  EXPECT_TRUE(store().due(9).value().ids.empty());
}

TEST_P(SignalsOf, ACancelledRunLeavesNothingThatWaits) {
  const Running running = start();
  take(waits(running, {"go"})[0]);
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  EXPECT_TRUE(refused(send(running.run, "1"), Errc::conflict));
  EXPECT_FALSE(store().due(9).value().next_due.has_value());
}

TEST_P(SignalsOf, MoreThanTheLimitAreNotKeptButThoseAwaitedArePassedOn) {
  const Running running = start();
  const Work call = waits(running, {"go"})[0];
  take(call);
  for (int i = 0; i < kKeptMax; ++i) ASSERT_TRUE(send(running.run, "1", "x").has_value());
  EXPECT_TRUE(refused(send(running.run, "1", "y"), Errc::signals_limit));
  EXPECT_TRUE(send(running.run, "1").value().delivered);
}

TEST_P(SignalsOf, AKeyIsStoredOnceAlsoWhenItsSignalIsTaken) {
  const Running running = start();
  EXPECT_FALSE(send(running.run, "1", "go", "key").value().existing);
  EXPECT_TRUE(send(running.run, "1", "go", "key").value().existing);
  EXPECT_TRUE(refused(send(running.run, "2", "go", "key"), Errc::idempotency_conflict));
  const Work call = waits(running, {"go"})[0];
  take(call);
  const SignalSent again = send(running.run, "1", "go", "key").value();
  EXPECT_TRUE(again.existing && again.delivered);
  EXPECT_TRUE(kept(running.run).empty());
  EXPECT_EQ(outcomes(running.run), List{"11"});
}

TEST_P(SignalsOf, AnUnknownRunIsNotFound) {
  EXPECT_TRUE(refused(send(TaskRunId(99), "1"), Errc::run_not_found));
  EXPECT_TRUE(
      refused(ask<std::vector<KeptSignal>>(&Signals::kept, TaskRunId(99), std::int64_t{0}, 1),
              Errc::run_not_found));
}

TEST_P(SignalsOf, SentAtOnceEachIsTakenExactlyOnce) {
  constexpr int kSignals = 24, kSenders = 4;
  const Running running = start();
  const auto calls = waits(running, std::vector<std::string>(kSignals, "go"));
  std::vector<std::thread> threads;
  for (int t = 0; t < kSenders; ++t) {
    threads.emplace_back([this, &running, t] {
      for (int i = t; i < kSignals; i += kSenders) {
        SignalSend s;
        s.run = running.run;
        s.name = "go";
        s.payload = std::to_string(i);
        EXPECT_TRUE(ask<SignalSent>(&Signals::send, s).has_value());
      }
    });
  }
  for (const Work& call : calls) take(call);
  for (auto& thread : threads) thread.join();
  std::vector<std::string> payloads;
  const auto found = store().outcomes(running.run, 0, 100).value();
  for (const auto& outcome : found) payloads.push_back(outcome.payload);
  std::sort(payloads.begin(), payloads.end());
  std::vector<std::string> all;
  for (int i = 0; i < kSignals; ++i) all.push_back(std::to_string(i));
  std::sort(all.begin(), all.end());
  EXPECT_EQ(payloads, all);
  EXPECT_TRUE(kept(running.run).empty());
}

TEST_P(SignalsOf, AWebhookIsAnsweredOnceForEveryWait) {
  const Running running = start();
  const auto calls = waits(running, {"webhook:1", "webhook:1", "webhook:1"});
  EXPECT_EQ(hook(calls[0], Millis{60'000}).delivered_as, 1);
  EXPECT_FALSE(look("k").value().gone);
  EXPECT_EQ(look("k").value().rules, "{\"methods\":[\"POST\"]}");
  take(calls[1], "webhook:1");
  EXPECT_TRUE(use("k", "\"yes\"").value().delivered);
  EXPECT_TRUE(look("k").value().gone);
  EXPECT_TRUE(refused(use("k", "\"no\""), Errc::webhook_gone));
  EXPECT_EQ(take(calls[2], "webhook:1").payload, "\"yes\"");
  EXPECT_EQ(outcomes(running.run), (List{"1{\"token\":\"t\"}", "2\"yes\"", "3\"yes\""}));
  EXPECT_TRUE(kept(running.run).empty());
}

TEST_P(SignalsOf, AWebhookIsGoneWhenItsTimeOrItsRunIsOver) {
  const Running running = start();
  const auto calls = waits(running, {"a", "b"});
  hook(calls[0], Millis{1'000}, "short");
  hook(calls[1], Millis{60'000}, "long");
  clock_.advance(Millis{1'000});
  EXPECT_TRUE(look("short").value().gone);
  EXPECT_TRUE(refused(use("short"), Errc::webhook_gone));
  EXPECT_FALSE(look("long").value().gone);
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  EXPECT_TRUE(look("long").value().gone);
  EXPECT_TRUE(refused(use("long"), Errc::webhook_gone));
  EXPECT_TRUE(refused(look("none"), Errc::not_found));
  EXPECT_TRUE(refused(use("none"), Errc::not_found));
}

TEST_P(SignalsOf, AWebhookIsMadeOnlyUnderTheClaim) {
  const Running running = start();
  Work call = waits(running, {"a"})[0];
  ++call.grant.epoch;
  WebhookNew w;
  w.call = call.grant;
  w.key = "k";
  w.name = "webhook:1";
  w.expires = Millis{1'000};
  w.rules = w.outcome = "{}";
  EXPECT_TRUE(refused(ask<OutcomeRecorded>(&Signals::create_webhook, w), Errc::fenced));
  EXPECT_TRUE(refused(look("k"), Errc::not_found));
}

TEST_P(SignalsOf, ClearRemovesThemAll) {
  const Running running = start();
  const auto calls = waits(running, {"go", "b"});
  take(calls[0]);
  hook(calls[1], Millis{1'000});
  send(running.run, "1", "x").value();
  ASSERT_TRUE(store().clear().has_value());
  EXPECT_TRUE(refused(look("k"), Errc::not_found));
  EXPECT_TRUE(refused(send(running.run, "1"), Errc::run_not_found));
}

}  // namespace
}  // namespace sequential::storage::test
