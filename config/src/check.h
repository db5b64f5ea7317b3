#pragma once
// What must hold between settings.

#include <vector>

#include "sequential/base/error.h"
#include "sequential/config/config.h"

namespace sequential::config {

bool is_ip_address(const std::string& text);
bool is_loopback(const std::string& ip_address);

// Settings that are each within bounds but not together.
std::vector<Error> check_together(const Config& config);

// Fills in the paths whose default depends on the data folder.
void derive_paths(Config& config);

}  // namespace sequential::config
