#pragma once
// The configuration file as flat settings.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sequential/base/error.h"

namespace sequential::config {

// Reads at most kFileBytesMax of the file.
Result<std::string> read_file(const std::string& path);

// Parses and flattens {"server": {"port": 1}} to {"server.port", 1}. Members that lead to no
// setting are added to `problems`. A top-level "$schema" is left out.
using FlatValues = std::vector<std::pair<std::string, nlohmann::json>>;
Result<FlatValues> flatten(std::string_view text, std::string_view file_name,
                           std::vector<Error>& problems);

// "no such setting; did you mean server.port?"
std::string unknown_setting(std::string_view path);

}  // namespace sequential::config
