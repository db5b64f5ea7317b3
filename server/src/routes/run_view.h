#pragma once
// A run as GET /runs/{id} shows it: its row, and what other tables know of it.
//
// Threads: coroutines of many connections at once.

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "routes/router.h"
#include "sequential/storage/children.h"
#include "sequential/storage/records.h"
#include "sequential/storage/rewinds.h"
#include "sequential/storage/run_states.h"

namespace sequential::server {

struct RunExtras {
  std::optional<storage::ChildLink> parent;  // where a child task hangs
  std::optional<WallTime> cancel_at;         // it was asked to end, and has until then
  storage::RunState state;                   // what it shows of itself
  bool in_queue = false;                     // it waits to be admitted
  storage::RunOrigin origin;                 // of a fork; how often it was rewound
  std::string attributes;                    // JSON of those that it set, or empty
};

// Reads them. Errors: those of the store.
boost::asio::awaitable<Result<RunExtras>> run_extras(RouteContext& context,
                                                     const storage::TaskRun& run);

// The answer of GET /runs/{id} and of whatever else shows one run.
Answer answer_run(RouteContext& context, const storage::TaskRun& run);
// The same after reading the run. Errors: run_not_found.
Answer answer_run(RouteContext& context, TaskRunId id);

// The runs of a page, as a list shows them.
boost::asio::awaitable<Result<std::vector<std::string>>> run_summaries(
    RouteContext& context, const std::vector<storage::TaskRun>& runs);

}  // namespace sequential::server
