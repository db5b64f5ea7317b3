// GET /queues, /queues/{task}, /queues/{task}/keys; PUT and DELETE /queues/{task}.

#include "sequential/storage/queues.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "async.h"
#include "routes/render.h"
#include "routes/router.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

using Json = nlohmann::json;
using storage::QueueRate;

constexpr std::int64_t kConcurrencyMax = 1'000'000;
constexpr std::int64_t kStartsMax = 10'000;
constexpr std::int64_t kPerMax = 31ll * 24 * 3600 * 1000;  // ms
constexpr std::int64_t kPageMax = 1'000;
constexpr std::int64_t kPageDefault = 100;

Error field_error(const std::string& field, const std::string& why) {
  return Error{Errc::invalid_field, field + " " + why, field};
}

Result<std::int64_t> integer(const Json& value, const std::string& field, std::int64_t min,
                             std::int64_t max) {
  const Error refusal = field_error(
      field, "must be a whole number from " + std::to_string(min) + " to " + std::to_string(max));
  if (!value.is_number_integer()) return refusal;
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(max)) {
    return refusal;
  }
  const auto number = value.get<std::int64_t>();
  if (number < min || number > max) return refusal;
  return number;
}

Result<std::optional<std::int64_t>> count(const Json& value, const std::string& field,
                                          std::int64_t min) {
  if (value.is_null()) return std::optional<std::int64_t>();
  SEQUENTIAL_TRY(const auto number, integer(value, field, min, kConcurrencyMax));
  return std::optional(number);
}

Result<std::optional<QueueRate>> rate(const Json& value, const std::string& field) {
  if (value.is_null()) return std::optional<QueueRate>();
  if (!value.is_object() || value.size() != 2 || !value.contains("starts") ||
      !value.contains("per_ms")) {
    return field_error(field, R"(must be null or {"starts": n, "per_ms": t})");
  }
  QueueRate out;
  SEQUENTIAL_TRY(out.starts, integer(value["starts"], field + ".starts", 1, kStartsMax));
  SEQUENTIAL_TRY(const auto per, integer(value["per_ms"], field + ".per_ms", 1, kPerMax));
  out.per = Millis{per};
  return std::optional(out);
}

Result<storage::QueueChange> read_change(const std::string& body) {
  SEQUENTIAL_TRY(check_json(body, DuplicateKeys::refuse));
  const Json parsed = Json::parse(body, nullptr, false);
  if (!parsed.is_object()) return Error{Errc::invalid_field, "the body must be a JSON object"};
  storage::QueueChange change;
  for (const auto& [name, value] : parsed.items()) {
    if (name == "concurrency") {
      change.concurrency = true;
      SEQUENTIAL_TRY(change.to.concurrency, count(value, name, 0));
    } else if (name == "key_concurrency") {
      change.key_concurrency = true;
      SEQUENTIAL_TRY(change.to.key_concurrency, count(value, name, 1));
    } else if (name == "rate") {
      change.rate = true;
      SEQUENTIAL_TRY(change.to.rate, rate(value, name));
    } else if (name == "key_rate") {
      change.key_rate = true;
      SEQUENTIAL_TRY(change.to.key_rate, rate(value, name));
    } else {
      return field_error(
          name, "is not a limit; there are concurrency, key_concurrency, rate and key_rate");
    }
  }
  return change;
}

void number_or_null(JsonObject& object, std::string_view key, std::optional<std::int64_t> number) {
  if (number) {
    object.number(key, *number);
  } else {
    object.null(key);
  }
}

std::string render_rate(const std::optional<QueueRate>& rate) {
  if (!rate) return "null";
  return std::move(JsonObject().number("starts", rate->starts).number("per_ms", rate->per.count()))
      .text();
}

std::string render_queue(const storage::QueueInfo& info) {
  JsonObject limits;
  number_or_null(limits, "concurrency", info.limits.concurrency);
  limits.number("key_concurrency", info.limits.key_concurrency.value_or(1))
      .raw("rate", render_rate(info.limits.rate))
      .raw("key_rate", render_rate(info.limits.key_rate));
  JsonObject queue;
  queue.string("task", info.task)
      .raw("limits", std::move(limits).text())
      .number("running", info.running)
      .number("waiting", info.waiting);
  number_or_null(
      queue, "oldest_wait_ms",
      info.oldest_wait ? std::optional<std::int64_t>(info.oldest_wait->count()) : std::nullopt);
  return std::move(queue).text();
}

