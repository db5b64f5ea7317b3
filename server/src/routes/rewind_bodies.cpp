#include "routes/rewind_bodies.h"

#include <utility>

#include "sequential/base/bytes.h"
#include "sequential/base/json_text.h"
#include "work/submission_fields.h"

namespace sequential::server {

Error field_error(std::string field, std::string why) {
  return Error{Errc::invalid_field, field + " " + why, field};
}

namespace {

using Json = nlohmann::json;

constexpr std::int64_t kVersionMax = 1'000'000'000;

Result<Json> parse(const std::string& body) {
  if (body.empty()) return Json::object();
  SEQUENTIAL_TRY(check_json(body, DuplicateKeys::refuse));
  Json parsed = Json::parse(body, nullptr, false);
  if (parsed.is_discarded()) {
    return Error{Errc::invalid_json, "the body may not hold an escaped lone surrogate"};
  }
  if (!parsed.is_object()) return Error{Errc::invalid_field, "the body must be a JSON object"};
  return parsed;
}

Result<std::int64_t> integer(const Json& value, const std::string& field, std::int64_t min,
                             std::int64_t max) {
  const bool whole = value.is_number_integer();
  const bool huge = value.is_number_unsigned() &&
                    value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  const std::int64_t number = whole && !huge ? value.get<std::int64_t>() : 0;
  if (!whole || huge || number < min || number > max) {
    return field_error(field, "must be a whole number from " + std::to_string(min) + " to " +
                                  std::to_string(max));
  }
  return number;
}

Result<int> version_of(const Json& value) {
  SEQUENTIAL_TRY(const auto version, integer(value, "version", 1, kVersionMax));
  return static_cast<int>(version);
}

Result<void> read_at(ForkAsk& ask, const Json& value) {
  if (!value.is_object()) {
    SEQUENTIAL_TRY(ask.call, integer(value, "at", 1, INT64_MAX));
    return success();
  }
  for (const auto& [name, number] : value.items()) {
    if (name != "call" && name != "position") {
      return field_error("at." + name, "is not known; there are call and position");
    }
    auto& target = name == "call" ? ask.call : ask.position;
    SEQUENTIAL_TRY(target, integer(number, "at." + name, name == "call" ? 1 : 0, INT64_MAX));
  }
  if ((ask.call > 0) == (ask.position >= 0)) {
    return field_error("at", "must have either call or position");
  }
  return success();
}

Result<void> read_outcome(ForkAsk& ask, const std::string& body, const Json& value) {
  const bool failed = value.is_object() && value.contains("error");
  if (!value.is_object() || value.size() != 1 || (!failed && !value.contains("result"))) {
    return field_error("outcome", "must be an object with result, or with error");
  }
  if (failed && (!value["error"].is_object() || !value["error"].contains("message"))) {
    return field_error("outcome.error", "must be an object with a message, and perhaps a code");
  }
  ask.has_outcome = true;
  ask.outcome.failed = failed;
  ask.outcome.payload =
      std::string(json_member(json_member(body, "outcome"), failed ? "error" : "result"));
  return success();
}

Result<void> read_option(ForkAsk& ask, const std::string& name, const Json& value,
                         int tags_max) {
  const std::string field = "options." + name;
  if (name == "priority") {
    SEQUENTIAL_TRY(const auto priority, integer(value, field, -1'000, 1'000));
    ask.fork.priority = static_cast<int>(priority);
  } else if (name == "tags") {
    SEQUENTIAL_TRY(ask.fork.tags, read_tags(value, field, tags_max));
  } else if (name == "idempotency_key") {
    if (!value.is_string() || value.get<std::string>().empty() ||
        value.get<std::string>().size() > 256) {
      return field_error(field, "must be a text of 1 to 256 bytes");
    }
    ask.fork.idempotency_key = value.get<std::string>();
  } else {
    return field_error(field, "is not an option; there are idempotency_key, priority and tags");
  }
  return success();
}

}  // namespace

Result<int> read_resume(const std::string& body) {
  SEQUENTIAL_TRY(const Json parsed, parse(body));
  int version = 0;
  for (const auto& [name, value] : parsed.items()) {
    if (name != "version") {
      return field_error(name, "is not a member of this request; there is version");
    }
    SEQUENTIAL_TRY(version, version_of(value));
  }
  return version;
}

Result<RetryAsk> read_retry(const std::string& body) {
  SEQUENTIAL_TRY(const Json parsed, parse(body));
  RetryAsk ask;
  for (const auto& [name, value] : parsed.items()) {
    if (name == "version") {
      SEQUENTIAL_TRY(ask.version, version_of(value));
    } else if (name == "call") {
      SEQUENTIAL_TRY(ask.call, integer(value, name, 1, INT64_MAX));
    } else if (name == "unknown_again") {
      if (!value.is_boolean()) return field_error(name, "must be true or false");
      ask.unknown_again = value.get<bool>();
    } else {
      return field_error(name,
                         "is not a member of this request; there are version, call and "
                         "unknown_again");
    }
  }
  return ask;
}

Result<ForkAsk> read_fork(const HttpRequest& request, std::int64_t payload_bytes_max,
                          int tags_max) {
  const std::string& body = request.body;
  SEQUENTIAL_TRY(const Json parsed, parse(body));
  ForkAsk ask;
  for (const auto& [name, value] : parsed.items()) {
    if (name == "at") {
      SEQUENTIAL_TRY(read_at(ask, value));
    } else if (name == "input") {
      ask.input = std::string(json_member(body, "input"));
    } else if (name == "outcome") {
      SEQUENTIAL_TRY(read_outcome(ask, body, value));
    } else if (name == "version") {
      SEQUENTIAL_TRY(ask.version, version_of(value));
    } else if (name == "options" && value.is_object()) {
      for (const auto& [key, option] : value.items()) {
        SEQUENTIAL_TRY(read_option(ask, key, option, tags_max));
      }
    } else {
      return field_error(name,
                         "is not a member of this request; there are at, input, outcome, version "
                         "and options");
    }
  }
  const auto bytes_max = static_cast<std::size_t>(payload_bytes_max);
  if ((ask.input && ask.input->size() > bytes_max) || ask.outcome.payload.size() > bytes_max) {
    return Error{Errc::payload_too_large, "the input or outcome exceeds limits.payload_bytes"};
  }
  if (ask.has_outcome && ask.call == 0 && ask.position < 1) {
    return field_error("at", "must say which call's outcome that is");
  }
  SEQUENTIAL_TRY(read_key_header(request, ask.fork.idempotency_key));
  SEQUENTIAL_TRY(check_key(ask.fork.idempotency_key));
  ask.fork.request_hash = to_hex(sha256(request.segments.at(1) + "\n" + body));
  return ask;
}

}  // namespace sequential::server
