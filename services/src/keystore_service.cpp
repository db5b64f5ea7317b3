// keystore: what task code may do with stored secrets. By default nearly nothing: services insert
// secrets themselves, so a task needs to see one only where an operator says so.

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json_args.h"
#include "keystore/names.h"
#include "reply.h"
#include "sequential/base/json_text.h"
#include "sequential/services/builtin.h"

namespace sequential::services {
namespace {

constexpr std::string_view kDefaultNamespace = "default";

struct Named {
  std::string name_space{kDefaultNamespace};
  std::string key;
  std::optional<std::string> value;
};

Error refuse(const std::string& method, std::string_view forms) {
  return {Errc::invalid_arguments, "keystore." + method + " takes " + std::string(forms), "args"};
}

// The forms that callers use: (key), (namespace, key), ({namespace, key}); with a value for setKey.
Result<Named> read_named(const std::string& method, std::string_view args, bool with_value) {
  const std::string_view forms =
      with_value ? "(key, value), (namespace, key, value) or one object of these"
                 : "(key), (namespace, key) or one object of these";
  SEQUENTIAL_TRY(const auto arguments, json_arguments(args));
  Named named;
  std::vector<std::string_view> parts(arguments.begin(), arguments.end());
  if (!parts.empty() && json_is_object(parts[0])) {
    const std::string_view object = parts[0];
    const std::string_view name_space = json_member(object, "namespace");
    parts = {name_space.empty() ? std::string_view("\"default\"") : name_space,
             json_member(object, "key")};
    if (with_value) parts.push_back(json_member(object, "value"));
  }
  const std::size_t with_namespace = with_value ? 3 : 2;
  if (parts.size() + 1 != with_namespace && parts.size() != with_namespace) {
    return refuse(method, forms);
  }
  if (with_value) {
    named.value = json_text_value(parts.back());
    if (!named.value) return refuse(method, std::string(forms) + "; the value is text");
    parts.pop_back();
  }
  const auto key = json_text_value(parts.back());
  if (!key) return refuse(method, forms);
  named.key = *key;
  if (parts.size() == 2) {
    const auto name_space = json_text_value(parts.front());
    if (!name_space) return refuse(method, forms);
    named.name_space = *name_space;
  }
  auto checked = check_secret_name(named.name_space, named.key);
  if (checked.has_error()) {
    return Error{Errc::invalid_arguments, checked.error().message, "args"};
  }
  return named;
}

std::string names_json(const std::set<std::string>& names) {
  std::string json = "[";
  for (const std::string& name : names) {
    if (json.size() > 1) json += ',';
    append_json_string(json, name);
  }
  return json + "]";
}

class KeystoreService final : public Service {
 public:
  KeystoreService(std::shared_ptr<Keystore> keystore, KeystoreServiceOptions options)
      : keystore_(std::move(keystore)), options_(std::move(options)) {}

  std::string_view name() const override { return "keystore"; }
  std::string_view description() const override {
    return "Secrets and settings kept by the server, sealed at rest.";
  }
  std::vector<MethodInfo> methods() const override {
    return {{"getKey", "The value of a secret that task code may read."},
            {"setKey", "Stores a secret, if task code may."},
            {"hasKey", "Whether a secret exists."},
            {"listKeys", "The names in a namespace (\"default\" unless given)."},
            {"listNamespaces", "The namespaces that hold anything."}};
  }
  CallPolicy policy(std::string_view /*method*/) const override { return {}; }

  void call(CallRequest request, CallDone done) override {
    if (request.method == "getKey") return get_key(request, std::move(done));
    if (request.method == "setKey") return set_key(request, std::move(done));
    if (request.method == "hasKey") return has_key(request, std::move(done));
    if (request.method == "listKeys") return list_keys(request, std::move(done));
    if (request.method == "listNamespaces") return list_namespaces(std::move(done));
    done(failed(Errc::unknown_method, "keystore has no method \"" + request.method + "\""));
  }

 private:
  // A store that is away or busy now may answer later.
  static CallReply store_failed(const Error& error) {
    return failed(error, error.code == Errc::unavailable || error.code == Errc::overloaded);
  }

