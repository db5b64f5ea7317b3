#pragma once
// What is known of every method of the Google APIs: constant tables, generated from
// config/google-apis.json. Threads: constant data.

#include <cstdint>
#include <span>
#include <string_view>

namespace sequential::services::gapi {

struct ApiFacts {
  std::string_view name;     // "gmail"
  std::string_view version;  // "v1"
  std::string_view host;     // "gmail.googleapis.com"
  std::uint16_t scopes_at, scopes_count;
};

struct QueryFacts {
  std::string_view name;
  bool required;
};

struct MethodFacts {
  std::string_view name;  // "gmail.users.messages.list"; case matters
  std::uint8_t api;
  std::string_view verb;
  std::string_view path;    // template below the host: "gmail/v1/users/{userId}/messages"
  std::string_view upload;  // template of the upload path, with its slash, or empty
  std::uint16_t path_params_at, path_params_count;
  std::uint16_t queries_at, queries_count;
  std::uint16_t scopes_at, scopes_count;
  bool has_body;
  bool download;  // can answer with the content itself
};

std::span<const MethodFacts> all_methods();  // sorted by name
const MethodFacts* find_method(std::string_view name);

const ApiFacts& api_of(const MethodFacts& method);
std::span<const std::string_view> path_params(const MethodFacts& method);
std::span<const QueryFacts> query_params(const MethodFacts& method);

// The scopes any one of which the method accepts, as full URLs.
std::size_t scope_count(const MethodFacts& method);
std::string_view scope_at(const MethodFacts& method, std::size_t index);

}  // namespace sequential::services::gapi
