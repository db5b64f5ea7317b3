#pragma once
// Log lines: a fixed message plus fields, to stderr, as text on a terminal and JSON otherwise.
// Never payloads, secrets or SQL values. The sink is asynchronous: it drops when full and counts
// the drops, so logging never blocks work.
//
// Threads: any. `start_logging` once at start, `stop_logging` before exit flushes.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace sequential {

enum class LogLevel { debug, info, warn, error };
enum class LogFormat { automatic, text, json };

struct LogField {
  std::string_view key;
  std::string value;
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, std::int64_t v) : key(k), value(std::to_string(v)) {}
};

void start_logging(LogLevel level, LogFormat format);
void stop_logging();
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
