#include <sodium.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "keystore/envelope.h"
#include "keystore/key_file.h"
#include "keystore/names.h"
#include "sequential/base/log.h"
#include "sequential/services/builtin.h"

namespace sequential::services {
namespace {

constexpr std::size_t kSecretBytesMax = 64 * 1024;
constexpr std::chrono::seconds kStartDeadline{10};

// A secret on its way to be sealed: wiped when the last holder lets go.
class Secret {
 public:
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { sodium_memzero(text_.data(), text_.size()); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class SealedKeystore final : public Keystore {
 public:
  SealedKeystore(storage::Store& store, SealKey key)
      : store_(store), key_(std::make_shared<const SealKey>(std::move(key))) {}

  void set(std::string name_space, std::string key, std::string value,
           std::function<void(Result<void>)> done) override {
    // Shared: the store copies the function that seals.
    auto secret = std::make_shared<const Secret>(std::move(value));
    if (auto named = check_secret_name(name_space, key); named.has_error()) {
      done(std::move(named).error());
      return;
    }
    if (secret->text().size() > kSecretBytesMax) {
      done(Error{Errc::payload_too_large, "a secret holds at most 64 KiB", "value"});
      return;
    }
    auto seal_it = [sealing = key_, name_space, key, secret](std::int64_t version) {
      return seal(sealing->key.get(), sealing->kid,
                  {.name_space = name_space, .name = key, .version = version}, secret->text());
    };
    store_.keystore_put(std::move(name_space), std::move(key), key_->kid, std::move(seal_it),
                        [done = std::move(done)](Result<std::int64_t> put) {
                          if (put.has_error()) {
                            done(std::move(put).error());
                          } else {
                            done(success());
                          }
                        });
  }

  void get(std::string name_space, std::string key,
           std::function<void(Result<std::string>)> done) override {
    if (auto named = check_secret_name(name_space, key); named.has_error()) {
      done(std::move(named).error());
      return;
    }
    // What was asked for is bound into the seal, not what the row says of itself.
    store_.keystore_get(name_space, key,
                        [opening = key_, name_space, key,
                         done = std::move(done)](Result<storage::KeystoreEntry> entry) {
                          done(open(*opening, name_space, key, std::move(entry)));
                        });
  }

  void list(std::string name_space,
            std::function<void(Result<std::vector<storage::KeystoreEntry>>)> done) override {
    store_.keystore_list(std::move(name_space), std::move(done));
  }

  void remove(std::string name_space, std::string key,
              std::function<void(Result<bool>)> done) override {
    if (auto named = check_secret_name(name_space, key); named.has_error()) {
      done(std::move(named).error());
      return;
    }
    store_.keystore_delete(std::move(name_space), std::move(key), std::move(done));
  }

 private:
  static Result<std::string> open(const SealKey& key, const std::string& name_space,
                                  const std::string& name,
                                  Result<storage::KeystoreEntry> entry) {
    if (entry.has_error()) {
      if (entry.error().code != Errc::key_not_found) return std::move(entry).error();
      return make_error(Errc::key_not_found, "there is no secret " + name_space + "/" + name +
                                                 "; set it with: sequential-runner keystore set " +
                                                 name_space + " " + name);
    }
    auto value = unseal(
        key.key.get(), key.kid,
        {.name_space = name_space, .name = name, .version = entry.value().version},
        entry.value().sealed);
    if (value.has_error()) {
      log_error("a stored secret does not open", {{"namespace", name_space}, {"key", name}});
    }
    return value;
  }

  storage::Store& store_;
  const std::shared_ptr<const SealKey> key_;
};

// Whether the store holds sealed values, which a new key could never open.
Result<std::size_t> count_sealed(storage::Store& store) {
  auto promise = std::make_shared<std::promise<Result<std::size_t>>>();
  auto answer = promise->get_future();
  store.keystore_list("", [promise](Result<std::vector<storage::KeystoreEntry>> entries) {
    if (entries.has_error()) {
      promise->set_value(std::move(entries).error());
    } else {
      promise->set_value(entries.value().size());
    }
  });
  if (answer.wait_for(kStartDeadline) != std::future_status::ready) {
    return make_error(Errc::unavailable, "the store does not answer");
  }
  return answer.get();
}

}  // namespace

Result<std::shared_ptr<Keystore>> open_keystore(storage::Store& store,
                                                const std::string& key_file) {
  auto key = load_key_file(key_file);
  if (key.has_error() && key.error().code == Errc::not_found) {
    SEQUENTIAL_TRY(const std::size_t sealed, count_sealed(store));
    if (sealed != 0) {
      return make_error(Errc::config_invalid,
                        "the key file " + key_file + " is missing, but the store holds " +
                            std::to_string(sealed) +
                            " secrets sealed with it; restore the file from a backup");
    }
    SEQUENTIAL_TRY(create_key_file(key_file));
    log_info("created the keystore's key file; keep a backup of it", {{"path", key_file}});
    key = load_key_file(key_file);
  }
  if (key.has_error()) return std::move(key).error();
  return std::shared_ptr<Keystore>(
      std::make_shared<SealedKeystore>(store, std::move(key).value()));
}

}  // namespace sequential::services
