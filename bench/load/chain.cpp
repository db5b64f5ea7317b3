// chain: one run of sequential calls, from request to result.
// long:  a run long enough to show whether a call costs more the longer its run is.

#include <algorithm>
#include <cstdint>

#include "bench.h"
#include "numbers.h"
#include "runs.h"

namespace sequential::bench {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr int kWarmUpCalls = 100;
constexpr int kChainCalls = 500;
constexpr int kLongCalls = 5'000;
constexpr std::size_t kWindow = 100;

Result<std::int64_t> time_of(const Json& row, const char* name) {
  const auto time = row.contains(name) && row[name].is_string()
                        ? parse_iso_time(row[name].get<std::string>())
                        : std::nullopt;
  if (!time) return Error{Errc::response_invalid, std::string("a stack run without ") + name};
  return time->ms;
}

// The column's distribution, in its own unit.
OrderedJson distribution(const std::vector<Json>& rows, const char* column) {
  std::vector<double> values;
  for (const auto& row : rows) {
    if (row.contains(column) && row[column].is_number()) values.push_back(row[column]);
  }
  return {{"p50", percentile(values, 50)},
          {"p99", percentile(values, 99)},
          {"max", percentile(values, 100)},
          {"n", values.size()}};
}

OrderedJson counts(const std::vector<Json>& rows, const char* column) {
  OrderedJson found = OrderedJson::object();
  for (const auto& row : rows) {
    if (!row.contains(column) || !row[column].is_string()) continue;
    const std::string value = row[column];
    found[value] = found.value(value, 0) + 1;
  }
  return found;
}

Result<void> add_windows(const std::vector<Json>& rows, Sample& sample) {
  std::vector<std::int64_t> ended;
  SEQUENTIAL_TRY(const auto begun, time_of(rows.front(), "created_at"));
  ended.push_back(begun);
  for (std::size_t seq = 1; seq < rows.size(); ++seq) {
    SEQUENTIAL_TRY(const auto at, time_of(rows[seq], "ended_at"));
    ended.push_back(at);
  }
  const auto means = window_means(ended, kWindow);
  if (means.empty()) return Error{Errc::response_invalid, "too few calls for a window"};
  sample.metrics["chain_ms_first_100"] = rounded_to(means.front(), 3);
  sample.metrics["chain_ms_last_100"] = rounded_to(means.back(), 3);
  // What 1,000 more calls in the journal add to the time of one.
  const double per_thousand = trend(means) * (1'000.0 / static_cast<double>(kWindow));
  sample.metrics["chain_growth_us_per_1000_calls"] = rounded_to(per_thousand * 1'000, 1);
  sample.detail["window_calls"] = kWindow;
  sample.detail["ms_per_call_by_window"] = means;
  sample.detail["hop_us"] = distribution(rows, "hop_us");
  sample.detail["resume_us"] = distribution(rows, "resume_us");
  sample.detail["resume_kinds"] = counts(rows, "resume_kind");
  sample.detail["via"] = counts(rows, "via");
  return success();
}

}  // namespace

Result<Sample> bench_chain(const Plan& plan) {
  SEQUENTIAL_TRY(auto prepared, prepare(plan.server, plan.task_file));
  auto& [server, connection] = prepared;
  const auto& to = server.endpoint();
  const int calls = plan.calls > 0 ? plan.calls : kChainCalls;
  SEQUENTIAL_TRY(const double warm_up_ms, timed_run(connection, to, kWarmUpCalls));
  const Snapshot before = take_snapshot(server.pid());
  std::vector<double> rates;
  for (int round = 0; round < plan.rounds; ++round) {
    SEQUENTIAL_TRY(const double ms, timed_run(connection, to, calls));
    rates.push_back(rounded_to(calls / ms * 1'000, 1));
  }
  const Snapshot after = take_snapshot(server.pid());
  SEQUENTIAL_TRY(auto stats, healthy_stats(connection, to));
  SEQUENTIAL_TRY(server.stop());

  Sample sample;
  sample.metrics["chain_calls_per_s"] = median(rates);
  sample.metrics["peak_rss_mb"] = peak_rss_mb(after);
  sample.detail["calls"] = calls;
  sample.detail["warm_up_calls"] = kWarmUpCalls;
  sample.detail["warm_up_ms"] = rounded_to(warm_up_ms, 2);
  sample.detail["rounds_calls_per_s"] = rates;
  sample.detail["stats"] = std::move(stats);
  sample.detail["usage"] = usage_json(before, after, static_cast<double>(calls) * plan.rounds);
  return sample;
}

Result<Sample> bench_long(const Plan& plan) {
  SEQUENTIAL_TRY(auto prepared, prepare(plan.server, plan.task_file));
  auto& [server, connection] = prepared;
  const auto& to = server.endpoint();
  const int calls = plan.calls > 0 ? plan.calls : kLongCalls;
  SEQUENTIAL_TRY(timed_run(connection, to, kWarmUpCalls));
  const Snapshot before = take_snapshot(server.pid());
  const MonoTime begun = system_clock().monotonic();
  SEQUENTIAL_TRY(const auto answer,
                 connection.exchange(execute_request(to, calls, Wait::for_result)));
  const Snapshot after = take_snapshot(server.pid());
  SEQUENTIAL_TRY(check_completed(answer, calls));
  SEQUENTIAL_TRY(const auto run, run_id(answer));
  SEQUENTIAL_TRY(const auto rows, checked_stack(connection, to, run, calls));
  SEQUENTIAL_TRY(auto stats, healthy_stats(connection, to));
  SEQUENTIAL_TRY(server.stop());

  Sample sample;
  const double seconds = std::chrono::duration<double>(after.at - begun).count();
  sample.metrics["long_calls_per_s"] = rounded_to(calls / seconds, 1);
  SEQUENTIAL_TRY(add_windows(rows, sample));
  sample.metrics["peak_rss_mb"] = peak_rss_mb(after);
  sample.detail["calls"] = calls;
  sample.detail["stats"] = std::move(stats);
  sample.detail["usage"] = usage_json(before, after, calls);
  return sample;
}

}  // namespace sequential::bench
