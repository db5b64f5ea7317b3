#pragma once
// One value of a setting: read from text or JSON, checked against the table, shown.
//
// Threads: pure functions.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "sequential/base/error.h"
#include "sequential/config/config.h"
#include "settings.h"

namespace sequential::config {

// Sets the setting's member. The error's message is what was expected, to be put after the name:
// "must be a number from 0 to 65535". The value itself is quoted unless the setting is secret.
Result<void> assign_text(const Setting& setting, std::string_view value, Config& config);
Result<void> assign_json(const Setting& setting, const nlohmann::json& value, Config& config);

// "8MiB" → 8388608; plain numbers too.
Result<std::int64_t> parse_bytes(std::string_view text);
// 8388608 → "8 MiB", for people.
std::string show_bytes(std::int64_t bytes);

nlohmann::ordered_json show(const Setting& setting, const Config& config);
std::int64_t number_of(const Setting& setting, const Config& config);

}  // namespace sequential::config
