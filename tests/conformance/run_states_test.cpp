// What a run shows of itself is in step with its slices, and is no part of its log.

#include "sequential/storage/run_states.h"

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class RunStatesSuite : public StoreTest {
 protected:
  RunState state_of(TaskRunId run) {
    Answer<std::vector<RunState>> answer;
    store().async().run_states()->states({run}, answer.done());
    return answer.get().value().front();
  }
  Result<RunLook> look(TaskRunId run, std::int64_t after_log = 0, int limit = 100) {
    Answer<RunLook> answer;
    store().async().run_states()->look(run, after_log, limit, answer.done());
    return answer.get();
  }
  // A slice that shows this and waits for its call, whose outcome then makes the root runnable.
  Grant slice(const Running& running, const Grant& root, std::int64_t seq,
              std::vector<NewLog> logs) {
    SliceCommit commit = slice_of(root, {call_of(seq)}, seq - 1);
    commit.logs = std::move(logs);
    commit.handoff = lease_of("a");
    const auto committed = store().commit_slice(std::move(commit)).value();
    store().record_outcome(outcome_of(committed.calls.at(0).work.value().grant)).value();
    return store().claim(running.root, lease_of("a")).value().value().grant;
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(RunStatesSuite);

TEST_P(RunStatesSuite, ASliceStoresWhatItShowsAndNoLogEntryForIt) {
  const Running running = start();
  EXPECT_EQ(state_of(running.run).version, 0);
  const std::string status = "{\"step\" : \"\xE2\x82\xAC\"}";
  slice(running, running.grant, 1,
        {{"info", "one", ""},
         {"status", status, ""},
         {"progress", "{\"done\":1,\"total\":3}", ""},
         {"info", "two", ""}});
  const RunState state = state_of(running.run);
  EXPECT_EQ(state.status, status);
  EXPECT_EQ(state.progress, "{\"done\":1,\"total\":3}");
  EXPECT_EQ(state.version, 1);
  EXPECT_EQ(state.updated_at, clock_.now());
  EXPECT_EQ(run_row(running.run).log_count, 2);
  const auto logs = store().logs(running.run, 0, 10).value();
  ASSERT_EQ(logs.size(), 2u);
  EXPECT_EQ(logs[0].message, "one");
  EXPECT_EQ(logs[1].n, 2);
  EXPECT_EQ(logs[1].message, "two");
}

TEST_P(RunStatesSuite, CallsAreReadByNumberWithoutWhatTheyCarry) {
  const Running running = start();
  SliceCommit commit = slice_of(running.grant, {call_of(1), call_of(2), call_of(3)});
  commit.handoff = lease_of("a");
  const auto committed = store().commit_slice(std::move(commit)).value();
  clock_.advance(Millis{5});
  store().record_outcome(outcome_of(committed.calls.at(2).work.value().grant)).value();
  const auto calls = [&](std::vector<std::int64_t> open, std::int64_t from, std::int64_t after,
                         std::int64_t through, int limit = 100) {
    CallsAsked asked{running.run, std::move(open), from, after, through, limit};
    Answer<std::vector<CallTrace>> answer;
    store().async().run_states()->calls(std::move(asked), answer.done());
    return answer.get().value();
  };
  const auto numbers = [](const std::vector<CallTrace>& found) {
    std::vector<std::int64_t> seqs;
    for (const auto& one : found) seqs.push_back(one.seq);
    return seqs;
  };
  using Seqs = std::vector<std::int64_t>;
  const auto all = calls({}, 0, 0, 3);
  ASSERT_EQ(numbers(all), (Seqs{1, 2, 3}));  // never the run's own
  EXPECT_EQ(all[0].service, call_of(1).service_name);
  EXPECT_EQ(all[0].method, call_of(1).method_name);
  EXPECT_EQ(all[0].position, 0);
  EXPECT_FALSE(all[0].ended_at.has_value());
  EXPECT_EQ(all[2].position, 1);
  EXPECT_EQ(all[2].status, StackStatus::completed);
  EXPECT_EQ(all[2].attempts, 1);
  EXPECT_EQ(all[2].ended_at, clock_.now());
  EXPECT_EQ(all[2].created_at.ms + 5, all[2].ended_at->ms);
  EXPECT_EQ(numbers(calls({1}, 2, 0, 3)), (Seqs{1, 3}));
  EXPECT_EQ(numbers(calls({1, 2}, 2, 1, 3)), (Seqs{2, 3}));
  EXPECT_EQ(numbers(calls({1, 2}, 3, 0, 3)), (Seqs{1, 2}));
  EXPECT_EQ(numbers(calls({}, 0, 0, 2)), (Seqs{1, 2}));
  EXPECT_EQ(numbers(calls({1}, 1, 0, 3, 2)), (Seqs{1, 2}));
  EXPECT_EQ(numbers(calls({7}, 7, 0, 9)), Seqs{});
}

TEST_P(RunStatesSuite, EachSliceReplacesWhatItShowsAndLeavesTheRest) {
  const Running running = start();
  Grant root = slice(running, running.grant, 1, {{"status", "\"a\"", ""}});
  clock_.advance(Millis{7});
  root = slice(running, root, 2, {{"progress", "{\"done\":2}", ""}});
  EXPECT_EQ(state_of(running.run).status, "\"a\"");
  EXPECT_EQ(state_of(running.run).progress, "{\"done\":2}");
  EXPECT_EQ(state_of(running.run).version, 2);
  root = slice(running, root, 3, {{"status", "null", ""}});
  EXPECT_EQ(state_of(running.run).status, "null");
  root = slice(running, root, 4, {});
  EXPECT_EQ(state_of(running.run).version, 3);
  SliceCommit end = end_of(root, SliceEnd::completed, "1", 4);
  end.logs = {{"progress", "{\"done\":5}", ""}};
  store().commit_slice(std::move(end)).value();
  EXPECT_EQ(state_of(running.run).progress, "{\"done\":5}");
  EXPECT_EQ(state_of(running.run).version, 4);
}

TEST_P(RunStatesSuite, WhatAReplayShowsAgainChangesNothing) {
  const Running running = start();
  const std::vector<NewLog> shown{{"status", "\"a\"", ""}, {"progress", "{\"done\":2}", ""}};
  const Grant root = slice(running, running.grant, 1, shown);
  const RunState before = state_of(running.run);
  clock_.advance(Millis{7});
  slice(running, root, 2, shown);
  EXPECT_EQ(state_of(running.run).version, before.version);
  EXPECT_EQ(state_of(running.run).updated_at, before.updated_at);
}

TEST_P(RunStatesSuite, ARefusedSliceShowsNothing) {
  const Running running = start();
  slice(running, running.grant, 1, {{"status", "\"a\"", ""}});
  const std::string before = database_->dump();
  SliceCommit late = slice_of(running.grant, {call_of(2)}, 1);  // its claim has been superseded
  late.logs = {{"status", "\"late\"", ""}};
  EXPECT_TRUE(refused(store().commit_slice(late), Errc::fenced));
  EXPECT_EQ(database_->dump(), before);
}

TEST_P(RunStatesSuite, ALookAnswersTheRunItsStateAndTheLogAfterThat) {
  const Running running = start();
  Grant root = slice(running, running.grant, 1,
                     {{"info", "one", ""}, {"info", "two", ""}, {"status", "1", ""}});
  slice(running, root, 2, {{"info", "three", ""}});
  RunLook found = look(running.run, 1).value();
  EXPECT_EQ(found.run.id, running.run);
  EXPECT_EQ(found.run.log_count, 3);
  EXPECT_EQ(found.run.status, run_status(running.run));
  EXPECT_EQ(found.run.input, "");
  EXPECT_EQ(found.state.status, "1");
  ASSERT_EQ(found.logs.size(), 2u);
  EXPECT_EQ(found.logs[0].n, 2);
  EXPECT_EQ(found.logs[1].message, "three");
  EXPECT_EQ(look(running.run, 0, 2).value().logs.size(), 2u);
  EXPECT_TRUE(look(running.run, 3).value().logs.empty());
  EXPECT_TRUE(refused(look(TaskRunId{running.run.value + 1}), Errc::run_not_found));
}

TEST_P(RunStatesSuite, StatesComeInTheOrderAskedForAndGoWithTheirRuns) {
  const Running a = start(), b = start(), c = start();
  slice(a, a.grant, 1, {{"status", "1", ""}});
  slice(c, c.grant, 1, {{"status", "3", ""}});
  Answer<std::vector<RunState>> answer;
  store().async().run_states()->states({c.run, b.run, a.run}, answer.done());
  const auto states = answer.get().value();
  ASSERT_EQ(states.size(), 3u);
  EXPECT_EQ(states[0].status, "3");
  EXPECT_EQ(states[1].version, 0);
  EXPECT_EQ(states[2].status, "1");
  ASSERT_TRUE(store().clear().has_value());
  EXPECT_EQ(state_of(a.run).version, 0);
}

}  // namespace
}  // namespace sequential::storage::test
