#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "sequential/base/json_text.h"
#include "sequential/config/load.h"
#include "settings.h"
#include "value.h"

namespace sequential::config {
namespace {

using nlohmann::ordered_json;

ordered_json schema_of(const Setting& setting, const Config& defaults) {
  ordered_json schema;
  std::string help(setting.help);
  if (!setting.unit.empty() && setting.kind == Kind::integer) {
    help += " Unit: " + std::string(setting.unit) + ".";
  }
  schema["description"] = help;
  switch (setting.kind) {
    case Kind::boolean: schema["type"] = "boolean"; break;
    case Kind::integer:
      schema["type"] = "integer";
      schema["minimum"] = setting.min;
      schema["maximum"] = setting.max;
      break;
    case Kind::bytes: {
      const ordered_json number = {
          {"type", "integer"}, {"minimum", setting.min}, {"maximum", setting.max}};
      const ordered_json text = {{"type", "string"}, {"pattern", "^[0-9]+ ?(B|KiB|MiB|GiB|TiB)?$"}};
      schema["anyOf"] = ordered_json::array({number, text});
      break;
    }
    case Kind::text:
      schema["type"] = "string";
      schema["maxLength"] = kTextBytesMax;
      break;
    case Kind::choice:
      schema["enum"] = ordered_json::array();
      for (const std::string_view choice : setting.choices) schema["enum"].push_back(choice);
      break;
    case Kind::list:
      schema["type"] = "array";
      schema["maxItems"] = kListEntriesMax;
      schema["items"] = {{"type", "string"}, {"minLength", 1}, {"maxLength", kTextBytesMax}};
      break;
  }
  if (setting.exposure == Exposure::open) schema["default"] = show(setting, defaults);
  return schema;
}

ordered_json object_schema() {
  return {{"type", "object"},
          {"additionalProperties", false},
          {"properties", ordered_json::object()}};
}

std::string origin_of(const Loaded& loaded, std::string_view path) {
  for (const auto& [name, origin] : loaded.origins) {
    if (name == path) return origin;
  }
  return "default";
}

// Everything counted is a limit; a port is a number that counts nothing.
bool is_limit(const Setting& setting) {
  return (setting.kind == Kind::integer || setting.kind == Kind::bytes) && setting.unit != "port";
}

}  // namespace

std::string schema_json() {
  const Config defaults;
  ordered_json root = {
      {"$schema", "https://json-schema.org/draft/2020-12/schema"},
      {"title", "sequential-runner configuration"},
      {"description", "Generated from config/src/settings.cpp: build the target config_schema."}};
  root.update(object_schema());
  root["properties"]["$schema"] = {{"type", "string"}};
  for (const Setting& setting : settings()) {
    ordered_json* parent = &root;
    std::string_view rest = setting.path;
    for (auto dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.')) {
      ordered_json& section = (*parent)["properties"][std::string(rest.substr(0, dot))];
      if (section.is_null()) section = object_schema();
      parent = &section;
      rest = rest.substr(dot + 1);
    }
    (*parent)["properties"][std::string(rest)] = schema_of(setting, defaults);
  }
  return root.dump(2) + "\n";
}

std::string print_config(const Loaded& loaded) {
  std::string out = "{\n";
  for (const Setting& setting : settings()) {
    if (&setting != &settings().front()) out += ",\n";
    const ordered_json entry = {{"value", show(setting, loaded.config)},
                                {"origin", origin_of(loaded, setting.path)}};
    out += "  " + json_string(setting.path) + ": " +
           entry.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  }
  return out + "\n}\n";
}

std::string limits_json(const Config& config, std::span<const FixedLimit> fixed) {
  ordered_json limits = ordered_json::array();
  for (const Setting& setting : settings()) {
    if (!is_limit(setting)) continue;
    limits.push_back({{"name", setting.path},
                      {"value", number_of(setting, config)},
                      {"unit", setting.unit},
                      {"min", setting.min},
                      {"max", setting.max},
                      {"help", setting.help}});
  }
  const auto add_fixed = [&limits](const FixedLimit& limit) {
    limits.push_back({{"name", limit.name},
                      {"value", limit.value},
                      {"unit", limit.unit},
                      {"min", limit.value},
                      {"max", limit.value},
                      {"help", limit.help}});
  };
  add_fixed({.name = "json.depth_max",
             .value = static_cast<std::int64_t>(kJsonDepthMax),
             .unit = "levels",
             .help = "Nesting of any JSON text."});
  for (const FixedLimit& limit : fixed) add_fixed(limit);
  return ordered_json{{"limits", std::move(limits)}}.dump();
}

}  // namespace sequential::config
