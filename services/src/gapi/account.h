#pragma once
// A Google service account: who signs, and the signed request for a token (RFC 7523).
//
// Threads: constant after parsing; signing from any thread.

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/base/error.h"

namespace sequential::services::gapi {

struct PkeyFree {
  void operator()(EVP_PKEY* key) const noexcept;
};

struct ServiceAccount {
  std::string client_email;
  std::string token_uri;
  std::string quota_project_id;  // empty: none
  std::string fingerprint;       // tells keys apart; not secret
  std::unique_ptr<EVP_PKEY, PkeyFree> key;
};

// From the JSON that Google hands out. Errors: config_invalid; never with any of the text.
Result<std::shared_ptr<const ServiceAccount>> parse_service_account(std::string_view json);

// The assertion: header.claims.signature, RS256.
Result<std::string> signed_assertion(const ServiceAccount& account, std::string_view subject,
                                     std::string_view scopes, std::int64_t issued_at_s);

}  // namespace sequential::services::gapi
