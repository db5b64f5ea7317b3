// POST /stack/process: the chain. GET /stack/{id}: one stack run.

#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "async.h"
#include "routes/render.h"
#include "routes/router.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

// {"stackRunId": n} or {} → n or 0. The chain's own bodies are read without a JSON parser.
Result<StackRunId> read_id(const std::string& body) {
  constexpr std::string_view kPrefix = "{\"stackRunId\":";
  if (body == "{}") return StackRunId{};
  std::int64_t id = 0;
  if (body.starts_with(kPrefix)) {
    const char* const end = body.data() + body.size();
    const auto [rest, error] = std::from_chars(body.data() + kPrefix.size(), end, id);
    if (error == std::errc{} && id > 0 && rest + 1 == end && *rest == '}') return StackRunId{id};
  }
  SEQUENTIAL_TRY(check_json(body, DuplicateKeys::refuse));
  const auto parsed = nlohmann::json::parse(body, nullptr, false);
  if (!parsed.is_object()) return Error{Errc::invalid_field, "the body must be a JSON object"};
  for (const auto& [name, value] : parsed.items()) {
    if (name != "stackRunId" || !value.is_number_integer() || value.get<std::int64_t>() <= 0) {
      return Error{Errc::invalid_field,
                   name == "stackRunId" ? "stackRunId must be a positive whole number"
                                        : name + " is not a member of this request",
                   name};
    }
    id = value.get<std::int64_t>();
  }
  return StackRunId{id};
}

HttpResponse told(Processor::Hinted how) {
  switch (how) {
    case Processor::Hinted::taken:
      return json_response(202, R"({"success":true,"data":{"status":"accepted"}})");
    case Processor::Hinted::coalesced:  // one that came before it does its work
      return json_response(202, R"({"success":true,"data":{"status":"coalesced"}})");
    case Processor::Hinted::deferred:  // its row is in the database, asked for as slots come free
      return json_response(202, R"({"success":true,"data":{"status":"deferred"}})");
    case Processor::Hinted::refused:
      break;
  }
  return problem(Error{Errc::overloaded,
                       "more hints wait than chain.hints_max allows; nothing is lost: the sweep "
                       "finds the work"});
}

Answer process(RouteContext& context, const HttpRequest& request) {
  const auto id = read_id(request.body);
  if (id.has_error()) co_return problem(id.error());
  const bool by_chain = !request.chain.empty();
  if (!context.ready) co_return problem(Error{Errc::shutting_down, "the server is stopping"});
  // What a node signed is a hint and is bounded as one, whatever it prefers.
  if (by_chain || parse_prefer(request.prefer).respond_async) {
    const auto via = by_chain ? storage::Via::chain : storage::Via::manual;
    co_return told(context.processor.hint(id.value(), via));
  }
  const Report report = co_await context.processor.process(id.value(), storage::Via::manual);
  // A hint may come late, or for a run that was cleared; a person who asks by hand is told.
  if (id.value() && report.status == "not_runnable") {
    auto read = [&context, &id](auto done) {
      context.store.stack_run(id.value(), std::move(done));
    };
    const auto row = co_await completes<Result<storage::StackRun>>(std::move(read));
    if (row.has_error()) co_return problem(row.error());
  }
  std::vector<std::string> fired;
  for (const auto next : report.fired) fired.push_back(std::to_string(next.value));
  JsonObject data;
  data.number("stackRunId", report.id.value)
      .number("taskRunId", report.run.value)
      .string("status", report.status)
      .raw("fired", json_array(fired));
  co_return json_response(
      200,
      std::move(JsonObject().boolean("success", true).raw("data", std::move(data).text())).text());
}

Answer show(RouteContext& context, StackRunId id) {
  auto read = [&context, id](auto done) { context.store.stack_run(id, std::move(done)); };
  const auto row = co_await completes<Result<storage::StackRun>>(std::move(read));
  if (row.has_error()) co_return problem(row.error());
  auto read_attempts = [&context, id](auto done) { context.store.attempts(id, std::move(done)); };
  const auto attempts =
      co_await completes<Result<std::vector<storage::Attempt>>>(std::move(read_attempts));
  if (attempts.has_error()) co_return problem(attempts.error());
  co_return json_response(200, render_stack_run(row.value(), attempts.value()));
}

}  // namespace

Answer route_stack(RouteContext& context, const HttpRequest& request) {
  if (request.segments.size() != 2) co_return not_found();
  if (request.segments[1] == "process") {
    if (request.verb != Verb::post) co_return method_not_allowed("POST");
    co_return co_await process(context, request);
  }
  const auto id = parse_id(request.segments[1]);
  if (id.has_error()) co_return problem(id.error());
  if (request.verb != Verb::get && request.verb != Verb::head) co_return method_not_allowed("GET");
  co_return co_await show(context, StackRunId{id.value()});
}

}  // namespace sequential::server
