#include "log_format.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <initializer_list>
#include <string>
#include <string_view>

#include "sequential/base/json_text.h"

namespace sequential::log_format {
namespace {

constexpr std::size_t kMessageBytesMax = 1'024;
constexpr std::size_t kValueBytesMax = 2'048;

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warn: return "warn";
    case LogLevel::error: return "error";
  }
  return "error";
}

std::string_view colour_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return "\x1b[2m";
    case LogLevel::info: return "\x1b[32m";
    case LogLevel::warn: return "\x1b[33m";
    case LogLevel::error: return "\x1b[31m";
  }
  return "";
}

// ISO 8601 in UTC, "2026-11-21T21:10:03.123Z".
std::string iso_time(WallTime at) {
  const std::time_t seconds = static_cast<std::time_t>(at.ms / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[40];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::string out(text, length);
  std::snprintf(text, sizeof text, ".%03dZ", static_cast<int>(at.ms % 1000));
  return out + text;
}

bool is_bare(std::string_view value) {
  if (value.empty()) return false;
  for (const char c : value) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == '\x7f') return false;
  }
  return true;
}

}  // namespace

std::string json_line(WallTime at, LogLevel level, std::string_view message,
                      std::initializer_list<LogField> fields) {
  std::string out = "{\"at\":\"" + iso_time(at) + "\",\"level\":\"";
  out += name_of(level);
  out += "\",\"message\":";
  append_json_string(out, clip_utf8(message, kMessageBytesMax));
  for (const LogField& field : fields) {
    out.push_back(',');
    append_json_string(out, field.key);
    out.push_back(':');
    if (field.is_literal) {
      out += field.value;
    } else {
      append_json_string(out, clip_utf8(field.value, kValueBytesMax));
    }
  }
  out.push_back('}');
  return out;
}

std::string text_line(WallTime at, LogLevel level, std::string_view message,
                      std::initializer_list<LogField> fields, bool colour) {
  std::string out = iso_time(at).substr(11, 12);  // the hour to the millisecond
  std::string name(name_of(level));
  name.resize(5, ' ');
  out += colour ? " " + std::string(colour_of(level)) + name + "\x1b[0m " : " " + name + " ";
  out += clip_utf8(message, kMessageBytesMax);
  for (const LogField& field : fields) {
    out.push_back(' ');
    out += field.key;
    out.push_back('=');
    const std::string value = clip_utf8(field.value, kValueBytesMax);
    if (is_bare(value)) {
      out += value;
    } else {
      append_json_string(out, value);
    }
  }
  return out;
}

}  // namespace sequential::log_format
