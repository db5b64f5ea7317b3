#pragma once
// What people do to runs: for the routes of one run, and of many. Each answers an error or nothing.

#include "routes/router.h"

namespace sequential::server {

boost::asio::awaitable<Result<void>> cancel_run(RouteContext& context, TaskRunId id);
boost::asio::awaitable<Result<void>> pause_run(RouteContext& context, TaskRunId id);
boost::asio::awaitable<Result<void>> resume_run(RouteContext& context, TaskRunId id);
// On that version of its code (0: the newest), if a replay of it shows no difference.
boost::asio::awaitable<Result<void>> resume_run_on(RouteContext& context, TaskRunId id,
                                                   int version);

struct RetryAsk {
  int version = 0;        // 0: the one that the run has
  std::int64_t call = 0;  // goes on from this call; 0: from the failed one that ended it
  bool unknown_again = false;
};
boost::asio::awaitable<Result<void>> retry_run(RouteContext& context, TaskRunId id, RetryAsk ask);

}  // namespace sequential::server
