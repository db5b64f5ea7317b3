#include "sqlite/lease_table.h"

namespace sequential::storage::sqlite {

void LeaseTable::hold(const ClaimOrder& order, WallTime until) {
  undo_log_.emplace_back(order.id, remove(order.id));
  put({order, until, false});
}

void LeaseTable::drop(StackRunId id) {
  auto before = remove(id);
  if (before) undo_log_.emplace_back(id, std::move(before));
}

void LeaseTable::undo() {
  for (auto change = undo_log_.rbegin(); change != undo_log_.rend(); ++change) {
    remove(change->first);
    if (change->second) put(*change->second);
  }
  undo_log_.clear();
}

void LeaseTable::expire(WallTime now) {
  while (!running_.empty() && running_.begin()->first <= now) {
    Lease& lease = leases_.at(running_.begin()->second);
    running_.erase(running_.begin());
    lease.expired = true;
    expired_.insert(lease.order);
  }
}

std::optional<ClaimOrder> LeaseTable::first_expired() const {
  if (expired_.empty()) return std::nullopt;
  return *expired_.begin();
}

std::vector<StackRunId> LeaseTable::all() const {
  std::vector<StackRunId> ids;
  ids.reserve(leases_.size());
  for (const auto& [id, lease] : leases_) ids.push_back(id);
  return ids;
}

void LeaseTable::clear() {
  leases_.clear();
  running_.clear();
  expired_.clear();
  undo_log_.clear();
}

void LeaseTable::put(const Lease& lease) {
  leases_[lease.order.id] = lease;
  if (lease.expired) {
    expired_.insert(lease.order);
  } else {
    running_.emplace(lease.until, lease.order.id);
  }
}

std::optional<LeaseTable::Lease> LeaseTable::remove(StackRunId id) {
  const auto found = leases_.find(id);
  if (found == leases_.end()) return std::nullopt;
  const Lease lease = found->second;
  if (lease.expired) {
    expired_.erase(lease.order);
  } else {
    running_.erase({lease.until, id});
  }
  leases_.erase(found);
  return lease;
}

}  // namespace sequential::storage::sqlite
