// Search: what is found, page by page; what is removed, and nothing else.

#include "sequential/storage/search.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <set>
#include <thread>

#include "sequential/storage/children.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

constexpr int kRowsMax = 20'000;
constexpr WallTime kAnyTime{std::numeric_limits<std::int64_t>::max()};

class SearchTest : public StoreTest {
 protected:
  Search& search() { return *store_->search(); }

  RunPage page(const RunQuery& query, TaskRunId after = {}, int limit = 100,
               int rows_max = kRowsMax) {
    Answer<RunPage> answer;
    search().find_runs(query, after, limit, rows_max, answer.done());
    auto found = answer.get();
    EXPECT_TRUE(found.has_value()) << found.error().message;
    return found.has_value() ? std::move(found).value() : RunPage();
  }
  // All pages, as ids.
  std::vector<std::int64_t> all(const RunQuery& query, int limit = 100, int rows_max = kRowsMax) {
    std::vector<std::int64_t> ids;
    for (TaskRunId after;;) {
      const RunPage one = page(query, after, limit, rows_max);
      for (const TaskRun& run : one.runs) ids.push_back(run.id.value);
      if (!one.next) return ids;
      after = one.next;
    }
  }
  Running child_of(const Work& call) {
    ChildStart wish;
    wish.call = call.grant;
    wish.submission = submission();
    wish.submission.handoff = lease_of("a");
    Answer<Submitted> answer;
    store_->children()->start_child(wish, answer.done());
    const Submitted child = answer.get().value();
    return {child.run, child.root, child.work.value().grant};
  }
  RunCount count(const RunQuery& query, int rows_max = kRowsMax) {
    Answer<RunCount> answer;
    search().count_runs(query, rows_max, answer.done());
    return answer.get().value();
  }
  Removed remove(std::vector<TaskRunId> runs, WallTime before = kAnyTime, int runs_max = 1'000) {
    Answer<Removed> answer;
    search().remove_runs(std::move(runs), before, runs_max, answer.done());
    return answer.get().value();
  }
  std::vector<RunTag> tags_of(TaskRunId run) {
    Answer<std::vector<RunTag>> answer;
    search().run_tags(run, answer.done());
    return answer.get().value();
  }
  std::vector<Retention> retentions() {
    Answer<std::vector<Retention>> answer;
    search().retentions(answer.done());
    return answer.get().value();
  }
  void set(Retention retention) {
    Answer<void> answer;
    search().set_retention(std::move(retention), answer.done());
    ASSERT_TRUE(answer.get().has_value());
  }

  Submission tagged(std::string tags) {
    Submission s = submission();
    s.tags = std::move(tags);
    return s;
  }
  TaskRunId finished(Submission s, SliceEnd end = SliceEnd::completed, std::string payload = "1") {
    const Running running = start(std::move(s));
    EXPECT_TRUE(store().commit_slice(end_of(running.grant, end, std::move(payload))).has_value());
    return running.run;
  }
  TaskRunId finished() { return finished(submission()); }
  // A slice that logs `message` as the run's attributes.
  void set_attributes(const Running& running, const std::vector<std::string>& messages) {
    SliceCommit commit = slice_of(running.grant, {call_of(1)});
    for (const auto& message : messages) commit.logs.push_back({kAttributesLevel, message, ""});
    ASSERT_TRUE(store().commit_slice(commit).has_value());
  }
  RunQuery with(RunTag::Kind kind, std::string key, std::string value,
                TagMatch::How how = TagMatch::How::equal) {
    RunQuery query;
    query.tags.push_back({kind, std::move(key), std::move(value), how});
    return query;
  }
  RunQuery tag(std::string key, std::string value = "") {
    return with(RunTag::Kind::tag, std::move(key), std::move(value));
  }
  RunQuery attribute(std::string key, std::string value,
                     TagMatch::How how = TagMatch::How::equal) {
    return with(RunTag::Kind::attribute, std::move(key), std::move(value), how);
  }
  using Ids = std::vector<std::int64_t>;
};
SEQUENTIAL_ON_EVERY_BACKEND(SearchTest);

