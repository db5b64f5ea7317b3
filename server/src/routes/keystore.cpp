// /keystore/{namespace}/{key}: values go in and never come out over HTTP.

#include <nlohmann/json.hpp>
#include <utility>

#include "async.h"
#include "routes/render.h"
#include "routes/router.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

Result<std::string> read_value(const std::string& body) {
  SEQUENTIAL_TRY(check_json(body, DuplicateKeys::refuse));
  const auto parsed = nlohmann::json::parse(body, nullptr, false);
  const Error wrong{Errc::invalid_field, R"(the body must be {"value": "the secret as a text"})",
                    "value"};
  if (!parsed.is_object() || parsed.size() != 1 || !parsed.contains("value")) return wrong;
  if (!parsed["value"].is_string()) return wrong;
  return parsed["value"].get<std::string>();
}

Answer list(RouteContext& context, const std::string& name_space) {
  using Entries = Result<std::vector<storage::KeystoreEntry>>;
  auto read = [&context, &name_space](auto done) {
    context.keystore.list(name_space, std::move(done));
  };
  const auto entries = co_await completes<Entries>(std::move(read));
  if (entries.has_error()) co_return problem(entries.error());
  std::vector<std::string> items;
  for (const auto& entry : entries.value()) {
    items.push_back(std::move(JsonObject()
                                  .string("namespace", entry.name_space)
                                  .string("key", entry.key)
                                  .number("version", entry.version)
                                  .string("updated_at", iso_time(entry.updated_at)))
                        .text());
  }
  co_return json_response(200, std::move(JsonObject().raw("entries", json_array(items))).text());
}

Answer put(RouteContext& context, const HttpRequest& request) {
  const auto& path = request.segments;
  auto value = read_value(request.body);
  if (value.has_error()) co_return problem(value.error());
  auto write = [&context, &path, &value](auto done) {
    context.keystore.set(path[1], path[2], std::move(value).value(), std::move(done));
  };
  const auto written = co_await completes<Result<void>>(std::move(write));
  if (written.has_error()) co_return problem(written.error());
  co_return json_response(204, {});
}

Answer remove(RouteContext& context, const HttpRequest& request) {
  const auto& path = request.segments;
  auto write = [&context, &path](auto done) {
    context.keystore.remove(path[1], path[2], std::move(done));
  };
  const auto removed = co_await completes<Result<bool>>(std::move(write));
  if (removed.has_error()) co_return problem(removed.error());
  if (!removed.value()) {
    co_return problem(Error{Errc::key_not_found, "the keystore has no such key"});
  }
  co_return json_response(204, {});
}

}  // namespace

Answer route_keystore(RouteContext& context, const HttpRequest& request) {
  const auto& path = request.segments;
  const bool get = request.verb == Verb::get || request.verb == Verb::head;
  if (path.size() <= 2) {
    if (!get) co_return method_not_allowed("GET");
    const std::string name_space = path.size() == 2 ? path[1] : std::string();
    co_return co_await list(context, name_space);
  }
  if (path.size() != 3) co_return not_found();
  for (const auto index : {std::size_t{1}, std::size_t{2}}) {
    const auto named = check_name(path[index], index == 1 ? "namespace" : "key");
    if (named.has_error()) co_return problem(named.error());
  }
  if (request.verb == Verb::put) co_return co_await put(context, request);
  if (request.verb == Verb::del) co_return co_await remove(context, request);
  co_return method_not_allowed("PUT, DELETE");
}

}  // namespace sequential::server
