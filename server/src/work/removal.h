#pragma once
// Removing many runs in spite of some that cannot be removed: one that has very many rows may take
// longer than the store lets a statement take.
//
// Threads: any.

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <vector>

#include "async.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/storage/search.h"

namespace sequential::server {

struct NotRemoved {
  TaskRunId run;
  Error error;
};
struct RemovedRuns {
  storage::Removed removed;
  std::vector<NotRemoved> failed;  // each by itself
  std::optional<Error> gave_up;    // it is the store that cannot: the rest was not tried
};

// Of those, what ended before that. A batch that fails is tried again in halves, down to single
// runs; one that fails alone is left out, and the others go on.
net::awaitable<RemovedRuns> remove_in_parts(storage::Search& search, std::vector<TaskRunId> runs,
                                            WallTime ended_before, int batch);

}  // namespace sequential::server
