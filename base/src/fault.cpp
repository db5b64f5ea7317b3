// The grammar of SEQUENTIAL_FAULTS:
//   list   = point *( "," point )
//   point  = name "=" action [ ":" ms ] [ "@" n [ "+" ] ]
//   action = "kill9" | "abort" | "stop" | "delay" | "error"
// A point acts at its n-th hit only; with "+" at that one and every later one.
#include "sequential/base/fault.h"

#ifdef SEQUENTIAL_FAULT_POINTS

#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <string>
#include <string_view>
#include <thread>

namespace sequential {
namespace {

enum class Action { kill9, abort, stop, delay, error };

struct Point {
  std::string name;
  Action action = Action::error;
  std::chrono::milliseconds pause{0};
  long first_hit = 1;
  bool every_later_hit = false;
  std::atomic<long> hits{0};
};

// A plan that is not understood must not pass for a test that found no fault.
[[noreturn]] void refuse(std::string_view spec) {
  std::fprintf(stderr, "SEQUENTIAL_FAULTS: cannot read '%.*s'\n", static_cast<int>(spec.size()),
               spec.data());
  std::abort();
}

long to_number(std::string_view text, std::string_view spec) {
  long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) refuse(spec);
  return value;
}

Action to_action(std::string_view text, std::string_view spec) {
  if (text == "kill9") return Action::kill9;
  if (text == "abort") return Action::abort;
  if (text == "stop") return Action::stop;
  if (text == "delay") return Action::delay;
  if (text == "error") return Action::error;
  refuse(spec);
}

void parse_point(std::string_view spec, Point& point) {
  const auto equals = spec.find('=');
  if (equals == 0 || equals == std::string_view::npos) refuse(spec);
  point.name = spec.substr(0, equals);
  std::string_view rest = spec.substr(equals + 1);
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    std::string_view hit = rest.substr(at + 1);
    if (hit.ends_with('+')) {
      point.every_later_hit = true;
      hit.remove_suffix(1);
    }
    point.first_hit = to_number(hit, spec);
    rest = rest.substr(0, at);
  }
  if (const auto colon = rest.find(':'); colon != std::string_view::npos) {
    point.pause = std::chrono::milliseconds{to_number(rest.substr(colon + 1), spec)};
    rest = rest.substr(0, colon);
  }
  point.action = to_action(rest, spec);
}

// Read once; constant afterwards but for the counters. A list, because points do not move.
std::list<Point>& plan() {
  static std::list<Point> points = [] {
    std::list<Point> parsed;
    const char* env = std::getenv("SEQUENTIAL_FAULTS");
    std::string_view text = env == nullptr ? "" : env;
    while (!text.empty()) {
      const auto comma = text.find(',');
      const std::string_view spec = text.substr(0, comma);
      if (!spec.empty()) parse_point(spec, parsed.emplace_back());
      text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
    }
    return parsed;
  }();
  return points;
}

void announce(const char* name) noexcept {
  static const int fd = [] {
    const char* env = std::getenv("SEQUENTIAL_FAULTS_FD");
    return env == nullptr ? -1 : std::atoi(env);
  }();
  if (fd < 0) return;
  const std::string line = std::string(name) + "\n";
  // Nobody to tell is not an error of the point.
  [[maybe_unused]] const ssize_t written = ::write(fd, line.data(), line.size());
}

bool act(const Point& point) noexcept {
  switch (point.action) {
    case Action::kill9: ::kill(::getpid(), SIGKILL); ::pause(); return false;
    case Action::abort: std::abort();
    case Action::stop: ::kill(::getpid(), SIGSTOP); return false;
    case Action::delay: std::this_thread::sleep_for(point.pause); return false;
    case Action::error: return true;
  }
  return false;
}

}  // namespace

bool fault_hit(const char* name) noexcept {
  bool error = false;
  for (Point& point : plan()) {
    if (point.name != name) continue;
    const long hit = ++point.hits;
    const bool due = hit == point.first_hit || (point.every_later_hit && hit > point.first_hit);
    if (!due) continue;
    announce(name);
    error = act(point) || error;
  }
  return error;
}

}  // namespace sequential

#endif  // SEQUENTIAL_FAULT_POINTS
