#pragma once
// HintDesk: how many hints may ask the store at once. A hint that needs a claim costs a query, so a
// flood of them, well signed, would keep everybody else from the store. Here at most `claims_max`
// are asked for at a time, at most one more is kept for each stack run (what the claim under way
// does not see, the next one does), and at most `waiting_max` wait in all. Above that a hint is
// refused: its row is in the database, and the sweep finds it.
//
// Threads: any; every method locks.

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "sequential/base/ids.h"
#include "sequential/storage/records.h"

namespace sequential::server {

struct Hint {
  StackRunId id;  // 0: the oldest runnable stack run
  storage::Via via = storage::Via::chain;
};

class HintDesk {
 public:
  HintDesk(std::size_t claims_max, std::size_t waiting_max)
      : claims_max_(claims_max), waiting_max_(waiting_max) {}

  // begin: the caller asks the store now, and calls `answered` when that is done.
  enum class Answer { begin, waits, doubled, full };
  Answer arrive(const Hint& hint) {
    const std::lock_guard lock(mutex_);
    ++stats_.received;
    const Answer answer = place(hint);
    if (answer == Answer::doubled) ++stats_.coalesced;
    if (answer == Answer::full) ++stats_.refused;
    return answer;
  }

  // The store has answered, or will not be asked. Answers the hint to begin instead, for which
  // `answered` is to be called in turn. `nothing`: it was asked for the oldest, and has none.
  std::optional<Hint> answered(StackRunId id, bool nothing) {
    const std::lock_guard lock(mutex_);
    --claims_;
    if (!id) {
      // Whoever made something runnable since has sent a hint of its own.
      if (nothing) drop_waiting_for_oldest();
    } else if (const auto found = asked_.find(id); found != asked_.end()) {
      const std::optional<Hint> again = found->second;
      asked_.erase(found);
      if (again) {
        --again_;
        waiting_.push_back(*again);  // behind those that came first
        waiting_ids_.insert(id);
      }
    }
    if (waiting_.empty() || claims_ >= claims_max_) return std::nullopt;
    const Hint next = waiting_.front();
    waiting_.pop_front();
    next.id ? (void)waiting_ids_.erase(next.id) : (void)--waiting_for_oldest_;
    return begin(next);
  }

  struct Stats {
    std::int64_t received = 0, coalesced = 0, refused = 0;
    std::size_t asking = 0, waiting = 0;
  };
  Stats stats() const {
    const std::lock_guard lock(mutex_);
    Stats stats = stats_;
    stats.asking = claims_;
    stats.waiting = waiting_.size() + again_;
    return stats;
  }

 private:
  // All with mutex_ held.
  Answer place(const Hint& hint) {
    const auto asked = hint.id ? asked_.find(hint.id) : asked_.end();
    if (asked != asked_.end()) {
      if (asked->second) return Answer::doubled;
      if (is_full()) return Answer::full;
      asked->second = hint;
      ++again_;
      return Answer::waits;
    }
    // As many as can be asked for at once see everything that those behind them would see.
    const bool known =
        hint.id ? waiting_ids_.contains(hint.id) : waiting_for_oldest_ >= claims_max_;
    if (known) return Answer::doubled;
    if (claims_ < claims_max_) {
      begin(hint);
      return Answer::begin;
    }
    if (is_full()) return Answer::full;
    waiting_.push_back(hint);
    hint.id ? (void)waiting_ids_.insert(hint.id) : (void)++waiting_for_oldest_;
    return Answer::waits;
  }
  Hint begin(const Hint& hint) {
    ++claims_;
    if (hint.id) asked_.emplace(hint.id, std::nullopt);
    return hint;
  }
  bool is_full() const { return waiting_.size() + again_ >= waiting_max_; }
  void drop_waiting_for_oldest() {
    if (waiting_for_oldest_ == 0) return;
    std::erase_if(waiting_, [](const Hint& hint) { return !hint.id; });
    stats_.coalesced += static_cast<std::int64_t>(waiting_for_oldest_);
    waiting_for_oldest_ = 0;
  }

  const std::size_t claims_max_, waiting_max_;
  mutable std::mutex mutex_;
  // All guarded by mutex_
  std::size_t claims_ = 0;
  std::unordered_map<StackRunId, std::optional<Hint>> asked_;  // and what came meanwhile
  std::size_t again_ = 0;                                      // of those
  std::deque<Hint> waiting_;
  std::unordered_set<StackRunId> waiting_ids_;
  std::size_t waiting_for_oldest_ = 0;
  Stats stats_;
};

}  // namespace sequential::server
