#include "json_body.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "sequential/base/json_text.h"

namespace sequential::cli {
namespace {

using nlohmann::json;

// The code unit of a \uXXXX escape at `at`, or -1.
long unit_at(std::string_view text, std::size_t at) {
  if (text.substr(at, 2) != "\\u" || text.size() - at < 6) return -1;
  const std::string digits(text.substr(at + 2, 4));
  char* end = nullptr;
  const long unit = std::strtol(digits.c_str(), &end, 16);
  return end == digits.c_str() + 4 ? unit : -1;
}

constexpr std::size_t kIndentLevelsMax = 40;  // deeper lists must not turn into megabytes of space

// One past the closing quote of the literal that begins at `at` of a valid text.
std::size_t string_end(std::string_view text, std::size_t at) {
  for (++at; text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

std::string without_lone_surrogates(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::size_t at = 0;
  while (at < text.size()) {
    const long unit = unit_at(text, at);
    if (unit < 0xD800 || unit > 0xDFFF) {
      const std::size_t step = text[at] == '\\' ? 2 : 1;  // an escaped backslash starts no escape
      out += text.substr(at, step);
      at += step;
      continue;
    }
    const long low = unit_at(text, at + 6);
    if (unit < 0xDC00 && low >= 0xDC00 && low <= 0xDFFF) {
      out += text.substr(at, 12);
      at += 12;
    } else {
      out += "\\ufffd";
      at += 6;
    }
  }
  return out;
}

}  // namespace

std::optional<json> parse_body(std::string_view text) {
  json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded()) {
    parsed = json::parse(without_lone_surrogates(text), nullptr, false);
  }
  if (parsed.is_discarded()) return std::nullopt;
  return parsed;
}

bool is_true(const json& object, const char* key) {
  return has(object, key) && object[key] == true;
}

const json& object_of(const json& object, const char* key) {
  static const json none = json::object();
  return has(object, key) && object[key].is_object() ? object[key] : none;
}

const json& list_of(const json& object, const char* key) {
  static const json none = json::array();
  return has(object, key) && object[key].is_array() ? object[key] : none;
}

bool has(const json& object, const char* key) {
  return object.is_object() && object.contains(key) && !object[key].is_null();
}

std::string text_of(const json& object, const char* key) {
  if (!has(object, key)) return "";
  const json& value = object[key];
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::int64_t number_of(const json& object, const char* key) {
  if (!has(object, key) || !object[key].is_number()) return 0;
  return object[key].get<std::int64_t>();
}

std::string pretty(const json& value) {
  return value.dump(2, ' ', false, json::error_handler_t::replace);
}

// Not by parsing and writing again: numbers, escapes and the order of members stay as they are.
std::string pretty(std::string_view json_text) {
  if (!check_json(json_text)) return std::string(json_text);
  std::string out;
  std::size_t depth = 0;
  const auto new_line = [&out, &depth] {
    out.append("\n").append(2 * std::min(depth, kIndentLevelsMax), ' ');
  };
  for (std::size_t at = 0; at < json_text.size(); ++at) {
    const char c = json_text[at];
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
    if (c == '"') {
      const std::size_t end = string_end(json_text, at);
      out += json_text.substr(at, end - at);
      at = end - 1;
    } else if (c == '{' || c == '[') {
      const std::size_t next = json_text.find_first_not_of(" \n\r\t", at + 1);
      out.push_back(c);
      if (json_text[next] == '}' || json_text[next] == ']') {
        out.push_back(json_text[next]);
        at = next;
      } else {
        ++depth;
        new_line();
      }
    } else if (c == '}' || c == ']') {
      --depth;
      new_line();
      out.push_back(c);
    } else {
      out.push_back(c);
      if (c == ',') new_line();
      if (c == ':') out.push_back(' ');
    }
  }
  return out;
}

}  // namespace sequential::cli
