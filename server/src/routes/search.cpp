// GET /runs, /runs/count; DELETE /runs/{id}; POST /runs/purge; /tasks/{name}/retention.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "async.h"
#include "routes/render.h"
#include "routes/router.h"
#include "routes/run_query.h"
#include "routes/run_view.h"
#include "sequential/base/json_text.h"
#include "sequential/storage/search.h"
#include "work/removal.h"
#include "work/retention.h"
#include "work/store_time.h"

namespace sequential::server {
namespace {

constexpr int kPurgeDefault = 1'000;  // runs of one request
constexpr int kPurgeMax = 10'000;
constexpr int kBatch = 100;  // of one transaction
constexpr std::size_t kFailuresMax = 100;  // told one by one

Result<RunsAsked> asked_by(const HttpRequest& request, bool paged) {
  SEQUENTIAL_TRY(const auto parameters, parameters_of(request.query));
  return runs_asked(parameters, paged);
}

boost::asio::awaitable<Result<storage::RunPage>> find(RouteContext& context,
                                                      const RunsAsked& asked) {
  auto look = [&context, &asked](auto done) {
    context.store.search()->find_runs(asked.query, asked.cursor, asked.limit,
                                      context.options.search_rows_max, std::move(done));
  };
  co_return co_await completes<Result<storage::RunPage>>(std::move(look));
}

boost::asio::awaitable<Result<storage::Removed>> remove(RouteContext& context,
                                                        std::vector<TaskRunId> ids,
                                                        WallTime before) {
  auto write = [&context, &ids, before](auto done) {
    context.store.search()->remove_runs(ids, before, kBatch, std::move(done));
  };
  co_return co_await completes<Result<storage::Removed>>(std::move(write));
}

struct PurgeAsked {
  RunsAsked runs;
  std::int64_t older_than_ms = 0;  // 0: not said
  int limit = kPurgeDefault;
  bool dry_run = false;
};

Error purge_error(const char* field, const char* why) {
  return Error{Errc::invalid_field, std::string(field) + " " + why, field};
}

Result<void> read_purge(PurgeAsked& asked, const std::string& name, const nlohmann::json& value) {
  if (name == "older_than") {
    if (!value.is_string()) return purge_error("older_than", "must be a text such as 30d");
    SEQUENTIAL_TRY(asked.older_than_ms, parse_duration(value.get<std::string>(), name));
    if (asked.older_than_ms == 0) {  // where it is about keeping, that is "for ever"
      return purge_error("older_than", "must be longer than 0; leave it out if no age is meant");
    }
  } else if (name == "limit") {
    if (!value.is_number_unsigned() || value > kPurgeMax || value < 1) {
      return purge_error("limit", "must be a whole number from 1 to 10000");
    }
    asked.limit = value.get<int>();
  } else if (name == "dry_run") {
    if (!value.is_boolean()) return purge_error("dry_run", "must be true or false");
    asked.dry_run = value.get<bool>();
  } else if (name == "cursor") {
    SEQUENTIAL_TRY(const auto id, parse_id(value.is_string() ? value.get<std::string>() : ""));
    asked.runs.cursor = TaskRunId{id};
  } else if (name != "filter") {
    return Error{Errc::invalid_field,
                 name + " is not a member of this request; there are filter, older_than, limit, "
                        "cursor and dry_run",
                 name};
  }
  return success();
}

Result<PurgeAsked> purge_asked(const std::string& body) {
  SEQUENTIAL_TRY(check_json(body, DuplicateKeys::refuse));
  const auto parsed = nlohmann::json::parse(body, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("filter")) {
    return purge_error("filter", "is missing: which runs to remove; {} is all that have ended");
  }
  PurgeAsked asked;
  SEQUENTIAL_TRY(const auto parameters, parameters_of_filter(json_member(body, "filter")));
  SEQUENTIAL_TRY(asked.runs, runs_asked(parameters, false));
  for (const auto& [name, value] : parsed.items()) {
    SEQUENTIAL_TRY(read_purge(asked, name, value));
  }
  auto& statuses = asked.runs.query.statuses;
  for (const auto status : statuses) {
    if (!storage::is_terminal(status)) {
      return purge_error("filter.status", "may only name completed, failed and cancelled");
    }
  }
  if (statuses.empty()) {
    statuses = {storage::RunStatus::completed, storage::RunStatus::failed,
                storage::RunStatus::cancelled};
  }
  asked.runs.query.oldest_first = true;
  asked.runs.limit = kBatch;
  return asked;
}

struct PurgeSum {
  std::int64_t matched = 0, runs = 0, rows = 0, failures = 0;
  std::vector<std::string> failed;  // the first of them
  TaskRunId next;
  bool more = true;
};

void note_failures(PurgeSum& sum, const std::vector<NotRemoved>& failed) {
  for (const auto& one : failed) {
    ++sum.failures;
    if (sum.failed.size() >= kFailuresMax) continue;
    JsonObject object;
    object.number("id", one.run.value).string("code", error_code_name(one.error.code));
    sum.failed.push_back(std::move(object.string("message", one.error.message)).text());
  }
}

// Page by page. What was done before the store failed counts: the client goes on from there.
net::awaitable<Result<void>> purge(RouteContext& context, PurgeAsked& asked, WallTime before,
                                   PurgeSum& sum) {
  const auto stop = [&sum](const Error& error) -> Result<void> {
    if (sum.matched == 0) return error;
    return success();
  };
  while (sum.more && sum.matched < asked.limit) {
    asked.runs.cursor = sum.next;
    asked.runs.limit = std::min<int>(kBatch, asked.limit - static_cast<int>(sum.matched));
    const auto page = co_await find(context, asked.runs);
    if (page.has_error()) co_return stop(page.error());
    std::vector<TaskRunId> ids;
    for (const auto& run : page.value().runs) ids.push_back(run.id);
    if (!asked.dry_run && !ids.empty()) {
      const auto done = co_await remove_in_parts(*context.store.search(), ids, before, kBatch);
      sum.runs += done.removed.runs;
      sum.rows += done.removed.rows;
      note_failures(sum, done.failed);
      for (const TaskRunId id : ids) {
        context.processor.forget(id);
        context.events.changed(id);
      }
      if (done.gave_up) co_return stop(*done.gave_up);
    }
    sum.matched += static_cast<std::int64_t>(ids.size());
    sum.next = page.value().next;
    sum.more = static_cast<bool>(sum.next);
    if (ids.empty()) break;  // the client goes on
  }
  co_return success();
}

HttpResponse render_retention(const RouteContext& context, const std::string& task,
                              const storage::Retention* set, const std::string& options) {
  const Kept kept = RetentionPass::effective(set, options, context.retention.options());
  JsonObject body;
  body.string("task", task).number("completed_ms", kept.completed_ms);
  body.number("failed_ms", kept.failed_ms).boolean("set_here", set != nullptr);
  return json_response(200, std::move(body).text());
}

}  // namespace

Answer list_runs(RouteContext& context, const HttpRequest& request) {
  const auto asked = asked_by(request, true);
  if (asked.has_error()) co_return problem(asked.error());
  const auto page = co_await find(context, asked.value());
  if (page.has_error()) co_return problem(page.error());
  const auto items = co_await run_summaries(context, page.value().runs);
  if (items.has_error()) co_return problem(items.error());
  JsonObject body;
  body.raw("runs", json_array(items.value()));
  const TaskRunId next = page.value().next;
  if (next) {
    body.string("next_cursor", std::to_string(next.value));
  } else {
    body.null("next_cursor");
  }
  // Not full, and not the last: what was looked at is all that one request looks at.
  body.boolean("partial", next && static_cast<int>(items.value().size()) < asked.value().limit);
  co_return json_response(200, std::move(body).text());
}

Answer count_runs(RouteContext& context, const HttpRequest& request) {
  const auto asked = asked_by(request, false);
  if (asked.has_error()) co_return problem(asked.error());
  auto look = [&context, &asked](auto done) {
    context.store.search()->count_runs(asked.value().query, context.options.search_rows_max,
                                       std::move(done));
  };
  const auto counted = co_await completes<Result<storage::RunCount>>(std::move(look));
  if (counted.has_error()) co_return problem(counted.error());
  JsonObject body;
  body.number("count", counted.value().count).boolean("more", counted.value().more);
  co_return json_response(200, std::move(body).text());
}

Answer remove_run(RouteContext& context, TaskRunId id) {
  auto read = [&context, id](auto done) { context.store.run(id, std::move(done)); };
  const auto run = co_await completes<Result<storage::TaskRun>>(std::move(read));
  if (run.has_error()) co_return problem(run.error());
  const std::string named = "task run " + std::to_string(id.value);
  if (!storage::is_terminal(run.value().status)) {
    co_return problem(Error{Errc::conflict, named + " is " +
                                                std::string(run_status_name(run.value().status)) +
                                                "; only one that has ended can be removed"});
  }
  const WallTime any{std::numeric_limits<std::int64_t>::max()};
  std::vector<TaskRunId> ids{id};
  for (int i = 0; i < kPurgeMax / kBatch; ++i) {  // as many as it takes to remove its children
    const auto removed = co_await remove(context, ids, any);
    if (removed.has_error()) co_return problem(removed.error());
    if (removed.value().runs < kBatch) break;
  }
  context.processor.forget(id);
  context.events.changed(id);
  const auto left = co_await completes<Result<storage::TaskRun>>(std::move(read));
  if (left.has_error() && left.error().code == Errc::run_not_found) {
    co_return json_response(204, {});
  }
  co_return problem(Error{Errc::conflict, named + " has started runs that have not ended (GET "
                                              "/runs?parent=" + std::to_string(id.value) +
                                              "), or is written to just now: try again"});
}

Answer purge_runs(RouteContext& context, const HttpRequest& request) {
  auto read = purge_asked(request.body);
  if (read.has_error()) co_return problem(read.error());
  PurgeAsked& asked = read.value();
  if (asked.older_than_ms > 0) {
    const auto now = co_await store_now(context.store);
    if (now.has_error()) co_return problem(now.error());
    const WallTime cut{now.value().ms - asked.older_than_ms};
    auto& ended_before = asked.runs.query.ended.before;
    ended_before = ended_before ? std::min(*ended_before, cut) : cut;
  }
  const WallTime before =
      asked.runs.query.ended.before.value_or(WallTime{std::numeric_limits<std::int64_t>::max()});
  PurgeSum sum;
  sum.next = asked.runs.cursor;
  const auto purged = co_await purge(context, asked, before, sum);
  if (purged.has_error()) co_return problem(purged.error());
  JsonObject body;
  body.boolean("dry_run", asked.dry_run).number("matched", sum.matched);
  body.number("removed_runs", sum.runs).number("removed_rows", sum.rows);
  body.number("failures", sum.failures).raw("failed", json_array(sum.failed));
  if (sum.more) {
    body.string("next_cursor", std::to_string(sum.next.value));
  } else {
    body.null("next_cursor");
  }
  co_return json_response(200, std::move(body).text());
}

Answer route_retention(RouteContext& context, const HttpRequest& request) {
  const std::string& task = request.segments[1];
  const bool get = request.verb == Verb::get || request.verb == Verb::head;
  if (!get && request.verb != Verb::put && request.verb != Verb::del) {
    co_return method_not_allowed("GET, PUT, DELETE");
  }
  auto find_task = [&context, &task](auto done) {
    context.store.task_function(task, 0, std::move(done));
  };
  const auto function = co_await completes<Result<storage::TaskFunction>>(std::move(find_task));
  if (function.has_error()) co_return problem(function.error());
  storage::Retention wanted{task, -1, -1};
  if (request.verb == Verb::put) {
    const auto json = check_json(request.body, DuplicateKeys::refuse);
    if (json.has_error()) co_return problem(json.error());
    const auto kept = read_kept(request.body, "retention");
    if (kept.has_error()) co_return problem(kept.error());
    wanted = {task, kept.value().completed_ms, kept.value().failed_ms};
  }
  if (!get) {
    auto write = [&context, &wanted](auto done) {
      context.store.search()->set_retention(wanted, std::move(done));
    };
    const auto written = co_await completes<Result<void>>(std::move(write));
    if (written.has_error()) co_return problem(written.error());
  }
  auto read = [&context](auto done) { context.store.search()->retentions(std::move(done)); };
  const auto all = co_await completes<Result<std::vector<storage::Retention>>>(std::move(read));
  if (all.has_error()) co_return problem(all.error());
  const storage::Retention* set = nullptr;
  for (const auto& one : all.value()) {
    if (one.task == task) set = &one;
  }
  co_return render_retention(context, task, set, function.value().options);
}

}  // namespace sequential::server
