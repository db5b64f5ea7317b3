#pragma once
// The table of settings: the one place that says what can be set, within which bounds, and why.
//
// Threads: constant.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sequential/config/config.h"

namespace sequential::config {

using TextList = std::vector<std::string>;

// Reads or writes the setting's member of a Config.
using Access = std::variant<bool& (*)(Config&), int& (*)(Config&), std::int64_t& (*)(Config&),
                            std::string& (*)(Config&), TextList& (*)(Config&)>;

enum class Kind { boolean, integer, bytes, text, choice, list };
enum class Exposure { open, secret };

struct Setting {
  std::string_view path;
  Access access;
  Kind kind = Kind::text;
  std::int64_t min = 0, max = 0;  // integer, bytes
  std::string_view unit;          // integer, bytes: what is counted
  std::string_view help;          // one sentence
  std::span<const std::string_view> choices = {};
  Exposure exposure = Exposure::open;
};

inline constexpr std::size_t kTextBytesMax = 4'096;
inline constexpr std::size_t kListEntriesMax = 1'000;

std::span<const Setting> settings();
const Setting* find_setting(std::string_view path);

// "server.port" → "SEQUENTIAL_SERVER_PORT".
std::string environment_name(std::string_view path);

}  // namespace sequential::config
