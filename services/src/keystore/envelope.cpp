#include "envelope.h"

#include <sodium.h>

#include <cstddef>

#include "sequential/base/check.h"

namespace sequential::services {
namespace {

constexpr char kEnvelopeVersion = 1;
constexpr std::size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(kSealKeyBytes == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* bytes_of(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

void append_big_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
    out += static_cast<char>((value >> shift) & 0xFF);
  }
}

void append_part(std::string& out, std::string_view part) {
  append_big_endian(out, part.size(), 4);
  out += part;
}

std::string bound_text(const SealPlace& place, std::string_view kid) {
  std::string bound(1, kEnvelopeVersion);
  append_part(bound, place.tenant);
  append_part(bound, place.name_space);
  append_part(bound, place.name);
  append_big_endian(bound, static_cast<std::uint64_t>(place.version), 8);
  append_part(bound, kid);
  return bound;
}

Error does_not_open(const SealPlace& place) {
  return make_error(Errc::keystore_integrity,
                    "the stored secret " + std::string(place.name_space) + "/" +
                        std::string(place.name) +
                        " does not open: it was altered or moved, or the key file is not the one "
                        "that sealed it; restore the key file, or set the secret again");
}

}  // namespace

std::string seal(const unsigned char* key, std::string_view kid, const SealPlace& place,
                 std::string_view value) {
  SEQUENTIAL_CHECK(!kid.empty() && kid.size() <= kKidBytesMax);
  std::string envelope(1, kEnvelopeVersion);
  envelope += static_cast<char>(kid.size());
  envelope += kid;
  const std::size_t nonce_at = envelope.size();
  const std::size_t text_at = nonce_at + kNonceBytes;
  envelope.resize(text_at + value.size() + kTagBytes);
  randombytes_buf(bytes_of(envelope) + nonce_at, kNonceBytes);
  const std::string bound = bound_text(place, kid);
  unsigned long long written = 0;
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      bytes_of(envelope) + text_at, &written, bytes_of(value), value.size(), bytes_of(bound),
      bound.size(), nullptr, bytes_of(envelope) + nonce_at, key);
  SEQUENTIAL_CHECK(written == value.size() + kTagBytes);
  return envelope;
}

Result<std::string> unseal(const unsigned char* key, std::string_view kid, const SealPlace& place,
                           std::string_view envelope) {
  if (envelope.size() < 2 || envelope[0] != kEnvelopeVersion) return does_not_open(place);
  const auto kid_bytes = static_cast<std::size_t>(static_cast<unsigned char>(envelope[1]));
  if (envelope.size() < 2 + kid_bytes + kNonceBytes + kTagBytes) return does_not_open(place);
  if (envelope.substr(2, kid_bytes) != kid) return does_not_open(place);
  const std::string_view nonce = envelope.substr(2 + kid_bytes, kNonceBytes);
  const std::string_view sealed = envelope.substr(2 + kid_bytes + kNonceBytes);
  const std::string bound = bound_text(place, kid);
  std::string value(sealed.size() - kTagBytes, '\0');
  unsigned long long written = 0;
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(bytes_of(value), &written, nullptr,
                                                 bytes_of(sealed), sealed.size(), bytes_of(bound),
                                                 bound.size(), bytes_of(nonce), key) != 0) {
    return does_not_open(place);
  }
  return value;
}

}  // namespace sequential::services
