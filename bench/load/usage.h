#pragma once
// What processes and the machine used, from /proc.

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "sequential/base/clock.h"

namespace sequential::bench {

struct Usage {
  double cpu_us = 0;              // on a processor, user and kernel
  std::int64_t waits = 0;         // voluntary context switches
  std::int64_t preemptions = 0;   // involuntary ones
  std::int64_t rss_peak_kib = 0;  // VmHWM
};

// The server, its engine processes, this program and the whole machine at one moment.
struct Snapshot {
  Usage broker, engines, client;
  int engine_processes = 0;
  double machine_busy_us = 0;
  MonoTime at;
};
Snapshot take_snapshot(pid_t broker);

double peak_rss_mb(const Snapshot& snapshot);

// Processors kept busy by others between two snapshots: above about 0.1 the figures are disturbed.
double foreign_cores(const Snapshot& before, const Snapshot& after);

// Per-call costs between two snapshots, for the "detail" of a sample.
nlohmann::ordered_json usage_json(const Snapshot& before, const Snapshot& after, double calls);

// Load average over one minute.
double load_average();

}  // namespace sequential::bench
