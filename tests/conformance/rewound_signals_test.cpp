// Signals, webhooks and what calls send, of runs that are retried or forked.

#include <optional>
#include <string>
#include <vector>

#include "sequential/storage/rewinds.h"
#include "sequential/storage/signals.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

using List = std::vector<std::string>;

NewCall wait_for(std::int64_t seq, const std::string& name) {
  NewCall call = call_of(seq, "[\"" + name + "\"]");
  call.service_name = "signal";
  call.method_name = "wait";
  return call;
}
NewCall hook_call(std::int64_t seq) {
  NewCall call = call_of(seq, "[{}]");
  call.service_name = "signal";
  call.method_name = "webhook";
  return call;
}

class RewoundSignals : public StoreTest {
 protected:
  template <class T, class Ask>
  Result<T> ask(Ask what) {
    Answer<T> answer;
    what(answer.done());
    return answer.get();
  }
  Signals& signals() { return *store_->signals(); }
  Rewinds& rewinds() { return *store_->rewinds(); }

  RewindTo to(std::int64_t through, std::int64_t calls, std::int64_t rewinds = 0) const {
    RewindTo point;
    point.through = through;
    point.calls = calls;
    point.function = function_;
    point.version = 1;
    point.rewinds = rewinds;
    return point;
  }
  Rewound retry(TaskRunId run, RewindTo point, std::int64_t call = 0) {
    Retry wanted{run, point};
    wanted.call = call;
    return ask<Rewound>([&](auto done) { rewinds().retry_run(wanted, done); }).value();
  }
  Result<Rewound> fork(TaskRunId run, RewindTo point,
                       std::optional<EditedOutcome> outcome = std::nullopt) {
    Fork wanted;
    wanted.source = run;
    wanted.to = point;
    wanted.outcome = std::move(outcome);
    return ask<Rewound>([&](auto done) { rewinds().fork_run(wanted, done); });
  }
  Result<std::int64_t> made_after(const Grant& call) {
    return ask<std::int64_t>([&](auto done) { rewinds().made_after(call, done); });
  }

