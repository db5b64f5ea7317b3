// The call's own options over its service's policy, and the pause between durable attempts.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json_args.h"
#include "sequential/base/json_text.h"
#include "sequential/services/service.h"
#include "suggest.h"

namespace sequential::services {
namespace {

constexpr std::int64_t kTimeoutMsMax = 24ll * 3'600'000;
constexpr std::int64_t kPauseMsMax = 24ll * 3'600'000;
constexpr std::int64_t kAttemptsMax = 1000;
constexpr double kFactorMax = 100.0;
constexpr std::size_t kNameShownMax = 64;  // bytes of the task's own word in our message
constexpr std::array<std::string_view, 4> kOptions{"delivery", "timeoutMs", "retry", "idempotent"};

Error at_fault(std::string_view field, std::string_view rule) {
  return {Errc::invalid_arguments,
          "the call's option " + std::string(field) + " must be " + std::string(rule),
          "options." + std::string(field)};
}

// Refuses a member that is not in `known`: a slip would otherwise change nothing, silently.
Result<void> check_names(std::string_view object, std::string_view prefix,
                         const std::vector<std::string_view>& known) {
  for (const auto& member : json_members(object)) {
    if (std::find(known.begin(), known.end(), member.name) != known.end()) continue;
    const std::string name = std::string(prefix) + clip_utf8(member.name, kNameShownMax);
    const auto near = nearest_names(member.name, known, 1);
    const std::string hint =
        near.empty() ? suggestion(member.name, known)
                     : "did you mean " + std::string(prefix) + near.front() + "?";
    return Error{Errc::invalid_arguments, "a call has no option " + name + "; " + hint,
                 "options." + name};
  }
  return success();
}

Result<void> read_whole(std::string_view value, std::string_view field, std::int64_t low,
                        std::int64_t high, std::int64_t& out) {
  if (value.empty()) return success();
  const auto number = json_whole_number(value);
  if (!number || *number < low || *number > high) {
    return at_fault(field,
                    "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  }
  out = *number;
  return success();
}

Result<void> read_pause(std::string_view value, std::string_view field, Millis& out) {
  std::int64_t ms = out.count();
  SEQUENTIAL_TRY(read_whole(value, field, 0, kPauseMsMax, ms));
  out = Millis{ms};
  return success();
}

Result<bool> read_retry(std::string_view retry, CallPolicy& policy) {
  if (retry.empty()) return false;
  if (retry == "false") {
    policy.attempts_max = 1;
    return true;
  }
  if (!json_is_object(retry)) return at_fault("retry", "an object, or false for a single attempt");
  SEQUENTIAL_TRY(
      check_names(retry, "retry.", {"attempts", "backoffMs", "factor", "maxBackoffMs"}));
  const std::string_view attempts_text = json_member(retry, "attempts");
  std::int64_t attempts = policy.attempts_max;
  SEQUENTIAL_TRY(read_whole(attempts_text, "retry.attempts", 1, kAttemptsMax, attempts));
  policy.attempts_max = static_cast<int>(attempts);
  SEQUENTIAL_TRY(
      read_pause(json_member(retry, "backoffMs"), "retry.backoffMs", policy.backoff_initial));
  SEQUENTIAL_TRY(
      read_pause(json_member(retry, "maxBackoffMs"), "retry.maxBackoffMs", policy.backoff_max));
  if (const std::string_view factor = json_member(retry, "factor"); !factor.empty()) {
    const auto value = json_double(factor);
    if (!value || *value < 1.0 || *value > kFactorMax) {
      return at_fault("retry.factor", "a number from 1 to 100");
    }
    policy.backoff_factor = *value;
  }
  return !attempts_text.empty();
}

Result<void> read_delivery(std::string_view delivery, CallPolicy& policy) {
  if (delivery.empty()) return success();
  const auto value = json_text_value(delivery);
  if (value == "at_least_once") {
    policy.at_most_once = false;
  } else if (value == "at_most_once") {
    policy.at_most_once = true;
  } else {
    return at_fault("delivery", "\"at_least_once\" or \"at_most_once\"");
  }
  return success();
}

}  // namespace

Result<CallPolicy> merge_policy(const CallPolicy& base, std::string_view options_json) {
  CallPolicy policy = base;
  if (options_json.empty() || options_json == "null" || options_json == "{}") return policy;
  if (const auto checked = check_json(options_json); checked.has_error()) {
    return Error{Errc::invalid_arguments,
                 "the call's options are not JSON: " + checked.error().message, "options"};
  }
  if (!json_is_object(options_json)) {
    return Error{Errc::invalid_arguments, "the call's options must be an object", "options"};
  }
  std::vector<std::string_view> known(kOptions.begin(), kOptions.end());
  known.insert(known.end(), base.own_options.begin(), base.own_options.end());
  SEQUENTIAL_TRY(check_names(options_json, "", known));
  SEQUENTIAL_TRY(read_delivery(json_member(options_json, "delivery"), policy));
  std::int64_t timeout_ms = policy.timeout.count();
  SEQUENTIAL_TRY(read_whole(json_member(options_json, "timeoutMs"), "timeoutMs", 1, kTimeoutMsMax,
                            timeout_ms));
  policy.timeout = Millis{timeout_ms};
  SEQUENTIAL_TRY(const bool attempts_asked, read_retry(json_member(options_json, "retry"), policy));
  if (const auto idempotent = json_member(options_json, "idempotent");
      !idempotent.empty() && idempotent != "true" && idempotent != "false") {
    return at_fault("idempotent", "true or false");
  }
  if (policy.at_most_once) {
    if (attempts_asked && policy.attempts_max > 1) {
      return at_fault("retry.attempts", "1 when delivery is \"at_most_once\"");
    }
    policy.attempts_max = 1;
  }
  return policy;
}

Millis backoff(const CallPolicy& policy, int next_attempt, Millis retry_after, double random01) {
  const double steps = std::max(0, next_attempt - 2);
  const double limit = static_cast<double>(policy.backoff_max.count());
  // pow may overflow to infinity; the limit brings it back.
  const double pause = std::min(
      static_cast<double>(policy.backoff_initial.count()) * std::pow(policy.backoff_factor, steps),
      limit);
  const double jitter = 0.5 + std::clamp(random01, 0.0, 1.0) / 2;
  const auto jittered = Millis{static_cast<std::int64_t>(std::isnan(pause) ? 0 : pause * jitter)};
  return std::max(jittered, retry_after);
}

}  // namespace sequential::services
