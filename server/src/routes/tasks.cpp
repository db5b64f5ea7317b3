// GET /tasks, GET/PUT /tasks/{name}: published task functions.

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async.h"
#include "routes/render.h"
#include "routes/router.h"
#include "sequential/base/bytes.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kDescriptionMax = 8'192;

Error field_error(std::string field, std::string why) {
  return Error{Errc::invalid_field, field + " " + why, field};
}

bool is_javascript(std::string_view content_type) {
  return content_type.find("javascript") != std::string_view::npos;
}

Result<void> read_member(storage::Publication& publication, std::string_view body,
                         const std::string& name, const Json& value) {
  if (name == "code" || name == "description") {
    if (!value.is_string()) return field_error(name, "must be a text");
    (name == "code" ? publication.code : publication.description) = value.get<std::string>();
  } else if (name == "input_schema" || name == "options") {
    if (!value.is_object() && !value.is_null()) return field_error(name, "must be an object");
    auto& target = name == "options" ? publication.options : publication.input_schema;
    if (value.is_object()) target = json_member(body, name);
  } else if (name != "name") {
    return field_error(name,
                       "is not a member of this request; there are code, description, "
                       "input_schema and options");
  }
  return success();
}

Result<storage::Publication> read_body(const HttpRequest& request) {
  storage::Publication publication;
  publication.name = request.segments[1];
  if (is_javascript(request.content_type)) {
    if (!is_valid_utf8(request.body)) return Error{Errc::bad_request, "the code is not UTF-8"};
    publication.code = request.body;
  } else {
    SEQUENTIAL_TRY(check_json(request.body, DuplicateKeys::refuse));
    const Json body = Json::parse(request.body, nullptr, false);
    if (body.is_discarded()) {
      return Error{Errc::invalid_json, "the body may not hold an escaped lone surrogate"};
    }
    if (!body.is_object()) return Error{Errc::invalid_field, "the body must be a JSON object"};
    for (const auto& [name, value] : body.items()) {
      SEQUENTIAL_TRY(read_member(publication, request.body, name, value));
    }
  }
  if (publication.code.empty()) return field_error("code", "is missing: the task's JavaScript");
  if (publication.description.size() > kDescriptionMax) {
    return field_error("description", "is longer than 8192 bytes");
  }
  SEQUENTIAL_TRY(kept_in_options(publication.options));
  publication.code_sha256 = to_hex(sha256(publication.code));
  return publication;
}

Error code_error(const engine::CodeProblem& found, const std::string& name) {
  std::string where = found.source.empty() ? name + ".js" : found.source;
  if (found.line > 0) where += ":" + std::to_string(found.line);
  if (found.line > 0 && found.column > 0) where += ":" + std::to_string(found.column);
  Error error{Errc::code_invalid, where + ": " + found.message, "code"};
  if (found.line > 0) {
    JsonObject detail;
    detail.number("line", found.line);
    if (found.column > 0) detail.number("column", found.column);
    if (!found.source.empty()) detail.string("source", found.source);
    error.detail = std::move(detail).text();
  }
  return error;
}

// What came with code that is published already and differs from what that version has. A version
// never changes, so it is kept out, and the answer says so.
Answer published_before(RouteContext& context, storage::Publication asked, int version) {
  auto read = [&context, &asked, version](auto done) {
    context.store.task_function(asked.name, version, std::move(done));
  };
  const auto found = co_await completes<Result<storage::TaskFunction>>(std::move(read));
  if (found.has_error()) co_return problem(found.error());
  const storage::TaskFunction& stored = found.value();
  std::vector<std::string> left_out;
  const auto compare = [&left_out](const char* name, const auto& wanted, const auto& kept) {
    if (!wanted.empty() && wanted != kept) left_out.push_back(json_string(name));
  };
  compare("description", asked.description, stored.description);
  compare("input_schema", asked.input_schema, stored.input_schema);
  compare("options", asked.options, stored.options);
  JsonObject body;
  body.string("name", asked.name)
      .number("version", version)
      .boolean("created", false)
      .string("code_sha256", asked.code_sha256);
  if (!left_out.empty()) {
    body.raw("not_stored", json_array(left_out))
        .string("note",
                "this code is published already, and a version never changes: what not_stored "
                "names is stored with the next version, that is, together with changed code");
  }
  co_return json_response(200, std::move(body).text());
}

