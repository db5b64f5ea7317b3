#pragma once
// HTTP as the routes see it: plain values, no Beast.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sequential/base/error.h"

namespace sequential::server {

class BodySource;  // stream.h

enum class Verb { get, head, put, post, del, options, other };

struct HttpRequest {
  Verb verb = Verb::get;
  std::string path;   // percent-decoded segments are in `segments`; this is as received
  std::string query;  // as received, without '?'
  std::vector<std::string> segments;
  // The headers that any route looks at, as received; empty when absent.
  std::string authorization, chain, prefer, content_type, origin, host, accept, last_event_id;
  // Of a request to a webhook: all but credentials, names in lower case, as received.
  std::vector<std::pair<std::string, std::string>> fields;
  std::optional<std::string> idempotency_key;  // an empty one is a mistake, an absent one is not
  std::string body;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool close = false;
  std::shared_ptr<BodySource> source;  // set: the body is what this makes, and `body` is not used
};

// The value of a query parameter, percent-decoded, or empty.
std::string query_value(std::string_view query, std::string_view name);
// Errors: invalid_field for a parameter that is not in `known`, bad_request on malformed escapes.
Result<void> check_query(std::string_view query, const std::vector<std::string_view>& known);
// Errors: bad_request on malformed escapes or NUL.
Result<std::string> percent_decode(std::string_view text);
// Splits a path into decoded segments; refuses ".", "..", empty middle segments and encoded
// slashes.
Result<std::vector<std::string>> split_path(std::string_view path);
// `Prefer: wait=N, respond-async` (RFC 7240). N in seconds, or -1 when absent or malformed.
struct Preferences {
  int wait_s = -1;
  bool respond_async = false;
};
Preferences parse_prefer(std::string_view header);
// The key of an Idempotency-Key header, which may stand in quotes (a structured-field string).
std::string_view unquoted(std::string_view header);

HttpResponse json_response(int status, std::string body);
// RFC 9457 problem document.
HttpResponse problem(const Error& error);

}  // namespace sequential::server
