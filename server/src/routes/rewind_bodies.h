#pragma once
// What the requests that rewind runs say: their bodies, checked.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "http/types.h"
#include "routes/run_actions.h"
#include "sequential/storage/rewinds.h"

namespace sequential::server {

struct ForkAsk {
  int version = -1;  // the run's own
  std::int64_t call = 0, position = -1;  // where, if either is given
  std::optional<std::string> input;
  bool has_outcome = false;
  storage::EditedOutcome outcome;
  storage::Fork fork;
};

Error field_error(std::string field, std::string why);

// {"version": n} or nothing: 0. Errors: invalid_json, invalid_field.
Result<int> read_resume(const std::string& body);
Result<RetryAsk> read_retry(const std::string& body);
// With the header Idempotency-Key.
Result<ForkAsk> read_fork(const HttpRequest& request, std::int64_t payload_bytes_max,
                          int tags_max);

}  // namespace sequential::server
