#pragma once
// The benchmarks. Each starts a fresh server on an empty store, publishes the task, warms up, does
// its work, checks every result (a wrong answer is an error, never a figure), stops the server.
//
// Threads:  one.
// Blocking: every wait has a deadline.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/base/error.h"
#include "server_process.h"
#include "usage.h"

namespace sequential::bench {

struct Plan {
  std::string bench;  // chain, long, fleet, start, recovery, floor
  ServerCommand server;
  std::string task_file;      // many-calls.js
  std::string floor_program;  // bench-floor
  int run = 1;                // number of the repetition, 1…
  int calls = 0;              // 0: what the benchmark is defined with
  int runs = 0;
  int concurrency = 32;
  int rounds = 5;
  int quiet_wait_s = 0;  // wait so long for other programs to leave the processors alone
};

// What one benchmark measured once.
struct Sample {
  nlohmann::ordered_json metrics = nlohmann::ordered_json::object();  // name → number
  nlohmann::ordered_json detail = nlohmann::ordered_json::object();
};

Result<Sample> bench_chain(const Plan& plan);
Result<Sample> bench_long(const Plan& plan);
Result<Sample> bench_fleet(const Plan& plan);
Result<Sample> bench_start(const Plan& plan);
Result<Sample> bench_recovery(const Plan& plan);
Result<Sample> bench_floor(const Plan& plan);

// Runs the benchmark of the plan's name and adds what was the case around it (load, version).
Result<nlohmann::ordered_json> measure(const Plan& plan);

// The facts of a machine that figures depend on; `data_dir` is where the store would be.
nlohmann::ordered_json host_facts(const std::string& data_dir);

// Puts samples together: medians, minima, maxima, ratios to the floor of the same repetition.
nlohmann::ordered_json build_report(const std::vector<nlohmann::ordered_json>& samples);
std::string report_table(const nlohmann::ordered_json& report);

}  // namespace sequential::bench
