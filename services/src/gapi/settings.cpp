#include "gapi/settings.h"

#include <chrono>
#include <utility>

#include "gapi/scopes.h"
#include "sequential/base/bytes.h"

namespace sequential::services::gapi {
namespace {

constexpr const char* kNamespace = "default";
constexpr const char* kKeyName = "GAPI_KEY";
constexpr const char* kAdminName = "GAPI_ADMIN_EMAIL";
constexpr const char* kScopesName = "GAPI_SCOPES";
// A changed setting is seen within this time, and a busy server does not unseal per call.
constexpr std::chrono::seconds kFresh{5};

std::string trimmed(std::string text) {
  const auto gap = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
  while (!text.empty() && gap(text.back())) text.pop_back();
  std::size_t begin = 0;
  while (begin < text.size() && gap(text[begin])) ++begin;
  return text.substr(begin);
}

}  // namespace

void SettingsCache::get(std::function<void(SettingsResult)> done) {
  std::shared_ptr<const Settings> ready;
  {
    const std::lock_guard lock(mutex_);
    if (settings_ != nullptr && clock_.monotonic() < fresh_until_) {
      ready = settings_;
    } else {
      waiting_.push_back(std::move(done));
      if (loading_) return;
      loading_ = true;
    }
  }
  if (ready != nullptr) {
    done(ready);
  } else {
    load_key();
  }
}

void SettingsCache::forget() {
  const std::lock_guard lock(mutex_);
  settings_ = nullptr;
}

void SettingsCache::load_key() {
  keystore_->get(kNamespace, kKeyName, [self = shared_from_this()](Result<std::string> value) {
    if (value.has_error()) return self->finish(value.error());
    const std::string hash = sha256(value.value());
    if (self->account_ == nullptr || hash != self->account_hash_) {
      auto parsed = parse_service_account(value.value());
      if (parsed.has_error()) return self->finish(parsed.error());
      self->account_ = std::move(parsed).value();
      self->account_hash_ = hash;
    }
    auto settings = std::make_shared<Settings>();
    settings->account = self->account_;
    self->load_admin(std::move(settings));
  });
}

void SettingsCache::load_admin(std::shared_ptr<Settings> settings) {
  keystore_->get(kNamespace, kAdminName,
                 [self = shared_from_this(), settings](Result<std::string> value) {
                   if (value.has_value()) {
                     settings->admin_email = trimmed(std::move(value).value());
                   } else if (value.error().code != Errc::key_not_found) {
                     return self->finish(value.error());
                   }
                   self->load_scopes(settings);
                 });
}

void SettingsCache::load_scopes(std::shared_ptr<Settings> settings) {
  keystore_->get(kNamespace, kScopesName,
                 [self = shared_from_this(), settings](Result<std::string> value) {
                   if (value.has_value()) {
                     settings->authorised = split_scopes(trimmed(value.value()));
                   } else if (value.error().code != Errc::key_not_found) {
                     return self->finish(value.error());
                   }
                   self->finish(std::shared_ptr<const Settings>(settings));
                 });
}

void SettingsCache::finish(SettingsResult result) {
  std::vector<std::function<void(SettingsResult)>> waiting;
  {
    const std::lock_guard lock(mutex_);
    loading_ = false;
    waiting.swap(waiting_);
    settings_ = result.has_value() ? result.value() : nullptr;
    fresh_until_ = clock_.monotonic() + kFresh;
  }
  for (const auto& done : waiting) done(result);
}

}  // namespace sequential::services::gapi
