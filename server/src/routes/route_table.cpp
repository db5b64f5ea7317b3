#include "routes/route_table.h"

#include <algorithm>
#include <string>

namespace sequential::server {
namespace {

std::string_view verb_name(Verb verb) {
  switch (verb) {
    case Verb::get: return "GET";
    case Verb::head: return "HEAD";
    case Verb::put: return "PUT";
    case Verb::post: return "POST";
    case Verb::del: return "DELETE";
    case Verb::options: return "OPTIONS";
    case Verb::other: break;
  }
  return "";
}

// Of the pattern "/a/{b}": whether the path has as many segments, and those without braces.
bool fits(std::string_view pattern, const std::vector<std::string>& segments) {
  pattern.remove_prefix(1);
  for (const std::string& segment : segments) {
    if (pattern.empty()) return false;
    const auto end = std::min(pattern.find('/'), pattern.size());
    const std::string_view part = pattern.substr(0, end);
    if (part.front() != '{' && part != segment) return false;
    pattern.remove_prefix(std::min(end + 1, pattern.size()));
  }
  return pattern.empty();
}

}  // namespace

// Of two paths that fit, the first counts: names come before what is in braces.
const std::vector<Route>& routes() {
  using enum Verb;
  static const std::vector<Route> all{
      {get, "/", route_ops, {}},
      {get, "/livez", route_ops, {}, true},
      {get, "/readyz", route_ops, {}},
      {get, "/limits", route_ops, {}},
      {get, "/stats", route_ops, {}},
      {get, "/services", route_ops, {}},
      {get, "/openapi.json", route_ops, {}, true},
      {get, "/errors", route_ops, {}, true},
      {get, "/errors/{code}", route_ops, {}, true},
      {get, "/db/status", route_ops, {}},
      {post, "/db/clear", route_ops, {}},

      {post, "/tasks/execute", route_execute, {}},
      {get, "/tasks", route_tasks, {}},
      {get, "/tasks/{name}", route_tasks, {"version"}},
      {put, "/tasks/{name}", route_tasks, {}},
      {get, "/tasks/{name}/retention", route_tasks, {}},
      {put, "/tasks/{name}/retention", route_tasks, {}},
      {del, "/tasks/{name}/retention", route_tasks, {}},

      {get, "/runs", route_runs, {}, true},
      {get, "/runs/count", route_runs, {}, true},
      {post, "/runs/purge", route_runs, {}},
      {post, "/runs/bulk", route_runs, {}},
      {get, "/runs/{id}", route_runs, {"wait"}},
      {del, "/runs/{id}", route_runs, {}},
      {get, "/runs/{id}/stack", route_runs, {"from", "limit"}},
      {get, "/runs/{id}/logs", route_runs, {"after", "limit"}},
      {get, "/runs/{id}/events", route_runs, {"after", "calls"}},
      {get, "/runs/{id}/replay", route_runs, {"version"}},
      {get, "/runs/{id}/signals", route_runs, {"after", "limit"}},
      {post, "/runs/{id}/signals/{name}", route_runs, {}},
      {post, "/runs/{id}/cancel", route_runs, {}},
      {post, "/runs/{id}/pause", route_runs, {}},
      {post, "/runs/{id}/resume", route_runs, {}},
      {post, "/runs/{id}/retry", route_runs, {}},
      {post, "/runs/{id}/fork", route_runs, {}},

      {post, "/stack/process", route_stack, {}},
      {get, "/stack/{id}", route_stack, {}},

      {get, "/schedules", route_schedules, {"cursor", "limit"}},
      {get, "/schedules/{name}", route_schedules, {}},
      {put, "/schedules/{name}", route_schedules, {}},
      {del, "/schedules/{name}", route_schedules, {}},
      {get, "/schedules/{name}/next", route_schedules, {"count"}},
      {post, "/schedules/{name}/pause", route_schedules, {}},
      {post, "/schedules/{name}/resume", route_schedules, {}},
      {post, "/schedules/{name}/trigger", route_schedules, {}},
      {post, "/schedules/{name}/backfill", route_schedules, {}},

      {get, "/queues", route_queues, {"cursor", "limit"}},
      {get, "/queues/{task}", route_queues, {}},
      {put, "/queues/{task}", route_queues, {}},
      {del, "/queues/{task}", route_queues, {}},
      {get, "/queues/{task}/keys", route_queues, {"cursor", "limit"}},

      {get, "/keystore", route_keystore, {}},
      {get, "/keystore/{namespace}", route_keystore, {}},
      {put, "/keystore/{namespace}/{key}", route_keystore, {}},
      {del, "/keystore/{namespace}/{key}", route_keystore, {}},

      // What a webhook takes is its task's to say: the router hands over every request.
      {get, "/webhooks/{token}", route_webhooks, {}, true},
      {post, "/webhooks/{token}", route_webhooks, {}, true},
  };
  return all;
}

RouteMatch match_route(const HttpRequest& request) {
  const Verb wanted = request.verb == Verb::head ? Verb::get : request.verb;
  RouteMatch match;
  std::string_view path;
  for (const Route& route : routes()) {
    if (path.empty() ? !fits(route.path, request.segments) : route.path != path) continue;
    path = route.path;
    if (route.verb == wanted) match.route = &route;
    match.allowed += (match.allowed.empty() ? "" : ", ") + std::string(verb_name(route.verb));
  }
  return match;
}

}  // namespace sequential::server
