#include "http_call.h"

#include <algorithm>
#include <array>

#include "json_args.h"
#include "sequential/base/json_text.h"

namespace sequential::services {
namespace {

constexpr std::string_view kConnectPhase = "connect";

// Refused here, before anything went out.
bool is_refusal(Errc code) {
  return code == Errc::ssrf_denied || code == Errc::invalid_arguments ||
         code == Errc::overloaded || code == Errc::shutting_down;
}

}  // namespace

bool is_idempotent_method(std::string_view method) {
  constexpr std::array<std::string_view, 5> methods = {"GET", "HEAD", "PUT", "OPTIONS", "DELETE"};
  return std::find(methods.begin(), methods.end(), method) != methods.end();
}

bool is_safe_method(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS";
}

Sending read_sending(std::string_view options_json) {
  Sending sending;
  if (!json_is_object(options_json)) return sending;
  sending.at_most_once =
      json_text_value(json_member(options_json, "delivery")) == std::string("at_most_once");
  sending.idempotent = json_member(options_json, "idempotent") == "true";
  return sending;
}

bool is_transient(const Error& error) {
  return error.code == Errc::service_unavailable || error.code == Errc::timeout ||
         error.code == Errc::response_invalid || error.code == Errc::overloaded ||
         error.code == Errc::shutting_down;
}

CallError transport_error(const Error& error, std::string_view method, const Sending& sending) {
  CallError out;
  out.errc = error.code;
  out.message = error.message;
  const bool unsent = error.field == kConnectPhase || is_refusal(error.code);
  if (sending.at_most_once && !unsent && !is_safe_method(method)) {
    out.errc = Errc::outcome_unknown;
    out.message = "whether the call took effect cannot be known: " + error.message;
    return out;
  }
  const bool repeatable = unsent || is_idempotent_method(method) || sending.idempotent;
  out.retryable = repeatable && is_transient(error);
  return out;
}

}  // namespace sequential::services
