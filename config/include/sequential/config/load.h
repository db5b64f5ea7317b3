#pragma once
// Loading: defaults, then the JSON file, then the environment, then flags; a later source wins.
//
// Threads:  pure functions but for reading the file.
// Errors:   config_invalid. The message has one line per problem, each naming the setting and where
//           it was set; `field` is the first setting at fault.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sequential/base/error.h"
#include "sequential/config/config.h"

namespace sequential::config {

inline constexpr std::size_t kFileBytesMax = 1 << 20;

struct Sources {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  std::string file;   // path, empty = none
  Pairs environment;  // SEQUENTIAL_… variables; those of no section of ours are left alone
  Pairs flags;        // setting name and value, e.g. {"server.port", "0"}
};

struct Loaded {
  Config config;
  // Where each setting that is not its default came from, by name: "file f.json",
  // "environment SEQUENTIAL_SERVER_PORT", "flag".
  std::vector<std::pair<std::string, std::string>> origins;
};

Result<Loaded> load(const Sources& sources);

// The same from a text instead of a file (`name` is for messages). What the fuzzer drives.
Result<Loaded> load_text(std::string_view json, std::string_view name, const Sources& sources);

// "name=value" as given to --set.
Result<std::pair<std::string, std::string>> parse_set(std::string_view argument);

// Every setting with value and origin, one per line, as a JSON object; secrets hidden.
std::string print_config(const Loaded& loaded);

// JSON Schema (2020-12) of the file. config/sequential.schema.json is this text.
std::string schema_json();

// A limit that no setting changes.
struct FixedLimit {
  std::string_view name;
  std::int64_t value = 0;
  std::string_view unit;
  std::string_view help;
};

// Body of GET /limits: {"limits":[{"name","value","unit","min","max","help"}…]}, every bounded
// number among the settings and the fixed ones.
std::string limits_json(const Config& config, std::span<const FixedLimit> fixed = {});

}  // namespace sequential::config
