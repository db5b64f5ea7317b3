// floor: the store's own rate, measured by bench-floor with no server around it. That program's
// JSON is kept as the sample's detail.

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "bench.h"
#include "numbers.h"

extern char** environ;

namespace sequential::bench {
namespace {

using OrderedJson = nlohmann::ordered_json;

// What the program writes to its standard output; an error unless it ends with status 0.
Result<std::string> output_of(std::vector<std::string> arguments) {
  const Error failed{Errc::unavailable, arguments.front() + " failed"};
  std::vector<char*> pointers;
  for (auto& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return failed;
  posix_spawn_file_actions_t actions{};
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pipe[1], STDOUT_FILENO);
  pid_t pid = -1;
  const int spawned = ::posix_spawn(&pid, pointers[0], &actions, nullptr, pointers.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(pipe[1]);
  std::string output;
  std::array<char, 4'096> chunk;
  for (ssize_t got = 1; spawned == 0 && got != 0;) {
    got = ::read(pipe[0], chunk.data(), chunk.size());
    if (got > 0) output.append(chunk.data(), static_cast<std::size_t>(got));
    if (got < 0 && errno != EINTR) break;
  }
  ::close(pipe[0]);
  int status = 0;
  if (spawned != 0 || ::waitpid(pid, &status, 0) != pid || status != 0) return failed;
  return output;
}

}  // namespace

Result<Sample> bench_floor(const Plan& plan) {
  SEQUENTIAL_TRY(const auto text, output_of({plan.floor_program, "--dir", plan.server.data_dir,
                                             "--concurrency", std::to_string(plan.concurrency)}));
  const auto floor = OrderedJson::parse(text, nullptr, false);
  if (!floor.is_object() || !floor.contains("floor_commits_per_s")) {
    return Error{Errc::response_invalid, "bench-floor did not print what it should"};
  }
  Sample sample;
  sample.metrics["floor_commits_per_s"] = floor["floor_commits_per_s"];
  const auto add = [&](const char* metric, const char* part) {
    if (floor.contains(part)) sample.metrics[metric] = floor[part]["calls_per_s"];
  };
  add("floor_sequential_calls_per_s", "sequential");
  add("floor_concurrent_calls_per_s", "concurrent");
  add("floor_raw_calls_per_s", "raw_sequential");
  sample.detail = floor;
  return sample;
}

}  // namespace sequential::bench
