// What is the case around a measurement: the machine, its load, and when it is quiet enough.

#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <thread>

#include "bench.h"
#include "numbers.h"

namespace sequential::bench {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr Millis kLook{500};
constexpr double kQuietCores = 0.1;

double busy_cores_now() {
  const Snapshot before = take_snapshot(::getpid());
  pause_for(kLook);
  return foreign_cores(before, take_snapshot(::getpid()));
}

// Answers the processors that other programs kept busy when last looked at.
double await_quiet(int seconds) {
  const MonoTime deadline = system_clock().monotonic() + std::chrono::seconds(seconds);
  double busy = busy_cores_now();
  while (busy > kQuietCores && system_clock().monotonic() < deadline) busy = busy_cores_now();
  return busy;
}

std::string first_line(const std::string& path, const std::string& starting_with) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(starting_with)) return line;
  }
  return {};
}

std::string after_colon(const std::string& line) {
  const auto colon = line.find(':');
  if (colon == std::string::npos) return {};
  const auto begin = line.find_first_not_of(" \t", colon + 1);
  return begin == std::string::npos ? std::string() : line.substr(begin);
}

std::string filesystem_of(const std::string& dir) {
  struct statfs facts {};
  if (::statfs(dir.c_str(), &facts) != 0) return "unknown";
  switch (facts.f_type) {
    case 0xEF53:
      return "ext2/3/4";
    case 0x58465342:
      return "xfs";
    case 0x9123683E:
      return "btrfs";
    case 0x01021994:
      return "tmpfs (memory: flushes cost nothing here)";
    case 0x794C7630:
      return "overlayfs";
    case 0x2FC12FC1:
      return "zfs";
    default:
      break;
  }
  std::ostringstream text;
  text << "0x" << std::hex << facts.f_type;
  return text.str();
}

// The median time of appending 4 KiB and waiting until they are on the disk.
double flush_us(const std::string& dir) {
  constexpr int kTries = 200;
  const std::string path = dir + "/flush-test";
  const int file = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) return 0;
  const std::array<char, 4'096> page{};
  std::vector<double> times;
  for (int i = 0; i < kTries; ++i) {
    const MonoTime begun = system_clock().monotonic();
    if (::write(file, page.data(), page.size()) < 0 || ::fdatasync(file) != 0) break;
    times.push_back(
        std::chrono::duration<double, std::micro>(system_clock().monotonic() - begun).count());
  }
  ::close(file);
  ::unlink(path.c_str());
  return rounded_to(median(times), 1);
}

Result<Sample> dispatch(const Plan& plan) {
  if (plan.bench == "chain") return bench_chain(plan);
  if (plan.bench == "long") return bench_long(plan);
  if (plan.bench == "fleet") return bench_fleet(plan);
  if (plan.bench == "start") return bench_start(plan);
  if (plan.bench == "recovery") return bench_recovery(plan);
  if (plan.bench == "floor") return bench_floor(plan);
  return Error{Errc::invalid_field, "there is no benchmark " + plan.bench};
}

}  // namespace

OrderedJson host_facts(const std::string& data_dir) {
  utsname system{};
  ::uname(&system);
  const double memory_kib = std::atof(after_colon(first_line("/proc/meminfo", "MemTotal")).c_str());
  return {{"cpu", after_colon(first_line("/proc/cpuinfo", "model name"))},
          {"cores", std::thread::hardware_concurrency()},
          {"memory_gb", rounded_to(memory_kib / (1 << 20), 1)},
          {"kernel", std::string(system.sysname) + " " + system.release},
          {"filesystem", filesystem_of(data_dir)},
          {"flush_us", flush_us(data_dir)}};
}

Result<OrderedJson> measure(const Plan& plan) {
  const double foreign_before = await_quiet(plan.quiet_wait_s);
  const double load = load_average();
  SEQUENTIAL_TRY(auto sample, dispatch(plan));
  OrderedJson out;
  out["bench"] = plan.bench;
  out["store"] = plan.server.store;
  out["run"] = plan.run;
  out["load_average"] = load;
  out["foreign_cores_before"] = foreign_before;
  out["metrics"] = std::move(sample.metrics);
  out["detail"] = std::move(sample.detail);
  return out;
}

}  // namespace sequential::bench
