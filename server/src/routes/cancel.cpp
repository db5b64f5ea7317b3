// POST /runs/{id}/cancel: the run is asked to end, and cancelled when its time is over.

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "async.h"
#include "routes/router.h"
#include "routes/run_actions.h"
#include "routes/run_view.h"
#include "sequential/base/json_text.h"
#include "sequential/storage/cancellation.h"

namespace sequential::server {

namespace net = boost::asio;

namespace {

using Json = nlohmann::json;

constexpr std::int64_t kGraceMsMax = 24ll * 3'600 * 1'000;
constexpr std::size_t kReasonBytesMax = 1'000;

Error field_error(std::string field, std::string why) {
  return Error{Errc::invalid_field, field + " " + why, field};
}

std::string cancelled_error(const std::string& reason) {
  std::string message = "the run was cancelled by an operator";
  if (!reason.empty()) message += ": " + reason;
  return std::move(JsonObject()
                       .string("name", "CancelledError")
                       .string("code", "cancelled")
                       .string("message", message))
      .text();
}

struct Wish {
  Millis grace{0};
  bool force = false;
  std::string reason;
};

Result<void> read_member(Wish& wish, const std::string& name, const Json& value) {
  if (name == "grace_ms") {
    const bool whole = value.is_number_integer() && value >= 0 && value <= kGraceMsMax;
    if (!whole) {
      return field_error(name, "must be a whole number from 0 to " + std::to_string(kGraceMsMax));
    }
    wish.grace = Millis{value.get<std::int64_t>()};
  } else if (name == "force") {
    if (!value.is_boolean()) return field_error(name, "must be true or false");
    wish.force = value.get<bool>();
  } else if (name == "reason") {
    if (!value.is_string()) return field_error(name, "must be a text");
    wish.reason = value.get<std::string>();
    if (wish.reason.size() > kReasonBytesMax) {
      return field_error(name, "must have at most " + std::to_string(kReasonBytesMax) + " bytes");
    }
  } else {
    return field_error(name,
                       "is not a member of this request; there are grace_ms, force and reason");
  }
  return success();
}

Result<Wish> read_wish(const std::string& body, Millis grace) {
  Wish wish;
  wish.grace = grace;
  if (body.find_first_not_of(" \t\r\n") == std::string::npos) return wish;
  SEQUENTIAL_TRY(check_json(body, DuplicateKeys::refuse));
  const Json parsed = Json::parse(body, nullptr, false);
  if (!parsed.is_object()) return Error{Errc::invalid_field, "the body must be a JSON object"};
  for (const auto& [name, value] : parsed.items()) {
    SEQUENTIAL_TRY(read_member(wish, name, value));
  }
  if (wish.force) wish.grace = Millis{0};
  return wish;
}

net::awaitable<Result<void>> ask_to_end(RouteContext& context, TaskRunId id, Wish wish) {
  std::string error = cancelled_error(wish.reason);
  if (storage::Cancellation* const cancellation = context.store.cancellation()) {
    storage::CancelRequest asked{id, std::move(error), wish.grace};
    auto write = [cancellation, &asked](auto done) {
      cancellation->request_cancel(std::move(asked), std::move(done));
    };
    auto answer = co_await completes<Result<storage::CancelRequested>>(std::move(write));
    if (answer.has_error()) co_return std::move(answer).error();
    context.processor.asked_to_end(id, std::move(answer).value());
  } else {
    auto write = [&context, id, &error](auto done) {
      context.store.cancel(id, std::move(error), std::move(done));
    };
    auto parent = co_await completes<Result<std::optional<storage::Wake>>>(std::move(write));
    if (parent.has_error()) co_return std::move(parent).error();
    context.processor.run_cancelled(id, std::move(parent).value());
  }
  co_return success();
}

}  // namespace

net::awaitable<Result<void>> cancel_run(RouteContext& context, TaskRunId id) {
  Wish wish;
  wish.grace = context.options.cancel_grace;
  co_return co_await ask_to_end(context, id, std::move(wish));
}

Answer route_cancel(RouteContext& context, const HttpRequest& request, TaskRunId id) {
  auto wish = read_wish(request.body, context.options.cancel_grace);
  if (wish.has_error()) co_return problem(wish.error());
  const auto asked = co_await ask_to_end(context, id, std::move(wish).value());
  if (asked.has_error()) co_return problem(asked.error());
  auto read = [&context, id](auto done) { context.store.run(id, std::move(done)); };
  const auto run = co_await completes<Result<storage::TaskRun>>(std::move(read));
  if (run.has_error()) co_return problem(run.error());
  co_return co_await answer_run(context, id);
}

}  // namespace sequential::server
