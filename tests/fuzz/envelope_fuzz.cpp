// Sealed values: no bytes but the very ones that were sealed open, and all others fail alike.
//
// Input: an envelope as somebody who can write the database may have left it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "keystore/envelope.h"
#include "sequential/base/error.h"

using sequential::Errc;
using sequential::services::kSealKeyBytes;
using sequential::services::seal;
using sequential::services::SealPlace;
using sequential::services::unseal;

namespace {

constexpr std::array<unsigned char, kSealKeyBytes> kKey = {7, 7, 7};
constexpr SealPlace kPlace{.name_space = "default", .name = "GAPI_KEY", .version = 3};

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string sealed = seal(kKey.data(), "kid", kPlace, "the secret");
  static const std::string refusal = unseal(kKey.data(), "kid", kPlace, "").error().message;
  const std::string_view input(reinterpret_cast<const char*>(data), size);

  // As it came, and laid over a good envelope, so that mutations get past the header.
  std::string altered = sealed;
  for (std::size_t i = 0; i < size && i < altered.size(); ++i) {
    altered[i] = static_cast<char>(altered[i] ^ static_cast<char>(data[i]));
  }
  for (const std::string_view envelope : {input, std::string_view(altered)}) {
    const auto opened = unseal(kKey.data(), "kid", kPlace, envelope);
    if (envelope == sealed) {
      require(opened.has_value() && opened.value() == "the secret");
    } else {
      require(opened.has_error());
      require(opened.error().code == Errc::keystore_integrity);
      require(opened.error().message == refusal);
    }
  }
  return 0;
}
