// What is read back is what was stored: bytes, journals, logs, listings, counts, secrets.

#include <algorithm>
#include <map>

#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class Reads : public StoreTest {};
SEQUENTIAL_ON_EVERY_BACKEND(Reads);

// Texts that stores like to change (fault test F28).
std::vector<std::pair<std::string, std::string>> hard_texts() {
  std::vector<std::pair<std::string, std::string>> texts = {
      {"escaped NUL", R"("\u0000")"},
      {"raw NUL", std::string("\"a\0b\"", 5)},
      {"lone surrogate", R"("\ud800")"},
      {"raw bytes that are no UTF-8", "\"\xed\xa0\x80\xff\xfe\""},
      {"number beyond double", "1e400"},
      {"number beyond 2^53", "[9007199254740993,-0,1.0,1E+2]"},
      {"duplicate and reordered keys", R"({"b":1,"a":2,"b":3})"},
      {"whitespace", " {\n\t\"a\" :  1 }\r\n "},
      {"the word null", "null"},
      {"empty string literal", "\"\""},
      {"quotes and SQL", R"("'); DROP TABLE task_runs; --")"},
      {"numbers as text", "00012"},
  };
  texts.emplace_back("deep nesting", std::string(60'000, '[') + std::string(60'000, ']'));
  std::string large = "\"";
  for (int i = 0; large.size() < 5'000'000; ++i) large += static_cast<char>('a' + i % 26);
  texts.emplace_back("five megabytes", large + "\"");
  return texts;
}

TEST_P(Reads, PayloadsComeBackByteForByteEverywhere) {
  for (const auto& [name, text] : hard_texts()) {
    SCOPED_TRACE(name);
    Submission s = submission();
    s.input = text;
    s.tags = text;
    Running running = start(s);
    std::vector<NewCall> calls = {call_of(1, text), call_of(2, text), call_of(3, text)};
    for (NewCall& call : calls) call.options = text;
    SliceCommit commit = slice_of(running.grant, calls);
    commit.logs = {{"info", text, text}};
    commit.handoff = lease_of("a");
    auto committed = store().commit_slice(commit).value();
    EXPECT_EQ(committed.calls[0].work->args, text);
    EXPECT_EQ(committed.calls[0].work->options, text);
    ASSERT_TRUE(store().record_outcome(outcome_of(committed.calls[0].work->grant, text)));
    ASSERT_TRUE(store().record_outcome(failure_of(committed.calls[1].work->grant, text)));
    const Grant third = committed.calls[2].work->grant;
    ASSERT_TRUE(store().record_outcome(retry_of(third, Millis{0}, text)));
    reopen();

    const Work retried = store().claim(third.id, lease_of("a")).value().value();
    EXPECT_EQ(retried.args, text);
    EXPECT_EQ(retried.options, text);
    EXPECT_EQ(store().attempts(third.id).value().at(0).error, text);
    const auto outcomes = store().outcomes(running.run, 0, 10).value();
    EXPECT_EQ(outcomes.at(0).payload, text);
    EXPECT_EQ(outcomes.at(1).payload, text);
    const auto journal = store().journal(running.run, 0, 1 << 30).value();
    EXPECT_EQ(journal.rows.at(0).args, text);
    EXPECT_EQ(journal.rows.at(0).outcome->payload, text);
    EXPECT_EQ(journal.rows.at(1).outcome->payload, text);
    const auto log = store().logs(running.run, 0, 10).value().at(0);
    EXPECT_EQ(log.message, text);
    EXPECT_EQ(log.fields, text);
    running.grant = store().claim(running.root, lease_of("a")).value().value().grant;
    ASSERT_TRUE(store().commit_slice(end_of(running.grant, SliceEnd::completed, text, 2)));
    const TaskRun run = run_row(running.run);
    EXPECT_EQ(run.input, text);
    EXPECT_EQ(run.tags, text);
    EXPECT_EQ(run.result, text);
    const StackRun call = row(committed.calls[0].id);
    EXPECT_EQ(call.args, text);
    EXPECT_EQ(call.result, text);
    EXPECT_EQ(row(committed.calls[1].id).error, text);
  }
}

TEST_P(Reads, NamesAndCodeComeBackByteForByte) {
  for (const auto& [name, text] : hard_texts()) {
    SCOPED_TRACE(name);
    if (text.size() > 100) continue;
    publish(text, text);
    const TaskFunction function = store().task_function(text, 0).value();
    EXPECT_EQ(function.name, text);
    EXPECT_EQ(function.code, text);
    Submission s = submission();
    s.task_name = text;
    s.idempotency_key = text;
    s.queue_key = text;
    const Submitted submitted = store().submit(s).value();
    const TaskRun run = run_row(submitted.run);
    EXPECT_EQ(run.task_name, text);
    EXPECT_EQ(run.idempotency_key, text);
    EXPECT_EQ(run.queue_key, text);
    EXPECT_TRUE(store().submit(s).value().existing);
    RunFilter filter;
    filter.task_name = text;
    EXPECT_EQ(store().runs(filter).value().size(), 1u);
  }
}

TEST_P(Reads, TheJournalIsReadInPagesOfBoundedSizeInOrder) {
  const Running running = start();
  constexpr int kCalls = 100;
  const std::string args = "[\"" + std::string(96, 'x') + "\"]";  // 100 bytes
  std::vector<NewCall> calls;
  for (int i = 1; i <= kCalls; ++i) calls.push_back(call_of(i, args));
  SliceCommit commit = slice_of(running.grant, calls);
  commit.handoff = lease_of("a");
  const auto committed = store().commit_slice(commit).value();
  for (int i = kCalls - 1; i >= 0; i -= 2) {
    const auto& call = committed.calls[static_cast<std::size_t>(i)];
    ASSERT_TRUE(store().record_outcome(outcome_of(call.work->grant, args)));
  }
  std::int64_t after = 0;
  int pages = 0;
  for (bool more = true; more; ++pages) {
    const JournalPage page = store().journal(running.run, after, 1'000).value();
    ASSERT_FALSE(page.rows.empty());
    EXPECT_LE(page.rows.size(), 10u);
    for (const JournalRow& call : page.rows) {
      EXPECT_EQ(call.seq, ++after);
      EXPECT_EQ(call.service_name, "echo");
      EXPECT_EQ(call.method_name, "echo");
      EXPECT_EQ(call.args, args);
      EXPECT_EQ(call.outcome.has_value(), call.seq % 2 == 0);
      if (call.outcome) {
        EXPECT_EQ(call.outcome->seq, call.seq);
        EXPECT_EQ(call.outcome->delivered_as, (kCalls - call.seq) / 2 + 1);
      }
    }
    more = page.more;
  }
  EXPECT_EQ(after, kCalls);
  EXPECT_GT(pages, 10);
  EXPECT_EQ(store().journal(running.run, 0, 0).value().rows.size(), 1u);  // at least one
  EXPECT_TRUE(store().journal(running.run, kCalls, 1'000).value().rows.empty());
  EXPECT_FALSE(store().journal(running.run, kCalls, 1'000).value().more);
  EXPECT_TRUE(refused(store().journal_head(TaskRunId(999)), Errc::run_not_found));
  EXPECT_EQ(store().journal_head(running.run).value().journal_length, kCalls / 2);
}

TEST_P(Reads, WhatWasAnsweredIsSeenByEveryLaterRead) {
  const Running running = start();
  Grant root = running.grant;
  for (std::int64_t seq = 1; seq <= 200; ++seq) {
    SliceCommit commit = slice_of(root, {call_of(seq)}, seq - 1);
    commit.handoff = lease_of("a");
    const Work call = store().commit_slice(commit).value().calls[0].work.value();
    ASSERT_EQ(store().journal_head(running.run).value().call_count, seq);
    OutcomeRecord record = outcome_of(call.grant, std::to_string(seq));
    record.handoff = lease_of("a");
    root = store().record_outcome(record).value().wake.value().work.value().grant;
    const auto outcomes = store().outcomes(running.run, seq - 1, 10).value();
    ASSERT_EQ(outcomes.size(), 1u);
    ASSERT_EQ(outcomes[0].payload, std::to_string(seq));
  }
}

TEST_P(Reads, RunsAreListedNewestFirstByFilterAndCursor) {
  publish("other", "x");
  std::vector<TaskRunId> all;
  for (int i = 0; i < 10; ++i) {
    Submission s = submission();
    s.task_name = i % 3 == 0 ? "other" : "task";
    all.push_back(store().submit(s).value().run);
  }
  const Running suspended = start();
  issue(suspended, 1, 1);
  const Running running = start();
  const Running completed = start();
  ASSERT_TRUE(store().commit_slice(end_of(completed.grant, SliceEnd::completed, "\"result\"")));
  const Running paused = start();
  ASSERT_TRUE(store().pause(paused.run));

  RunFilter filter;
  filter.limit = 4;
  std::vector<TaskRunId> seen;
  for (;;) {
    const auto page = store().runs(filter).value();
    if (page.empty()) break;
    EXPECT_LE(page.size(), 4u);
    for (const TaskRun& run : page) {
      seen.push_back(run.id);
      EXPECT_EQ(run.input, "");
      EXPECT_EQ(run.result, "");
    }
    filter.before = page.back().id;
  }
  EXPECT_EQ(seen.size(), 14u);
  EXPECT_TRUE(std::is_sorted(seen.rbegin(), seen.rend()));
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());

  const auto of_status = [&](RunStatus status) {
    RunFilter f;
    f.status = status;
    return store().runs(f).value();
  };
  EXPECT_EQ(of_status(RunStatus::queued).size(), 10u);
  ASSERT_EQ(of_status(RunStatus::running).size(), 1u);
  EXPECT_EQ(of_status(RunStatus::running)[0].id, running.run);
  ASSERT_EQ(of_status(RunStatus::suspended_waiting_child).size(), 1u);
  EXPECT_EQ(of_status(RunStatus::suspended_waiting_child)[0].id, suspended.run);
  EXPECT_EQ(of_status(RunStatus::suspended_waiting_child)[0].status,
            RunStatus::suspended_waiting_child);
  EXPECT_EQ(of_status(RunStatus::completed).at(0).id, completed.run);
  EXPECT_EQ(of_status(RunStatus::paused).at(0).id, paused.run);
  EXPECT_TRUE(of_status(RunStatus::failed).empty());
  RunFilter both;
  both.status = RunStatus::queued;
  both.task_name = "other";
  EXPECT_EQ(store().runs(both).value().size(), 4u);
  both.status.reset();
  both.limit = 2;
  EXPECT_EQ(store().runs(both).value().size(), 2u);
  EXPECT_EQ(store().runs(both).value()[0].id, all[9]);
}

TEST_P(Reads, TheStackIsListedFromAnyCallOn) {
  const Running running = start();
  issue(running, 1, 5);
  const auto all = store().stack(running.run, 0, 100).value();
  ASSERT_EQ(all.size(), 6u);
  EXPECT_EQ(all[0].id, running.root);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].seq, static_cast<std::int64_t>(i));
  }
  const auto some = store().stack(running.run, 3, 2).value();
  ASSERT_EQ(some.size(), 2u);
  EXPECT_EQ(some[0].seq, 3);
  EXPECT_TRUE(store().stack(TaskRunId(999), 0, 10).value().empty());
  EXPECT_TRUE(refused(store().stack_run(StackRunId(999)), Errc::not_found));
  EXPECT_TRUE(refused(store().run(TaskRunId(999)), Errc::run_not_found));
}

TEST_P(Reads, LogsGoOnInOrderAcrossSlices) {
  const Running running = start();
  SliceCommit commit = slice_of(running.grant, {call_of(1)});
  commit.logs = {{"debug", "1", ""}, {"info", "2", ""}};
  commit.handoff = lease_of("a");
  const Work call = store().commit_slice(commit).value().calls[0].work.value();
  OutcomeRecord record = outcome_of(call.grant);
  record.handoff = lease_of("a");
  const Grant root = store().record_outcome(record).value().wake->work->grant;
  commit = end_of(root, SliceEnd::completed, "1", 1);
  commit.logs = {{"warn", "3", ""}};
  ASSERT_TRUE(store().commit_slice(commit));
  const auto logs = store().logs(running.run, 0, 100).value();
  ASSERT_EQ(logs.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(logs[i].n, static_cast<std::int64_t>(i) + 1);
    EXPECT_EQ(logs[i].message, std::to_string(i + 1));
  }
  EXPECT_EQ(store().logs(running.run, 1, 1).value().at(0).n, 2);
  EXPECT_EQ(run_row(running.run).log_count, 3);
}

TEST_P(Reads, StatusCountsWhatIsThere) {
  const Running suspended = start();
  const auto works = issue(suspended, 1, 2);
  submit();
  clock_.advance(Millis{1'500});
  const StoreStatus status = store().status().value();
  EXPECT_EQ(status.kind, GetParam().name);
  EXPECT_FALSE(status.location.empty());
  EXPECT_FALSE(status.schema_version.empty());
  EXPECT_GT(status.size_bytes, 0);
  EXPECT_EQ(status.oldest_runnable_ms, 1'500);
  const std::map<std::string, std::int64_t> tables(status.tables.begin(), status.tables.end());
  EXPECT_EQ(tables.at("task_runs"), 2);
  EXPECT_EQ(tables.at("stack_runs"), 4);
  EXPECT_EQ(tables.at("task_functions"), 1);
  const std::map<std::string, std::int64_t> runs(status.runs.begin(), status.runs.end());
  EXPECT_EQ(runs.at("queued"), 1);
  EXPECT_EQ(runs.at("suspended_waiting_child"), 1);
  EXPECT_EQ(runs.count("running"), 0u);
  const std::map<std::string, std::int64_t> stack(status.stack_runs.begin(),
                                                  status.stack_runs.end());
  EXPECT_EQ(stack.at("pending"), 1);
  EXPECT_EQ(stack.at("processing"), 2);
  EXPECT_EQ(stack.at("suspended_waiting_child"), 1);
}

class Keystore : public StoreTest {};
SEQUENTIAL_ON_EVERY_BACKEND(Keystore);

TEST_P(Keystore, AnEntryIsSealedForTheVersionItIsStoredUnder) {
  const std::string bytes("\0\xff sealed \x01", 11);
  std::vector<std::int64_t> versions;
  const auto seal = [&](std::int64_t version) {
    versions.push_back(version);
    return bytes + std::to_string(version);
  };
  EXPECT_EQ(store().keystore_put("ns", "key", "k1", seal).value(), 1);
  clock_.advance(Millis{9});
  EXPECT_EQ(store().keystore_put("ns", "key", "k2", seal).value(), 2);
  EXPECT_EQ(versions.back(), 2);
  reopen();
  const KeystoreEntry entry = store().keystore_get("ns", "key").value();
  EXPECT_EQ(entry.name_space, "ns");
  EXPECT_EQ(entry.key, "key");
  EXPECT_EQ(entry.version, 2);
  EXPECT_EQ(entry.sealed, bytes + "2");
  EXPECT_EQ(entry.key_id, "k2");
  EXPECT_EQ(entry.updated_at, clock_.now());
}

TEST_P(Keystore, EntriesAreListedWithoutTheirSecretsAndDeleted) {
  const auto seal = [](std::int64_t) { return std::string("secret"); };
  for (const char* const name : {"b/2", "a/2", "b/1"}) {
    const std::string n = name;
    ASSERT_TRUE(store().keystore_put(n.substr(0, 1), n.substr(2), "id", seal));
  }
  const auto all = store().keystore_list("").value();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].name_space + all[0].key, "a2");
  EXPECT_EQ(all[1].name_space + all[1].key, "b1");
  EXPECT_EQ(all[2].name_space + all[2].key, "b2");
  for (const KeystoreEntry& entry : all) EXPECT_EQ(entry.sealed, "");
  EXPECT_EQ(store().keystore_list("b").value().size(), 2u);
  EXPECT_TRUE(store().keystore_delete("b", "1").value());
  EXPECT_FALSE(store().keystore_delete("b", "1").value());
  EXPECT_TRUE(refused(store().keystore_get("b", "1"), Errc::key_not_found));
  EXPECT_EQ(store().keystore_list("b").value().size(), 1u);
}

}  // namespace
}  // namespace sequential::storage::test
