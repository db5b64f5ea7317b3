// Puts the samples of all repetitions together. The report's members are the medians by name
// (chain_calls_per_s …), then "min", "max", "runs", "ratio_to_floor" by the same names, then what
// the caller adds (host, commit), then the samples themselves.

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>

#include "bench.h"
#include "numbers.h"

namespace sequential::bench {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char* kPeak = "peak_rss_mb";

struct Aim {
  double sqlite;
  double postgres;
};

struct Known {
  const char* name;
  const char* what;
  std::optional<Aim> aim;
  bool more_is_better;
  const char* floor = nullptr;  // the rate of the store alone that this one can reach at most
};

// In the order of the table. Aims: two cores, full durability.
constexpr Known kKnown[] = {
    {"chain_calls_per_s", "calls/s, 1 run of 500 calls", Aim{2'500, 1'500}, true,
     "floor_sequential_calls_per_s"},
    {"fleet_calls_per_s", "calls/s, 200 runs of 10 calls, 32 at a time", Aim{5'000, 3'500}, true,
     "floor_concurrent_calls_per_s"},
    {"fleet_burst_calls_per_s", "the same accepted at once, then awaited", std::nullopt, true,
     "floor_concurrent_calls_per_s"},
    {"fleet_run_p50_ms", "ms per run in the fleet, median", std::nullopt, false},
    {"fleet_run_p99_ms", "ms per run in the fleet, 99 %", std::nullopt, false},
    {"start_p50_ms", "ms, one-call run, median of 200", Aim{2, 3}, false},
    {"start_p99_ms", "ms, one-call run, 99 % of 200", std::nullopt, false},
    {"recovery_ms", "ms, restart after kill -9 to the next new call", Aim{300, 300}, false},
    {"recovery_from_kill_ms", "ms, kill -9 to the next new call", std::nullopt, false},
    {"long_calls_per_s", "calls/s, 1 run of 5,000 calls", std::nullopt, true,
     "floor_sequential_calls_per_s"},
    {"chain_ms_first_100", "ms per call, calls 1 to 100", std::nullopt, false},
    {"chain_ms_last_100", "ms per call, calls 4,901 to 5,000", std::nullopt, false},
    {"chain_growth_us_per_1000_calls", "us per call added by 1,000 more calls", std::nullopt,
     false},
    {kPeak, "MB, server and engines, largest of all", std::nullopt, false},
    {"floor_commits_per_s", "commits/s of the store alone, one run", std::nullopt, true},
    {"floor_sequential_calls_per_s", "calls/s of the store alone, one run", std::nullopt, true},
    {"floor_concurrent_calls_per_s", "the same, 32 runs at a time", std::nullopt, true},
    {"floor_raw_calls_per_s", "the same row changes in plain SQLite", std::nullopt, true},
};

// repetition → name → value
using Table = std::map<int, std::map<std::string, double>>;

Table table_of(const std::vector<OrderedJson>& samples) {
  Table table;
  for (const auto& sample : samples) {
    auto& row = table[sample.value("run", 1)];
    for (const auto& [name, value] : sample["metrics"].items()) {
      if (!value.is_number()) continue;
      const double number = value.get<double>();
      const auto [at, added] = row.emplace(name, number);
      if (!added && name == kPeak) at->second = std::max(at->second, number);
    }
  }
  return table;
}

std::vector<double> column(const Table& table, const std::string& name) {
  std::vector<double> values;
  for (const auto& [run, row] : table) {
    if (const auto found = row.find(name); found != row.end()) values.push_back(found->second);
  }
  return values;
}

// What part of the store's own rate the whole server reached, in each repetition.
std::vector<double> ratios(const Table& table, const Known& known) {
  std::vector<double> values;
  if (known.floor == nullptr) return values;
  for (const auto& [run, row] : table) {
    const auto value = row.find(known.name);
    const auto floor = row.find(known.floor);
    if (value != row.end() && floor != row.end() && floor->second > 0) {
      values.push_back(rounded_to(value->second / floor->second, 4));
    }
  }
  return values;
}

std::string line_of(const OrderedJson& report, const Known& known) {
  const auto shown = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, value >= 1'000 ? "%.0f" : "%.2f", value);
    return std::string(text);
  };
  const std::string name = known.name;
  const double value = report[name];
  std::string aim, met, ratio;
  if (known.aim) {
    const auto& samples = report["samples"];
    const bool postgres = !samples.empty() && samples[0].value("store", "sqlite") == "postgres";
    const double wanted = postgres ? known.aim->postgres : known.aim->sqlite;
    aim = (known.more_is_better ? ">= " : "<= ") + shown(wanted);
    met = (known.more_is_better ? value >= wanted : value <= wanted) ? "yes" : "NO";
  }
  if (report["ratio_to_floor"].contains(name)) ratio = shown(report["ratio_to_floor"][name]);
  char line[256];
  std::snprintf(line, sizeof line, "%-31s %10s %10s %10s  %-9s %-4s %-6s %s\n", known.name,
                shown(value).c_str(), shown(report["min"][name]).c_str(),
                shown(report["max"][name]).c_str(), aim.c_str(), met.c_str(), ratio.c_str(),
                known.what);
  return line;
}

}  // namespace

OrderedJson build_report(const std::vector<OrderedJson>& samples) {
  const Table table = table_of(samples);
  OrderedJson report, min = OrderedJson::object(), max = min, runs = min, ratio = min;
  for (const auto& known : kKnown) {
    const auto values = column(table, known.name);
    if (values.empty()) continue;
    report[known.name] = rounded_to(median(values), 3);
    min[known.name] = *std::min_element(values.begin(), values.end());
    max[known.name] = *std::max_element(values.begin(), values.end());
    runs[known.name] = values;
    const auto to_floor = ratios(table, known);
    if (!to_floor.empty()) ratio[known.name] = median(to_floor);
  }
  report["repetitions"] = table.size();
  report["min"] = std::move(min);
  report["max"] = std::move(max);
  report["runs"] = std::move(runs);
  report["ratio_to_floor"] = std::move(ratio);
  report["samples"] = samples;
  return report;
}

std::string report_table(const OrderedJson& report) {
  char head[256];
  std::snprintf(head, sizeof head, "%-31s %10s %10s %10s  %-9s %-4s %-6s %s\n", "", "median", "min",
                "max", "aim", "met", "/floor", "what");
  std::string table = head;
  for (const auto& known : kKnown) {
    if (report.contains(known.name)) table += line_of(report, known);
  }
  double foreign = 0;
  for (const auto& sample : report["samples"]) {
    const auto usage = sample["detail"].value("usage", OrderedJson::object());
    foreign = std::max(foreign, usage.value("foreign_cores", 0.0));
  }
  char note[128];
  std::snprintf(note, sizeof note, "Other programs used up to %.2f cores meanwhile%s.\n", foreign,
                foreign > 0.15 ? ": repeat on a quiet machine" : "");
  return table + note;
}

}  // namespace sequential::bench
