#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sequential::config {
namespace {

bool is_http_url(std::string_view text) {
  constexpr std::string_view schemes[] = {"http://", "https://"};
  for (const std::string_view scheme : schemes) {
    if (text.starts_with(scheme) && text.size() > scheme.size()) return true;
  }
  return false;
}

}  // namespace

bool is_ip_address(const std::string& text) {
  in6_addr address{};  // large enough for both families
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

bool is_loopback(const std::string& text) {
  in_addr v4{};
  if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return ::inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6) != 0;
}

std::vector<Error> check_together(const Config& config) {
  std::vector<Error> problems;
  const auto refuse = [&problems](const char* path, std::string message) {
    problems.emplace_back(Errc::config_invalid, std::move(message), path);
  };
  const Server& server = config.server;
  if (!is_ip_address(server.address)) {
    refuse("server.address", "must be an IP address, such as 127.0.0.1, 0.0.0.0 or ::1");
  } else if (!is_loopback(server.address) && server.api_token_file.empty()) {
    refuse("server.api_token_file",
           "must be set when server.address is not a loopback address, or anyone who reaches " +
               server.address + " could run code");
  }
  if (!config.chain.url.empty() && !is_http_url(config.chain.url)) {
    refuse("chain.url", "must be an http:// or https:// URL, or empty for this server");
  }
  if (config.store.path.empty()) refuse("store.path", "must name the database file");
  const bool has_url = !config.store.url.empty(), has_file = !config.store.url_file.empty();
  if (config.store.kind == "postgres" && has_url == has_file) {
    refuse("store.url", "exactly one of store.url and store.url_file must name the database");
  }
  if (config.store.sweep_ms > config.store.lease_ms) {
    refuse("store.sweep_ms", "must not be longer than store.lease_ms");
  }
  if (config.limits.frame_bytes < 2 * config.limits.payload_bytes) {
    refuse("limits.frame_bytes",
           "must be at least twice limits.payload_bytes, or a call could not reach the engine");
  }
  if (config.engine.warm_bytes_max < config.limits.heap_bytes) {
    refuse("engine.warm_bytes_max", "must be at least limits.heap_bytes, the heap of one isolate");
  }
  if (!is_http_url(config.services.gapi.endpoint)) {
    refuse("services.gapi.endpoint", "must be an http:// or https:// URL");
  }
  return problems;
}

void derive_paths(Config& config) {
  const std::filesystem::path folder = std::filesystem::path(config.store.path).parent_path();
  if (config.chain.key_file.empty()) config.chain.key_file = folder / "chain.key";
  if (config.keystore.key_file.empty()) config.keystore.key_file = folder / "keystore.key";
}

}  // namespace sequential::config
