#pragma once
// Which runs' contexts are kept by which engine, and how far each has come.
//
// Threads: not thread-safe; its owner's mutex guards it.

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "sequential/base/ids.h"

namespace sequential::engine::pool {

struct WarmRun {
  int engine = 0;            // index of the engine's slot
  std::int64_t through = 0;  // journal position that the context has seen
  std::int64_t calls = 0;    // the run's highest call number, as the context knows it
  bool alone = false;        // in an isolate of its own
};

class WarmMap {
 public:
  // `engine_runs_max` is the share of one engine. An engine evicts by itself; what it claims beyond
  // its share and some slack (evictions that are under way) is refused.
  WarmMap(std::size_t engines, std::size_t engine_runs_max)
      : counts_(engines), engine_runs_max_(engine_runs_max + engine_runs_max / 8 + kSlack) {}

  const WarmRun* find(TaskRunId run) const {
    const auto found = runs_.find(run);
    return found == runs_.end() ? nullptr : &found->second;
  }
  // False, and nothing is kept, if the engine has too many.
  bool put(TaskRunId run, const WarmRun& warm) {
    erase(run);
    auto& count = counts_[static_cast<std::size_t>(warm.engine)];
    if (count >= engine_runs_max_) return false;
    runs_.emplace(run, warm);
    ++count;
    return true;
  }
  bool erase(TaskRunId run) {
    const auto found = runs_.find(run);
    if (found == runs_.end()) return false;
    --counts_[static_cast<std::size_t>(found->second.engine)];
    runs_.erase(found);
    return true;
  }
  void erase_engine(int engine) {
    std::erase_if(runs_, [engine](const auto& entry) { return entry.second.engine == engine; });
    counts_[static_cast<std::size_t>(engine)] = 0;
  }
  std::size_t size() const { return runs_.size(); }
  std::size_t count(int engine) const { return counts_[static_cast<std::size_t>(engine)]; }

 private:
  static constexpr std::size_t kSlack = 64;
  std::unordered_map<TaskRunId, WarmRun> runs_;
  std::vector<std::size_t> counts_;
  std::size_t engine_runs_max_;
};

}  // namespace sequential::engine::pool