TEST_P(SearchTest, TagsAreFoundByKeyAndValueAsTheyWereWritten) {
  const auto a = store().submit(tagged(R"({"team":"red","n":1.50,"ok":true})")).value().run.value;
  const auto b = store().submit(tagged(R"({"team":"blue","n":15e-1,"none":null})")).value().run.value;
  const auto c = store().submit(tagged(R"(["urgent","für Elise"])")).value().run.value;
  submit();
  EXPECT_EQ(all(tag("team", "red")), Ids{a});
  EXPECT_EQ(all(tag("team", "blue")), Ids{b});
  EXPECT_EQ(all(tag("team", "Red")), Ids{});
  EXPECT_EQ(all(tag("n", "1.50")), Ids{a});
  EXPECT_EQ(all(tag("n", "15e-1")), Ids{b});
  EXPECT_EQ(all(tag("ok", "true")), Ids{a});
  EXPECT_EQ(all(tag("none", "null")), Ids{});
  EXPECT_EQ(all(tag("urgent")), Ids{c});
  EXPECT_EQ(all(tag("für Elise")), Ids{c});
  EXPECT_EQ(run_row(TaskRunId(a)).tags, R"({"team":"red","n":1.50,"ok":true})");
  EXPECT_EQ(tags_of(TaskRunId(a)).size(), 3u);
  RunQuery both = tag("team", "red");
  both.tags.push_back({RunTag::Kind::tag, "n", "1.4", TagMatch::How::greater});
  EXPECT_EQ(all(both), Ids{a});
  both.tags[1].how = TagMatch::How::less;
  EXPECT_EQ(all(both), Ids{});
}

TEST_P(SearchTest, TagsThatAreNoJsonAreOnlyNotFound) {
  for (const char* text : {"{", "7", "null", "[[1]]", R"({"a":{"b":[1]}})", "\xff"}) {
    EXPECT_TRUE(store().submit(tagged(text)).has_value()) << text;
  }
  EXPECT_EQ(all(RunQuery()).size(), 6u);
}

TEST_P(SearchTest, TheLastValueOfAnAttributeCountsAndNullTakesItAway) {
  const Running one = start(), two = start();
  set_attributes(one, {R"({"orders":12,"customer":"x","gone":1})", R"({"orders":13,"gone":null})"});
  set_attributes(two, {R"({"orders":9})", "not JSON", R"({"customer":"y"})"});
  EXPECT_EQ(all(attribute("orders", "13")), Ids{one.run.value});
  EXPECT_EQ(all(attribute("orders", "12")), Ids{});
  EXPECT_EQ(all(attribute("customer", "y")), Ids{two.run.value});
  EXPECT_EQ(all(attribute("gone", "1")), Ids{});
  EXPECT_EQ(all(tag("orders", "13")), Ids{});  // no tag
  const auto greater = TagMatch::How::greater;
  EXPECT_EQ(all(attribute("orders", "9.5", greater)), Ids{one.run.value});
  EXPECT_EQ(all(attribute("orders", "8", greater)), (Ids{two.run.value, one.run.value}));
  const auto tags = tags_of(one.run);
  ASSERT_EQ(tags.size(), 2u);
  EXPECT_EQ(tags[0].key + "=" + tags[0].value, "customer=x");
  EXPECT_EQ(tags[1].key + "=" + tags[1].value, "orders=13");
  EXPECT_EQ(tags[1].number, 13);
}

TEST_P(SearchTest, ARunHasAHundredAttributesAtMost) {
  const Running one = start();
  std::string many = "{";
  for (int i = 0; i < 150; ++i) many += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":" + std::to_string(i);
  set_attributes(one, {many + "}"});
  EXPECT_EQ(tags_of(one.run).size(), 100u);
}

