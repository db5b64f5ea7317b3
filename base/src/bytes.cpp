#include "sequential/base/bytes.h"

#include <sys/random.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sequential/base/check.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace sequential {
namespace {

void fill_random(char* out, std::size_t count) {
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got = ::getrandom(out + done, count - done, 0);
    if (got < 0 && errno == EINTR) continue;
    SEQUENTIAL_CHECK(got > 0);  // A server without randomness must not go on.
    done += static_cast<std::size_t>(got);
  }
}

}  // namespace

std::string to_hex(std::string_view bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back(digits[byte >> 4]);
    out.push_back(digits[byte & 15]);
  }
  return out;
}

std::string to_base64url(std::string_view bytes) {
  constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  out.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t bits = 0;
  int count = 0;  // bits held that are not yet written, at most 12
  for (const char c : bytes) {
    bits = (bits << 8) | static_cast<unsigned char>(c);
    count += 8;
    while (count >= 6) {
      count -= 6;
      out.push_back(alphabet[(bits >> count) & 63]);
    }
  }
  if (count > 0) out.push_back(alphabet[(bits << (6 - count)) & 63]);
  return out;
}

std::string random_bytes(std::size_t count) {
  std::string out(count, '\0');
  fill_random(out.data(), out.size());
  return out;
}

std::uint64_t random_u64() {
  char raw[sizeof(std::uint64_t)];
  fill_random(raw, sizeof raw);
  std::uint64_t value = 0;
  for (const char c : raw) value = (value << 8) | static_cast<unsigned char>(c);
  return value;
}

Hash128 fast_hash(std::string_view bytes) noexcept {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {.high = hash.high64, .low = hash.low64};
}

}  // namespace sequential
