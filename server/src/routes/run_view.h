#pragma once
// A run as GET /runs/{id} shows it, and the runs of a list.
//
// Threads: coroutines of many connections at once.

#include <boost/asio/awaitable.hpp>
#include <string>
#include <vector>

#include "routes/router.h"
#include "sequential/storage/records.h"

namespace sequential::server {

// The answer of GET /runs/{id} and of whatever else shows one run. Errors: run_not_found.
Answer answer_run(RouteContext& context, TaskRunId id);

// The runs of a page, as a list shows them. Errors: those of the store.
boost::asio::awaitable<Result<std::vector<std::string>>> run_summaries(
    RouteContext& context, const std::vector<storage::TaskRun>& runs);

}  // namespace sequential::server
