#pragma once
// A run with all that is known of it, of one moment.

#include <optional>
#include <vector>

#include "sequential/storage/cancellation.h"
#include "sequential/storage/children.h"
#include "sequential/storage/records.h"
#include "sequential/storage/rewinds.h"
#include "sequential/storage/run_states.h"
#include "sequential/storage/search.h"

namespace sequential::storage {

struct RunView {
  TaskRun run;
  RunState state;                     // what it shows of itself
  std::optional<ChildLink> parent;    // where a child task hangs
  std::optional<WallTime> cancel_at;  // it was asked to end, and has until then
  bool in_queue = false;              // it waits to be admitted
  RunOrigin origin;                   // of a fork; how often it was rewound
  std::vector<RunTag> attributes;     // those that it has set, by key
};

}  // namespace sequential::storage