  SignalTaken take(const Work& call, const std::string& name = "go",
                   std::optional<Millis> timeout = std::nullopt) {
    SignalTake t;
    t.call = call.grant;
    t.name = name;
    t.timeout = timeout;
    t.timeout_error = "\"late\"";
    t.over_error = "\"over\"";
    return ask<SignalTaken>([&](auto done) { signals().take(t, done); }).value();
  }
  SignalSent send(TaskRunId run, const std::string& payload, const std::string& key = "") {
    SignalSend s;
    s.run = run;
    s.name = "go";
    s.payload = payload;
    s.key = key;
    return ask<SignalSent>([&](auto done) { signals().send(s, done); }).value();
  }
  List kept(TaskRunId run) {
    List payloads;
    const auto found = ask<std::vector<KeptSignal>>(
        [&](auto done) { signals().kept(run, 0, 100, done); });
    for (const auto& signal : found.value()) payloads.push_back(signal.payload);
    return payloads;
  }
  void make_hook(const Work& call, const std::string& key) {
    WebhookNew w;
    w.call = call.grant;
    w.key = key;
    w.name = "webhook:" + std::to_string(call.seq);
    w.expires = Millis{60'000};
    w.rules = "{}";
    w.outcome = "{\"token\":\"t\"}";
    ASSERT_TRUE(
        ask<OutcomeRecorded>([&](auto done) { signals().create_webhook(w, done); }).has_value());
  }
  Result<SignalSent> use(const std::string& key, const std::string& payload) {
    return ask<SignalSent>([&](auto done) {
      signals().answer_webhook(WebhookAnswer{key, payload, std::nullopt}, done);
    });
  }
  Webhook look(const std::string& key) {
    return ask<Webhook>([&](auto done) { signals().webhook(key, done); }).value();
  }

  Work claim(StackRunId id) { return store().claim(id, lease_of("b")).value().value(); }
  StackRunId id_of(TaskRunId run, std::size_t seq) {
    return store().stack(run, 0, 100).value().at(seq).id;
  }
  // Commits a slice of the root with these calls: they, claimed.
  std::vector<Work> issue(const Grant& root, std::vector<NewCall> calls, std::int64_t delivered) {
    SliceCommit commit = slice_of(root, std::move(calls), delivered);
    commit.handoff = lease_of("a");
    std::vector<Work> works;
    const auto committed = store().commit_slice(std::move(commit)).value();
    for (const auto& call : committed.calls) works.push_back(call.work.value());
    return works;
  }
  void end(StackRunId root, std::int64_t delivered) {
    const Grant grant = claim(root).grant;
    ASSERT_TRUE(
        store().commit_slice(end_of(grant, SliceEnd::failed, "\"x\"", delivered)).has_value());
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(RewoundSignals);

TEST_P(RewoundSignals, ARetriedWaitIsWokenAndItsTimeBeginsAnew) {
  const Running running = start();
  const auto calls = issue(running.grant, {wait_for(1, "go"), wait_for(2, "go")}, 0);
  take(calls[0]);
  take(calls[1], "go", Millis{1'000});
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  clock_.advance(Millis{5'000});
  const Rewound rewound = retry(running.run, to(0, 2));
  EXPECT_EQ(rewound.runnable,
            (std::vector<StackRunId>{running.root, calls[0].grant.id, calls[1].grant.id}));
  EXPECT_FALSE(take(claim(calls[0].grant.id)).recorded.has_value());
  EXPECT_EQ(take(claim(calls[1].grant.id), "go", Millis{1'000}).due_in, Millis{1'000});
  EXPECT_TRUE(send(running.run, "1").delivered);
}

TEST_P(RewoundSignals, AWaitThatTimedOutWaitsItsWholeTimeAgain) {
  const Running running = start();
  const Work call = issue(running.grant, {wait_for(1, "go")}, 0)[0];
  take(call, "go", Millis{1'000});
  clock_.advance(Millis{1'000});
  EXPECT_TRUE(take(claim(call.grant.id), "go", Millis{1'000}).failed);
  end(running.root, 1);
  clock_.advance(Millis{60'000});
  retry(running.run, to(0, 1));
  EXPECT_EQ(take(claim(call.grant.id), "go", Millis{1'000}).due_in, Millis{1'000});
}

TEST_P(RewoundSignals, WhatRemovedAndRemadeCallsTookIsGivenBackInTheOldOrder) {
  const Running running = start();
  const std::string second("{\"n\": 2.0}");
  for (const auto& payload : {std::string("1"), second, std::string("3")}) {
    send(running.run, payload);
  }
  const Work first = issue(running.grant, {wait_for(1, "go")}, 0)[0];
  EXPECT_EQ(take(first).payload, "1");
  const Grant root = claim(running.root).grant;
  for (const Work& call : issue(root, {wait_for(2, "go"), wait_for(3, "go")}, 1)) take(call);
  EXPECT_TRUE(kept(running.run).empty());
  end(running.root, 3);
  // Call 1 stays, 2 is made again, 3 is removed.
  retry(running.run, to(1, 2), 2);
  EXPECT_EQ(kept(running.run), (List{second, "3"}));
  send(running.run, "4");
  EXPECT_EQ(take(claim(id_of(running.run, 2))).payload, second);
  const Work third = issue(claim(running.root).grant, {wait_for(3, "go")}, 2)[0];
  EXPECT_EQ(take(third).payload, "3");
  EXPECT_EQ(kept(running.run), List{"4"});
}

TEST_P(RewoundSignals, WhatARemovedCallSentToItsOwnRunIsGone) {
  const Running running = start();
  const std::string mark = "call:" + std::to_string(running.run.value) + ":";
  issue(running.grant, {call_of(1), call_of(2)}, 0);
  send(running.run, "1", mark + "1");
  send(running.run, "2", mark + "2");
  send(running.run, "3", "key:" + mark + "2");
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  Retry wanted{running.run, to(0, 1)};
  wanted.unknown_again = true;
  ASSERT_TRUE(ask<Rewound>([&](auto done) { rewinds().retry_run(wanted, done); }).has_value());
  EXPECT_EQ(kept(running.run), (List{"1", "3"}));
}

TEST_P(RewoundSignals, ARemadeWebhookHasNoAnswerAndItsOldAddressIsGone) {
  const Running running = start();
  const auto calls = issue(running.grant, {hook_call(1), hook_call(2)}, 0);
  make_hook(calls[0], "used");
  make_hook(calls[1], "open");
  use("used", "\"ada\"").value();
  end(running.root, 2);
  retry(running.run, to(0, 1), 1);
  EXPECT_TRUE(look("used").gone);
  EXPECT_TRUE(look("open").gone);
  EXPECT_TRUE(refused(use("open", "1"), Errc::webhook_gone));
  make_hook(claim(id_of(running.run, 1)), "new");
  const Work wait = issue(claim(running.root).grant, {wait_for(2, "webhook:1")}, 1)[0];
  EXPECT_FALSE(take(wait, "webhook:1").recorded.has_value());
  EXPECT_TRUE(use("new", "\"bob\"").value().delivered);
}

TEST_P(RewoundSignals, AKeptWebhookIsAnsweredAfterARetry) {
  const Running running = start();
  const Work hook = issue(running.grant, {hook_call(1)}, 0)[0];
  make_hook(hook, "k");
  const Work wait = issue(claim(running.root).grant, {wait_for(2, "webhook:1")}, 1)[0];
  take(wait, "webhook:1");
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  EXPECT_TRUE(look("k").gone);
  retry(running.run, to(1, 2));
  EXPECT_FALSE(look("k").gone);
  EXPECT_FALSE(take(claim(wait.grant.id), "webhook:1").recorded.has_value());
  EXPECT_TRUE(use("k", "1").value().delivered);
}

TEST_P(RewoundSignals, OneAnswerSettlesASourceAndItsForks) {
  const Running running = start();
  const Work hook = issue(running.grant, {hook_call(1)}, 0)[0];
  make_hook(hook, "k");
  const Work wait = issue(claim(running.root).grant, {wait_for(2, "webhook:1")}, 1)[0];
  take(wait, "webhook:1");
  const TaskRunId one = fork(running.run, to(1, 2)).value().run;
  const TaskRunId two = fork(one, to(1, 2)).value().run;
  // The source's end is not its forks'.
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  for (const TaskRunId run : {one, two}) {
    EXPECT_FALSE(take(claim(id_of(run, 2)), "webhook:1").recorded.has_value());
  }
  EXPECT_FALSE(look("k").gone);
  EXPECT_TRUE(use("k", "\"yes\"").value().delivered);
  for (const TaskRunId run : {one, two}) {
    EXPECT_EQ(store().outcomes(run, 1, 9).value().at(0).payload, "\"yes\"");
  }
  EXPECT_TRUE(refused(use("k", "\"no\""), Errc::webhook_gone));
  EXPECT_EQ(run_row(running.run).journal_length, 1);
  EXPECT_EQ(database_->damage(), "");
  // One made afterwards has that answer, too.
  const TaskRunId late = fork(one, to(1, 2)).value().run;
  EXPECT_EQ(take(claim(id_of(late, 2)), "webhook:1").payload, "\"yes\"");
}

TEST_P(RewoundSignals, AForksOwnOutcomeIsItsWebhooksAnswer) {
  const Running running = start();
  make_hook(issue(running.grant, {hook_call(1)}, 0)[0], "k");
  issue(claim(running.root).grant, {wait_for(2, "webhook:1"), wait_for(3, "webhook:1")}, 1);
  const Rewound forked = fork(running.run, to(1, 3), EditedOutcome{2, false, "\"mine\""}).value();
  EXPECT_EQ(take(claim(id_of(forked.run, 3)), "webhook:1").payload, "\"mine\"");
  EXPECT_TRUE(use("k", "\"yes\"").has_value());
  EXPECT_EQ(store().outcomes(forked.run, 1, 9).value().at(0).payload, "\"mine\"");
}

TEST_P(RewoundSignals, AForkedWaitHasItsWholeTime) {
  const Running running = start();
  const Work wait = issue(running.grant, {wait_for(1, "go")}, 0)[0];
  take(wait, "go", Millis{1'000});
  clock_.advance(Millis{5'000});
  const TaskRunId forked = fork(running.run, to(0, 1)).value().run;
  EXPECT_EQ(take(claim(id_of(forked, 1)), "go", Millis{1'000}).due_in, Millis{1'000});
}

TEST_P(RewoundSignals, OneAddressHasABoundedNumberOfForks) {
  const Running running = start();
  make_hook(issue(running.grant, {hook_call(1)}, 0)[0], "k");
  for (int i = 1; i < 100; ++i) ASSERT_TRUE(fork(running.run, to(1, 1)).has_value());
  EXPECT_TRUE(refused(fork(running.run, to(1, 1)), Errc::conflict));
  EXPECT_TRUE(fork(running.run, to(0, 1)).has_value());
  use("k", "1").value();
  EXPECT_TRUE(fork(running.run, to(1, 1)).has_value());
}

TEST_P(RewoundSignals, ACallIsToldApartFromOneOfItsNumberThatWasRemoved) {
  const Running running = start();
  auto calls = issue(running.grant, {call_of(1), call_of(2), call_of(3)}, 0);
  for (const Work& call : calls) EXPECT_EQ(made_after(call.grant).value(), 0);
  ASSERT_TRUE(store().record_outcome(failure_of(calls[0].grant)).has_value());
  end(running.root, 1);
  retry(running.run, to(0, 2));
  // Under way, or made again: as before. Removed: not held.
  EXPECT_EQ(made_after(calls[1].grant).value(), 0);
  EXPECT_TRUE(refused(made_after(calls[0].grant), Errc::fenced));
  EXPECT_EQ(made_after(claim(calls[0].grant.id).grant).value(), 0);
  EXPECT_TRUE(refused(made_after(calls[2].grant), Errc::fenced));
  const Work third = issue(claim(running.root).grant, {call_of(3)}, 0)[0];
  EXPECT_EQ(made_after(third.grant).value(), 1);
  ASSERT_TRUE(store().record_outcome(failure_of(calls[1].grant)).has_value());
  end(running.root, 1);
  // A retry that keeps the third changes nothing for it, and one that keeps none all.
  retry(running.run, to(0, 3, 1));
  EXPECT_EQ(made_after(third.grant).value(), 1);
  ASSERT_TRUE(store().record_outcome(failure_of(third.grant)).has_value());
  end(running.root, 1);
  retry(running.run, to(0, 0, 2));
  const auto anew = issue(claim(running.root).grant, {call_of(1), call_of(2)}, 0);
  EXPECT_EQ(made_after(anew[0].grant).value(), 3);
}

TEST_P(RewoundSignals, TheNewestFailuresAreReadWithoutResults) {
  const Running running = start();
  auto calls = issue(running.grant, {call_of(1), call_of(2), call_of(3), call_of(4)}, 0);
  ASSERT_TRUE(store().record_outcome(failure_of(calls[1].grant, "\"b\"")).has_value());
  ASSERT_TRUE(store().record_outcome(outcome_of(calls[0].grant, "\"r\"")).has_value());
  ASSERT_TRUE(store().record_outcome(failure_of(calls[3].grant, "\"d\"")).has_value());
  const std::string large = "\"" + std::string(kErrorReadMax, 'x') + "\"";
  ASSERT_TRUE(store().record_outcome(failure_of(calls[2].grant, large)).has_value());
  const auto read = [this, &running](int limit) {
    return ask<std::vector<FailedCall>>([&](auto done) {
             rewinds().failed_calls(running.run, limit, done);
           }).value();
  };
  const auto all = read(32);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].seq, 2);
  EXPECT_EQ(all[0].position, 1);
  EXPECT_EQ(all[0].error, "\"b\"");
  EXPECT_EQ(all[1].error, "\"d\"");
  EXPECT_EQ(all[2].error, "");
  const auto newest = read(2);
  ASSERT_EQ(newest.size(), 2u);
  EXPECT_EQ(newest[0].seq, 4);
}

}  // namespace
}  // namespace sequential::storage::test
