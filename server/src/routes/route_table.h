#pragma once
// Every route of the API, and nothing else is one: what the router lets through to the route
// groups, and what GET /openapi.json must describe (a test compares the two).
//
// Threads: constants.

#include <string>
#include <string_view>
#include <vector>

#include "http/types.h"
#include "routes/router.h"

namespace sequential::server {

struct Route {
  Verb verb = Verb::get;  // HEAD is taken wherever GET is
  std::string_view path;  // "/runs/{id}": a name in braces stands for any one segment
  Answer (*handler)(RouteContext&, const HttpRequest&) = nullptr;
  std::vector<std::string_view> query;  // parameters that it takes
  bool any_query = false;               // the group checks them itself
};

const std::vector<Route>& routes();

struct RouteMatch {
  const Route* route = nullptr;  // null: none has this path with this verb
  std::string allowed;           // verbs of the path, as Allow has them; empty: nothing is there
};
RouteMatch match_route(const HttpRequest& request);

}  // namespace sequential::server
