#pragma once
// Service: a named group of host methods that task code calls with __callHostTool__.
//
// Threads:  `call` may be called from any thread, many at once; `done` is called exactly once, on
//           any thread, possibly from inside `call`.
// Blocking: `call` never blocks; what takes time is asynchronous.
// Lifetime: the request is moved in. A service outlives the calls it has accepted.
// Errors:   a call's failure is a value (CallReply::failed): it is recorded and thrown into the
// task.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/base/ids.h"

namespace sequential::services {

struct CallRequest {
  std::string service, method;  // method path joined by dots: "users.messages.list"
  std::string args;             // JSON text: an array of the call's arguments
  std::string options;          // JSON text of the call's options, or empty
  TaskRunId run;                // 0 when called by hand
  std::int64_t seq = 0;
  int attempt = 1;
  std::string idempotency_key;  // "<run>:<seq>": the same on every attempt
  MonoTime deadline;            // give up by then with Errc::timeout
};

// How a call failed. `to_json` gives what the task catches as HostCallError.
struct CallError {
  Errc errc = Errc::service_error;
  std::string name = "HostCallError";
  std::string message;
  std::string code;  // the callee's own code as text or number text; empty: errc's name
  bool code_is_number = false;
  int status = 0;          // HTTP status of the callee, 0 = none
  std::string errors;      // JSON text: the callee's own error list, or empty
  bool retryable = false;  // another attempt may succeed
  Millis retry_after{0};   // the callee asked to wait this long
  std::string to_json(std::string_view service, std::string_view method) const;
};

struct CallReply {
  bool failed = false;
  std::string result;  // JSON text
  CallError error;

  static CallReply ok(std::string json) {
    CallReply reply;
    reply.result = std::move(json);
    return reply;
  }
  static CallReply fail(CallError error) {
    CallReply reply;
    reply.failed = true;
    reply.error = std::move(error);
    return reply;
  }
};
using CallDone = std::function<void(CallReply)>;

struct MethodInfo {
  std::string name;
  std::string description;
};

// What a call gets unless its own options say otherwise (milliseconds, tries).
struct CallPolicy {
  Millis timeout{60'000};  // per attempt
  int attempts_max = 3;    // only for errors marked retryable
  Millis backoff_initial{200};
  double backoff_factor = 2.0;
  Millis backoff_max{30'000};
  bool at_most_once = false;
  // Options of the service's own, besides those of every call. Borrowed: constants of the service.
  std::span<const std::string_view> own_options;
};

class Service {
 public:
  Service() = default;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  virtual ~Service() = default;

  virtual std::string_view name() const = 0;
  virtual std::string_view description() const = 0;
  virtual std::vector<MethodInfo> methods() const = 0;
  virtual CallPolicy policy(std::string_view method) const = 0;
  // A durable wait before the call (timers): the call is stored with available_at = now + this.
  // Errors: invalid_arguments. Called before the call is stored; pure.
  virtual Result<Millis> delay(std::string_view /*method*/, std::string_view /*args*/) const {
    return Millis{0};
  }
  virtual void call(CallRequest request, CallDone done) = 0;
};

// All services of a server by name. Filled before use, constant after.
class Registry {
 public:
  void add(std::shared_ptr<Service> service);  // the name must be new
  Service* find(std::string_view name) const;
  Service* find_taking(std::string_view name, std::string_view method) const;  // if it has it
  std::vector<const Service*> all() const;  // by name
  // Dispatches, answering unknown_service / unknown_method itself (with the names that exist).
  void call(CallRequest request, CallDone done) const;

 private:
  struct Entry {
    std::shared_ptr<Service> service;
    std::vector<std::string> methods;  // sorted; empty: the service takes any
  };
  const Entry* find_entry(std::string_view name) const;
  static bool takes(const Entry& entry, std::string_view method);
  std::vector<Entry> entries_;  // sorted by name
};

// The call's own options over the service's policy; invalid_arguments names the option at fault.
// Options: {"delivery":"at_least_once"|"at_most_once", "timeoutMs":n,
//           "retry":{"attempts":n,"backoffMs":n,"factor":x,"maxBackoffMs":n}, "idempotent":bool}
// and base.own_options. Any other is refused: a slip would otherwise change nothing, silently.
Result<CallPolicy> merge_policy(const CallPolicy& base, std::string_view options_json);

// Pause before attempt `next_attempt` (2…), with jitter in [0.5, 1): never below `retry_after`.
Millis backoff(const CallPolicy& policy, int next_attempt, Millis retry_after, double random01);

}  // namespace sequential::services
