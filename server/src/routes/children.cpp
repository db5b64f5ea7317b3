// GET /runs?parent=ID: the runs that the calls of a run have started.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "async.h"
#include "routes/render.h"
#include "routes/router.h"
#include "sequential/base/json_text.h"
#include "sequential/storage/children.h"

namespace sequential::server {
namespace {

constexpr std::int64_t kPageMax = 1'000;
constexpr std::int64_t kPageDefault = 50;

}  // namespace

Answer route_children(RouteContext& context, const HttpRequest& request) {
  auto* const children = context.store.children();
  if (children == nullptr) co_return not_found();
  for (const char* const other : {"status", "task"}) {
    if (query_value(request.query, other).empty()) continue;
    co_return problem(Error{Errc::invalid_field, "cannot be combined with parent", other});
  }
  const auto parent = query_int(request, "parent", 0, 1, INT64_MAX);
  if (parent.has_error()) co_return problem(parent.error());
  const auto cursor = query_int(request, "cursor", 0, 1, INT64_MAX);
  if (cursor.has_error()) co_return problem(cursor.error());
  const auto limit = query_int(request, "limit", kPageDefault, 1, kPageMax);
  if (limit.has_error()) co_return problem(limit.error());
  auto read = [children, &parent, &cursor, &limit](auto done) {
    children->children_of(TaskRunId{parent.value()}, TaskRunId{cursor.value()},
                          static_cast<int>(limit.value()), std::move(done));
  };
  const auto runs = co_await completes<Result<std::vector<storage::TaskRun>>>(std::move(read));
  if (runs.has_error()) co_return problem(runs.error());
  std::vector<std::string> items;
  for (const auto& run : runs.value()) items.push_back(render_run_summary(run));
  JsonObject body;
  body.raw("runs", json_array(items));
  if (static_cast<std::int64_t>(items.size()) == limit.value()) {
    body.string("next_cursor", std::to_string(runs.value().back().id.value));
  } else {
    body.null("next_cursor");
  }
  co_return json_response(200, std::move(body).text());
}

}  // namespace sequential::server
