#include <string>
#include <string_view>

#include "sequential/base/json_text.h"
#include "sequential/services/service.h"

namespace sequential::services {
namespace {

// The class of error that task code can tell apart by name. Only the four outcomes that a task may
// want to treat by themselves have one; the code tells the rest.
std::string_view error_name(Errc errc) {
  if (errc == Errc::timeout) return "TimeoutError";
  if (errc == Errc::outcome_unknown) return "OutcomeUnknownError";
  if (errc == Errc::cancelled) return "CancelledError";
  return {};
}

bool is_number_text(std::string_view text) {
  if (text.empty()) return false;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return (digit(text.front()) || text.front() == '-') && check_json(text).has_value();
}

}  // namespace

std::string CallError::to_json(std::string_view service, std::string_view method) const {
  const std::string_view by_errc = error_name(errc);
  JsonObject object;
  object.string("name", by_errc.empty() ? std::string_view(name) : by_errc);
  object.string("message", message);
  if (code.empty()) {
    object.string("code", error_code_name(errc));
  } else if (code_is_number && is_number_text(code)) {
    object.raw("code", code);
  } else {
    object.string("code", code);
  }
  if (status == 0) {
    object.null("status");
  } else {
    object.number("status", status);
  }
  object.string("service", service);
  object.string("method", method);
  object.raw("errors", errors.empty() || check_json(errors).has_error() ? "[]" : errors);
  return std::move(object).text();
}

}  // namespace sequential::services
