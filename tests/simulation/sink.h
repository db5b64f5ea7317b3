#pragma once
// The outside world: one sink that all nodes' services reach, with a ledger of what arrived there
// and of what it answered.

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "random.h"
#include "sequential/base/clock.h"
#include "sequential/services/service.h"

namespace sequential::simulation {

struct Arrival {
  std::string node;
  int attempt = 0;
};

struct Ledger {
  std::vector<Arrival> arrivals;
  std::vector<std::pair<bool, std::string>> answers;  // failed, payload as it would be recorded
  bool at_most_once = false;
  int retryable = 0;  // failures that ask for another try
  int late = 0;       // answers that came after they were given up
};

struct Pending {  // a call that the sink has not answered yet
  std::string key, node;
  MonoTime overdue_at;  // from then on its caller has given it up
  bool silent = false;  // it will never be answered
  services::CallReply reply;
  services::CallDone done;
};

class Sink {
 public:
  // Told of every arrival, before it is counted.
  using Watcher = std::function<void(const std::string& node, const services::CallRequest&)>;
  Sink(Random& random, Watcher watcher) : random_(random), watcher_(std::move(watcher)) {}

  int at_once_per_mille = 400;
  std::vector<Pending> pending;
  std::map<std::string, Ledger> ledger;  // by idempotency key

  void call(const std::string& node, services::CallRequest request, services::CallDone done);
  // Answers one of `pending`.
  void answer(Pending call, MonoTime now);
  // The callers of this node are gone.
  void hang_up(const std::string& node, MonoTime now);

 private:
  Random& random_;
  const Watcher watcher_;
};

// A node's own service objects.
class SinkService final : public services::Service {
 public:
  SinkService(std::string node, Sink& sink) : node_(std::move(node)), sink_(sink) {}
  std::string_view name() const override { return "sink"; }
  std::string_view description() const override { return "keeps a ledger"; }
  std::vector<services::MethodInfo> methods() const override { return {}; }
  services::CallPolicy policy(std::string_view method) const override;
  void call(services::CallRequest request, services::CallDone done) override {
    sink_.call(node_, std::move(request), std::move(done));
  }

 private:
  const std::string node_;
  Sink& sink_;
};

class SimTimerService final : public services::Service {
 public:
  std::string_view name() const override { return "timer"; }
  std::string_view description() const override { return "waits"; }
  std::vector<services::MethodInfo> methods() const override { return {}; }
  services::CallPolicy policy(std::string_view) const override { return {}; }
  Result<Millis> delay(std::string_view method, std::string_view args) const override;
  void call(services::CallRequest request, services::CallDone done) override;
};

}  // namespace sequential::simulation
