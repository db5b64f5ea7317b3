#pragma once
// Log lines: a fixed message plus fields, to stderr, as text on a terminal and JSON otherwise.
// Never payloads, secrets or SQL values. The sink is asynchronous: it drops when full and counts
// the drops, so logging never blocks work.
//
// Threads: any. `start_logging` once at start, `stop_logging` before exit flushes.

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace sequential {

enum class LogLevel { debug, info, warn, error };
enum class LogFormat { automatic, text, json };

struct LogField {
  std::string_view key;
  std::string value;
  bool is_literal = false;  // a number or a boolean: written without quotes
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  template <std::integral T>
  LogField(std::string_view k, T v) : key(k), is_literal(true) {
    if constexpr (std::is_same_v<T, bool>) {
      value = v ? "true" : "false";
    } else {
      value = std::to_string(v);
    }
  }
};

// Before start_logging and after stop_logging, warnings and errors are written at once, as text.
void start_logging(LogLevel level, LogFormat format);
// Waits for what is queued, at most two seconds: a stderr that nobody reads holds up no exit.
void stop_logging();
// Lines dropped since the process started. The log itself says so too, once there is room.
std::uint64_t log_lines_dropped() noexcept;
bool log_enabled(LogLevel level) noexcept;
void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

inline void log_debug(std::string_view m, std::initializer_list<LogField> f = {}) {
  if (log_enabled(LogLevel::debug)) log(LogLevel::debug, m, f);
}
inline void log_info(std::string_view m, std::initializer_list<LogField> f = {}) {
  log(LogLevel::info, m, f);
}
inline void log_warn(std::string_view m, std::initializer_list<LogField> f = {}) {
  log(LogLevel::warn, m, f);
}
inline void log_error(std::string_view m, std::initializer_list<LogField> f = {}) {
  log(LogLevel::error, m, f);
}

}  // namespace sequential
