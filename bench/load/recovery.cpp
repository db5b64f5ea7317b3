// recovery: kill -9 the server in the middle of a long run, start it again at once, and look when
// the next call was recorded. The store itself says when: a row's ended_at is taken inside the
// transaction that records the call, by the same clock as ours, exact to 1 ms, and reading it after
// the run's end disturbs nothing.

#include <algorithm>
#include <optional>

#include "bench.h"
#include "numbers.h"
#include "runs.h"

namespace sequential::bench {
namespace {

using Json = nlohmann::json;

constexpr int kRecoveryCalls = 5'000;
constexpr double kKillAt = 0.8;
constexpr Millis kWatchEvery{2};
constexpr Millis kProgressWithin{120'000};

// Waits until the run has recorded so many outcomes; answers how many it had when last seen.
Result<std::int64_t> await_outcomes(HttpConnection& connection, const Endpoint& to,
                                    std::int64_t run, std::int64_t wanted) {
  const MonoTime deadline = system_clock().monotonic() + kProgressWithin;
  const std::string target = "/runs/" + std::to_string(run);
  while (system_clock().monotonic() < deadline) {
    SEQUENTIAL_TRY(const auto state, get_json(connection, to, target));
    const auto outcomes = state.value("outcomes", std::int64_t{0});
    if (outcomes >= wanted) return outcomes;
    pause_for(kWatchEvery);
  }
  return Error{Errc::timeout, "the run did not get to call " + std::to_string(wanted) + " in time"};
}

struct Resumed {
  std::int64_t recorded_before = 0;       // calls recorded by the killed server
  std::optional<std::int64_t> first_new;  // ms since the epoch
  int repeated = 0;                       // calls with more than one try
};

Resumed find_resumption(const std::vector<Json>& rows, WallTime restarted_at) {
  Resumed resumed;
  for (std::size_t seq = 1; seq < rows.size(); ++seq) {
    const auto ended = parse_iso_time(rows[seq].value("ended_at", ""));
    if (!ended) continue;
    if (*ended <= restarted_at) {
      ++resumed.recorded_before;
    } else if (!resumed.first_new || ended->ms < *resumed.first_new) {
      resumed.first_new = ended->ms;
    }
    if (rows[seq].value("attempt", 1) > 1) ++resumed.repeated;
  }
  return resumed;
}

}  // namespace

Result<Sample> bench_recovery(const Plan& plan) {
  const int calls = plan.calls > 0 ? plan.calls : kRecoveryCalls;
  const auto kill_at = static_cast<std::int64_t>(calls * kKillAt);
  SEQUENTIAL_TRY(auto prepared, prepare(plan.server, plan.task_file));
  auto& [server, connection] = prepared;
  SEQUENTIAL_TRY(const auto accepted,
                 connection.exchange(execute_request(server.endpoint(), calls, Wait::no)));
  SEQUENTIAL_TRY(const auto run, run_id(accepted));
  SEQUENTIAL_TRY(const auto seen, await_outcomes(connection, server.endpoint(), run, kill_at));
  const WallTime killed_at = system_clock().now();
  server.kill_now();

  SEQUENTIAL_TRY(auto again, ServerProcess::start(plan.server));
  const auto& to = again.endpoint();
  SEQUENTIAL_TRY(auto reader, HttpConnection::open(to, kAnswerWithin));
  SEQUENTIAL_TRY(const auto state,
                 get_json(reader, to, "/runs/" + std::to_string(run) + "?wait=120"));
  SEQUENTIAL_TRY(check_run(state, calls));
  SEQUENTIAL_TRY(const auto rows, checked_stack(reader, to, run, calls));
  const double rss = peak_rss_mb(take_snapshot(again.pid()));
  SEQUENTIAL_TRY(again.stop());

  const Resumed resumed = find_resumption(rows, again.commanded_at());
  if (!resumed.first_new || resumed.recorded_before < seen) {
    return Error{Errc::response_invalid,
                 "of " + std::to_string(seen) + " calls seen recorded before the kill, " +
                     std::to_string(resumed.recorded_before) + " are recorded after it"};
  }
  Sample sample;
  sample.metrics["recovery_ms"] = *resumed.first_new - again.commanded_at().ms;
  sample.metrics["recovery_from_kill_ms"] = *resumed.first_new - killed_at.ms;
  sample.metrics["peak_rss_mb"] = rss;
  sample.detail["calls"] = calls;
  sample.detail["recorded_at_kill"] = resumed.recorded_before;
  sample.detail["calls_tried_again"] = resumed.repeated;
  sample.detail["until_listening_ms"] = again.until_listening().count();
  return sample;
}

}  // namespace sequential::bench
