#pragma once
// Small makers of replies that every built-in service uses. Threads: pure.

#include <string>
#include <utility>

#include "sequential/base/error.h"
#include "sequential/services/service.h"

namespace sequential::services {

inline CallReply failed(Errc errc, std::string message, bool retryable = false) {
  CallError error;
  error.errc = errc;
  error.message = std::move(message);
  error.retryable = retryable;
  return CallReply::fail(std::move(error));
}
inline CallReply failed(const Error& error, bool retryable = false) {
  return failed(error.code, error.message, retryable);
}

}  // namespace sequential::services
