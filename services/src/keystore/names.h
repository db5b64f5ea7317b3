#pragma once
// Names of secrets: "namespace/key". Threads: pure.

#include <algorithm>
#include <string>
#include <string_view>

#include "sequential/base/error.h"

namespace sequential::services {

inline constexpr std::size_t kSecretNameBytesMax = 128;

// Letters, digits and _ . - : @ only: a name is shown in messages and used in paths and settings.
inline bool is_secret_name(std::string_view name) {
  return !name.empty() && name.size() <= kSecretNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '_' || c == '.' || c == '-' || c == ':' || c == '@';
         });
}

inline Result<void> check_secret_name(std::string_view name_space, std::string_view key) {
  constexpr std::string_view rule =
      " of a secret has 1 to 128 characters: letters, digits and _ . - : @";
  if (!is_secret_name(name_space)) {
    return Error{Errc::invalid_field, "the namespace" + std::string(rule), "namespace"};
  }
  if (!is_secret_name(key)) {
    return Error{Errc::invalid_field, "the key" + std::string(rule), "key"};
  }
  return success();
}

}  // namespace sequential::services
