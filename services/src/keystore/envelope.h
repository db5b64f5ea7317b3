#pragma once
// A sealed value: XChaCha20-Poly1305 (libsodium), bound to where it is stored.
//
//   envelope = version(1 byte: 1) kid_length(1) kid nonce(24) ciphertext+tag
//   bound    = version byte, then tenant, namespace, name, row version (8 bytes, big-endian), kid,
//              each after its length in 4 bytes big-endian, so no two places share a text
//
// Threads: pure functions over a key that does not change.
// Errors:  open fails with keystore_integrity and one same message, whatever is wrong.

#include <cstdint>
#include <string>
#include <string_view>

#include "sequential/base/error.h"

namespace sequential::services {

inline constexpr std::size_t kSealKeyBytes = 32;
inline constexpr std::size_t kKidBytesMax = 64;

// Where a value is stored. A value sealed for one place opens at no other.
struct SealPlace {
  std::string_view tenant = "default";
  std::string_view name_space;
  std::string_view name;
  std::int64_t version = 0;
};

// `key` is kSealKeyBytes long.
std::string seal(const unsigned char* key, std::string_view kid, const SealPlace& place,
                 std::string_view value);
Result<std::string> unseal(const unsigned char* key, std::string_view kid, const SealPlace& place,
                           std::string_view envelope);

}  // namespace sequential::services
