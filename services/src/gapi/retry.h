#pragma once
// How retries inside one attempt pause. Threads: pure functions.

#include <optional>
#include <string>

#include "sequential/base/clock.h"
#include "sequential/services/builtin.h"

namespace sequential::services::gapi {

inline constexpr int kRetriesMax = 3;

// The growing, jittered pause before retry 1, 2, 3.
Millis retry_pause(int retry, double random01);

// Statuses that say "later": 408, 429 and every 5xx.
bool is_retryable_status(int status);

// What the Retry-After header asks for: seconds or a date; nullopt without one that makes sense.
std::optional<Millis> retry_after(const HttpResponse& response, WallTime now);

// A uniform number in [0, 1).
double random01();

}  // namespace sequential::services::gapi
