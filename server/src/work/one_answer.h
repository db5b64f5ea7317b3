#pragma once
// The answer of a service to a call, and the calls that wait for theirs.
//
// Threads: any.

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sequential/services/service.h"

namespace sequential::server {

// One answer, whichever comes first, the service's or the watchdog's, before or after it is
// awaited.
class OneAnswer {
 public:
  void give(services::CallReply reply) {
    std::function<void(services::CallReply)> done;
    {
      const std::lock_guard lock(mutex_);
      if (given_) return;
      given_ = true;
      if (!done_) {
        early_ = std::move(reply);
        return;
      }
      done = std::move(done_);
    }
    done(std::move(reply));
  }

  std::optional<services::CallReply> take_now() {
    const std::lock_guard lock(mutex_);
    return std::exchange(early_, std::nullopt);
  }

  void wait(std::function<void(services::CallReply)> done) {
    std::optional<services::CallReply> early;
    {
      const std::lock_guard lock(mutex_);
      early = std::exchange(early_, std::nullopt);
      if (!early) done_ = std::move(done);
    }
    if (early) done(std::move(*early));
  }

 private:
  std::mutex mutex_;
  std::function<void(services::CallReply)> done_;  // guarded by mutex_
  std::optional<services::CallReply> early_;       // guarded by mutex_
  bool given_ = false;                             // guarded by mutex_
};

// Those that have been sent and wait, so that a stop can end the waiting.
class CallsUnderWay {
 public:
  class Mark {  // one of them, until destroyed
   public:
    Mark(CallsUnderWay& calls, std::shared_ptr<OneAnswer> answer)
        : calls_(calls), answer_(std::move(answer)) {
      const std::lock_guard lock(calls_.mutex_);
      calls_.answers_.insert(answer_);
    }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;
    ~Mark() {
      const std::lock_guard lock(calls_.mutex_);
      calls_.answers_.erase(answer_);
    }

   private:
    CallsUnderWay& calls_;
    const std::shared_ptr<OneAnswer> answer_;
  };

  std::vector<std::shared_ptr<OneAnswer>> all() const {
    const std::lock_guard lock(mutex_);
    return {answers_.begin(), answers_.end()};
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_set<std::shared_ptr<OneAnswer>> answers_;  // guarded by mutex_
};

}  // namespace sequential::server
