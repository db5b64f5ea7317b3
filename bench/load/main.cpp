// bench-load: measures a sequential-runner over HTTP. bench/run drives it; see bench/README.md.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "bench.h"

namespace {

using namespace sequential;
using namespace sequential::bench;
using OrderedJson = nlohmann::ordered_json;

int fail(const Error& error) {
  std::fprintf(stderr, "bench-load: %s\n", error.message.c_str());
  return 1;
}

int run_bench(const Plan& plan) {
  std::error_code error;
  std::filesystem::create_directories(plan.server.data_dir, error);
  const auto sample = measure(plan);
  if (sample.has_error()) return fail(sample.error());
  std::puts(sample.value().dump().c_str());
  return 0;
}

// Every file holds one or more samples, a line each.
Result<std::vector<OrderedJson>> read_samples(const std::vector<std::string>& files) {
  std::vector<OrderedJson> samples;
  for (const auto& path : files) {
    std::ifstream file(path);
    if (!file) return Error{Errc::not_found, "cannot read " + path};
    for (std::string line; std::getline(file, line);) {
      if (line.empty()) continue;
      auto sample = OrderedJson::parse(line, nullptr, false);
      if (!sample.is_object() || !sample.contains("metrics")) {
        return Error{Errc::invalid_json, path + " holds a line that is not a sample"};
      }
      if (!sample.contains("detail")) sample["detail"] = OrderedJson::object();
      samples.push_back(std::move(sample));
    }
  }
  return samples;
}

struct ReportPlan {
  std::vector<std::string> files;
  std::string json, commit, data_dir, date, store, version;
};

int run_report(const ReportPlan& plan) {
  const auto samples = read_samples(plan.files);
  if (samples.has_error()) return fail(samples.error());
  OrderedJson report = build_report(samples.value());
  OrderedJson kept = std::move(report["samples"]);
  report.erase("samples");
  report["store"] = plan.store;
  report["commit"] = plan.commit;
  report["version"] = plan.version;
  report["date"] = plan.date;
  report["host"] = host_facts(plan.data_dir);
  report["samples"] = std::move(kept);
  if (!plan.json.empty()) {
    std::ofstream file(plan.json);
    file << report.dump(1) << '\n';
    if (!file.flush()) return fail(Error{Errc::unavailable, "cannot write " + plan.json});
  }
  std::fputs(report_table(report).c_str(), stdout);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App program{"Measures a sequential-runner over HTTP"};
  program.require_subcommand(1);
  Plan plan;
  const auto add_bench = [&](const char* name, const char* help) {
    CLI::App* bench = program.add_subcommand(name, help);
    bench->add_option("--server", plan.server.program, "the program to measure")->required();
    bench->add_option("--task", plan.task_file, "many-calls.js")->required();
    bench->add_option("--data", plan.server.data_dir, "empty folder for the store")->required();
    bench->add_option("--store", plan.server.store, "kind of store");
    bench->add_option("--set", plan.server.settings, "setting of the server, name=value");
    bench->add_option("--run", plan.run, "number of the repetition");
    bench->add_option("--calls", plan.calls, "calls per run, instead of the defined number")
        ->check(CLI::Range(1, 1'000'000));
    bench->add_option("--runs", plan.runs, "runs, instead of the defined number")
        ->check(CLI::Range(1, 1'000'000));
    bench->add_option("--concurrency", plan.concurrency, "clients of fleet")
        ->check(CLI::Range(1, 1'000));
    bench->add_option("--rounds", plan.rounds, "rounds of chain and fleet on one server")
        ->check(CLI::Range(1, 10'000));
    bench->add_option("--quiet-wait", plan.quiet_wait_s, "seconds to wait for a quiet machine");
    bench->callback([&plan, name] { plan.bench = name; });
  };
  add_bench("chain", "one run of 500 sequential calls");
  add_bench("long", "one run of 5,000 sequential calls");
  add_bench("fleet", "200 runs of 10 calls, 32 at a time");
  add_bench("start", "200 one-call runs, one after another");
  add_bench("recovery", "kill -9 at call 4,000 of 5,000");

  CLI::App* floor = program.add_subcommand("floor", "the store's own rate, by bench-floor");
  floor->add_option("--program", plan.floor_program, "bench-floor")->required();
  floor->add_option("--data", plan.server.data_dir, "empty folder for the store")->required();
  floor->add_option("--store", plan.server.store, "kind of store");
  floor->add_option("--run", plan.run, "number of the repetition");
  floor->add_option("--concurrency", plan.concurrency, "chains at a time");
  floor->add_option("--quiet-wait", plan.quiet_wait_s, "seconds to wait for a quiet machine");
  floor->callback([&plan] { plan.bench = "floor"; });

  ReportPlan report;
  CLI::App* reporting = program.add_subcommand("report", "put samples together");
  reporting->add_option("--json", report.json, "file to write");
  reporting->add_option("--commit", report.commit, "revision measured");
  reporting->add_option("--version", report.version, "what the server says it is");
  reporting->add_option("--date", report.date, "when");
  reporting->add_option("--store", report.store, "kind of store");
  reporting->add_option("--data", report.data_dir, "a folder on the measured file system")
      ->required();
  reporting->add_option("files", report.files, "files of samples")->required();

  CLI11_PARSE(program, argc, argv);
  return reporting->parsed() ? run_report(report) : run_bench(plan);
}
