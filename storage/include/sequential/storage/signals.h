#pragma once
// What runs are told from outside: signals by name, and webhooks, whose one answer comes by a
// request to a secret address.
//
// A signal goes to the oldest call of its run that waits for its name, or is kept until one does.
// Signals of one name are taken in the order in which they were sent, by calls in the order in
// which the task made them.
//
// Each method is one transaction, on the terms of Store.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/ids.h"
#include "sequential/storage/records.h"
#include "sequential/storage/store.h"

namespace sequential::storage {

// Calls that wait for a signal are service "signal", method "wait", with the signal's name as first
// argument: the store finds by that which calls are before which.
inline constexpr std::string_view kSignalService = "signal";
inline constexpr std::string_view kSignalWait = "wait";

// Names are 1…128 of A-Z a-z 0-9 . _ - or "webhook:<seq>"; so they stand in JSON as they are.
struct SignalTake {
  Grant call;
  std::string name;
  std::optional<Millis> timeout;  // since the call was made
  std::optional<WallTime> until;
  std::string timeout_error, over_error;  // what the call fails with: in vain; its run has ended
  std::optional<Lease> handoff;
};
struct SignalTaken {
  // Unset: the call waits, claimed by nobody, until it is ended or due.
  std::optional<OutcomeRecorded> recorded;
  bool failed = false;
  std::string payload;
  std::optional<Millis> due_in;  // it waits that long, at most
  std::optional<Wake> wake;      // it waits, but other calls of the run got a signal
};

struct SignalSend {
  TaskRunId run;
  std::string name, payload;
  std::string key, request_hash;  // a key of this run known already: nothing is stored again
  std::int64_t kept_max = 10'000;
  std::optional<Lease> handoff;
};
struct SignalSent {
  bool delivered = false;  // to a call that waited; false: it is kept (or was, see `existing`)
  bool existing = false;
  std::optional<Wake> wake;
};

struct KeptSignal {
  std::int64_t id = 0;  // in the order in which they came
  std::string name, payload;
  WallTime at;
};

struct WebhookNew {
  Grant call;        // its outcome will be `outcome`
  std::string key;   // a hash of the webhook's secret
  std::string name;  // "webhook:<seq>": calls that wait for that get its answer, each of them
  Millis expires{0};
  std::string rules;  // JSON text of the caller's: what is answered to whom
  std::string outcome;
  std::optional<Lease> handoff;
};
struct Webhook {
  TaskRunId run;
  std::string rules;
  bool gone = false;  // used, expired, or its run is over
};
struct WebhookAnswer {
  std::string key, payload;
  std::optional<Lease> handoff;
};

class Signals {
 public:
  Signals() = default;
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  virtual ~Signals() = default;

  // Ends the call with the oldest signal kept, or in vain if its time is over, or leaves it
  // waiting. Errors: fenced.
  virtual void take(SignalTake, Done<SignalTaken>) = 0;
  // Errors: run_not_found; conflict when the run is over; signals_limit; idempotency_conflict.
  virtual void send(SignalSend, Done<SignalSent>) = 0;
  // The signals that nobody has taken, oldest first, of ids above `after`. Errors: run_not_found.
  virtual void kept(TaskRunId, std::int64_t after, int limit, Done<std::vector<KeptSignal>>) = 0;

  // Errors: fenced.
  virtual void create_webhook(WebhookNew, Done<OutcomeRecorded>) = 0;
  // Errors: not_found.
  virtual void webhook(std::string key, Done<Webhook>) = 0;
  // Takes the webhook's one answer. Errors: not_found, webhook_gone.
  virtual void answer_webhook(WebhookAnswer, Done<SignalSent>) = 0;
};

}  // namespace sequential::storage
