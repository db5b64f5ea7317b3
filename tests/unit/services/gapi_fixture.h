#pragma once
// A Google of one server: a token endpoint that checks the signed request, and APIs that answer as
// told. For tests.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "loopback_server.h"
#include "sequential/base/clock.h"
#include "sequential/services/builtin.h"

namespace sequential::test {

// Secrets in memory; counts reads.
class MapKeystore final : public services::Keystore {
 public:
  void set(std::string name_space, std::string key, std::string value,
           std::function<void(Result<void>)> done) override;
  void get(std::string name_space, std::string key,
           std::function<void(Result<std::string>)> done) override;
  void list(std::string, std::function<void(Result<std::vector<storage::KeystoreEntry>>)>) override {}
  void remove(std::string name_space, std::string key,
              std::function<void(Result<bool>)> done) override;
  void put(const std::string& key, const std::string& value);  // in "default"
  void erase(const std::string& key);
  int reads() const;
  void fail_with(Errc code);  // every read from now on

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> values_;  // guarded by mutex_
  int reads_ = 0;                              // guarded by mutex_
  Errc failure_ = Errc::key_not_found;         // guarded by mutex_
  bool failing_ = false;                       // guarded by mutex_
};

// Time that stands still until it is moved.
class ManualClock final : public Clock {
 public:
  WallTime now() const override;
  MonoTime monotonic() const override;
  void advance(Millis by);

 private:
  mutable std::mutex mutex_;
  Millis passed_{0};  // guarded by mutex_
};

struct Assertion {
  std::string header, claims;  // JSON texts
  bool signature_valid = false;
};

// An RSA key pair made once for all tests.
std::string private_key_pem();
std::string service_account_json(const std::string& extra_members = "");
// Splits and verifies a JWT with the pair's public key.
Assertion verify_assertion(const std::string& jwt);

class FakeGoogle {
 public:
  FakeGoogle();
  // Answers of API requests in order; when they are used up, 200 {}.
  void answer(std::string raw) { answers_push(std::move(raw)); }
  // Answers of the token endpoint, likewise; then a fresh token "token-<n>" for an hour.
  void answer_token(std::string raw);
  void on_api(Handler handler);

  std::string endpoint() const { return server_->url("/_h/{host}"); }
  std::vector<SeenRequest> api_requests() const;
  std::vector<SeenRequest> token_requests() const;
  // The JWT of the nth token request.
  Assertion assertion(std::size_t n) const;
  LoopbackServer& server() { return *server_; }

 private:
  void serve(const SeenRequest& request, Peer& peer);
  void answers_push(std::string raw);

  mutable std::mutex mutex_;
  std::deque<std::string> answers_, token_answers_;  // guarded by mutex_
  Handler api_handler_;                              // guarded by mutex_
  int tokens_ = 0;                                   // guarded by mutex_
  std::unique_ptr<LoopbackServer> server_;           // last: its threads use the above
};

std::string json_response(int status, const std::string& body,
                          std::vector<std::string> headers = {});

}  // namespace sequential::test