Answer list(RouteContext& context, const HttpRequest& request) {
  const auto limit = query_int(request, "limit", kPageDefault, 1, kPageMax);
  if (limit.has_error()) co_return problem(limit.error());
  const std::string after = query_value(request.query, "cursor");
  auto read = [&context, &after, &limit](auto done) {
    context.store.queues()->queue_list(after, static_cast<int>(limit.value()), std::move(done));
  };
  const auto found = co_await completes<Result<std::vector<storage::QueueInfo>>>(std::move(read));
  if (found.has_error()) co_return problem(found.error());
  std::vector<std::string> items;
  for (const auto& info : found.value()) items.push_back(render_queue(info));
  JsonObject body;
  body.raw("queues", json_array(items));
  if (static_cast<std::int64_t>(items.size()) == limit.value()) {
    body.string("next_cursor", found.value().back().task);
  } else {
    body.null("next_cursor");
  }
  co_return json_response(200, std::move(body).text());
}

Answer show(RouteContext& context, const std::string& task) {
  auto read = [&context, &task](auto done) {
    context.store.queues()->queue_of(task, std::move(done));
  };
  const auto found = co_await completes<Result<storage::QueueInfo>>(std::move(read));
  if (found.has_error()) co_return problem(found.error());
  co_return json_response(200, render_queue(found.value()));
}

Answer change(RouteContext& context, const std::string& task, storage::QueueChange to) {
  auto write = [&context, &task, &to](auto done) {
    context.store.queues()->change_queue(task, to, std::move(done));
  };
  const auto changed = co_await completes<Result<storage::QueueLimits>>(std::move(write));
  if (changed.has_error()) co_return problem(changed.error());
  context.processor.queues().ask(task);
  co_return co_await show(context, task);
}

// A key may be empty, and a cursor may not: it is "k" and the key.
Answer keys(RouteContext& context, const HttpRequest& request, const std::string& task) {
  const auto limit = query_int(request, "limit", kPageDefault, 1, kPageMax);
  if (limit.has_error()) co_return problem(limit.error());
  const std::string cursor = query_value(request.query, "cursor");
  if (!cursor.empty() && cursor.front() != 'k') {
    co_return problem(field_error("cursor", "must be the next_cursor of another page"));
  }
  const auto after = cursor.empty() ? std::nullopt : std::optional(cursor.substr(1));
  auto read = [&context, &task, &after, &limit](auto done) {
    context.store.queues()->queue_keys(task, after, static_cast<int>(limit.value()),
                                       std::move(done));
  };
  const auto found = co_await completes<Result<std::vector<storage::QueueKey>>>(std::move(read));
  if (found.has_error()) co_return problem(found.error());
  std::vector<std::string> items;
  for (const auto& one : found.value()) {
    JsonObject key;
    if (one.key.empty()) {
      key.null("key");
    } else {
      key.string("key", one.key);
    }
    key.number("running", one.running).number("waiting", one.waiting);
    items.push_back(std::move(key).text());
  }
  JsonObject body;
  body.raw("keys", json_array(items));
  if (static_cast<std::int64_t>(items.size()) == limit.value()) {
    body.string("next_cursor", "k" + found.value().back().key);
  } else {
    body.null("next_cursor");
  }
  co_return json_response(200, std::move(body).text());
}

storage::QueueChange no_limits() {
  storage::QueueChange change;
  change.concurrency = change.key_concurrency = change.rate = change.key_rate = true;
  return change;
}

}  // namespace

boost::asio::awaitable<std::unordered_set<TaskRunId>> waiting_in_queues(
    RouteContext& context, const std::vector<storage::TaskRun>& runs) {
  std::vector<TaskRunId> asked;
  for (const auto& run : runs) {
    if (run.status == storage::RunStatus::queued) asked.push_back(run.id);
  }
  std::unordered_set<TaskRunId> in_queue;
  if (asked.empty() || context.store.queues() == nullptr) co_return in_queue;
  auto read = [&context, &asked](auto done) {
    context.store.queues()->waiting_in_queues(asked, std::move(done));
  };
  const auto found = co_await completes<Result<std::vector<TaskRunId>>>(std::move(read));
  if (found.has_value()) in_queue.insert(found.value().begin(), found.value().end());
  co_return in_queue;
}

Answer route_queues(RouteContext& context, const HttpRequest& request) {
  const bool get = request.verb == Verb::get || request.verb == Verb::head;
  const auto& path = request.segments;
  if (context.store.queues() == nullptr || path.size() > 3) co_return not_found();
  if (path.size() == 3 && path[2] != "keys") co_return not_found();
  if (path.size() == 1) {
    if (!get) co_return method_not_allowed("GET");
    co_return co_await list(context, request);
  }
  const std::string task = path[1];
  const auto code = co_await context.processor.newest_code(task, 0);
  if (code.has_error()) co_return problem(code.error());
  if (path.size() == 3) {
    if (!get) co_return method_not_allowed("GET");
    co_return co_await keys(context, request, task);
  }
  if (request.verb == Verb::put) {
    const auto to = read_change(request.body);
    if (to.has_error()) co_return problem(to.error());
    co_return co_await change(context, task, to.value());
  }
  if (request.verb == Verb::del) co_return co_await change(context, task, no_limits());
  if (!get) co_return method_not_allowed("GET, PUT, DELETE");
  co_return co_await show(context, task);
}

}  // namespace sequential::server
