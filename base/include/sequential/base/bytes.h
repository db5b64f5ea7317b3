#pragma once
// Hex, base64url, randomness and hashing of texts. Threads: pure or thread-safe.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace sequential {

std::string to_hex(std::string_view bytes);
std::string to_base64url(std::string_view bytes);  // no padding (RFC 4648 §5)

// From the kernel's generator; aborts if the kernel has none to give.
std::string random_bytes(std::size_t count);
std::uint64_t random_u64();

// SHA-256 (FIPS 180-4), 32 raw bytes; HMAC-SHA-256 (RFC 2104), 32 raw bytes. By libsodium.
std::string sha256(std::string_view bytes);
std::string hmac_sha256(std::string_view key, std::string_view bytes);
bool equal_constant_time(std::string_view a, std::string_view b) noexcept;

// XXH3 128-bit: detects differences between a journal and its replay; not for security.
struct Hash128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};
Hash128 fast_hash(std::string_view bytes) noexcept;

}  // namespace sequential
