#include "gapi/tokens.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "gapi/request.h"
#include "gapi/retry.h"
#include "http/url.h"
#include "http_call.h"
#include "json_args.h"
#include "sequential/base/json_text.h"

namespace sequential::services::gapi {
namespace {

constexpr std::size_t kEntriesMax = 10'000;
constexpr std::chrono::seconds kFetchMax{30};
constexpr std::chrono::minutes kRenewEarly{5};
constexpr std::int64_t kDefaultSeconds = 3600;
constexpr std::int64_t kSecondsMax = 24 * 3600;
constexpr std::int64_t kTokenBytesMax = 256 * 1024;
constexpr std::string_view kDefaultEndpoint = "https://{host}";
constexpr std::string_view kGrantType = "urn:ietf:params:oauth:grant-type:jwt-bearer";
constexpr std::size_t kShownBytesMax = 500;  // of a message that the endpoint wrote

// The token endpoint goes through the same template as the APIs. The default template changes
// nothing: there the URI stands as the key has it.
Result<std::string> token_url(std::string_view endpoint, const std::string& token_uri) {
  const auto target = parse_url(token_uri);
  if (target.has_error()) {
    return make_error(
        Errc::config_invalid,
        "the token_uri of the secret default/GAPI_KEY cannot be used: " + target.error().message);
  }
  if (endpoint == kDefaultEndpoint) return token_uri;
  const std::string& text = target.value().text;
  const auto authority = text.find("://") + 3;
  const auto path = std::min(text.find('/', authority), text.size());
  return fill_host(endpoint, text.substr(authority, path - authority)) + text.substr(path);
}

TokenFailure refusal(const HttpResponse& response) {
  TokenFailure failure;
  failure.status = response.status;
  failure.transient = is_retryable_status(response.status);
  failure.error.code = failure.transient ? Errc::service_unavailable : Errc::service_error;
  std::string description;
  if (check_json(response.body).has_value()) {
    failure.oauth_code = json_text_value(json_member(response.body, "error")).value_or("");
    description = json_text_value(json_member(response.body, "error_description")).value_or("");
  }
  if (failure.oauth_code.empty()) {
    failure.error.message =
        "the token endpoint answered with status " + std::to_string(response.status);
  } else {
    failure.error.message = failure.oauth_code + ": " + clip_utf8(description, kShownBytesMax);
  }
  return failure;
}

}  // namespace

TokenCache::TokenCache(HttpClient& http, std::shared_ptr<TimerQueue> timers, std::string endpoint,
                       const Clock& clock)
    : http_(http), timers_(std::move(timers)), endpoint_(std::move(endpoint)), clock_(clock) {}

std::string TokenCache::key_of(const Ask& ask) {
  return ask.account->fingerprint + "\n" + ask.subject + "\n" + ask.scopes;
}

void TokenCache::get(Ask ask, TokenDone done) {
  const std::string key = key_of(ask);
  std::string ready;
  bool fetch_now = false;
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    if (entries_.find(key) == entries_.end()) make_room();
    Entry& entry = entries_[key];
    if (!entry.token.empty() && clock_.monotonic() < entry.renew_at) {
      ready = entry.token;
    } else {
      number = ++last_number_;
      entry.waiting.push_back({number, std::move(done)});
      fetch_now = !std::exchange(entry.fetching, true);
    }
  }
  if (!ready.empty()) return done({ready, nullptr});
  watch_deadline(key, number, ask.deadline);
  if (!fetch_now) return;
  auto fetch = std::make_shared<Fetch>();
  fetch->key = key;
  fetch->ask = std::move(ask);
  fetch->deadline = system_clock().monotonic() + kFetchMax;
  auto url = token_url(endpoint_, fetch->ask.account->token_uri);
  if (url.has_error()) {
    TokenFailure failure;
    failure.error = std::move(url).error();
    return fail(*fetch, std::move(failure));
  }
  fetch->url = std::move(url).value();
  // A template of the operator's may lead to this machine; a key's token_uri by itself may not.
  fetch->trusted = endpoint_ != kDefaultEndpoint;
  send(std::move(fetch));
}

void TokenCache::refused(const Ask& ask, const std::string& token) {
  const std::lock_guard lock(mutex_);
  const auto place = entries_.find(key_of(ask));
  // Unless somebody else has renewed it already.
  if (place != entries_.end() && place->second.token == token) place->second.token.clear();
}

// Bounded: a task may impersonate any number of users. Any idle entry will do, an expired one
// first.
void TokenCache::make_room() {
  if (entries_.size() < kEntriesMax) return;
  const MonoTime now = clock_.monotonic();
  auto victim = entries_.end();
  for (auto place = entries_.begin(); place != entries_.end(); ++place) {
    if (place->second.fetching) continue;
    if (victim == entries_.end() || place->second.expires_at < victim->second.expires_at) {
      victim = place;
    }
    if (place->second.expires_at <= now) break;
  }
  if (victim != entries_.end()) entries_.erase(victim);
}

