#include "file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sequential/base/json_text.h"
#include "sequential/config/load.h"
#include "settings.h"
#include "suggest.h"

namespace sequential::config {
namespace {

using nlohmann::json;

constexpr std::size_t kNameShownBytesMax = 80;

bool is_section(std::string_view path) {
  const std::string prefix = std::string(path) + ".";
  return std::any_of(settings().begin(), settings().end(),
                     [&prefix](const Setting& s) { return s.path.starts_with(prefix); });
}

// check_json knows the byte; people know lines.
std::string position_of(std::string_view text, const std::string& message) {
  constexpr std::string_view marker = "at byte ";
  const auto found = message.find(marker);
  std::size_t byte = 0;
  if (found != std::string::npos) {
    const char* digits = message.data() + found + marker.size();
    std::from_chars(digits, message.data() + message.size(), byte);
  }
  const std::string_view before = text.substr(0, byte);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t start = before.rfind('\n');
  const std::size_t column = start == std::string_view::npos ? byte + 1 : byte - start;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

void flatten_object(const json& object, const std::string& prefix, FlatValues& out,
                    std::vector<Error>& problems) {
  for (const auto& [key, value] : object.items()) {
    const std::string path = prefix + key;
    if (prefix.empty() && key == "$schema") continue;
    if (find_setting(path) != nullptr) {
      out.emplace_back(path, value);
    } else if (!is_section(path)) {
      problems.emplace_back(Errc::config_invalid, unknown_setting(path),
                            clip_utf8(path, kNameShownBytesMax));
    } else if (!value.is_object()) {
      problems.emplace_back(Errc::config_invalid,
                            std::string("must be an object of settings, not ") + value.type_name(),
                            path);
    } else {
      flatten_object(value, path + ".", out, problems);  // as deep as the names in the table
    }
  }
}

}  // namespace

std::string unknown_setting(std::string_view path) {
  std::vector<std::string> known;
  for (const Setting& setting : settings()) {
    known.emplace_back(setting.path);
    // The sections too: "sever" is nearer to "server" than to any setting in it.
    for (auto dot = setting.path.find('.'); dot != std::string_view::npos;
         dot = setting.path.find('.', dot + 1)) {
      known.emplace_back(setting.path.substr(0, dot));
    }
  }
  const std::string guess = nearest(path, known);
  if (!guess.empty()) return "no such setting; did you mean " + guess + "?";
  // The right name in the wrong section: "port" for "server.port".
  const std::string leaf = "." + std::string(path.substr(path.rfind('.') + 1));
  for (const Setting& setting : settings()) {
    if (setting.path.ends_with(leaf)) {
      return "no such setting; did you mean " + std::string(setting.path) + "?";
    }
  }
  return "no such setting";
}

Result<std::string> read_file(const std::string& path) {
  const auto failed = [&path](const std::string& why) {
    return Error(Errc::config_invalid, "Cannot read configuration file " + path + ": " + why);
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"),
                                                             &std::fclose);
  if (!file) return failed(std::strerror(errno));
  std::string text(kFileBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) return failed(std::strerror(errno));
  if (text.size() > kFileBytesMax) return failed("larger than 1 MiB");
  return text;
}

Result<FlatValues> flatten(std::string_view text, std::string_view file_name,
                           std::vector<Error>& problems) {
  if (const auto checked = check_json(text, DuplicateKeys::refuse); !checked) {
    const std::string& why = checked.error().message;
    const auto colon = why.find(": ");
    return Error(Errc::config_invalid,
                 std::string(file_name) + ": not valid JSON at " + position_of(text, why) +
                     why.substr(std::min(colon, why.size())));
  }
  const json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded() || !parsed.is_object()) {
    return Error(Errc::config_invalid,
                 std::string(file_name) + ": the configuration must be a JSON object");
  }
  FlatValues values;
  flatten_object(parsed, "", values, problems);
  return values;
}

}  // namespace sequential::config
