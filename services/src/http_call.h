#pragma once
// What services that make HTTP calls share: how a transport failure becomes a call's error.
//
// Threads: pure functions.

#include <string>
#include <string_view>

#include "sequential/base/error.h"
#include "sequential/services/service.h"

namespace sequential::services {

// Sending these again cannot do more than sending them once (RFC 9110 §9.2.2).
bool is_idempotent_method(std::string_view method);
// These ask for nothing to be done.
bool is_safe_method(std::string_view method);

// What the call's options say that matters to whoever sends it.
struct Sending {
  bool at_most_once = false;
  bool idempotent = false;  // the caller says so
};
Sending read_sending(std::string_view options_json);

// A failure worth another try, by its nature: the transport's, not the request's.
bool is_transient(const Error& error);

// The call's error for a request with this method that got no answer. An at_most_once call whose
// request may have been carried out becomes outcome_unknown.
CallError transport_error(const Error& error, std::string_view method, const Sending& sending);

}  // namespace sequential::services
