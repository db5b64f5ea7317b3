// /runs: GET /runs/{id}, /runs/{id}/stack, /runs/{id}/logs (its events: events.cpp); POST
// /runs/{id}/{pause|resume} (cancel: cancel.cpp). Finding and removing runs is in search.cpp, what
// goes back to an earlier point of a run in rewinds.cpp, what is done to many in bulk.cpp.

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "async.h"
#include "routes/page_budget.h"
#include "routes/render.h"
#include "routes/rewinds.h"
#include "routes/router.h"
#include "routes/run_actions.h"
#include "routes/run_view.h"
#include "sequential/base/json_text.h"

namespace sequential::server {

namespace net = boost::asio;

namespace {

constexpr std::int64_t kPageMax = 1'000;
constexpr std::int64_t kStackPageDefault = 200;

Answer show(RouteContext& context, const HttpRequest& request, TaskRunId id) {
  const auto wait = query_int(request, "wait", 0, 0, context.options.wait_seconds_max);
  if (wait.has_error()) co_return problem(wait.error());
  const auto prefer = parse_prefer(request.prefer);
  const auto seconds = std::max<std::int64_t>(
      wait.value(), std::min(prefer.wait_s, context.options.wait_seconds_max));
  if (seconds == 0) co_return co_await answer_run(context, id);
  const MonoTime deadline = context.clock.monotonic() + std::chrono::seconds(seconds);
  const auto run = co_await wait_for_run(context, id, deadline, nullptr, false);
  if (run.has_error()) co_return problem(run.error());
  co_return co_await answer_run(context, id);
}

net::awaitable<std::vector<storage::Attempt>> tries_of(RouteContext& context,
                                                       const storage::StackRun& row) {
  std::vector<storage::Attempt> attempts;
  if (row.seq != 0 && row.epoch <= 1) co_return attempts;  // claimed once: there is no other try
  auto read = [&context, &row](auto done) { context.store.attempts(row.id, std::move(done)); };
  auto found = co_await completes<Result<std::vector<storage::Attempt>>>(std::move(read));
  if (found.has_value()) attempts = std::move(found).value();
  co_return attempts;
}

Answer stack(RouteContext& context, const HttpRequest& request, TaskRunId id) {
  const auto from = query_int(request, "from", 0, 0, INT64_MAX);
  if (from.has_error()) co_return problem(from.error());
  const auto limit = query_int(request, "limit", kStackPageDefault, 1, kPageMax);
  if (limit.has_error()) co_return problem(limit.error());
  auto read_run = [&context, id](auto done) { context.store.run(id, std::move(done)); };
  const auto run = co_await completes<Result<storage::TaskRun>>(std::move(read_run));
  if (run.has_error()) co_return problem(run.error());
  std::vector<std::string> items;
  std::int64_t next = from.value();
  PageBudget page(limit.value(), kPageBytesMax);
  bool all = false;
  while (const int portion = all ? 0 : page.portion()) {
    auto read = [&context, id, next, portion](auto done) {
      context.store.stack(id, next, portion, std::move(done));
    };
    const auto rows = co_await completes<Result<std::vector<storage::StackRun>>>(std::move(read));
    if (rows.has_error()) co_return problem(rows.error());
    all = std::ssize(rows.value()) < portion;
    for (const auto& row : rows.value()) {
      const auto tries = co_await tries_of(context, row);
      std::string item = render_stack_run(row, tries);
      if (!page.take(item.size())) {
        all = false;
        break;
      }
      items.push_back(std::move(item));
      next = row.seq + 1;
    }
  }
  JsonObject body;
  body.raw("stack", json_array(items));
  if (all) {
    body.null("next_from");
  } else {
    body.number("next_from", next);
  }
  co_return json_response(200, std::move(body).text());
}

Answer logs(RouteContext& context, const HttpRequest& request, TaskRunId id) {
  const auto after = query_int(request, "after", 0, 0, INT64_MAX);
  if (after.has_error()) co_return problem(after.error());
  const auto limit = query_int(request, "limit", kStackPageDefault, 1, kPageMax);
  if (limit.has_error()) co_return problem(limit.error());
  auto read_run = [&context, id](auto done) { context.store.run(id, std::move(done)); };
  const auto run = co_await completes<Result<storage::TaskRun>>(std::move(read_run));
  if (run.has_error()) co_return problem(run.error());
  std::vector<std::string> items;
  std::int64_t last = after.value();
  PageBudget page(limit.value(), kPageBytesMax);
  while (const int portion = page.portion()) {
    auto read = [&context, id, last, portion](auto done) {
      context.store.logs(id, last, portion, std::move(done));
    };
    const auto found = co_await completes<Result<std::vector<storage::LogEntry>>>(std::move(read));
    if (found.has_error()) co_return problem(found.error());
    for (const auto& entry : found.value()) {
      std::string item = render_log(entry);
      if (!page.take(item.size())) break;
      items.push_back(std::move(item));
      last = entry.n;
    }
    if (std::ssize(found.value()) < portion) break;
  }
  JsonObject body;
  body.raw("logs", json_array(items)).number("next_after", last);
  co_return json_response(200, std::move(body).text());
}

}  // namespace

Answer show_run(RouteContext& context, TaskRunId id, int status) {
  auto response = co_await answer_run(context, id);
  if (response.status != 200) co_return response;
  response.status = status;
  if (status == 201) response.headers.emplace_back("Location", "/runs/" + std::to_string(id.value));
  co_return response;
}

net::awaitable<Result<void>> pause_run(RouteContext& context, TaskRunId id) {
  auto write = [&context, id](auto done) {
    context.store.pause(id, "operator", {}, std::move(done));
  };
  auto paused = co_await completes<Result<void>>(std::move(write));
  if (paused.has_error()) co_return std::move(paused).error();
  context.processor.watch().ended(id);
  co_return success();
}

net::awaitable<Result<void>> resume_run(RouteContext& context, TaskRunId id) {
  auto write = [&context, id](auto done) { context.store.resume(id, std::move(done)); };
  auto runnable = co_await completes<Result<std::vector<StackRunId>>>(std::move(write));
  if (runnable.has_error()) co_return std::move(runnable).error();
  context.processor.watch().changed(id);
  for (const auto row : runnable.value()) context.chain.fire(row);
  co_return success();
}

namespace {

Answer act(RouteContext& context, const HttpRequest& request, std::string_view what, TaskRunId id) {
  if (what == "resume" && !request.body.empty()) {
    co_return co_await route_resume_on(context, request, id);
  }
  if (what == "retry") co_return co_await route_retry(context, request, id);
  if (what == "fork") co_return co_await route_fork(context, request, id);
  if (what == "cancel") co_return co_await route_cancel(context, request, id);
  Result<void> done = success();
  if (what == "pause") {
    done = co_await pause_run(context, id);
  } else {
    done = co_await resume_run(context, id);
  }
  if (done.has_error()) co_return problem(done.error());
  co_return co_await answer_run(context, id);
}

constexpr std::array<std::string_view, 5> kActions{"cancel", "pause", "resume", "retry", "fork"};
constexpr std::array<std::string_view, 4> kViews{"stack", "logs", "events", "replay"};

bool one_of(const auto& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// /runs and the names beside the runs' numbers; nothing: the path is of a run.
net::awaitable<std::optional<HttpResponse>> route_many(RouteContext& context,
                                                       const HttpRequest& request) {
  const auto& path = request.segments;
  const bool get = request.verb == Verb::get || request.verb == Verb::head;
  if (path.size() == 1) {
    if (!get) co_return method_not_allowed("GET");
    co_return co_await list_runs(context, request);
  }
  if (path.size() > 2) co_return std::nullopt;
  if (path[1] == "count") {
    if (!get) co_return method_not_allowed("GET");
    co_return co_await count_runs(context, request);
  }
  if (path[1] != "purge" && path[1] != "bulk") co_return std::nullopt;
  if (request.verb != Verb::post) co_return method_not_allowed("POST");
  if (path[1] == "purge") co_return co_await purge_runs(context, request);
  co_return co_await route_bulk(context, request);
}

}  // namespace

Answer route_runs(RouteContext& context, const HttpRequest& request) {
  auto of_many = co_await route_many(context, request);
  if (of_many) co_return *std::move(of_many);
  const bool get = request.verb == Verb::get || request.verb == Verb::head;
  const auto& path = request.segments;
  const auto id = parse_id(path[1]);
  if (id.has_error()) co_return problem(id.error());
  const TaskRunId run{id.value()};
  const std::string_view what = path.size() == 3 ? std::string_view(path[2]) : std::string_view();
  if (what == "signals" || (path.size() == 4 && path[2] == "signals")) {
    co_return co_await route_signals(context, request, run);
  }
  if (path.size() > 3) co_return not_found();
  if (one_of(kActions, what)) {
    if (request.verb != Verb::post) co_return method_not_allowed("POST");
    co_return co_await act(context, request, what, run);
  }
  if (!what.empty() && !one_of(kViews, what)) co_return not_found();
  if (what.empty() && request.verb == Verb::del) co_return co_await remove_run(context, run);
  if (!get) co_return method_not_allowed(what.empty() ? "GET, DELETE" : "GET");
  if (what == "events") co_return co_await route_events(context, request, run);
  if (what == "stack") co_return co_await stack(context, request, run);
  if (what == "logs") co_return co_await logs(context, request, run);
  if (what == "replay") co_return co_await route_replay(context, request, run);
  co_return co_await show(context, request, run);
}

}  // namespace sequential::server
