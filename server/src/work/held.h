#pragma once
// Held: the stack runs this node has claimed, from claim to committed outcome. The chain's request
// finds its claim here; the lease renewal, the sweep and the drain go through it.
//
// Threads: any; every method locks.

#include <chrono>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/storage/store.h"

namespace sequential::server {

class Held {
 public:
  // A claim counts as ours without asking for `trust` after the request that made or renewed it was
  // sent, by our own monotonic clock. Not after it was answered: the lease runs meanwhile, and a
  // process that was stopped may hear the answer when the lease is over.
  explicit Held(Millis trust) : trust_(trust) {}

  // The claim was made, by a request sent at `asked` (no later than now); nobody works on it yet. A
  // lower epoch than the one held is ignored.
  void add(storage::Work work, MonoTime now, MonoTime asked = MonoTime::max());

  struct Taken {
    storage::Work work;
    std::chrono::microseconds waited;  // since the commit that made it runnable
    bool doubtful = false;  // not renewed for longer than `trust`: extend it before working on it
  };
  enum class Answer { taken, busy, unknown };
  // Hands an untouched claim to the caller; busy if somebody works on it already.
  Answer take(StackRunId id, MonoTime now, std::optional<Taken>& taken);

  // Marks a claim made by the caller as being worked on.
  void add_taken(const storage::Work& work, MonoTime now, MonoTime asked = MonoTime::max());

  // Whether what was asked for at `asked` still counts without asking again.
  bool is_trusted(MonoTime asked, MonoTime now) const { return now < asked + trust_; }

  // These were renewed by a request sent at `sent`.
  void renewed(const std::vector<storage::Grant>& grants, MonoTime sent);

  // The claim is over (recorded, fenced or given back). Ignored if a newer claim is held.
  void remove(const storage::Grant& grant);

  bool is_held(StackRunId id) const;
  // Claims that nobody has taken for at least `age`: their hint was lost.
  std::vector<StackRunId> forgotten(MonoTime now, Millis age) const;
  std::vector<storage::Grant> grants() const;            // all
  std::vector<storage::Grant> take_all_untouched();      // for the drain
  std::size_t size() const;

 private:
  struct Entry {
    storage::Work work;  // without payloads once taken
    MonoTime since;
    MonoTime trusted_until;
    bool taken = false;
  };
  const Millis trust_;
  mutable std::mutex mutex_;
  std::unordered_map<StackRunId, Entry> entries_;  // guarded by mutex_
};

}  // namespace sequential::server
