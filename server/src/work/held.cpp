#include "work/held.h"

#include <algorithm>
#include <utility>

namespace sequential::server {

void Held::add(storage::Work work, MonoTime now, MonoTime asked) {
  const std::lock_guard lock(mutex_);
  const auto id = work.grant.id;
  const auto found = entries_.find(id);
  if (found != entries_.end() && found->second.work.grant.epoch >= work.grant.epoch) return;
  entries_.insert_or_assign(id, Entry{std::move(work), now, std::min(asked, now) + trust_, false});
}

Held::Answer Held::take(StackRunId id, MonoTime now, std::optional<Taken>& taken) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return Answer::unknown;
  Entry& entry = found->second;
  if (entry.taken) return Answer::busy;
  entry.taken = true;
  storage::Work kept;
  kept.grant = entry.work.grant;
  taken = Taken{std::exchange(entry.work, std::move(kept)),
                std::chrono::duration_cast<std::chrono::microseconds>(now - entry.since),
                now >= entry.trusted_until};
  return Answer::taken;
}

void Held::add_taken(const storage::Work& work, MonoTime now, MonoTime asked) {
  storage::Work kept;
  kept.grant = work.grant;
  const std::lock_guard lock(mutex_);
  entries_.insert_or_assign(work.grant.id,
                            Entry{std::move(kept), now, std::min(asked, now) + trust_, true});
}

void Held::renewed(const std::vector<storage::Grant>& grants, MonoTime sent) {
  const std::lock_guard lock(mutex_);
  for (const auto& grant : grants) {
    const auto found = entries_.find(grant.id);
    if (found == entries_.end() || found->second.work.grant.epoch != grant.epoch) continue;
    found->second.trusted_until = sent + trust_;
  }
}

void Held::remove(const storage::Grant& grant) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(grant.id);
  if (found == entries_.end() || found->second.work.grant.epoch > grant.epoch) return;
  entries_.erase(found);
}

bool Held::is_held(StackRunId id) const {
  const std::lock_guard lock(mutex_);
  return entries_.contains(id);
}

std::vector<StackRunId> Held::forgotten(MonoTime now, Millis age) const {
  const std::lock_guard lock(mutex_);
  std::vector<StackRunId> ids;
  for (const auto& [id, entry] : entries_) {
    if (!entry.taken && now - entry.since >= age) ids.push_back(id);
  }
  return ids;
}

std::vector<storage::Grant> Held::grants() const {
  const std::lock_guard lock(mutex_);
  std::vector<storage::Grant> grants;
  grants.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) grants.push_back(entry.work.grant);
  return grants;
}

std::vector<storage::Grant> Held::take_all_untouched() {
  const std::lock_guard lock(mutex_);
  std::vector<storage::Grant> grants;
  for (auto& [id, entry] : entries_) {
    if (entry.taken) continue;
    entry.taken = true;
    grants.push_back(entry.work.grant);
  }
  return grants;
}

std::size_t Held::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace sequential::server
