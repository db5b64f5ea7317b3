#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sequential/base/check.h"
#include "sequential/base/json_text.h"
#include "sequential/services/service.h"
#include "suggest.h"

namespace sequential::services {
namespace {

constexpr std::size_t kShownNameBytesMax = 80;  // of a name that somebody else made up

CallReply unknown(Errc errc, std::string_view what, std::string_view name,
                  const std::vector<std::string_view>& known) {
  CallError error;
  error.errc = errc;
  error.message = "no " + std::string(what) + " \"" + clip_utf8(name, kShownNameBytesMax) + "\"";
  if (const std::string hint = suggestion(name, known); !hint.empty()) {
    error.message += "; " + hint;
  }
  return CallReply::fail(std::move(error));
}

}  // namespace

void Registry::add(std::shared_ptr<Service> service) {
  SEQUENTIAL_CHECK(service != nullptr);
  Entry entry;
  for (const MethodInfo& info : service->methods()) entry.methods.push_back(info.name);
  std::sort(entry.methods.begin(), entry.methods.end());
  entry.service = std::move(service);
  const auto place = std::lower_bound(
      entries_.begin(), entries_.end(), entry.service->name(),
      [](const Entry& a, std::string_view name) { return a.service->name() < name; });
  SEQUENTIAL_CHECK(place == entries_.end() || place->service->name() != entry.service->name());
  entries_.insert(place, std::move(entry));
}

const Registry::Entry* Registry::find_entry(std::string_view name) const {
  const auto place = std::lower_bound(
      entries_.begin(), entries_.end(), name,
      [](const Entry& a, std::string_view wanted) { return a.service->name() < wanted; });
  return place != entries_.end() && place->service->name() == name ? &*place : nullptr;
}

Service* Registry::find(std::string_view name) const {
  const Entry* entry = find_entry(name);
  return entry == nullptr ? nullptr : entry->service.get();
}

std::vector<const Service*> Registry::all() const {
  std::vector<const Service*> services;
  services.reserve(entries_.size());
  for (const Entry& entry : entries_) services.push_back(entry.service.get());
  return services;
}

// A service that lists no methods takes any: only its callee knows them.
bool Registry::takes(const Entry& entry, std::string_view method) {
  return entry.methods.empty() ||
         std::binary_search(entry.methods.begin(), entry.methods.end(), method);
}

Service* Registry::find_taking(std::string_view name, std::string_view method) const {
  const Entry* entry = find_entry(name);
  return entry != nullptr && takes(*entry, method) ? entry->service.get() : nullptr;
}

void Registry::call(CallRequest request, CallDone done) const {
  const Entry* entry = find_entry(request.service);
  if (entry == nullptr) {
    std::vector<std::string_view> names;
    for (const Entry& each : entries_) names.push_back(each.service->name());
    done(unknown(Errc::unknown_service, "service", request.service, names));
    return;
  }
  if (!takes(*entry, request.method)) {
    const std::vector<std::string_view> names(entry->methods.begin(), entry->methods.end());
    done(unknown(Errc::unknown_method, request.service + " method", request.method, names));
    return;
  }
  entry->service->call(std::move(request), std::move(done));
}

}  // namespace sequential::services
