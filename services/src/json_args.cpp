#include "json_args.h"

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "sequential/base/json_text.h"

namespace sequential::services {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// The end of the string literal that begins at `at`, past its closing quote.
std::size_t skip_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return text.size();
}

// The parts between the top-level commas of a container's inside.
std::vector<std::string_view> split_top_level(std::string_view inside) {
  std::vector<std::string_view> parts;
  if (trim(inside).empty()) return parts;
  std::size_t depth = 0;
  std::size_t begin = 0;
  std::size_t at = 0;
  while (at < inside.size()) {
    const char c = inside[at];
    if (c == '"') {
      at = skip_string(inside, at);
      continue;
    }
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (c == ',' && depth == 0) {
      parts.push_back(trim(inside.substr(begin, at - begin)));
      begin = at + 1;
    }
    ++at;
  }
  parts.push_back(trim(inside.substr(begin)));
  return parts;
}

}  // namespace

std::vector<std::string_view> json_elements(std::string_view array_text) {
  array_text = trim(array_text);
  if (!json_is_array(array_text) || array_text.size() < 2) return {};
  return split_top_level(array_text.substr(1, array_text.size() - 2));
}

Result<std::vector<std::string_view>> json_arguments(std::string_view text) {
  text = trim(text);
  if (text.empty()) return std::vector<std::string_view>{};
  const auto checked = check_json(text);
  if (checked.has_error()) {
    return Error{Errc::invalid_arguments,
                 "the call's arguments are not JSON: " + checked.error().message, "args"};
  }
  if (!json_is_array(text)) return std::vector<std::string_view>{text};
  return json_elements(text);
}

std::vector<JsonMember> json_members(std::string_view object_text) {
  std::vector<JsonMember> members;
  object_text = trim(object_text);
  if (!json_is_object(object_text) || object_text.size() < 2) return members;
  for (const std::string_view part :
       split_top_level(object_text.substr(1, object_text.size() - 2))) {
    const std::size_t name_end = skip_string(part, 0);
    const std::size_t colon = part.find(':', name_end);
    if (colon == std::string_view::npos) continue;
    members.push_back({json_text_value(trim(part.substr(0, name_end))).value_or(""),
                       trim(part.substr(colon + 1))});
  }
  return members;
}

std::optional<std::string> json_text_value(std::string_view literal) {
  if (!json_is_string(literal)) return std::nullopt;
  if (literal.size() >= 2 && literal.find('\\') == std::string_view::npos) {
    return std::string(literal.substr(1, literal.size() - 2));
  }
  // Without exceptions; an escape that UTF-8 cannot hold (a lone surrogate) is refused.
  const auto value = nlohmann::json::parse(literal, nullptr, false);
  if (!value.is_string()) return std::nullopt;
  return value.get<std::string>();
}

std::optional<double> json_double(std::string_view literal) {
  if (!json_is_number(literal)) return std::nullopt;
  double value = 0;
  const auto [end, error] =
      std::from_chars(literal.data(), literal.data() + literal.size(), value);
  if (error != std::errc{} || end != literal.data() + literal.size()) return std::nullopt;
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::int64_t> json_whole_number(std::string_view literal) {
  constexpr double exact_max = 9007199254740992.0;  // 2^53
  const auto value = json_double(literal);
  if (!value || std::abs(*value) > exact_max || std::trunc(*value) != *value) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

}  // namespace sequential::services
