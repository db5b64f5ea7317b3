#pragma once
// Access tokens by (subject, scopes), fetched with a signed assertion, shared by concurrent calls.
//
// Threads:  any.
// Blocking: never, but for the signature (about a millisecond, once an hour and token).
// Lifetime: shared, because a fetch under way must outlive whoever asked for it.

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "gapi/settings.h"
#include "sequential/base/clock.h"
#include "sequential/services/builtin.h"
#include "timer_queue.h"

namespace sequential::services::gapi {

// Why there is no token.
struct TokenFailure {
  Error error;
  std::string oauth_code;  // "unauthorized_client", …, or empty
  int status = 0;          // of the token endpoint, 0 = it did not answer
  bool transient = false;
};
struct TokenResult {
  std::string token;
  std::shared_ptr<const TokenFailure> failure;  // null: there is a token
};
using TokenDone = std::function<void(const TokenResult&)>;

class TokenCache : public std::enable_shared_from_this<TokenCache> {
 public:
  TokenCache(HttpClient& http, std::shared_ptr<TimerQueue> timers, std::string endpoint,
             const Clock& clock);

  struct Ask {
    std::shared_ptr<const ServiceAccount> account;
    std::string subject;
    std::string scopes;  // space-separated
    MonoTime deadline;
  };
  void get(Ask ask, TokenDone done);
  // `token` was refused with 401: the next `get` fetches a new one.
  void refused(const Ask& ask, const std::string& token);

 private:
  struct Waiter {
    std::uint64_t number;
    TokenDone done;
  };
  struct Entry {
    std::string token;
    MonoTime renew_at, expires_at;
    bool fetching = false;
    std::list<Waiter> waiting;
  };
  struct Fetch {
    std::string key;
    Ask ask;
    std::string url;
    bool trusted = false;
    MonoTime deadline;
    int retries = 0;
  };

  static std::string key_of(const Ask& ask);
  void make_room();  // with mutex_ held
  void watch_deadline(const std::string& key, std::uint64_t number, MonoTime deadline);
  void send(std::shared_ptr<Fetch> fetch);
  void answered(const std::shared_ptr<Fetch>& fetch, Result<HttpResponse> answer);
  void retry(const std::shared_ptr<Fetch>& fetch, Millis retry_after, TokenFailure failure);
  void succeed(const Fetch& fetch, std::string token, std::int64_t seconds);
  void fail(const Fetch& fetch, TokenFailure failure);

  HttpClient& http_;
  const std::shared_ptr<TimerQueue> timers_;
  const std::string endpoint_;
  const Clock& clock_;
  std::mutex mutex_;
  std::map<std::string, Entry> entries_;  // guarded by mutex_
  std::uint64_t last_number_ = 0;         // guarded by mutex_
};

}  // namespace sequential::services::gapi
