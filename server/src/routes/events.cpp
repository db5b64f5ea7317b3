// GET /runs/{id}/events: what happens to a run, as Server-Sent Events (docs/events.md).

#include <utility>

#include "http/stream.h"
#include "routes/router.h"

namespace sequential::server {

Answer route_events(RouteContext& context, const HttpRequest& request, TaskRunId run) {
  // What a client says that comes back, after its connection broke, is newer than its URL.
  const std::string after =
      request.last_event_id.empty() ? query_value(request.query, "after") : request.last_event_id;
  auto seen = parse_event_cursor(after);
  if (seen.has_error()) co_return problem(seen.error());
  const auto with_calls = query_int(request, "calls", 0, 0, 1);
  if (with_calls.has_error()) co_return problem(with_calls.error());
  seen.value().with_calls = with_calls.value() == 1;
  auto opened = co_await context.events.open(run, seen.value());
  if (opened.has_error()) co_return problem(opened.error());
  HttpResponse response;
  if (!opened.value()) {
    response.status = 204;  // an EventSource does not come back after this
    co_return response;
  }
  response.content_type = "text/event-stream";
  response.headers.emplace_back("Cache-Control", "no-store");
  response.headers.emplace_back("X-Accel-Buffering", "no");  // nginx passes pieces on as they come
  response.source = std::move(opened).value();
  co_return response;
}

}  // namespace sequential::server
