#pragma once
// Which OAuth scopes a call's token is asked for. Threads: pure functions.

#include <string>
#include <string_view>
#include <vector>

#include "gapi/facts.h"
#include "sequential/base/error.h"

namespace sequential::services::gapi {

// A list written as a JSON array of texts, or as text with spaces, commas or line breaks between.
std::vector<std::string> split_scopes(std::string_view text);

// The scopes for a method that names none itself. `authorised` is what the service account was
// granted, empty if that is not known. Errors: forbidden if none of the method's scopes is granted.
Result<std::vector<std::string>> choose_scopes(const MethodFacts& method,
                                               const std::vector<std::string>& authorised);

}  // namespace sequential::services::gapi