TEST_P(SearchTest, EveryFilterFindsWhatItNamesAndNothingElse) {
  const TaskFunctionId other = publish("other.task", "2");
  const auto at = clock_.now();
  Submission s = submission();
  s.queue_key = "q1";
  s.idempotency_key = "key-1";
  const auto queued = store().submit(s).value().run.value;
  clock_.advance(Millis{1'000});
  s = submission();
  s.task_function_id = other;
  s.task_name = "other.task";
  s.task_version = 7;
  const auto failed =
      finished(s, SliceEnd::failed, R"({"name":"TypeError","code":"E_X","message":"No Such \"Thing\" für","stack":"at secret"})")
          .value;
  clock_.advance(Millis{1'000});
  const Running suspended = start();
  issue(suspended, 1, 1);
  const auto running = start().run.value;
  const auto completed = finished().value;

  const auto only = [&](auto set) {
    RunQuery query;
    set(query);
    return all(query);
  };
  const std::int64_t waiting = suspended.run.value;
  EXPECT_EQ(only([](auto& q) { q.oldest_first = true; }), (Ids{queued, failed, waiting, running, completed}));
  EXPECT_EQ(only([](auto&) {}), (Ids{completed, running, waiting, failed, queued}));
  EXPECT_EQ(only([&](auto& q) { q.id = TaskRunId(failed); }), Ids{failed});
  EXPECT_EQ(only([](auto& q) { q.task = "other.task"; }), Ids{failed});
  EXPECT_EQ(only([](auto& q) { q.task = "other.*"; }), Ids{failed});
  EXPECT_EQ(only([](auto& q) { q.task = "oth*"; q.version = 7; }), Ids{failed});
  EXPECT_EQ(only([](auto& q) { q.task = "other.task"; q.version = 6; }), Ids{});
  EXPECT_EQ(only([](auto& q) { q.task = "task"; }), (Ids{completed, running, waiting, queued}));
  EXPECT_EQ(only([](auto& q) { q.statuses = {RunStatus::running}; }), Ids{running});
  EXPECT_EQ(only([](auto& q) { q.statuses = {RunStatus::suspended_waiting_child}; }), Ids{waiting});
  EXPECT_EQ(only([](auto& q) {
              q.statuses = {RunStatus::suspended_waiting_child, RunStatus::running, RunStatus::failed};
            }), (Ids{running, waiting, failed}));
  EXPECT_EQ(only([](auto& q) { q.task = "task"; q.statuses = {RunStatus::completed, RunStatus::queued}; }),
            (Ids{completed, queued}));
  EXPECT_EQ(only([](auto& q) { q.queue_key = "q1"; }), Ids{queued});
  EXPECT_EQ(only([](auto& q) { q.idempotency_key = "key-1"; }), Ids{queued});
  EXPECT_EQ(only([](auto& q) { q.idempotency_key = "key-1"; q.task = "x"; }), Ids{});
  EXPECT_EQ(only([&](auto& q) { q.created = {at + Millis{1}, at + Millis{2'000}}; }), Ids{failed});
  EXPECT_EQ(only([&](auto& q) { q.ended = {at + Millis{1'500}, {}}; }), Ids{completed});
  EXPECT_EQ(only([&](auto& q) { q.started = {{}, at + Millis{1'500}}; }), Ids{failed});
  EXPECT_EQ(only([](auto& q) { q.text = "no such \"THING\""; }), Ids{failed});
  EXPECT_EQ(only([](auto& q) { q.text = "typeerror"; }), Ids{failed});
  EXPECT_EQ(only([](auto& q) { q.text = "für"; }), Ids{failed});
  EXPECT_EQ(only([](auto& q) { q.text = "e_x"; q.statuses = {RunStatus::cancelled}; }), Ids{});
  EXPECT_EQ(only([](auto& q) { q.text = "secret"; }), Ids{});
}

TEST_P(SearchTest, ChildrenAreFoundByTheirParent) {
  const Running parent = start();
  const Work call = issue(parent, 1, 1)[0];
  const auto child = child_of(call).run;
  RunQuery query;
  query.parent = parent.run;
  EXPECT_EQ(all(query), Ids{child.value});
  query.parent = child;
  EXPECT_EQ(all(query), Ids{});
}

TEST_P(SearchTest, AnUnservedFilterLooksAtABoundedNumberOfRunsAndSaysWhereToGoOn) {
  for (int i = 0; i < 30; ++i) {
    Submission s = submission();
    s.queue_key = i == 3 ? "rare" : "usual";
    ASSERT_TRUE(store().submit(s).has_value());
  }
  RunQuery query;
  query.queue_key = "rare";
  const RunPage first = page(query, {}, 10, 8);
  EXPECT_TRUE(first.runs.empty());
  EXPECT_EQ(first.looked_at, 8);
  EXPECT_TRUE(first.next);
  EXPECT_EQ(all(query, 10, 8), Ids{4});
  query.oldest_first = true;
  EXPECT_EQ(all(query, 10, 8), Ids{4});
  EXPECT_EQ(count(query, 8).more, true);
  const RunCount exact = count(query);
  EXPECT_EQ(exact.count, 1);
  EXPECT_FALSE(exact.more);
  EXPECT_EQ(count(RunQuery(), 8).count, 8);
  EXPECT_TRUE(count(RunQuery(), 8).more);
  EXPECT_EQ(count(RunQuery()).count, 30);
  EXPECT_FALSE(count(RunQuery(), 30).more);
}

// Whatever is added, begins and ends meanwhile, what was there comes once.
TEST_P(SearchTest, PagesNeitherSkipNorRepeatWhileRunsAreAddedAndChangeStatus) {
  std::set<std::int64_t> there;
  std::vector<Grant> grants;
  for (int i = 0; i < 60; ++i) {
    const Running running = start(tagged(R"({"batch":"one"})"));
    grants.push_back(running.grant);
    there.insert(running.run.value);
  }
  std::atomic<bool> stop{false};
  std::thread others([&] {
    for (std::size_t i = 0; !stop; ++i) {
      Answer<Submitted> answer;
      store_->submit(tagged(R"({"batch":"one"})"), answer.done());
      static_cast<void>(answer.get());
      if (i >= grants.size()) continue;
      Answer<SliceCommitted> ended;
      store_->commit_slice(end_of(grants[i], SliceEnd::completed, "1"), ended.done());
      static_cast<void>(ended.get());
    }
  });
  for (const bool oldest_first : {false, true}) {
    for (RunQuery query : {RunQuery(), tag("batch", "one")}) {
      query.oldest_first = oldest_first;
      std::set<std::int64_t> seen;
      TaskRunId after;
      for (int pages = 0; pages < 40; ++pages) {  // of the oldest first there may be no end
        const RunPage one = page(query, after, 7);
        for (const TaskRun& run : one.runs) EXPECT_TRUE(seen.insert(run.id.value).second);
        if (!one.next) break;
        after = one.next;
      }
      EXPECT_TRUE(std::includes(seen.begin(), seen.end(), there.begin(), there.end()));
    }
  }
  stop = true;
  others.join();
}

TEST_P(SearchTest, RemovingTakesAllOfARunAndNothingElse) {
  const std::string empty = database_->dump();
  const Running kept = start(tagged(R"(["a"])"));
  issue(kept, 1, 2);
  const std::string before = database_->dump();
  const Running running = start(tagged(R"({"team":"red"})"));
  SliceCommit commit = slice_of(running.grant, {call_of(1), call_of(2)});
  commit.logs = {{"info", "x", ""}, {kAttributesLevel, R"({"k":1})", ""}};
  commit.handoff = lease_of("a");
  const auto calls = store().commit_slice(commit).value().calls;
  ASSERT_TRUE(store().record_outcome(retry_of(calls[0].work.value().grant, Millis{0})).has_value());
  EXPECT_EQ(remove({running.run}).runs, 0);  // has not ended
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  EXPECT_EQ(remove({running.run}, clock_.now()).runs, 0);  // too young
  const Removed removed = remove({running.run, TaskRunId(12'345)});
  EXPECT_EQ(removed.runs, 1);
  EXPECT_EQ(removed.rows, 1 + 3 + 2 + 2);
  EXPECT_TRUE(refused(store().run(running.run), Errc::run_not_found));
  EXPECT_TRUE(refused(store().stack_run(running.root), Errc::not_found));
  EXPECT_TRUE(store().attempts(calls[0].id).value().empty());
  EXPECT_TRUE(store().logs(running.run, 0, 10).value().empty());
  EXPECT_TRUE(tags_of(running.run).empty());
  EXPECT_EQ(run_status(kept.run), RunStatus::suspended_waiting_child);
  EXPECT_EQ(all(RunQuery()), Ids{kept.run.value});
}

TEST_P(SearchTest, WhoeverWritesToARemovedRunLaterIsFenced) {
  const Running running = start();
  const auto works = issue(running, 1, 2);
  ASSERT_TRUE(store().record_outcome(outcome_of(works[0].grant)).has_value());
  ASSERT_TRUE(store().cancel(running.run, "{}").has_value());
  ASSERT_EQ(remove({running.run}).runs, 1);
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(works[1].grant)), Errc::fenced));
  EXPECT_TRUE(refused(store().commit_slice(slice_of(running.grant, {})), Errc::fenced));
  EXPECT_TRUE(refused(store().release(works[1].grant), Errc::fenced));
  EXPECT_EQ(store().extend({works[1].grant}, lease_of("a")).value().size(), 1u);
  EXPECT_FALSE(store().claim(works[1].grant.id, lease_of("b")).value().has_value());
}

// A race's loser goes on after its run has ended.
TEST_P(SearchTest, ACallThatOutlivesItsRunIsRemovedWithIt) {
  const Running running = start();
  SliceCommit commit = slice_of(running.grant, {call_of(1), call_of(2)});
  commit.handoff = lease_of("a");
  auto committed = store().commit_slice(commit).value();
  const Grant one = committed.calls[0].work.value().grant;
  const Grant two = committed.calls[1].work.value().grant;
  OutcomeRecord record = outcome_of(one);
  record.handoff = lease_of("a");
  const Grant root = store().record_outcome(record).value().wake.value().work.value().grant;
  ASSERT_TRUE(store().commit_slice(end_of(root, SliceEnd::completed, "1", 1)).has_value());
  ASSERT_EQ(remove({running.run}).runs, 1);
  EXPECT_TRUE(refused(store().record_outcome(outcome_of(two)), Errc::fenced));
  clock_.advance(kLease * 2);
  EXPECT_FALSE(store().claim_next(lease_of("b")).value().has_value());
  reopen();
  EXPECT_TRUE(store().due(10).value().ids.empty());
}

TEST_P(SearchTest, ARunTakesItsChildrenAlongAndWaitsForThoseThatHaveNotEnded) {
  const Running parent = start();
  const auto works = issue(parent, 1, 3);
  std::vector<Running> children;
  for (const Work& work : works) children.push_back(child_of(work));
  ASSERT_TRUE(store().cancel(parent.run, "{}").has_value());
  ASSERT_TRUE(store().cancel(children[0].run, "{}").has_value());
  ASSERT_TRUE(store().cancel(children[1].run, "{}").has_value());
  EXPECT_EQ(remove({parent.run}).runs, 0);
  EXPECT_EQ(remove({children[0].run}).runs, 1);  // on its own
  ASSERT_TRUE(store().cancel(children[2].run, "{}").has_value());
  EXPECT_EQ(remove({parent.run}, kAnyTime, 1).runs, 1);  // a child: no more at a time
  EXPECT_TRUE(store().run(parent.run).has_value());
  EXPECT_EQ(remove({parent.run}).runs, 2);
  EXPECT_TRUE(all(RunQuery()).empty());
}

TEST_P(SearchTest, NumbersOfRemovedRunsNeverComeAgain) {
  const TaskRunId run = finished();
  ASSERT_EQ(remove({run}).runs, 1);
  reopen();
  EXPECT_GT(submit().run.value, run.value);
}

TEST_P(SearchTest, AnIdempotencyKeyIsFreeOnceItsRunIsRemoved) {
  Submission s = submission();
  s.idempotency_key = "k";
  const TaskRunId run = finished(s);
  ASSERT_EQ(remove({run}).runs, 1);
  const auto again = store().submit(s).value();
  EXPECT_FALSE(again.existing);
  EXPECT_NE(again.run, run);
}

TEST_P(SearchTest, ClearKeepsFunctionsKeystoreAndRetentions) {
  set({"task", 5, -1});
  ASSERT_TRUE(store().keystore_put("n", "k", "id", [](std::int64_t) { return std::string("s"); }).has_value());
  ASSERT_TRUE(store().submit(tagged(R"(["a"])")).has_value());
  const Running running = start();
  set_attributes(running, {R"({"x":1})"});
  EXPECT_EQ(store().clear().value(), 2);
  EXPECT_TRUE(all(RunQuery()).empty());
  EXPECT_TRUE(all(tag("a")).empty());
  EXPECT_TRUE(tags_of(running.run).empty());
  EXPECT_TRUE(store().task_function("task", 0).has_value());
  EXPECT_TRUE(store().keystore_get("n", "k").has_value());
  EXPECT_EQ(retentions().size(), 1u);
}

TEST_P(SearchTest, RetentionsAreSetChangedAndForgotten) {
  set({"a", 1'000, -1});
  set({"b", 0, 5});
  set({"a", 2'000, 3'000});
  const auto both = retentions();
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].task, "a");
  EXPECT_EQ(both[0].completed_ms, 2'000);
  EXPECT_EQ(both[0].failed_ms, 3'000);
  set({"a", -1, -1});
  set({"b", -1, -1});
  EXPECT_TRUE(retentions().empty());
}

}  // namespace
}  // namespace sequential::storage::test
