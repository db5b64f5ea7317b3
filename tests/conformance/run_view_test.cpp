// A view of a run is what the single questions about it would answer, all of one moment.

#include "sequential/storage/run_view.h"

#include "sequential/storage/queues.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class RunViewSuite : public StoreTest {
 protected:
  template <class T, class Contract, class Method, class... Args>
  Result<T> ask(Contract* contract, Method method, Args... args) {
    Answer<T> answer;
    (contract->*method)(std::move(args)..., answer.done());
    return answer.get();
  }
  Result<RunView> view(TaskRunId run) {
    return ask<RunView>(store().async().run_states(), &RunStates::view, run);
  }
  Running child_of(const Work& call) {
    ChildStart start;
    start.call = call.grant;
    start.submission = submission();
    start.submission.handoff = lease_of("a");
    const auto child =
        ask<Submitted>(store().async().children(), &Children::start_child, std::move(start))
            .value();
    return {child.run, child.root, child.work.value().grant};
  }
  void limit_to_one() {
    QueueChange change;
    change.concurrency = true;
    change.to.concurrency = 1;
    ask<QueueLimits>(store().async().queues(), &Queues::change_queue, std::string("task"), change)
        .value();
  }
  void ask_to_end(TaskRunId run) {
    CancelRequest request;
    request.run = run;
    request.error = R"({"name":"CancelledError"})";
    request.grace = Millis{5'000};
    ask<CancelRequested>(store().async().cancellation(), &Cancellation::request_cancel,
                         std::move(request))
        .value();
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(RunViewSuite);

TEST_P(RunViewSuite, ANewRunHasNothingButItself) {
  const Running running = start();
  const RunView seen = view(running.run).value();
  EXPECT_EQ(seen.run.id, running.run);
  EXPECT_EQ(seen.run.input, "{\"q\":1}");
  EXPECT_EQ(seen.run.seed, "0123456789abcdef");
  EXPECT_EQ(seen.state.version, 0);
  EXPECT_FALSE(seen.parent.has_value());
  EXPECT_FALSE(seen.cancel_at.has_value());
  EXPECT_FALSE(seen.in_queue);
  EXPECT_FALSE(seen.origin.forked_from);
  EXPECT_TRUE(seen.attributes.empty());
  const auto none = view(TaskRunId(running.run.value + 1'000));
  ASSERT_TRUE(none.has_error());
  EXPECT_EQ(none.error().code, Errc::run_not_found);
}

TEST_P(RunViewSuite, AnEndedRunHasItsResult) {
  const Running running = start();
  store().commit_slice(end_of(running.grant, SliceEnd::completed, "[1, 2]")).value();
  const RunView seen = view(running.run).value();
  EXPECT_EQ(seen.run.status, RunStatus::completed);
  EXPECT_EQ(seen.run.result, "[1, 2]");
}

TEST_P(RunViewSuite, AttributesComeWithTheirBytesAndKinds) {
  const Running running = start();
  SliceCommit commit = slice_of(running.grant, {call_of(1)});
  const std::string attributes =
      "{\"b\":\"\xE2\x82\xAC \\\"q\\\" \\\\x00\",\"a\":1.50,\"c\":\"12\",\"d\":\"\"}";
  commit.logs = {{"status", "\"half\"", ""}, {std::string(kAttributesLevel), attributes, ""}};
  store().commit_slice(std::move(commit)).value();
  const RunView seen = view(running.run).value();
  EXPECT_EQ(seen.state.status, "\"half\"");
  EXPECT_EQ(seen.state.version, 1);
  const auto tags =
      ask<std::vector<RunTag>>(store().async().search(), &Search::run_tags, running.run).value();
  ASSERT_EQ(seen.attributes.size(), 4u);
  ASSERT_EQ(tags.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(seen.attributes[i].kind, RunTag::Kind::attribute);
    EXPECT_EQ(seen.attributes[i].key, tags[i].key);
    EXPECT_EQ(seen.attributes[i].value, tags[i].value);
    EXPECT_EQ(seen.attributes[i].number, tags[i].number);
  }
  EXPECT_EQ(seen.attributes[0].number, 1.5);
  EXPECT_EQ(seen.attributes[1].value, "\xE2\x82\xAC \"q\" \\x00");
  EXPECT_FALSE(seen.attributes[2].number.has_value());
}

TEST_P(RunViewSuite, AChildShowsWhereItHangsAndUntilWhenItMayGoOn) {
  const Running parent = start();
  const Work call = issue(parent, 1, 1)[0];
  const Running child = child_of(call);
  const RunView seen = view(child.run).value();
  ASSERT_TRUE(seen.parent.has_value());
  EXPECT_EQ(seen.parent->parent, parent.run);
  EXPECT_EQ(seen.parent->call, call.grant.id);
  EXPECT_EQ(seen.parent->seq, 1);
  EXPECT_EQ(seen.parent->depth, 1);
  EXPECT_FALSE(view(parent.run).value().parent.has_value());

  ask_to_end(parent.run);
  EXPECT_EQ(view(parent.run).value().cancel_at, clock_.now() + Millis{5'000});
  store().cancel(parent.run, R"({"name":"CancelledError"})").value();
  EXPECT_FALSE(view(parent.run).value().cancel_at.has_value());
}

TEST_P(RunViewSuite, ARunThatIsHeldBackWaitsInItsQueue) {
  limit_to_one();
  const Running first = start();
  const Submitted second = submit();
  EXPECT_FALSE(view(first.run).value().in_queue);
  EXPECT_TRUE(view(second.run).value().in_queue);
}

TEST_P(RunViewSuite, AForkNamesItsSource) {
  const Running running = start();
  issue(running, 1, 1);
  Fork fork;
  fork.source = running.run;
  fork.to.calls = 1;
  fork.to.function = function_;
  fork.to.version = 1;
  const auto copy =
      ask<Rewound>(store().async().rewinds(), &Rewinds::fork_run, std::move(fork)).value();
  const RunOrigin origin = view(copy.run).value().origin;
  EXPECT_EQ(origin.forked_from, running.run);
  EXPECT_EQ(origin.forked_at, 0);
  EXPECT_EQ(origin.rewinds, 0);
}

}  // namespace
}  // namespace sequential::storage::test
