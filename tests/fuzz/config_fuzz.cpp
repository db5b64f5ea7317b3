// The configuration file, environment and flags are read without crashing, and what is accepted
// lies within its bounds.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sequential/base/json_text.h"
#include "sequential/config/load.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using sequential::config::Loaded;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // "file \0 variable \0 value \0 flag \0 value"; what is missing is empty.
  std::string_view parts[5];
  std::string_view rest = text;
  for (std::string_view& part : parts) {
    const std::size_t end = rest.find('\0');
    part = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  sequential::config::Sources sources;
  if (!parts[1].empty()) {
    sources.environment.emplace_back("SEQUENTIAL_" + std::string(parts[1]), parts[2]);
  }
  if (!parts[3].empty()) sources.flags.emplace_back(parts[3], parts[4]);
  const auto loaded = sequential::config::load_text(parts[0], "fuzz", sources);
  if (!loaded) {
    if (loaded.error().message.empty()) std::abort();
    return 0;
  }
  const auto& config = loaded.value().config;
  if (config.server.port < 0 || config.server.port > 65'535) std::abort();
  if (config.limits.frame_bytes < 2 * config.limits.payload_bytes) std::abort();
  if (!sequential::check_json(sequential::config::print_config(loaded.value()))) std::abort();
  if (!sequential::check_json(sequential::config::limits_json(config))) std::abort();
  return 0;
}