// A call gives up at its own deadline, though the fetch goes on for others.
void TokenCache::watch_deadline(const std::string& key, std::uint64_t number, MonoTime deadline) {
  if (deadline >= system_clock().monotonic() + kFetchMax) return;
  timers_->at(deadline, [self = weak_from_this(), key, number](Timer) {
    const auto that = self.lock();
    if (that == nullptr) return;
    TokenDone done;
    {
      const std::lock_guard lock(that->mutex_);
      const auto place = that->entries_.find(key);
      if (place == that->entries_.end()) return;
      auto& waiting = place->second.waiting;
      const auto waiter = std::find_if(waiting.begin(), waiting.end(),
                                       [&](const Waiter& each) { return each.number == number; });
      if (waiter == waiting.end()) return;
      done = std::move(waiter->done);
      waiting.erase(waiter);
    }
    auto failure = std::make_shared<TokenFailure>();
    failure->error = make_error(Errc::timeout, "the token endpoint did not answer in time");
    failure->transient = true;
    done({"", std::move(failure)});
  });
}

void TokenCache::send(std::shared_ptr<Fetch> fetch) {
  const std::int64_t now_s = clock_.now().ms / 1000;
  auto assertion =
      signed_assertion(*fetch->ask.account, fetch->ask.subject, fetch->ask.scopes, now_s);
  if (assertion.has_error()) {
    TokenFailure failure;
    failure.error = std::move(assertion).error();
    return fail(*fetch, std::move(failure));
  }
  HttpRequest request;
  request.method = "POST";
  request.url = fetch->url;
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
  request.body = "grant_type=" + percent_encode(kGrantType, Slash::encode) +
                 "&assertion=" + percent_encode(assertion.value(), Slash::encode);
  request.has_body = true;
  request.deadline = fetch->deadline;
  request.response_bytes_max = kTokenBytesMax;
  request.operator_trusted = fetch->trusted;
  http_.send(std::move(request), [self = shared_from_this(), fetch](Result<HttpResponse> answer) {
    self->answered(fetch, std::move(answer));
  });
}

void TokenCache::answered(const std::shared_ptr<Fetch>& fetch, Result<HttpResponse> answer) {
  if (answer.has_error()) {
    TokenFailure failure;
    failure.error = std::move(answer).error();
    failure.error.message = "no token: " + failure.error.message;
    failure.transient = is_transient(failure.error);
    return retry(fetch, Millis{0}, std::move(failure));
  }
  const HttpResponse& response = answer.value();
  if (response.status != 200) {
    const auto asked = retry_after(response, clock_.now());
    return retry(fetch, asked.value_or(Millis{0}), refusal(response));
  }
  const bool valid = check_json(response.body).has_value();
  std::string token =
      valid ? json_text_value(json_member(response.body, "access_token")).value_or("") : "";
  if (token.empty()) {
    TokenFailure failure;
    failure.status = response.status;
    failure.error = make_error(Errc::response_invalid, "the token endpoint's answer has no token");
    return fail(*fetch, std::move(failure));
  }
  const auto seconds = json_whole_number(json_member(response.body, "expires_in"));
  succeed(*fetch, std::move(token),
          std::clamp<std::int64_t>(seconds.value_or(kDefaultSeconds), 0, kSecondsMax));
}

void TokenCache::retry(const std::shared_ptr<Fetch>& fetch, Millis asked, TokenFailure failure) {
  const bool stopping = failure.error.code == Errc::shutting_down;
  const Millis pause = std::max(asked, retry_pause(fetch->retries + 1, random01()));
  const MonoTime at = system_clock().monotonic() + pause;
  if (!failure.transient || stopping || fetch->retries >= kRetriesMax || at >= fetch->deadline) {
    return fail(*fetch, std::move(failure));
  }
  ++fetch->retries;
  timers_->at(at, [self = shared_from_this(), fetch, failure = std::move(failure)](Timer timer) {
    if (timer == Timer::due) return self->send(fetch);
    self->fail(*fetch, failure);
  });
}

void TokenCache::succeed(const Fetch& fetch, std::string token, std::int64_t seconds) {
  std::list<Waiter> waiting;
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[fetch.key];
    const MonoTime now = clock_.monotonic();
    entry.token = token;
    entry.expires_at = now + std::chrono::seconds{seconds};
    entry.renew_at = entry.expires_at - kRenewEarly;
    entry.fetching = false;
    waiting.swap(entry.waiting);
  }
  const TokenResult result{std::move(token), nullptr};
  for (const Waiter& waiter : waiting) waiter.done(result);
}

void TokenCache::fail(const Fetch& fetch, TokenFailure failure) {
  std::list<Waiter> waiting;
  TokenResult result;
  {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[fetch.key];
    entry.fetching = false;
    waiting.swap(entry.waiting);
    // Renewing early leaves time: while the old token is good, a passing fault costs nothing.
    if (failure.transient && !entry.token.empty() && clock_.monotonic() < entry.expires_at) {
      result.token = entry.token;
    } else {
      result.failure = std::make_shared<const TokenFailure>(std::move(failure));
      entries_.erase(fetch.key);
    }
  }
  for (const Waiter& waiter : waiting) waiter.done(result);
}

}  // namespace sequential::services::gapi
