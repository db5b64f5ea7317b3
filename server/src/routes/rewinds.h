#pragma once
// Routes of one run that go on from an earlier point of it, or look at what would happen.

#include "routes/router.h"

namespace sequential::server {

Answer route_replay(RouteContext& context, const HttpRequest& request, TaskRunId id);
Answer route_resume_on(RouteContext& context, const HttpRequest& request, TaskRunId id);
Answer route_retry(RouteContext& context, const HttpRequest& request, TaskRunId id);
Answer route_fork(RouteContext& context, const HttpRequest& request, TaskRunId id);
// POST /runs/bulk
Answer route_bulk(RouteContext& context, const HttpRequest& request);

// The run as GET /runs/{id} shows it.
Answer show_run(RouteContext& context, TaskRunId id, int status);

}  // namespace sequential::server
