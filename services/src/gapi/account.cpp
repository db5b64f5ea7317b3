#include "gapi/account.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <cstddef>
#include <utility>

#include "json_args.h"
#include "sequential/base/bytes.h"
#include "sequential/base/json_text.h"

namespace sequential::services::gapi {
namespace {

constexpr std::string_view kDefaultTokenUri = "https://oauth2.googleapis.com/token";
constexpr std::int64_t kAssertionSeconds = 3600;

Error at_fault(std::string_view what) {
  return make_error(Errc::config_invalid,
                    "the secret default/GAPI_KEY " + std::string(what) +
                        "; set it to the JSON key of a Google service account");
}

struct BioFree {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
};
struct ContextFree {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};

// A key with a passphrase must not make OpenSSL ask the terminal.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) { return -1; }

std::unique_ptr<EVP_PKEY, PkeyFree> read_key(const std::string& pem) {
  const std::unique_ptr<BIO, BioFree> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::unique_ptr<EVP_PKEY, PkeyFree> key;
  if (bio != nullptr) {
    key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_passphrase, nullptr));
  }
  ERR_clear_error();
  if (key != nullptr && EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA) key.reset();
  return key;
}

Result<std::string> sign_rs256(EVP_PKEY* key, std::string_view text) {
  const std::unique_ptr<EVP_MD_CTX, ContextFree> context(EVP_MD_CTX_new());
  const auto* const bytes = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t size = 0;
  std::string signature;
  bool ok = context != nullptr &&
            EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
            EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size()) == 1;
  if (ok) {
    signature.resize(size);
    ok = EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                        bytes, text.size()) == 1;
    signature.resize(size);
  }
  ERR_clear_error();
  if (!ok) return at_fault("holds a private key that cannot sign");
  return signature;
}

}  // namespace

void PkeyFree::operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }

Result<std::shared_ptr<const ServiceAccount>> parse_service_account(std::string_view json) {
  if (check_json(json).has_error()) return at_fault("is not JSON");
  // Someone may have stored the JSON as a JSON text.
  const std::string unwrapped = json_text_value(json).value_or("");
  if (!unwrapped.empty()) {
    if (check_json(unwrapped).has_error()) return at_fault("is not JSON");
    json = unwrapped;
  }
  while (!json.empty() && json.front() != '{') json.remove_prefix(1);
  if (!json_is_object(json)) return at_fault("is not a JSON object");
  const auto text = [json](std::string_view name) {
    return json_text_value(json_member(json, name)).value_or("");
  };
  auto account = std::make_shared<ServiceAccount>();
  account->client_email = text("client_email");
  account->token_uri = text("token_uri");
  if (account->token_uri.empty()) account->token_uri = kDefaultTokenUri;
  account->quota_project_id = text("quota_project_id");
  account->fingerprint = to_hex(sha256(json)).substr(0, 16);
  if (account->client_email.empty()) return at_fault("has no client_email");
  const std::string pem = text("private_key");
  if (pem.empty()) return at_fault("has no private_key");
  account->key = read_key(pem);
  if (account->key == nullptr) return at_fault("has a private_key that is no RSA key in PEM form");
  return std::shared_ptr<const ServiceAccount>(std::move(account));
}

Result<std::string> signed_assertion(const ServiceAccount& account, std::string_view subject,
                                     std::string_view scopes, std::int64_t issued_at_s) {
  JsonObject header;
  header.string("alg", "RS256").string("typ", "JWT");
  JsonObject claims;
  claims.string("iss", account.client_email)
      .string("scope", scopes)
      .string("aud", account.token_uri)
      .number("exp", issued_at_s + kAssertionSeconds)
      .number("iat", issued_at_s)
      .string("sub", subject);
  std::string signing = to_base64url(std::move(header).text()) + "." +
                        to_base64url(std::move(claims).text());
  SEQUENTIAL_TRY(const std::string signature, sign_rs256(account.key.get(), signing));
  return signing + "." + to_base64url(signature);
}

}  // namespace sequential::services::gapi
