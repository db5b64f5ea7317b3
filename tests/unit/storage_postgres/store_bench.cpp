// Measures the store alone on a PostgreSQL server. Not a test: run by hand, results in
// storage/README.md.
//
//   storage_postgres_bench pairs [--callers 8] [--seconds 5] [--url URL]
//       calls per second: commit_slice and record_outcome, each handing over to the next
//   storage_postgres_bench history [--rows 1000000] [--url URL]
//       claim_next with an empty history and with that many finished stack runs
//
// Without --url it starts a server of its own in the temporary folder (TMPDIR says where).

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <mutex>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "pg/cluster.h"
#include "sequential/storage/postgres.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

using Steady = std::chrono::steady_clock;

struct Arguments {
  std::string what = "pairs", url;
  int callers = 8, seconds = 5;
  std::int64_t rows = 1'000'000;
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  if (argc > 1) a.what = argv[1];
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    const auto next = [&] { return i + 1 < argc ? argv[++i] : ""; };
    if (word == "--callers") a.callers = std::atoi(next());
    else if (word == "--seconds") a.seconds = std::atoi(next());
    else if (word == "--rows") a.rows = std::atoll(next());
    else if (word == "--url") a.url = next();
  }
  return a;
}

Submission a_submission(TaskFunctionId function) {
  Submission s;
  s.task_function_id = function;
  s.task_name = "bench";
  s.task_version = 1;
  s.input = "{}";
  s.seed = "0123456789abcdef";
  return s;
}

TaskFunctionId publish(SyncStore& store) {
  Publication p;
  p.name = "bench";
  p.code = "1";
  p.code_sha256 = "1";
  return store.publish(p).value().id;
}

// One run that calls and calls, by answers alone: as the server does it, without waiting threads.
class Chain {
 public:
  Chain(Store& store, const Work& root, std::atomic<bool>& stop)
      : store_(store), root_(root.grant), stop_(stop) {}
  void begin() { slice(); }
  std::int64_t calls() const { return seq_; }

 private:
  void slice() {
    if (stop_) return;
    SliceCommit commit = slice_of(root_, {call_of(seq_ + 1, "[{\"i\":1}]")}, seq_);
    commit.handoff = lease_of("a");
    store_.commit_slice(std::move(commit), [this](Result<SliceCommitted> committed) {
      record(committed.value().calls[0].work.value().grant);
    });
  }
  void record(const Grant& call) {
    OutcomeRecord outcome = outcome_of(call, "{\"i\":1}");
    outcome.handoff = lease_of("a");
    store_.record_outcome(std::move(outcome), [this](Result<OutcomeRecorded> recorded) {
      ++seq_;
      root_ = recorded.value().wake.value().work.value().grant;
      slice();
    });
  }

 private:
  Store& store_;
  Grant root_;
  std::atomic<bool>& stop_;
  std::int64_t seq_ = 0;
};

void pairs(const Arguments& a, const std::string& url) {
  PostgresOptions options;
  options.url = url;
  options.schema = "bench_pairs";
  auto store = open_postgres(options, system_clock()).value();
  SyncStore sync(*store);
  const TaskFunctionId function = publish(sync);
  std::atomic<bool> stop{false};
  std::vector<std::unique_ptr<Chain>> chains;
  for (int i = 0; i < a.callers; ++i) {
    Submission s = a_submission(function);
    s.handoff = lease_of("a");
    chains.push_back(
        std::make_unique<Chain>(*store, sync.submit(s).value().work.value(), stop));
  }
  const auto began = Steady::now();
  for (auto& chain : chains) chain->begin();
  std::mutex mutex;
  std::condition_variable never;
  {
    std::unique_lock lock(mutex);
    never.wait_for(lock, std::chrono::seconds(a.seconds), [] { return false; });
  }
  stop = true;
  const double seconds = std::chrono::duration<double>(Steady::now() - began).count();
  store.reset();  // what is under way comes to its end
  std::int64_t calls = 0;
  for (auto& chain : chains) calls += chain->calls();
  std::printf("%d callers: %.0f calls/s, %.0f transitions/s\n", a.callers,
              static_cast<double>(calls) / seconds, 2 * static_cast<double>(calls) / seconds);
  pqxx::connection connection(url);
  pqxx::nontransaction tx(connection);
  tx.exec("SELECT pg_sleep(1)");  // until the server has counted
  const auto row = tx.exec("SELECT n_tup_upd, n_tup_hot_upd, n_tup_ins FROM pg_stat_user_tables"
                           " WHERE schemaname = 'bench_pairs' AND relname = 'stack_runs'")[0];
  std::printf("stack_runs: %s updates, %s of them on their page (HOT), %s inserts\n",
              row[0].c_str(), row[1].c_str(), row[2].c_str());
  tx.exec("DROP SCHEMA bench_pairs CASCADE");
}