  bool readable(const Named& named) const {
    const std::string full = named.name_space + "/" + named.key;
    return std::any_of(
        options_.readable.begin(), options_.readable.end(),
        [&](const std::string& each) { return each == named.name_space || each == full; });
  }

  void get_key(const CallRequest& request, CallDone done) {
    const auto named = read_named(request.method, request.args, false);
    if (named.has_error()) return done(failed(named.error()));
    if (!readable(named.value())) {
      const std::string full = named.value().name_space + "/" + named.value().key;
      return done(failed(Errc::forbidden, "task code may not read the secret " + full +
                                              "; an operator can allow it by adding \"" + full +
                                              "\" to the setting services.keystore.readable"));
    }
    keystore_->get(named.value().name_space, named.value().key,
                   [done = std::move(done)](Result<std::string> value) {
                     done(value.has_error() ? store_failed(value.error())
                                            : CallReply::ok(json_string(value.value())));
                   });
  }

  void set_key(const CallRequest& request, CallDone done) {
    auto named = read_named(request.method, request.args, true);
    if (named.has_error()) return done(failed(named.error()));
    if (!options_.writable) {
      return done(failed(Errc::forbidden,
                         "task code may not store secrets; an operator can allow it by setting "
                         "services.keystore.writable to true"));
    }
    Named parts = std::move(named).value();
    keystore_->set(std::move(parts.name_space), std::move(parts.key), std::move(*parts.value),
                   [done = std::move(done)](Result<void> set) {
                     done(set.has_error() ? store_failed(set.error()) : CallReply::ok("true"));
                   });
  }

  void has_key(const CallRequest& request, CallDone done) {
    const auto named = read_named(request.method, request.args, false);
    if (named.has_error()) return done(failed(named.error()));
    // From the list, so that whether a secret exists never depends on whether it opens.
    keystore_->list(
        named.value().name_space, [key = named.value().key, done = std::move(done)](
                                      Result<std::vector<storage::KeystoreEntry>> entries) {
          if (entries.has_error()) return done(store_failed(entries.error()));
          const bool found = std::any_of(entries.value().begin(), entries.value().end(),
                                         [&](const auto& each) { return each.key == key; });
          done(CallReply::ok(found ? "true" : "false"));
        });
  }

  void list_keys(const CallRequest& request, CallDone done) {
    const auto arguments = json_arguments(request.args);
    if (arguments.has_error()) return done(failed(arguments.error()));
    std::string name_space{kDefaultNamespace};
    if (!arguments.value().empty() && !json_is_null(arguments.value().front())) {
      std::string_view first = arguments.value().front();
      if (json_is_object(first)) first = json_member(first, "namespace");
      const auto text = json_text_value(first);
      if (!text || !is_secret_name(*text)) {
        return done(failed(refuse(request.method, "the name of a namespace, or nothing")));
      }
      name_space = *text;
    }
    list(
        name_space, [](const auto& each) { return each.key; }, std::move(done));
  }

  void list_namespaces(CallDone done) {
    list(
        "", [](const auto& each) { return each.name_space; }, std::move(done));
  }

  void list(std::string name_space, std::string (*pick)(const storage::KeystoreEntry&),
            CallDone done) {
    keystore_->list(
        std::move(name_space),
        [pick, done = std::move(done)](Result<std::vector<storage::KeystoreEntry>> entries) {
          if (entries.has_error()) return done(store_failed(entries.error()));
          std::set<std::string> names;
          for (const auto& each : entries.value()) names.insert(pick(each));
          done(CallReply::ok(names_json(names)));
        });
  }

  const std::shared_ptr<Keystore> keystore_;
  const KeystoreServiceOptions options_;
};

}  // namespace

std::shared_ptr<Service> make_keystore_service(std::shared_ptr<Keystore> keystore,
                                               KeystoreServiceOptions options) {
  return std::make_shared<KeystoreService>(std::move(keystore), std::move(options));
}

}  // namespace sequential::services
