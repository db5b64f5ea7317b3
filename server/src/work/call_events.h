#pragma once
// CallTrail: what one event stream has told of a run's calls, and what it reads next.
//
// Calls are read by their numbers, in passes: each goes through those that were open and those that
// are new, up to where a look at the run found it. Within a pass, a call that has its outcome is
// told of twice: that it began, and how it ended. A cursor says exactly how far a pass has come, so
// a client that comes back misses nothing and sees nothing twice.
//
// Threads: of its stream.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/storage/run_states.h"

namespace sequential::server {

// Members of EventCursor (run_events.h).
struct CallsSeen {
  std::int64_t calls = 0;     // through this number, that they began
  std::int64_t outcomes = 0;  // through this position of the journal
  std::int64_t at = 0;        // in a pass: through this number, calls and outcomes …
  std::int64_t through = 0;   // … through this position
};

class CallTrail {
 public:
  explicit CallTrail(CallsSeen seen) : seen_(seen) {}

  const CallsSeen& seen() const { return seen_; }
  // Whether there is something to read before the run's state is told.
  bool behind(const storage::TaskRun& newest);
  // After behind() said so.
  storage::CallsAsked next(TaskRunId run) const;
  using Tell = std::function<void(std::string_view event, const std::string& data)>;
  // `tell` is called when seen() is what the client has seen with that event.
  void take(const std::vector<storage::CallTrace>& page, const Tell& tell);

 private:
  void end_pass();

  CallsSeen seen_;
  std::int64_t calls_ = 0;               // of the pass: through this number
  std::int64_t read_ = 0;                // through this number, in this pass
  std::int64_t from_ = 0;                // numbers up to this are read only if they are in open_
  std::vector<std::int64_t> open_;       // rising
  std::vector<std::int64_t> next_open_;  // of the pass
  bool passing_ = false;
};

}  // namespace sequential::server
