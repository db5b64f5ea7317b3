// /livez /readyz /limits /stats /errors /services /openapi.json /db/status /db/clear, and what the
// server says of itself at /.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async.h"
#include "routes/api_document.h"
#include "routes/error_pages.h"
#include "routes/render.h"
#include "routes/router.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

Answer readyz(RouteContext& context) {
  if (!context.ready) {
    co_return problem(Error{Errc::shutting_down, "not ready: starting or stopping"});
  }
  if (context.runtime.stats().engines == 0) {
    co_return problem(Error{Errc::unavailable, "not ready: no engine process is running"});
  }
  auto read = [&context](auto done) { context.store.due(1, std::move(done)); };
  const auto due = co_await completes<Result<storage::DueWork>>(std::move(read));
  if (due.has_error()) {
    const bool for_good = due.error().code == Errc::database_went_back;
    co_return problem(Error{for_good ? due.error().code : Errc::unavailable,
                            "not ready: " + due.error().message});
  }
  co_return json_response(200, R"({"status":"ready"})");
}

std::string store_stats(const StoreWatch::Seen& seen) {
  std::vector<std::string> warnings;
  for (const auto& warning : seen.warnings) warnings.push_back(json_string(warning));
  JsonObject store;
  store.number("looks", seen.looks)
      .number("oldest_xmin_age", seen.upkeep.oldest_xmin_age)
      .string("held_by", seen.upkeep.held_by)
      .number("transitions", seen.upkeep.transitions)
      .number("log_bytes", seen.upkeep.log_bytes)
      .number("clock_ahead_ms", seen.store_ahead.count())
      .raw("warnings", json_array(warnings));
  return std::move(store).text();
}

std::string retention_stats(const RetentionPass::Stats& stats) {
  JsonObject retention;
  retention.number("passes", stats.passes)
      .number("removed_runs", stats.removed_runs)
      .number("removed_rows", stats.removed_rows)
      .number("failed", stats.failed);
  return std::move(retention).text();
}

HttpResponse stats(RouteContext& context) {
  const auto engine = context.runtime.stats();
  const auto chain = context.chain.stats();
  JsonObject engines;
  engines.number("processes", engine.engines)
      .number("warm_runs", engine.warm_runs)
      .number("slices", engine.slices)
      .number("replays", engine.replays)
      .number("evictions", engine.evictions)
      .number("deaths", engine.engine_deaths)
      .number("rss_bytes", engine.rss_bytes);
  JsonObject hints;
  hints.number("sent", chain.sent)
      .number("failed", chain.failed)
      .number("dropped", chain.dropped)
      .number("queued", static_cast<std::int64_t>(chain.queued))
      .number("connections", chain.connections);
  const auto desk = context.processor.hints();
  const auto signatures = context.signer.stats();
  hints.number("received", desk.received)
      .number("asking", static_cast<std::int64_t>(desk.asking))
      .number("waiting", static_cast<std::int64_t>(desk.waiting))
      .number("coalesced", desk.coalesced)
      .number("limited", desk.refused)
      .number("unauthorized", signatures.refused)
      .number("skewed", signatures.skewed)
      .number("last_skew_ms", signatures.last_skew_ms);
  JsonObject events;
  events.number("streams", context.events.streams()).number("looks", context.events.looks());
  JsonObject body;
  body.string("version", context.options.version)
      .number("in_flight", context.processor.in_flight())
      .number("held", static_cast<std::int64_t>(context.processor.held()))
      .number("timers_armed", static_cast<std::int64_t>(context.processor.timers_armed()))
      .raw("engine", std::move(engines).text())
      .raw("chain", std::move(hints).text())
      .raw("events", std::move(events).text())
      .raw("store", store_stats(context.store_watch.seen()))
      .raw("retention", retention_stats(context.retention.stats()));
  return json_response(200, std::move(body).text());
}