Answer publish(RouteContext& context, const HttpRequest& request) {
  const auto named = check_name(request.segments[1], "name");
  if (named.has_error()) co_return problem(named.error());
  auto read = read_body(request);
  if (read.has_error()) co_return problem(read.error());
  auto& publication = read.value();

  auto code = std::make_shared<engine::TaskCode>();
  code->name = publication.name;
  code->code = publication.code;
  auto check = [&context, &code](auto done) { context.runtime.check_code(code, std::move(done)); };
  using Checked = Result<std::optional<engine::CodeProblem>>;
  const auto checked = co_await completes<Checked>(std::move(check));
  if (checked.has_error()) co_return problem(checked.error());
  if (checked.value()) co_return problem(code_error(*checked.value(), publication.name));

  auto store = [&context, &publication](auto done) {
    context.store.publish(publication, std::move(done));
  };
  const auto stored = co_await completes<Result<storage::Published>>(std::move(store));
  if (stored.has_error()) co_return problem(stored.error());
  context.processor.published(publication.name);
  if (!stored.value().created) {
    co_return co_await published_before(context, std::move(publication), stored.value().version);
  }
  JsonObject body;
  body.string("name", publication.name)
      .number("version", stored.value().version)
      .boolean("created", true)
      .string("code_sha256", publication.code_sha256);
  co_return json_response(201, std::move(body).text());
}

Answer list(RouteContext& context) {
  auto read = [&context](auto done) { context.store.task_functions({}, std::move(done)); };
  const auto found =
      co_await completes<Result<std::vector<storage::TaskFunction>>>(std::move(read));
  if (found.has_error()) co_return problem(found.error());
  std::vector<std::string> items;
  for (const auto& function : found.value()) items.push_back(render_function(function, false));
  co_return json_response(200, std::move(JsonObject().raw("tasks", json_array(items))).text());
}

Answer show(RouteContext& context, const HttpRequest& request) {
  const std::string name = request.segments[1];
  const auto version = query_int(request, "version", 0, 1, 1'000'000'000);
  if (version.has_error()) co_return problem(version.error());
  auto read = [&context, &name, &version](auto done) {
    context.store.task_function(name, static_cast<int>(version.value()), std::move(done));
  };
  const auto found = co_await completes<Result<storage::TaskFunction>>(std::move(read));
  if (found.has_error()) co_return problem(found.error());
  auto read_all = [&context, &name](auto done) {
    context.store.task_functions(name, std::move(done));
  };
  const auto all =
      co_await completes<Result<std::vector<storage::TaskFunction>>>(std::move(read_all));
  if (all.has_error()) co_return problem(all.error());
  std::vector<std::string> versions;
  for (const auto& function : all.value()) versions.push_back(std::to_string(function.version));
  std::string body = render_function(found.value(), true);
  body.back() = ',';
  body += "\"versions\":" + json_array(versions) + "}";
  co_return json_response(200, std::move(body));
}

}  // namespace

Answer route_tasks(RouteContext& context, const HttpRequest& request) {
  const bool get = request.verb == Verb::get || request.verb == Verb::head;
  if (request.segments.size() == 1) {
    if (!get) co_return method_not_allowed("GET");
    co_return co_await list(context);
  }
  if (request.segments.size() == 3 && request.segments[2] == "retention") {
    co_return co_await route_retention(context, request);
  }
  if (request.segments.size() != 2) co_return not_found();
  if (request.verb == Verb::put) co_return co_await publish(context, request);
  if (get) co_return co_await show(context, request);
  co_return method_not_allowed("GET, PUT");
}

}  // namespace sequential::server
