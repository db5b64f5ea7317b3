#pragma once
// Effects: what one slice's task code has done to the outside, collected by the natives while it
// runs. Numbers up to calls_recorded and logs_recorded are in the journal already: such calls are
// only compared with it, such log entries are dropped.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "replay_matcher.h"
#include "sequential/base/clock.h"
#include "sequential/engine/limits.h"
#include "sequential/engine/protocol.h"

namespace sequential::engine::v8host {

struct Effects {
  Limits limits;
  std::int64_t calls_recorded = 0;
  std::int64_t logs_recorded = 0;
  int script_id = -1;  // of the task's code: whose frames tell the line of a call
  MonoTime began{};

  std::int64_t calls_emitted = 0;  // highest number so far, recorded ones included
  std::vector<protocol::CallFrame> calls;
  std::vector<protocol::LogFrame> logs;
  // Calls that nobody waits for any more and that have no outcome yet, those of slices that are
  // replayed included; with each the number of drops before it.
  std::map<std::int64_t, std::int64_t> dropped;
  std::int64_t drops = 0;
  bool logs_dropped = false;  // entries beyond limits.log_entries_per_slice + 1
  std::size_t bytes = 0;      // of calls and logs
  // The newest status and progress, as JSON. A replay sets the recorded ones again on its way: only
  // the last counts, and the store leaves alone what is as it was.
  std::optional<std::string> status, progress;
  std::int64_t first_effect_us = -1;
  ReplayMatcher matcher;

  bool ended = false;  // the task function settled
  bool succeeded = false;
  bool cancelled = false;  // it was asked to end, and that is how it did
  std::string payload;    // its result or error as JSON
  std::string stop_code;  // a limit that a native found: the slice is being terminated

  void mark_first_effect();
};

}  // namespace sequential::engine::v8host
