#include "usage.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace sequential::bench {
namespace {

namespace fs = std::filesystem;

// "Name:   123 kB" → 123.
std::int64_t status_value(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name + ":")) continue;
    return std::atoll(line.c_str() + name.size() + 1);
  }
  return 0;
}

Usage usage_of(pid_t pid) {
  const std::string base = "/proc/" + std::to_string(pid);
  Usage usage;
  usage.rss_peak_kib = status_value(base + "/status", "VmHWM");
  std::error_code error;
  for (const auto& thread : fs::directory_iterator(base + "/task", error)) {
    double ns = 0;
    std::ifstream(thread.path() / "schedstat") >> ns;
    usage.cpu_us += ns / 1000;
    usage.waits += status_value(thread.path() / "status", "voluntary_ctxt_switches");
    usage.preemptions += status_value(thread.path() / "status", "nonvoluntary_ctxt_switches");
  }
  return usage;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (bad != std::errc{} || end != name.data() + name.size()) continue;
    if (status_value(entry.path() / "status", "PPid") == parent) children.push_back(pid);
  }
  return children;
}

double machine_busy_us() {
  std::ifstream file("/proc/stat");
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  file >> cpu >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
  const double tick_us = 1e6 / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return (user + nice + system + irq + softirq + steal) * tick_us;
}

Usage added(Usage a, const Usage& b) {
  a.cpu_us += b.cpu_us;
  a.waits += b.waits;
  a.preemptions += b.preemptions;
  a.rss_peak_kib += b.rss_peak_kib;
  return a;
}

double rounded(double value, double digits = 100) { return std::round(value * digits) / digits; }

double elapsed_us(const Snapshot& before, const Snapshot& after) {
  return std::chrono::duration<double, std::micro>(after.at - before.at).count();
}

nlohmann::ordered_json per_call(const Usage& before, const Usage& after, double calls) {
  return {{"cpu_us", rounded((after.cpu_us - before.cpu_us) / calls)},
          {"waits", rounded(static_cast<double>(after.waits - before.waits) / calls)},
          {"preemptions",
           rounded(static_cast<double>(after.preemptions - before.preemptions) / calls)}};
}

}  // namespace

Snapshot take_snapshot(pid_t broker) {
  Snapshot snapshot;
  snapshot.broker = usage_of(broker);
  for (const pid_t child : children_of(broker)) {
    snapshot.engines = added(snapshot.engines, usage_of(child));
    ++snapshot.engine_processes;
  }
  snapshot.client = usage_of(::getpid());
  snapshot.machine_busy_us = machine_busy_us();
  snapshot.at = system_clock().monotonic();
  return snapshot;
}

double peak_rss_mb(const Snapshot& snapshot) {
  const auto kib = snapshot.broker.rss_peak_kib + snapshot.engines.rss_peak_kib;
  return rounded(static_cast<double>(kib) / 1024, 10);
}

double foreign_cores(const Snapshot& before, const Snapshot& after) {
  const auto ours = [](const Snapshot& s) {
    return s.broker.cpu_us + s.engines.cpu_us + s.client.cpu_us;
  };
  const double busy = after.machine_busy_us - before.machine_busy_us;
  const double foreign = busy - (ours(after) - ours(before));
  return rounded(std::max(0.0, foreign / elapsed_us(before, after)));
}

nlohmann::ordered_json usage_json(const Snapshot& before, const Snapshot& after, double calls) {
  return {
      {"elapsed_us_per_call", rounded(elapsed_us(before, after) / calls)},
      {"broker_per_call", per_call(before.broker, after.broker, calls)},
      {"engines_per_call", per_call(before.engines, after.engines, calls)},
      {"client_per_call", per_call(before.client, after.client, calls)},
      {"foreign_cores", foreign_cores(before, after)},
      {"engine_processes", after.engine_processes},
      {"broker_rss_peak_mb", rounded(static_cast<double>(after.broker.rss_peak_kib) / 1024, 10)},
      {"engines_rss_peak_mb", rounded(static_cast<double>(after.engines.rss_peak_kib) / 1024, 10)}};
}

double load_average() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  return load;
}

}  // namespace sequential::bench
