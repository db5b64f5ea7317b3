#include "gapi/facts.h"

#include <algorithm>
#include <cstddef>

namespace sequential::services::gapi {
namespace {

#include "google_apis.inc"

template <class T>
std::span<const T> slice(std::span<const T> all, std::size_t at, std::size_t count) {
  return all.subspan(at, count);
}

}  // namespace

std::span<const MethodFacts> all_methods() { return kMethods; }

const MethodFacts* find_method(std::string_view name) {
  const auto place = std::lower_bound(
      std::begin(kMethods), std::end(kMethods), name,
      [](const MethodFacts& a, std::string_view wanted) { return a.name < wanted; });
  return place != std::end(kMethods) && place->name == name ? place : nullptr;
}

const ApiFacts& api_of(const MethodFacts& method) { return kApis[method.api]; }

std::span<const std::string_view> path_params(const MethodFacts& method) {
  return slice<std::string_view>(kPathNames, method.path_params_at, method.path_params_count);
}

std::span<const QueryFacts> query_params(const MethodFacts& method) {
  return slice<QueryFacts>(kQueries, method.queries_at, method.queries_count);
}

std::size_t scope_count(const MethodFacts& method) { return method.scopes_count; }

std::string_view scope_at(const MethodFacts& method, std::size_t index) {
  return kScopes[api_of(method).scopes_at + kScopeIndexes[method.scopes_at + index]];
}

}  // namespace sequential::services::gapi
