// POST /runs/bulk: one action on many runs, page by page, for a bounded time per request.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async.h"
#include "routes/rewinds.h"
#include "routes/render.h"
#include "routes/run_actions.h"
#include "routes/run_query.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kLimitMax = 10'000, kLimitDefault = 1'000;
constexpr int kPage = 200;
constexpr std::size_t kFailuresMax = 100;  // told one by one
constexpr Millis kBudget{3'000};           // of one request; then it says where to go on

enum class Action { cancel, pause, resume, retry };

struct Bulk {
  Action action = Action::cancel;
  RunsAsked runs;
  std::int64_t limit = kLimitDefault;
  bool dry_run = false;
  RetryAsk retry;  // and the version to resume on
};

Error field_error(std::string field, std::string why) {
  return Error{Errc::invalid_field, field + " " + why, field};
}

Result<std::int64_t> whole(const Json& value, const std::string& field, std::int64_t min,
                           std::int64_t max) {
  if (value.is_number_integer() && value >= min && value <= max) return value.get<std::int64_t>();
  return field_error(
      field, "must be a whole number from " + std::to_string(min) + " to " + std::to_string(max));
}

std::optional<Action> action_from(const std::string& name) {
  if (name == "cancel") return Action::cancel;
  if (name == "pause") return Action::pause;
  if (name == "resume") return Action::resume;
  if (name == "retry") return Action::retry;
  return std::nullopt;
}

Result<void> read_member(Bulk& bulk, const std::string& name, const Json& value) {
  if (name == "action") {
    const auto action = action_from(value.is_string() ? value.get<std::string>() : "");
    if (!action) return field_error(name, "must be cancel, pause, resume or retry");
    bulk.action = *action;
  } else if (name == "limit") {
    SEQUENTIAL_TRY(bulk.limit, whole(value, name, 1, kLimitMax));
  } else if (name == "dry_run") {
    if (!value.is_boolean()) return field_error(name, "must be true or false");
    bulk.dry_run = value.get<bool>();
  } else if (name == "version") {
    SEQUENTIAL_TRY(const auto version, whole(value, name, 1, 1'000'000'000));
    bulk.retry.version = static_cast<int>(version);
  } else if (name == "next") {
    const auto id = parse_id(value.is_string() ? value.get<std::string>() : "");
    if (id.has_error()) return field_error(name, "must be the next of an answer before");
    bulk.runs.cursor = TaskRunId{id.value()};
  } else if (name != "filter") {
    return field_error(name,
                       "is not a member of this request; there are action, filter, limit, "
                       "dry_run, version and next");
  }
  return success();
}

Result<Bulk> read_bulk(const std::string& body) {
  SEQUENTIAL_TRY(check_json(body, DuplicateKeys::refuse));
  const Json parsed = Json::parse(body, nullptr, false);
  if (!parsed.is_object()) return Error{Errc::invalid_field, "the body must be a JSON object"};
  if (!parsed.contains("action")) return field_error("action", "is missing");
  if (!parsed.contains("filter")) {
    return field_error("filter", "is missing; {} means every run");
  }
  Bulk bulk;
  SEQUENTIAL_TRY(const auto filter, parameters_of_filter(json_member(body, "filter")));
  SEQUENTIAL_TRY(bulk.runs, runs_asked(filter, false));
  for (const auto& [name, value] : parsed.items()) {
    SEQUENTIAL_TRY(read_member(bulk, name, value));
  }
  bulk.runs.limit = kPage;
  auto& statuses = bulk.runs.query.statuses;
  if (statuses.empty() && bulk.action == Action::resume) statuses = {storage::RunStatus::paused};
  if (statuses.empty() && bulk.action == Action::retry) statuses = {storage::RunStatus::failed};
  return bulk;
}

// Whether the action makes sense for a run in that state: others are passed over.
bool applies(Action action, storage::RunStatus status) {
  switch (action) {
    case Action::cancel: return !storage::is_terminal(status);
    case Action::pause:
      return !storage::is_terminal(status) && status != storage::RunStatus::paused;
    case Action::resume: return status == storage::RunStatus::paused;
    case Action::retry:
      return status == storage::RunStatus::failed || status == storage::RunStatus::cancelled;
  }
  return false;
}

net::awaitable<Result<void>> act(RouteContext& context, const Bulk& bulk, TaskRunId id) {
  switch (bulk.action) {
    case Action::cancel: co_return co_await cancel_run(context, id);
    case Action::pause: co_return co_await pause_run(context, id);
    case Action::retry: co_return co_await retry_run(context, id, bulk.retry);
    case Action::resume: break;
  }
  if (bulk.retry.version > 0) co_return co_await resume_run_on(context, id, bulk.retry.version);
  co_return co_await resume_run(context, id);
}

struct Progress {
  std::int64_t matched = 0, done = 0, failures = 0;
  std::vector<std::string> failed;
  TaskRunId next;  // 0: there is nothing more
};

void note_failure(Progress& progress, TaskRunId id, const Error& error) {
  ++progress.failures;
  if (progress.failed.size() >= kFailuresMax) return;
  progress.failed.push_back(std::move(JsonObject()
                                          .number("id", id.value)
                                          .string("code", error_code_name(error.code))
                                          .string("message", error.message))
                                .text());
}

// Errors that say nothing of the run: the same again may go well.
bool is_transient(Errc code) {
  return code == Errc::overloaded || code == Errc::unavailable || code == Errc::shutting_down;
}

// Ends early when the time is up or the store cannot go on, with where to go on. A request that has
// got past no run at all answers why instead, so that nobody asks the same for ever.
net::awaitable<Result<Progress>> go_through(RouteContext& context, Bulk& bulk) {
  const MonoTime deadline = context.clock.monotonic() + kBudget;
  Progress progress;
  RunsAsked& asked = bulk.runs;
  for (bool got_past_one = false;;) {
    auto read = [&context, &asked](auto done) {
      context.store.search()->find_runs(asked.query, asked.cursor, asked.limit,
                                        context.options.search_rows_max, std::move(done));
    };
    const auto page = co_await completes<Result<storage::RunPage>>(std::move(read));
    if (page.has_error()) {
      if (!got_past_one) co_return page.error();
      progress.next = asked.cursor;
      co_return progress;
    }
    for (const auto& run : page.value().runs) {
      const TaskRunId from_here(run.id.value + 1);
      if (!context.ready && !got_past_one) {
        co_return Error{Errc::shutting_down, "the server is stopping"};
      }
      const bool late = context.clock.monotonic() >= deadline || !context.ready;
      if (progress.matched == bulk.limit || (late && got_past_one)) {
        progress.next = from_here;
        co_return progress;
      }
      if (applies(bulk.action, run.status)) {
        Result<void> acted = success();
        if (!bulk.dry_run) acted = co_await act(context, bulk, run.id);
        if (acted.has_error() && is_transient(acted.error().code)) {
          if (!got_past_one) co_return acted.error();
          progress.next = from_here;
          co_return progress;
        }
        ++progress.matched;
        if (acted.has_error()) note_failure(progress, run.id, acted.error());
        if (acted.has_value() && !bulk.dry_run) ++progress.done;
      }
      got_past_one = true;
    }
    asked.cursor = page.value().next;
    if (!asked.cursor) co_return progress;
    if (context.clock.monotonic() >= deadline) {
      progress.next = asked.cursor;
      co_return progress;
    }
  }
}

}  // namespace

Answer route_bulk(RouteContext& context, const HttpRequest& request) {
  auto bulk = read_bulk(request.body);
  if (bulk.has_error()) co_return problem(bulk.error());
  const auto progress = co_await go_through(context, bulk.value());
  if (progress.has_error()) co_return problem(progress.error());
  const Progress& made = progress.value();
  JsonObject body;
  body.number("matched", made.matched)
      .number("done", made.done)
      .number("failures", made.failures)
      .raw("failed", json_array(made.failed));
  if (made.next) {
    body.string("next", std::to_string(made.next.value));
  } else {
    body.null("next");
  }
  co_return json_response(200, std::move(body).text());
}

}  // namespace sequential::server
