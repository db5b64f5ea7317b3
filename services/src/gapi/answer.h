#pragma once
// What an API's answer means: a result, or an error with the API's own words. Threads: pure.

#include <string>
#include <string_view>

#include "gapi/facts.h"
#include "sequential/services/builtin.h"
#include "sequential/services/service.h"

namespace sequential::services::gapi {

struct Wanted {
  bool content = false;    // alt=media: the content itself
  bool as_base64 = false;  // bytes as base64 text
};

// For a 2xx answer.
CallReply read_success(const MethodFacts& method, const Wanted& wanted, HttpResponse response);

// For any other; `rate_limited` tells a 403 that means "later".
CallError read_failure(const MethodFacts& method, const HttpResponse& response,
                       bool& rate_limited);

}  // namespace sequential::services::gapi
