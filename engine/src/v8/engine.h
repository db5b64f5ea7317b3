#pragma once
// Engine: answers the broker's frames, one after the other, until the socket ends.

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base_blob.h"
#include "channel.h"
#include "platform.h"
#include "sequential/base/error.h"
#include "sequential/engine/protocol.h"
#include "slice.h"
#include "task_loader.h"
#include "warm_set.h"
#include "watchdog.h"

namespace sequential::engine::v8host {

class Engine {
 public:
  Engine(Channel& channel, const Platform& platform, BaseBlob& base, Watchdog& watchdog,
         const protocol::Hello& hello);

  // Until the broker closes its end. Errors: a frame that the protocol does not allow.
  Result<void> serve();

 private:
  void use_idle_time();
  Result<void> handle(protocol::ToEngine message);
  Result<void> begin(protocol::Begin& begin);
  Result<void> begin_warm(const protocol::Begin& begin);
  Result<void> begin_cold(protocol::Begin& begin);
  Result<void> check(const protocol::Check& check);
  Result<TaskFunction*> function_of(protocol::Begin& begin);
  Result<protocol::Journal> next_page(std::int64_t run);
  Result<void> answer(protocol::SliceDone done, TaskIsolate* isolate);
  Result<void> send(const protocol::FromEngine& message);
  protocol::SliceDone not_warm(std::int64_t run) const;

  Channel& channel_;
  const Platform& platform_;
  BaseBlob& base_;
  Watchdog& watchdog_;
  const protocol::Hello hello_;
  protocol::CodeLedger ledger_;
  std::unordered_map<std::int64_t, std::unique_ptr<TaskFunction>> functions_;
  WarmSet warm_;
};

}  // namespace sequential::engine::v8host
