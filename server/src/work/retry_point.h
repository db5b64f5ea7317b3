#pragma once
// From where a failed or cancelled run goes on when it is retried (docs/retry-and-fork.md). Pure
// but for what it is told: the failed outcomes, and what replays say.
//
// A run goes on from before a failed outcome: the newest one whose message the run's error bears.
// If no error does, an author changed the words or the code threw by itself, which cannot be told
// apart: then other code is first given all results, and only if that does not help, or the code is
// the same, the newest failed call is made again. Replays skip failures that came after the run's
// end had been decided.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace sequential::server {

struct FailedOutcome {
  std::int64_t seq = 0, position = 0;
  std::string message;  // of its error
};

// Positions to be tried in this order: the first at which a replay does not end is taken. `whole`
// (the journal's length) keeps every outcome.
std::vector<std::int64_t> retry_points(const std::deque<FailedOutcome>& failed,  // by position
                                       std::string_view run_error, std::int64_t whole,
                                       bool other_code);

// Whether the same code may well go another way the next time: an engine's limit ended the run.
bool ended_by_limit(std::string_view run_error);

}  // namespace sequential::server
