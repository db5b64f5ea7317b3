#include "gapi_fixture.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <utility>

#include "base64.h"
#include "sequential/base/json_text.h"

namespace sequential::test {
namespace {

EVP_PKEY* test_key() {
  static EVP_PKEY* const key = EVP_RSA_gen(2048);
  return key;
}

std::string percent_decode(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

void MapKeystore::set(std::string name_space, std::string key, std::string value,
                      std::function<void(Result<void>)> done) {
  {
    const std::lock_guard lock(mutex_);
    values_[name_space + "/" + key] = std::move(value);
  }
  done(success());
}

void MapKeystore::get(std::string name_space, std::string key,
                      std::function<void(Result<std::string>)> done) {
  Result<std::string> result = make_error(Errc::key_not_found, "there is no secret " + key);
  {
    const std::lock_guard lock(mutex_);
    ++reads_;
    const auto place = values_.find(name_space + "/" + key);
    if (failing_) {
      result = make_error(failure_, "the store is away");
    } else if (place != values_.end()) {
      result = place->second;
    }
  }
  done(std::move(result));
}

void MapKeystore::remove(std::string name_space, std::string key,
                         std::function<void(Result<bool>)> done) {
  bool removed = false;
  {
    const std::lock_guard lock(mutex_);
    removed = values_.erase(name_space + "/" + key) != 0;
  }
  done(removed);
}

void MapKeystore::put(const std::string& key, const std::string& value) {
  const std::lock_guard lock(mutex_);
  values_["default/" + key] = value;
}

void MapKeystore::erase(const std::string& key) {
  const std::lock_guard lock(mutex_);
  values_.erase("default/" + key);
}

int MapKeystore::reads() const {
  const std::lock_guard lock(mutex_);
  return reads_;
}

void MapKeystore::fail_with(Errc code) {
  const std::lock_guard lock(mutex_);
  failing_ = true;
  failure_ = code;
}

WallTime ManualClock::now() const {
  const std::lock_guard lock(mutex_);
  return WallTime{1'800'000'000'000} + passed_;
}

MonoTime ManualClock::monotonic() const {
  const std::lock_guard lock(mutex_);
  return MonoTime{} + std::chrono::hours{1} + passed_;
}

void ManualClock::advance(Millis by) {
  const std::lock_guard lock(mutex_);
  passed_ += by;
}

std::string private_key_pem() {
  static const std::string pem = [] {
    BIO* const bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, test_key(), nullptr, nullptr, 0, nullptr, nullptr);
    char* data = nullptr;
    const long bytes = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<std::size_t>(bytes));
    BIO_free(bio);
    return text;
  }();
  return pem;
}

std::string service_account_json(const std::string& extra_members) {
  return R"({"type":"service_account","client_email":"robot@project.test","private_key":)" +
         json_string(private_key_pem()) +
         R"(,"token_uri":"https://oauth2.googleapis.com/token")" + extra_members + "}";
}

Assertion verify_assertion(const std::string& jwt) {
  Assertion out;
  const std::size_t first = jwt.find('.'), second = jwt.rfind('.');
  if (first == std::string::npos || first == second) return out;
  out.header = services::from_base64(jwt.substr(0, first)).value_or("");
  out.claims = services::from_base64(jwt.substr(first + 1, second - first - 1)).value_or("");
  const std::string signature = services::from_base64(jwt.substr(second + 1)).value_or("");
  const std::string signing = jwt.substr(0, second);
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  out.signature_valid =
      EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, test_key()) == 1 &&
      EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(signature.data()),
                       signature.size(), reinterpret_cast<const unsigned char*>(signing.data()),
                       signing.size()) == 1;
  EVP_MD_CTX_free(context);
  return out;
}

FakeGoogle::FakeGoogle()
    : server_(std::make_unique<LoopbackServer>(
          [this](const SeenRequest& request, Peer& peer) { serve(request, peer); })) {}

void FakeGoogle::answers_push(std::string raw) {
  const std::lock_guard lock(mutex_);
  answers_.push_back(std::move(raw));
}

void FakeGoogle::answer_token(std::string raw) {
  const std::lock_guard lock(mutex_);
  token_answers_.push_back(std::move(raw));
}

void FakeGoogle::on_api(Handler handler) {
  const std::lock_guard lock(mutex_);
  api_handler_ = std::move(handler);
}

void FakeGoogle::serve(const SeenRequest& request, Peer& peer) {
  std::string raw = json_response(200, "{}");
  Handler handler;
  {
    const std::lock_guard lock(mutex_);
    const bool token = request.path() == "/_h/oauth2.googleapis.com/token";
    std::deque<std::string>& answers = token ? token_answers_ : answers_;
    if (token) {
      raw = json_response(200, R"({"access_token":"token-)" + std::to_string(++tokens_) +
                                   R"(","expires_in":3600,"token_type":"Bearer"})");
    } else {
      handler = api_handler_;
    }
    if (!answers.empty()) {
      raw = answers.front();
      answers.pop_front();
    }
  }
  if (handler) return handler(request, peer);
  if (raw.empty()) return peer.close();
  peer.send(raw);
}

std::vector<SeenRequest> FakeGoogle::api_requests() const {
  auto some = server_->requests();
  std::erase_if(some, [](const SeenRequest& each) {
    return each.path() == "/_h/oauth2.googleapis.com/token";
  });
  return some;
}

std::vector<SeenRequest> FakeGoogle::token_requests() const {
  return server_->requests("/_h/oauth2.googleapis.com/token");
}

Assertion FakeGoogle::assertion(std::size_t n) const {
  const auto requests = token_requests();
  if (n >= requests.size()) return {};
  const std::string& body = requests[n].body;
  const std::size_t at = body.find("&assertion=");
  return verify_assertion(percent_decode(body.substr(at + 11)));
}

std::string json_response(int status, const std::string& body, std::vector<std::string> headers) {
  headers.emplace_back("Content-Type: application/json; charset=UTF-8");
  return http_response(status, body, headers);
}

}  // namespace sequential::test
