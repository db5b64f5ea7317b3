#include "work/sessions.h"

#include <utility>

namespace sequential::server {

std::optional<Sessions::View> Sessions::view(TaskRunId run) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(run);
  if (found == entries_.end()) return std::nullopt;
  Entry& entry = found->second;
  recent_.splice(recent_.begin(), recent_, entry.place);
  View view{entry.session, {}};
  std::int64_t next = entry.session.delivered_through + 1;
  for (const auto& [position, outcome] : entry.fresh) {
    if (position < next) continue;
    if (position != next) break;
    view.outcomes.push_back(outcome);
    ++next;
  }
  return view;
}

std::optional<TaskRunId> Sessions::put(TaskRunId run, Session session) {
  const std::lock_guard lock(mutex_);
  if (const auto found = entries_.find(run); found != entries_.end()) {
    found->second.session = std::move(session);
    found->second.fresh.clear();
    return std::nullopt;
  }
  std::optional<TaskRunId> evicted;
  if (entries_.size() >= sessions_max_ && !recent_.empty()) {
    evicted = recent_.back();
    entries_.erase(*evicted);
    recent_.pop_back();
  }
  recent_.push_front(run);
  entries_.emplace(run, Entry{std::move(session), {}, recent_.begin()});
  return evicted;
}

void Sessions::add_outcome(TaskRunId run, storage::Outcome outcome) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(run);
  if (found == entries_.end()) return;
  const auto position = outcome.delivered_as;
  found->second.fresh.insert_or_assign(position, std::move(outcome));
}

void Sessions::advance(const storage::Grant& root, std::int64_t delivered_through,
                       std::size_t calls, std::size_t logs) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(root.run);
  if (found == entries_.end()) return;
  Session& session = found->second.session;
  session.delivered_through = delivered_through;
  session.epoch = root.epoch;
  session.call_count += static_cast<std::int64_t>(calls);
  session.log_count += static_cast<std::int64_t>(logs);
  auto& fresh = found->second.fresh;
  fresh.erase(fresh.begin(), fresh.upper_bound(delivered_through));
}

void Sessions::drop(TaskRunId run) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(run);
  if (found == entries_.end()) return;
  recent_.erase(found->second.place);
  entries_.erase(found);
}

std::size_t Sessions::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace sequential::server
