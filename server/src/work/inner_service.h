#pragma once
// InnerService: a service of the server's own that works on the store under the claim of the call
// itself. So it can do in one transaction what an ordinary service cannot: record the call's
// outcome together with something else, or leave the call waiting for what others do (a child
// task's end, a signal), claimed by nobody.
//
// Threads:  coroutines of many calls at once, on the io_context.
// Lifetime: outlives the processor.

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <variant>

#include "sequential/base/clock.h"
#include "sequential/services/service.h"
#include "sequential/storage/store.h"

namespace sequential::server {

// The store has given the call back to wait; it is claimed again by the time it is due, if nobody
// ends it before.
struct CallWaits {
  std::optional<Millis> due_in;  // unset: it only waits to be ended
};
// The store has recorded the call's outcome.
struct CallEnded {
  storage::OutcomeRecorded recorded;
  bool failed = false;
  std::string payload;
};
// The claim was superseded: nothing was changed.
struct CallFenced {};
// A CallReply is recorded like that of any service: errors of the arguments, say.
using InnerReply = std::variant<services::CallReply, CallWaits, CallEnded, CallFenced>;

// In the registry like any other service: it names its methods and policy there.
class InnerService : public services::Service {
 public:
  // `handoff`: claim for this node what becomes runnable. The call's last attempt is
  // `work.attempt`.
  virtual boost::asio::awaitable<InnerReply> run(const storage::Work& work,
                                                 const std::optional<storage::Lease>& handoff) = 0;

  // By hand there is no call to leave waiting.
  void call(services::CallRequest request, services::CallDone done) final {
    services::CallError error;
    error.errc = Errc::invalid_arguments;
    error.message = std::string(name()) + "." + request.method + " can be called by tasks only";
    done(services::CallReply::fail(std::move(error)));
  }
};

}  // namespace sequential::server
