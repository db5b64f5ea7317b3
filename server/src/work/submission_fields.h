#pragma once
// Options that all ways of starting a run have in common, checked.
//
// Threads: pure functions.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "http/types.h"
#include "sequential/base/error.h"

namespace sequential::server {

// As they are stored: JSON text. Errors: invalid_field, of `field`.
Result<std::string> read_tags(const nlohmann::json& tags, const std::string& field, int tags_max);

// The server's own idempotency keys are nobody else's. Errors: invalid_field.
Result<void> check_key(const std::string& key);

// The header Idempotency-Key; `key` comes with the key of the body, if there is one. Errors:
// invalid_field.
Result<void> read_key_header(const HttpRequest& request, std::string& key);

}  // namespace sequential::server
