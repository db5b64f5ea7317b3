#include "sequential/base/error.h"

#include <string_view>

namespace sequential {

std::string_view error_code_name(Errc code) noexcept {
  switch (code) {  // No default: a new code must be named here to compile.
    case Errc::bad_request: return "bad_request";
    case Errc::invalid_json: return "invalid_json";
    case Errc::invalid_field: return "invalid_field";
    case Errc::payload_too_large: return "payload_too_large";
    case Errc::headers_too_large: return "headers_too_large";
    case Errc::unauthorized: return "unauthorized";
    case Errc::forbidden: return "forbidden";
    case Errc::not_found: return "not_found";
    case Errc::method_not_allowed: return "method_not_allowed";
    case Errc::task_not_found: return "task_not_found";
    case Errc::run_not_found: return "run_not_found";
    case Errc::schedule_not_found: return "schedule_not_found";
    case Errc::webhook_gone: return "webhook_gone";
    case Errc::code_invalid: return "code_invalid";
    case Errc::idempotency_conflict: return "idempotency_conflict";
    case Errc::conflict: return "conflict";
    case Errc::overloaded: return "overloaded";
    case Errc::fenced: return "fenced";
    case Errc::unavailable: return "unavailable";
    case Errc::corrupt: return "corrupt";
    case Errc::schema_newer: return "schema_newer";
    case Errc::in_use: return "in_use";
    case Errc::database_went_back: return "database_went_back";
    case Errc::unknown_service: return "unknown_service";
    case Errc::unknown_method: return "unknown_method";
    case Errc::invalid_arguments: return "invalid_arguments";
    case Errc::service_error: return "service_error";
    case Errc::service_unavailable: return "service_unavailable";
    case Errc::timeout: return "timeout";
    case Errc::outcome_unknown: return "outcome_unknown";
    case Errc::ssrf_denied: return "ssrf_denied";
    case Errc::response_invalid: return "response_invalid";
    case Errc::response_too_large: return "response_too_large";
    case Errc::key_not_found: return "key_not_found";
    case Errc::keystore_integrity: return "keystore_integrity";
    case Errc::task_error: return "task_error";
    case Errc::divergent: return "divergent";
    case Errc::cpu_limit: return "cpu_limit";
    case Errc::wall_limit: return "wall_limit";
    case Errc::memory_limit: return "memory_limit";
    case Errc::calls_limit: return "calls_limit";
    case Errc::depth_limit: return "depth_limit";
    case Errc::signals_limit: return "signals_limit";
    case Errc::deadlock: return "deadlock";
    case Errc::poison: return "poison";
    case Errc::engine_lost: return "engine_lost";
    case Errc::cancelled: return "cancelled";
    case Errc::config_invalid: return "config_invalid";
    case Errc::shutting_down: return "shutting_down";
    case Errc::internal: return "internal";
  }
  return "internal";
}

int http_status(Errc code) noexcept {
  switch (code) {  // No default: a new code must be given a status to compile.
    case Errc::bad_request:
    case Errc::invalid_json: return 400;
    case Errc::unauthorized: return 401;
    case Errc::forbidden: return 403;
    case Errc::not_found:
    case Errc::task_not_found:
    case Errc::run_not_found:
    case Errc::schedule_not_found:
    case Errc::key_not_found:
    case Errc::unknown_service:
    case Errc::unknown_method: return 404;
    case Errc::method_not_allowed: return 405;
    case Errc::idempotency_conflict:
    case Errc::conflict:
    case Errc::divergent:
    case Errc::fenced:
    case Errc::in_use: return 409;
    case Errc::webhook_gone: return 410;
    case Errc::payload_too_large: return 413;
    case Errc::invalid_field:
    case Errc::code_invalid:
    case Errc::invalid_arguments: return 422;
    // What ends a run or a call is a fact about that run: the request that names it was fine, but
    // it cannot be answered with what was asked for.
    case Errc::task_error:
    case Errc::cpu_limit:
    case Errc::wall_limit:
    case Errc::memory_limit:
    case Errc::calls_limit:
    case Errc::depth_limit:
    case Errc::deadlock:
    case Errc::poison:
    case Errc::cancelled: return 422;
    case Errc::ssrf_denied: return 403;
    case Errc::signals_limit:
    case Errc::overloaded: return 429;
    case Errc::headers_too_large: return 431;
    case Errc::corrupt:
    case Errc::schema_newer:
    case Errc::keystore_integrity:
    case Errc::config_invalid:
    case Errc::internal: return 500;
    case Errc::service_error:
    case Errc::response_invalid:
    case Errc::response_too_large:
    case Errc::outcome_unknown: return 502;
    case Errc::unavailable:
    case Errc::database_went_back:
    case Errc::service_unavailable:
    case Errc::engine_lost:
    case Errc::shutting_down: return 503;
    case Errc::timeout: return 504;
  }
  return 500;
}

}  // namespace sequential
