// Byte sizes:  digits [ " " ] [ "B" | "KiB" | "MiB" | "GiB" | "TiB" ]
#include "value.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

#include "sequential/base/json_text.h"

namespace sequential::config {
namespace {

using nlohmann::json;

struct Unit {
  std::string_view name;
  int shift;
};
constexpr Unit kUnits[] = {{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}};

constexpr std::size_t kShownBytesMax = 80;

Error wrong(const Setting& setting, std::string_view expected, std::string_view given) {
  std::string message = "must be " + std::string(expected);
  if (setting.exposure == Exposure::open) {
    message += ", not " + clip_utf8(given, kShownBytesMax);
  }
  return {Errc::config_invalid, std::move(message), std::string(setting.path)};
}

std::string range_of(const Setting& setting) {
  if (setting.kind == Kind::bytes) {
    return "a size from " + show_bytes(setting.min) + " to " + show_bytes(setting.max) +
           " (a number of bytes, or text like \"8MiB\")";
  }
  return "a whole number from " + std::to_string(setting.min) + " to " +
         std::to_string(setting.max);
}

std::string choices_of(const Setting& setting) {
  std::string out = setting.choices.size() > 1 ? "one of " : "";
  for (const std::string_view choice : setting.choices) {
    if (choice != setting.choices.front()) out += ", ";
    out += choice;
  }
  return out;
}

Result<void> assign_number(const Setting& setting, std::int64_t value, Config& config) {
  if (value < setting.min || value > setting.max) {
    return wrong(setting, range_of(setting), std::to_string(value));
  }
  if (const auto* narrow = std::get_if<int& (*)(Config&)>(&setting.access)) {
    (*narrow)(config) = static_cast<int>(value);
  } else {
    std::get<std::int64_t& (*)(Config&)>(setting.access)(config) = value;
  }
  return success();
}

// Text goes into paths, headers and log lines, so what could end one of those early is refused.
bool is_clean(std::string_view value) {
  return value.size() <= kTextBytesMax && is_valid_utf8(value) &&
         std::none_of(value.begin(), value.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

Result<void> assign_string(const Setting& setting, std::string_view value, Config& config) {
  if (setting.kind == Kind::choice &&
      std::find(setting.choices.begin(), setting.choices.end(), value) == setting.choices.end()) {
    return wrong(setting, choices_of(setting), json_string(value));
  }
  if (!is_clean(value)) {
    return wrong(setting, "at most 4096 bytes of text without control characters",
                 json_string(value));
  }
  std::get<std::string& (*)(Config&)>(setting.access)(config) = value;
  return success();
}

Result<void> assign_list(const Setting& setting, const json& value, Config& config) {
  constexpr std::string_view expected = "a list of at most 1000 short texts";
  if (!value.is_array() || value.size() > kListEntriesMax) {
    return wrong(setting, expected, value.type_name());
  }
  TextList entries;
  for (const json& entry : value) {
    const auto* text = entry.get_ptr<const std::string*>();
    if (text == nullptr || text->empty() || !is_clean(*text)) {
      return wrong(setting, expected, text == nullptr ? entry.type_name() : json_string(*text));
    }
    entries.push_back(*text);
  }
  std::get<TextList& (*)(Config&)>(setting.access)(config) = std::move(entries);
  return success();
}

Result<void> assign_boolean(const Setting& setting, bool value, Config& config) {
  std::get<bool& (*)(Config&)>(setting.access)(config) = value;
  return success();
}

// "a,b" or a JSON array.
Result<void> assign_list_text(const Setting& setting, std::string_view text, Config& config) {
  if (text.starts_with('[')) {
    if (!check_json(text)) return wrong(setting, "a JSON array or a,b,c", json_string(text));
    return assign_list(setting, json::parse(text, nullptr, false), config);
  }
  json entries = json::array();
  while (!text.empty()) {
    const auto comma = text.find(',');
    entries.push_back(std::string(text.substr(0, comma)));
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
  }
  return assign_list(setting, entries, config);
}

Result<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return Error(Errc::config_invalid, "not a whole number");
  }
  return value;
}

Result<void> assign_number_text(const Setting& setting, std::string_view text, Config& config) {
  const auto value = setting.kind == Kind::bytes ? parse_bytes(text) : parse_integer(text);
  if (!value) return wrong(setting, range_of(setting), json_string(text));
  return assign_number(setting, value.value(), config);
}

}  // namespace

Result<std::int64_t> parse_bytes(std::string_view text) {
  int shift = 0;
  if (text.ends_with('B')) {
    std::size_t unit_bytes = 1;
    for (const Unit& unit : kUnits) {
      if (!text.ends_with(unit.name)) continue;
      shift = unit.shift;
      unit_bytes = unit.name.size();
    }
    text.remove_suffix(unit_bytes);
    if (text.ends_with(' ')) text.remove_suffix(1);
  }
  SEQUENTIAL_TRY(const std::int64_t count, parse_integer(text));
  if (count < 0 || count > std::numeric_limits<std::int64_t>::max() >> shift) {
    return Error(Errc::config_invalid, "not a size");
  }
  return count << shift;
}

std::string show_bytes(std::int64_t bytes) {
  for (const Unit& unit : kUnits) {
    const std::int64_t size = std::int64_t{1} << unit.shift;
    if (bytes >= size && bytes % size == 0) {
      return std::to_string(bytes / size) + " " + std::string(unit.name);
    }
  }
  return std::to_string(bytes) + " bytes";
}

Result<void> assign_text(const Setting& setting, std::string_view value, Config& config) {
  switch (setting.kind) {
    case Kind::boolean:
      if (value == "true" || value == "1") return assign_boolean(setting, true, config);
      if (value == "false" || value == "0") return assign_boolean(setting, false, config);
      return wrong(setting, "true or false", json_string(value));
    case Kind::integer:
    case Kind::bytes: return assign_number_text(setting, value, config);
    case Kind::text:
    case Kind::choice: return assign_string(setting, value, config);
    case Kind::list: return assign_list_text(setting, value, config);
  }
  return wrong(setting, "of a known kind", json_string(value));
}

Result<void> assign_json(const Setting& setting, const json& value, Config& config) {
  const std::string shown = value.is_primitive() ? value.dump(-1, ' ', false,
                                                              json::error_handler_t::replace)
                                                 : value.type_name();
  switch (setting.kind) {
    case Kind::boolean:
      if (!value.is_boolean()) return wrong(setting, "true or false", shown);
      return assign_boolean(setting, value.get<bool>(), config);
    case Kind::integer:
    case Kind::bytes:
      if (setting.kind == Kind::bytes && value.is_string()) {
        return assign_number_text(setting, value.get_ref<const std::string&>(), config);
      }
      if (!value.is_number_integer()) return wrong(setting, range_of(setting), shown);
      if (value.is_number_unsigned() &&
          value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
        return wrong(setting, range_of(setting), shown);
      }
      return assign_number(setting, value.get<std::int64_t>(), config);
    case Kind::text:
    case Kind::choice:
      if (!value.is_string()) return wrong(setting, "text", shown);
      return assign_string(setting, value.get_ref<const std::string&>(), config);
    case Kind::list: return assign_list(setting, value, config);
  }
  return wrong(setting, "of a known kind", shown);
}

std::int64_t number_of(const Setting& setting, const Config& config) {
  auto& source = const_cast<Config&>(config);  // NOLINT: Access has one form; this only reads.
  if (const auto* narrow = std::get_if<int& (*)(Config&)>(&setting.access)) {
    return (*narrow)(source);
  }
  return std::get<std::int64_t& (*)(Config&)>(setting.access)(source);
}

nlohmann::ordered_json show(const Setting& setting, const Config& config) {
  auto& source = const_cast<Config&>(config);  // NOLINT: as above.
  if (setting.exposure == Exposure::secret) {
    const bool empty = std::get<std::string& (*)(Config&)>(setting.access)(source).empty();
    return empty ? "" : "(hidden)";
  }
  return std::visit(
      [&source](auto access) -> nlohmann::ordered_json { return access(source); },
      setting.access);
}

}  // namespace sequential::config
