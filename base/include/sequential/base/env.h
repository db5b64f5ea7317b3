#pragma once
// The process environment enters through here.
//
// Threads: read-only; safe as long as nobody changes the environment, and nobody of ours does.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sequential {

// nullopt: not set. Set but empty is "".
std::optional<std::string> environment(const std::string& name);

// Every variable whose name starts with `prefix`, by name.
std::vector<std::pair<std::string, std::string>> environment_with_prefix(std::string_view prefix);

}  // namespace sequential
