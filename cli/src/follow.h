#pragma once
// Waiting for a run to end, with a line of progress on a terminal.
//
// Blocking: until the run has ended or is paused, the timeout passes, Ctrl-C comes, or the server
//           has been away for kAwayMax. None of these touches the run.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "interrupt.h"
#include "sequential/base/clock.h"
#include "session.h"

namespace sequential::cli {

inline constexpr Millis kAwayMax{60'000};

struct Followed {
  int exit = kExitOk;  // kExitOk: the run has ended or is paused, `body` is its record
  std::string body;
};

// timeout 0: none. While it waits, the caller's Interrupt turns Ctrl-C into kExitStillRunning.
Followed follow_run(Session& session, std::int64_t run, Millis timeout, const Interrupt& interrupt);

// Prints how the run ended and returns the exit code that says so.
int print_end(const Session& session, const std::string& run_body);

// What can be done about a paused run.
std::string after_pause(const nlohmann::json& run);

// "[####......] 40% 4/10 message" of a run's progress; "" if it shows none. No bar: 0 columns.
std::string show_progress(const nlohmann::json& progress, int bar_columns);

bool is_settled(const std::string& status);  // ended, or paused until a person acts

// "HH:MM:SS level message", for people.
std::string log_line(const Terminal& terminal, const std::string& at, const std::string& level,
                     const std::string& message);

}  // namespace sequential::cli