Answer clear(RouteContext& context, const HttpRequest& request) {
  const auto parsed = nlohmann::json::parse(request.body, nullptr, false);
  const bool confirmed = parsed.is_object() && parsed.contains("confirm") &&
                         parsed["confirm"].is_string() && parsed["confirm"] == "clear";
  if (!confirmed) {
    co_return problem(
        Error{Errc::invalid_field, R"(to delete all runs send {"confirm": "clear"})", "confirm"});
  }
  auto write = [&context](auto done) { context.store.clear(std::move(done)); };
  const auto deleted = co_await completes<Result<std::int64_t>>(std::move(write));
  if (deleted.has_error()) co_return problem(deleted.error());
  context.processor.watch().wake_all();  // whoever waits for a run is told that it is gone
  co_return json_response(200,
                          std::move(JsonObject().number("deleted_runs", deleted.value())).text());
}

Answer route_db(RouteContext& context, const HttpRequest& request) {
  const bool get = request.verb == Verb::get || request.verb == Verb::head;
  if (request.segments.size() != 2) co_return not_found();
  if (request.segments[1] == "status") {
    if (!get) co_return method_not_allowed("GET");
    auto read = [&context](auto done) { context.store.status(std::move(done)); };
    const auto status = co_await completes<Result<storage::StoreStatus>>(std::move(read));
    if (status.has_error()) co_return problem(status.error());
    co_return json_response(200, render_status(status.value()));
  }
  if (request.segments[1] != "clear") co_return not_found();
  if (request.verb != Verb::post) co_return method_not_allowed("POST");
  co_return co_await clear(context, request);
}

HttpResponse services(const RouteContext& context) {
  std::vector<std::string> items;
  for (const auto* service : context.registry.all()) {
    items.push_back(
        std::move(JsonObject()
                      .string("name", service->name())
                      .string("description", service->description())
                      .number("methods", static_cast<std::int64_t>(service->methods().size())))
            .text());
  }
  return json_response(200, std::move(JsonObject().raw("services", json_array(items))).text());
}

HttpResponse errors(const HttpRequest& request) {
  const auto& pages = error_pages();
  if (request.segments.size() == 1) {
    std::vector<std::string> codes;
    for (const auto& page : pages) codes.push_back(json_string(page.code));
    return json_response(200, std::move(JsonObject().raw("errors", json_array(codes))).text());
  }
  const auto page = std::find_if(pages.begin(), pages.end(), [&request](const ErrorPage& one) {
    return one.code == request.segments[1];
  });
  if (page == pages.end()) {
    return problem(Error{Errc::not_found, "there is no such error code; GET /errors lists them"});
  }
  HttpResponse response;
  response.content_type = "text/markdown; charset=utf-8";
  response.body = page->text;
  return response;
}

HttpResponse welcome(const RouteContext& context) {
  return json_response(
      200, std::move(JsonObject()
                         .string("name", "sequential-runner")
                         .string("version", context.options.version)
                         .raw("paths", R"(["/tasks","/tasks/execute","/runs","/stack/process",)"
                                       R"("/services","/keystore","/queues","/limits","/stats",)"
                                       R"("/db/status",)"
                                       R"("/errors","/openapi.json","/livez","/readyz"])"))
               .text());
}

}  // namespace

Answer route_ops(RouteContext& context, const HttpRequest& request) {
  const auto& path = request.segments;
  const bool get = request.verb == Verb::get || request.verb == Verb::head;
  if (!path.empty() && path[0] == "db") co_return co_await route_db(context, request);
  if (!path.empty() && path[0] == "errors" && path.size() <= 2) {
    if (!get) co_return method_not_allowed("GET");
    co_return errors(request);
  }
  if (path.size() > 1) co_return not_found();
  const std::string_view what = path.empty() ? std::string_view() : std::string_view(path[0]);
  const bool known = what.empty() || what == "livez" || what == "readyz" || what == "limits" ||
                     what == "stats" || what == "services" || what == "openapi.json";
  if (!known) co_return not_found();
  if (!get) co_return method_not_allowed("GET");
  if (what == "livez") co_return json_response(200, R"({"status":"alive"})");
  if (what == "readyz") co_return co_await readyz(context);
  if (what == "limits") co_return json_response(200, context.options.limits_json);
  if (what == "stats") co_return stats(context);
  if (what == "services") co_return services(context);
  if (what == "openapi.json") co_return json_response(200, api_document());
  co_return welcome(context);
}

}  // namespace sequential::server