// Milliseconds of claim_next, the middle of many, each given back untimed.
double claim_ms(SyncStore& store, int times) {
  std::vector<double> taken;
  for (int i = 0; i < times; ++i) {
    const auto began = Steady::now();
    const auto work = store.claim_next(lease_of("a")).value();
    taken.push_back(std::chrono::duration<double, std::milli>(Steady::now() - began).count());
    static_cast<void>(
        store.commit_slice(end_of(work.value().grant, SliceEnd::completed, "1")).value());
  }
  std::sort(taken.begin(), taken.end());
  return taken[taken.size() / 2];
}

void history(const Arguments& a, const std::string& url) {
  constexpr int kClaims = 2'000;
  PostgresOptions options;
  options.url = url;
  options.schema = "bench_history";
  auto store = open_postgres(options, system_clock()).value();
  SyncStore sync(*store);
  const TaskFunctionId function = publish(sync);
  const auto submit_some = [&](int count) {
    std::vector<Answer<Submitted>> answers(static_cast<std::size_t>(count));
    for (auto& answer : answers) store->submit(a_submission(function), answer.done());
    for (auto& answer : answers) static_cast<void>(answer.get().value());
  };
  submit_some(2 * kClaims);
  claim_ms(sync, kClaims);
  const double empty = claim_ms(sync, kClaims);
  pqxx::connection connection(url);
  pqxx::nontransaction tx(connection);
  tx.exec("SET search_path = bench_history");
  // Finished runs of one call each, as the store leaves them.
  tx.exec("INSERT INTO task_runs SELECT r.* FROM (SELECT t FROM task_runs t"
          " WHERE status = 'completed' LIMIT 1) x, generate_series(1, " +
          std::to_string(a.rows / 2) + ") AS n, LATERAL jsonb_populate_record(x.t,"
          " jsonb_build_object('id', nextval('task_run_ids'), 'root_stack_run_id',"
          " nextval('stack_run_ids'), 'version', n)) AS r");
  tx.exec("INSERT INTO stack_runs SELECT r.* FROM (SELECT s FROM stack_runs s"
          " WHERE status = 'completed' AND seq = 0 LIMIT 1) x, task_runs t,"
          " LATERAL jsonb_populate_record(x.s, jsonb_build_object('id', t.root_stack_run_id,"
          " 'task_run_id', t.id)) AS r"
          " WHERE NOT EXISTS (SELECT 1 FROM stack_runs y WHERE y.id = t.root_stack_run_id)");
  tx.exec("INSERT INTO stack_runs SELECT r.* FROM stack_runs s,"
          " LATERAL jsonb_populate_record(s, jsonb_build_object('id', nextval('stack_run_ids'),"
          " 'seq', 1, 'parent_stack_run_id', s.id)) AS r"
          " WHERE s.seq = 0 AND s.status = 'completed'");
  tx.exec("VACUUM ANALYZE");
  submit_some(2 * kClaims);
  claim_ms(sync, kClaims);
  const double full = claim_ms(sync, kClaims);
  const auto rows = tx.exec("SELECT count(*) FROM stack_runs")[0][0];
  std::printf("claim_next: %.3f ms with little history, %.3f ms with %s stack runs: %.2f times\n",
              empty, full, rows.c_str(), full / empty);
  store.reset();
  tx.exec("DROP SCHEMA bench_history CASCADE");
}

}  // namespace
}  // namespace sequential::storage::test

int main(int argc, char** argv) {
  using namespace sequential::storage::test;
  const Arguments arguments = parse(argc, argv);
  const std::string url =
      arguments.url.empty() ? sequential::test::PgCluster::shared().url() : arguments.url;
  if (arguments.what == "history") {
    history(arguments, url);
  } else {
    pairs(arguments, url);
  }
  return 0;
}
