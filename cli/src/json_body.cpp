#include "json_body.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

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

std::string pretty(std::string_view json_text) {
  // Ordered: members stay where the task put them.
  const auto value = nlohmann::ordered_json::parse(json_text, nullptr, false);
  if (value.is_discarded()) return std::string(json_text);
  return value.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace sequential::cli
