#pragma once
// A gapi call as the HTTP request that Google's own Node client would send for it.
//
// Threads: pure functions.
// Errors:  invalid_arguments, before anything is sent.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gapi/facts.h"
#include "sequential/base/error.h"
#include "sequential/services/builtin.h"

namespace sequential::services::gapi {

// What the caller may say beside the method's own parameters.
struct CallOptions {
  std::string subject;              // empty: not said
  std::vector<std::string> scopes;  // empty: not said
  bool as_base64 = false;           // of a downloaded content
};
// From the call's second argument and from the options of the call itself; the former wins.
Result<CallOptions> read_options(std::string_view argument, std::string_view call_options);

// `params` is the raw JSON text of the call's first argument ("" = none); `endpoint` the template
// with {host}. Fills url, method, headers, body.
Result<HttpRequest> build_request(const MethodFacts& method, std::string_view params,
                                  std::string_view endpoint);

// The user that params name for a Gmail method, if it is an address: whom to impersonate.
std::string gmail_user(const MethodFacts& method, std::string_view params);

// True if the answer is the content itself and not a JSON description of it.
bool wants_content(std::string_view params);

// `https://{host}` with its host filled in.
std::string fill_host(std::string_view endpoint, std::string_view host);

// encodeURIComponent, and !'()* too; `keep_slash` for {+x} templates.
enum class Slash { encode, keep };
std::string percent_encode(std::string_view text, Slash slash);

}  // namespace sequential::services::gapi
