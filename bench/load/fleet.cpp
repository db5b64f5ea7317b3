// fleet: many runs at a time. Each of `concurrency` clients asks for a run, waits for its result
// and asks for the next; all of them live in this one thread, which sleeps in poll(). The same runs
// are then accepted without waiting, all at once, and awaited at the end (burst).

#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "bench.h"
#include "numbers.h"
#include "runs.h"

namespace sequential::bench {
namespace {

constexpr int kFleetRuns = 200;
constexpr int kFleetCalls = 10;
constexpr Millis kStalledAfter{60'000};

struct Client {
  HttpConnection connection;
  MonoTime asked_at;
  bool busy = false;
};

class Fleet {
 public:
  static Result<Fleet> open(const Endpoint& to, int concurrency) {
    Fleet fleet;
    for (int i = 0; i < concurrency; ++i) {
      SEQUENTIAL_TRY(auto connection, HttpConnection::open(to, kAnswerWithin));
      fleet.clients_.push_back(Client{std::move(connection), {}, false});
    }
    return fleet;
  }

  // Sends `count` times the same request, on every connection one at a time.
  Result<void> send_all(const std::string& request, int count) {
    answers_.clear();
    times_ms_.clear();
    left_ = count;
    for (auto& client : clients_) {
      SEQUENTIAL_TRY(ask(client, request));
    }
    while (static_cast<int>(answers_.size()) < count) {
      SEQUENTIAL_TRY(serve_ready(request));
    }
    return success();
  }

  const std::vector<HttpAnswer>& answers() const { return answers_; }
  const std::vector<double>& times_ms() const { return times_ms_; }

 private:
  Result<void> ask(Client& client, const std::string& request) {
    if (left_ == 0) return success();
    --left_;
    client.busy = true;
    client.asked_at = system_clock().monotonic();
    return client.connection.send(request);
  }

  Result<void> serve_ready(const std::string& request) {
    std::vector<pollfd> waiting;
    for (const auto& client : clients_) {
      waiting.push_back({client.busy ? client.connection.fd() : -1, POLLIN, 0});
    }
    const int ready =
        ::poll(waiting.data(), waiting.size(), static_cast<int>(kStalledAfter.count()));
    if (ready < 0 && errno == EINTR) return success();
    if (ready <= 0) return Error{Errc::timeout, "no run of the fleet ended for a minute"};
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].revents == 0) continue;
      auto& client = clients_[i];
      SEQUENTIAL_TRY(auto answer, client.connection.poll());
      if (!answer) continue;
      const auto took = system_clock().monotonic() - client.asked_at;
      times_ms_.push_back(std::chrono::duration<double, std::milli>(took).count());
      answers_.push_back(std::move(*answer));
      client.busy = false;
      SEQUENTIAL_TRY(ask(client, request));
    }
    return success();
  }

  std::vector<Client> clients_;
  std::vector<HttpAnswer> answers_;
  std::vector<double> times_ms_;
  int left_ = 0;
};

double per_second(int calls, MonoTime begun, MonoTime ended) {
  return rounded_to(calls / std::chrono::duration<double>(ended - begun).count(), 1);
}

// Accepts all runs, then awaits them; answers calls per second.
Result<double> burst(Fleet& fleet, HttpConnection& connection, const Endpoint& to, int runs,
                     int calls) {
  const MonoTime begun = system_clock().monotonic();
  SEQUENTIAL_TRY(fleet.send_all(execute_request(to, calls, Wait::no), runs));
  for (const auto& answer : fleet.answers()) {
    SEQUENTIAL_TRY(const auto id, run_id(answer));
    SEQUENTIAL_TRY(const auto run,
                   get_json(connection, to, "/runs/" + std::to_string(id) + "?wait=60"));
    SEQUENTIAL_TRY(check_run(run, calls));
  }
  return per_second(runs * calls, begun, system_clock().monotonic());
}

}  // namespace

Result<Sample> bench_fleet(const Plan& plan) {
  SEQUENTIAL_TRY(auto prepared, prepare(plan.server, plan.task_file));
  auto& [server, connection] = prepared;
  const auto& to = server.endpoint();
  const int calls = plan.calls > 0 ? plan.calls : kFleetCalls;
  const int runs = plan.runs > 0 ? plan.runs : kFleetRuns;
  SEQUENTIAL_TRY(auto fleet, Fleet::open(to, plan.concurrency));
  const std::string request = execute_request(to, calls, Wait::for_result);
  SEQUENTIAL_TRY(fleet.send_all(request, plan.concurrency));  // warm up

  std::vector<double> rates, times_ms, burst_rates;
  const Snapshot before = take_snapshot(server.pid());
  for (int round = 0; round < plan.rounds; ++round) {
    const MonoTime begun = system_clock().monotonic();
    SEQUENTIAL_TRY(fleet.send_all(request, runs));
    rates.push_back(per_second(runs * calls, begun, system_clock().monotonic()));
    for (const auto& answer : fleet.answers()) {
      SEQUENTIAL_TRY(check_completed(answer, calls));
    }
    times_ms.insert(times_ms.end(), fleet.times_ms().begin(), fleet.times_ms().end());
  }
  const Snapshot after = take_snapshot(server.pid());
  for (int round = 0; round < plan.rounds; ++round) {
    SEQUENTIAL_TRY(const double rate, burst(fleet, connection, to, runs, calls));
    burst_rates.push_back(rate);
  }
  const double rss = peak_rss_mb(take_snapshot(server.pid()));
  SEQUENTIAL_TRY(auto stats, healthy_stats(connection, to));
  SEQUENTIAL_TRY(server.stop());

  Sample sample;
  sample.metrics["fleet_calls_per_s"] = median(rates);
  sample.metrics["fleet_burst_calls_per_s"] = median(burst_rates);
  sample.metrics["fleet_run_p50_ms"] = rounded_to(percentile(times_ms, 50), 2);
  sample.metrics["fleet_run_p99_ms"] = rounded_to(percentile(times_ms, 99), 2);
  sample.metrics["peak_rss_mb"] = rss;
  sample.detail["runs"] = runs;
  sample.detail["calls"] = calls;
  sample.detail["concurrency"] = plan.concurrency;
  sample.detail["rounds_calls_per_s"] = rates;
  sample.detail["stats"] = std::move(stats);
  sample.detail["usage"] =
      usage_json(before, after, static_cast<double>(runs) * calls * plan.rounds);
  return sample;
}

}  // namespace sequential::bench
