#pragma once
// The leases of stack runs under way, by when they end: what lets the store find abandoned work
// without an index on disk that every claim and every outcome would have to write.
//
// It repeats what is in the rows (status `processing`, lease_until), is rebuilt from them when the
// file is opened, and follows each transaction: `keep` after a commit, `undo` after a rollback. It
// only proposes; whoever claims reads the row.
//
// Threads: the writer's only.

#include <cstdint>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/ids.h"

namespace sequential::storage::sqlite {

// The order in which work is taken: highest priority, longest due, oldest.
struct ClaimOrder {
  int priority = 0;
  WallTime available_at;
  StackRunId id;
  friend bool operator<(const ClaimOrder& a, const ClaimOrder& b) {
    return std::tie(b.priority, a.available_at, a.id) < std::tie(a.priority, b.available_at, b.id);
  }
};

class LeaseTable {
 public:
  // `order.id` is held until `until`, instead of what was known of it.
  void hold(const ClaimOrder& order, WallTime until);
  void drop(StackRunId id);

  void keep() { undo_log_.clear(); }
  void undo();

  // Moves the leases that have ended at `now` among the expired.
  void expire(WallTime now);
  // The first to be taken of the expired ones.
  std::optional<ClaimOrder> first_expired() const;
  const std::set<ClaimOrder>& expired() const { return expired_; }

  std::vector<StackRunId> all() const;
  std::size_t size() const { return leases_.size(); }
  void clear();  // cannot be undone: the caller rebuilds after a rollback

 private:
  struct Lease {
    ClaimOrder order;
    WallTime until;
    bool expired = false;
  };
  using Undo = std::pair<StackRunId, std::optional<Lease>>;

  void put(const Lease& lease);
  std::optional<Lease> remove(StackRunId id);

  std::unordered_map<StackRunId, Lease> leases_;
  std::set<std::pair<WallTime, StackRunId>> running_;
  std::set<ClaimOrder> expired_;
  std::vector<Undo> undo_log_;  // what each change replaced, oldest first
};

}  // namespace sequential::storage::sqlite
