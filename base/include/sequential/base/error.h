#pragma once
// Error and Result: how every module reports what a caller may have to handle.
//
// Threads:  plain values.
// Errors:   a broken invariant of ours is not an Error: SEQUENTIAL_CHECK (check.h) aborts.
//
// Each Errc has a stable text code (`error_code_name`), an HTTP status (`http_status`), and a page
// docs/errors/<code>.md. Adding one without all three fails to compile or fails the tidy test.

#include <boost/outcome/basic_result.hpp>
#include <boost/outcome/policy/terminate.hpp>
#include <boost/outcome/success_failure.hpp>
#include <boost/outcome/try.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace sequential {

enum class Errc {
  // The request
  bad_request,          // malformed HTTP or a body that is not what the route takes
  invalid_json,         // not JSON, too deep, duplicate keys, or not UTF-8
  invalid_field,        // JSON of the wrong shape; Error::field says where
  payload_too_large,    // over a limit of GET /limits
  headers_too_large,    // the request's header section, likewise
  unauthorized,         // no or wrong token, or a chain signature that does not verify
  forbidden,            // a request from a page of another origin, or a Host we do not serve
  not_found,            // no such route or record
  method_not_allowed,   // the route exists, not with this verb
  task_not_found,       // no task function of that name (or version)
  run_not_found,        // no task run of that id
  schedule_not_found,   // no schedule of that name
  webhook_gone,         // the webhook was used, has expired, or its run is over
  code_invalid,         // task code that does not compile or exports no function
  idempotency_conflict, // the same idempotency key came with another body
  conflict,             // the record is not in a state that allows this
  overloaded,           // a bounded queue is full: try again later
  // Storage
  fenced,               // the claim that this write belongs to was superseded
  unavailable,          // the store cannot be reached or is full: nothing was changed
  corrupt,              // stored data that cannot be what we wrote
  schema_newer,         // the database was migrated by a newer release
  in_use,               // another process serves this database
  database_went_back,   // the database lacks what it had acknowledged: a person must decide
  // Calls (recorded as the call's error and thrown into the task as HostCallError.code)
  unknown_service,
  unknown_method,
  invalid_arguments,
  service_error,        // the callee answered with an error of its own
  service_unavailable,  // the callee could not be reached
  timeout,
  outcome_unknown,      // at_most_once, and whether the call took effect cannot be known
  ssrf_denied,          // the address is not one that outbound calls may reach
  response_invalid,     // the callee's answer is not what it declares (length, encoding, JSON)
  response_too_large,
  key_not_found,
  keystore_integrity,   // a sealed value that does not open: altered, moved or wrong key file
  // Runs
  task_error,           // the task threw
  divergent,            // a replay did not repeat the journal
  cpu_limit,
  wall_limit,
  memory_limit,
  calls_limit,          // more calls in flight than limits.calls_in_flight
  depth_limit,          // child tasks nested deeper than limits.child_depth
  signals_limit,        // more signals kept for a run than limits.signals_kept
  deadlock,             // the task waits for something that no call of it can settle
  poison,               // the run killed its engine repeatedly
  engine_lost,          // the engine process died; the slice is replayed
  cancelled,
  // Us
  config_invalid,
  shutting_down,
  internal,
};

// The stable text code, e.g. "invalid_field". Never changes once released.
std::string_view error_code_name(Errc code) noexcept;

// The HTTP status that a problem document with this code carries.
int http_status(Errc code) noexcept;

struct Error {
  Errc code = Errc::internal;
  std::string message;  // one sentence a stranger can act on; no secrets, no payloads
  std::string field;    // JSON path of the field at fault, e.g. "input.users[3]", or empty
  std::string detail;   // further facts as JSON object text, or empty

  Error() = default;
  Error(Errc c, std::string m) : code(c), message(std::move(m)) {}
  Error(Errc c, std::string m, std::string f)
      : code(c), message(std::move(m)), field(std::move(f)) {}
};

// [[nodiscard]]; reading the value of an error (or the reverse) terminates the process.
template <class T>
using Result = boost::outcome_v2::basic_result<T, Error, boost::outcome_v2::policy::terminate>;

inline auto success() { return boost::outcome_v2::success(); }
template <class T>
auto success(T&& value) {
  return boost::outcome_v2::success(std::forward<T>(value));
}

inline Error make_error(Errc code, std::string message) { return {code, std::move(message)}; }

}  // namespace sequential

// SEQUENTIAL_TRY(auto x, f()) returns f's error from the enclosing function or binds its value.
#define SEQUENTIAL_TRY BOOST_OUTCOME_TRY
