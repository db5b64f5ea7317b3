#include "base64.h"

#include <sodium.h>

#include <cstddef>

namespace sequential::services {

std::string to_base64(std::string_view bytes) {
  std::string out(sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(out.data(), out.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
                    bytes.size(), sodium_base64_VARIANT_ORIGINAL);
  out.pop_back();  // libsodium's terminating zero
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  for (const char c : text) {
    if (c == '\r' || c == '\n') continue;
    clean += c == '-' ? '+' : c == '_' ? '/' : c;
  }
  while (clean.ends_with('=')) clean.pop_back();
  std::string out(clean.size() / 4 * 3 + 3, '\0');
  std::size_t bytes = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(out.data()), out.size(), clean.data(),
                        clean.size(), nullptr, &bytes, nullptr,
                        sodium_base64_VARIANT_ORIGINAL_NO_PADDING) != 0) {
    return std::nullopt;
  }
  out.resize(bytes);
  return out;
}

}  // namespace sequential::services
