#pragma once
// The gapi service's settings, read from the keystore and kept for a moment.
//
// Threads:  any. One load is in flight at a time and everybody waits for it.
// Lifetime: shared, because a load under way must outlive whoever asked for it.

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "gapi/account.h"
#include "sequential/base/clock.h"
#include "sequential/services/builtin.h"

namespace sequential::services::gapi {

struct Settings {
  std::shared_ptr<const ServiceAccount> account;
  std::string admin_email;              // empty: not set
  std::vector<std::string> authorised;  // scopes; empty: not known
};
using SettingsResult = Result<std::shared_ptr<const Settings>>;

class SettingsCache : public std::enable_shared_from_this<SettingsCache> {
 public:
  SettingsCache(std::shared_ptr<Keystore> keystore, const Clock& clock)
      : keystore_(std::move(keystore)), clock_(clock) {}

  // Errors: key_not_found and config_invalid, with what to do; what the keystore answers.
  void get(std::function<void(SettingsResult)> done);
  // The next `get` reads anew: what was read did not work.
  void forget();

 private:
  void load_key();
  void load_admin(std::shared_ptr<Settings> settings);
  void load_scopes(std::shared_ptr<Settings> settings);
  void finish(SettingsResult result);

  const std::shared_ptr<Keystore> keystore_;
  const Clock& clock_;
  std::mutex mutex_;
  std::vector<std::function<void(SettingsResult)>> waiting_;  // guarded by mutex_
  std::shared_ptr<const Settings> settings_;                  // guarded by mutex_
  MonoTime fresh_until_;                                      // guarded by mutex_
  bool loading_ = false;                                      // guarded by mutex_
  std::string account_hash_;                         // of the text `account_` was parsed from
  std::shared_ptr<const ServiceAccount> account_;    // both: guarded by loading_
};

}  // namespace sequential::services::gapi
