// GET /openapi.json and the router say the same: what is not in both is in neither.
#include "routes/api_document.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "routes/error_pages.h"
#include "routes/route_table.h"

namespace sequential::server {
namespace {

using Json = nlohmann::json;
using Names = std::set<std::string>;

const Json& document() {
  static const Json parsed = Json::parse(api_document());
  return parsed;
}

std::string method_of(Verb verb) {
  switch (verb) {
    case Verb::get: return "get";
    case Verb::put: return "put";
    case Verb::post: return "post";
    case Verb::del: return "delete";
    default: return "another";
  }
}

const Json& target(const Json& value) {
  return value.contains("$ref")
             ? document().at(Json::json_pointer(value["$ref"].get<std::string>().substr(1)))
             : value;
}

// Names of the parameters of an operation, with those of its path, that are `in` there.
Names parameters(const Json& item, const std::string& method, const std::string& in) {
  Names names;
  for (const Json* holder : {&item, &item.at(method)}) {
    for (const Json& one : holder->value("parameters", Json::array())) {
      if (target(one).at("in") == in) names.insert(target(one).at("name").get<std::string>());
    }
  }
  return names;
}

TEST(ApiDocument, HasEveryRouteOfTheRouterAndNoOther) {
  Names routed, documented;
  for (const Route& route : routes()) {
    EXPECT_TRUE(routed.insert(method_of(route.verb) + " " + std::string(route.path)).second);
  }
  constexpr std::array<std::string_view, 1> kBesideMethods{"parameters"};
  for (const auto& [path, item] : document().at("paths").items()) {
    for (const auto& [method, operation] : item.items()) {
      if (method != kBesideMethods[0]) documented.insert(method + " " + path);
    }
  }
  EXPECT_EQ(documented, routed);
}

TEST(ApiDocument, HasTheParametersThatTheRouterTakes) {
  for (const Route& route : routes()) {
    const Json& item = document().at("paths").at(std::string(route.path));
    const std::string method = method_of(route.verb);
    Names in_path;
    for (std::size_t at = 0; (at = route.path.find('{', at)) != std::string_view::npos; ++at) {
      in_path.insert(std::string(route.path.substr(at + 1, route.path.find('}', at) - at - 1)));
    }
    EXPECT_EQ(parameters(item, method, "path"), in_path) << method << " " << route.path;
    if (route.any_query) continue;
    EXPECT_EQ(parameters(item, method, "query"), Names(route.query.begin(), route.query.end()))
        << method << " " << route.path;
  }
}

TEST(ApiDocument, HasTheCodeOfEveryErrorPage) {
  Json codes = Json::array();
  for (const ErrorPage& page : error_pages()) codes.push_back(page.code);
  EXPECT_EQ(document().at("components").at("schemas").at("ErrorCode").at("enum"), codes);
  EXPECT_GT(codes.size(), 40u);
}

TEST(ApiDocument, IsUnitedFromPartsThatSayNothingTwice) {
  std::map<std::string, std::string> paths;
  for (const ApiPart& part : api_parts()) {
    for (const auto& [path, item] : Json::parse(part.text).value("paths", Json::object()).items()) {
      EXPECT_TRUE(paths.emplace(path, part.name).second) << path << " in " << part.name;
    }
  }
  EXPECT_EQ(paths.size(), document().at("paths").size());
}

TEST(RouteTable, NamesComeBeforeWhatIsInBraces) {
  const auto path_of = [](Verb verb, std::vector<std::string> segments) {
    HttpRequest request;
    request.verb = verb;
    request.segments = std::move(segments);
    const RouteMatch match = match_route(request);
    return (match.route != nullptr ? std::string(match.route->path) : "none") + " " + match.allowed;
  };
  EXPECT_EQ(path_of(Verb::get, {}), "/ GET");
  EXPECT_EQ(path_of(Verb::head, {"runs", "count"}), "/runs/count GET");
  EXPECT_EQ(path_of(Verb::del, {"runs", "7"}), "/runs/{id} GET, DELETE");
  EXPECT_EQ(path_of(Verb::put, {"tasks", "execute"}), "none POST");
  EXPECT_EQ(path_of(Verb::put, {"tasks", "other"}), "/tasks/{name} GET, PUT");
  EXPECT_EQ(path_of(Verb::get, {"runs", "7", "stack", "1"}), "none ");
  EXPECT_EQ(path_of(Verb::get, {"run"}), "none ");
  EXPECT_EQ(path_of(Verb::get, {"{id}"}), "none ");
}

}  // namespace
}  // namespace sequential::server
