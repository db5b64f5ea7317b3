// start: one-call runs one after another, from request to result.

#include "bench.h"
#include "numbers.h"
#include "runs.h"

namespace sequential::bench {
namespace {

constexpr int kStartRuns = 200;
constexpr int kWarmUpRuns = 20;

}  // namespace

Result<Sample> bench_start(const Plan& plan) {
  SEQUENTIAL_TRY(auto prepared, prepare(plan.server, plan.task_file));
  auto& [server, connection] = prepared;
  const auto& to = server.endpoint();
  const int runs = plan.runs > 0 ? plan.runs : kStartRuns;
  SEQUENTIAL_TRY(const double first_ms, timed_run(connection, to, 1));
  for (int i = 1; i < kWarmUpRuns; ++i) {
    SEQUENTIAL_TRY(timed_run(connection, to, 1));
  }

  std::vector<double> times_ms;
  const Snapshot before = take_snapshot(server.pid());
  for (int i = 0; i < runs; ++i) {
    SEQUENTIAL_TRY(const double ms, timed_run(connection, to, 1));
    times_ms.push_back(ms);
  }
  const Snapshot after = take_snapshot(server.pid());
  SEQUENTIAL_TRY(auto stats, healthy_stats(connection, to));
  SEQUENTIAL_TRY(server.stop());

  Sample sample;
  sample.metrics["start_p50_ms"] = rounded_to(percentile(times_ms, 50), 3);
  sample.metrics["start_p99_ms"] = rounded_to(percentile(times_ms, 99), 3);
  sample.metrics["peak_rss_mb"] = peak_rss_mb(after);
  sample.detail["runs"] = runs;
  sample.detail["warm_up_runs"] = kWarmUpRuns;
  sample.detail["first_ms"] = rounded_to(first_ms, 2);
  sample.detail["max_ms"] = rounded_to(percentile(times_ms, 100), 3);
  sample.detail["until_listening_ms"] = server.until_listening().count();
  sample.detail["stats"] = std::move(stats);
  sample.detail["usage"] = usage_json(before, after, runs);
  return sample;
}

}  // namespace sequential::bench
