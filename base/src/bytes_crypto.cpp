#include <sodium.h>

#include <string>
#include <string_view>

#include "sequential/base/bytes.h"
#include "sequential/base/check.h"

namespace sequential {
namespace {

const unsigned char* raw(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw(std::string& bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

}  // namespace

std::string sha256(std::string_view bytes) {
  std::string out(crypto_hash_sha256_BYTES, '\0');
  SEQUENTIAL_CHECK(crypto_hash_sha256(raw(out), raw(bytes), bytes.size()) == 0);
  return out;
}

// libsodium's one-call form takes only 32-byte keys; RFC 2104 allows any length.
std::string hmac_sha256(std::string_view key, std::string_view bytes) {
  crypto_auth_hmacsha256_state state;
  std::string out(crypto_auth_hmacsha256_BYTES, '\0');
  crypto_auth_hmacsha256_init(&state, raw(key), key.size());
  crypto_auth_hmacsha256_update(&state, raw(bytes), bytes.size());
  crypto_auth_hmacsha256_final(&state, raw(out));
  sodium_memzero(&state, sizeof state);
  return out;
}

bool equal_constant_time(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace sequential
