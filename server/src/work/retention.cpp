#include "work/retention.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "routes/run_query.h"
#include "sequential/base/json_text.h"
#include "sequential/base/log.h"
#include "work/removal.h"
#include "work/store_time.h"

namespace sequential::server {
namespace {

using storage::RunStatus;

constexpr int kGivenUpMax = 3;  // batches of a task in one pass

Result<std::int64_t> read_length(const nlohmann::json& value, const std::string& field) {
  if (value.is_number_unsigned()) return parse_duration(value.dump() + "ms", field);
  if (value.is_string()) return parse_duration(value.get<std::string>(), field);
  return Error{Errc::invalid_field,
               field + R"( must be a length of time such as "30d", or milliseconds)", field};
}

}  // namespace

Result<Kept> read_kept(std::string_view json, std::string_view field) {
  const std::string at(field);
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  Kept kept;
  if (!parsed.is_object()) {
    return Error{Errc::invalid_field,
                 at + R"( must be an object such as {"completed": "30d", "failed": "90d"})", at};
  }
  for (const auto& [name, value] : parsed.items()) {
    if (name != "completed" && name != "failed") {
      return Error{Errc::invalid_field,
                   at + "." + name + " is not a member; there are completed and failed",
                   at + "." + name};
    }
    SEQUENTIAL_TRY(const auto ms, read_length(value, at + "." + name));
    (name == "failed" ? kept.failed_ms : kept.completed_ms) = ms;
  }
  return kept;
}

Result<Kept> kept_in_options(std::string_view options) {
  if (options.empty()) return Kept{};
  const std::string_view retention = json_member(options, "retention");
  if (retention.empty()) return Kept{};
  return read_kept(retention, "options.retention");
}

Kept RetentionPass::effective(const storage::Retention* set, std::string_view options,
                              const RetentionOptions& otherwise) {
  Kept kept;
  if (set != nullptr) kept = {set->completed_ms, set->failed_ms};
  const auto said = kept_in_options(options);
  if (kept.completed_ms < 0 && said.has_value()) kept.completed_ms = said.value().completed_ms;
  if (kept.failed_ms < 0 && said.has_value()) kept.failed_ms = said.value().failed_ms;
  if (kept.completed_ms < 0) kept.completed_ms = otherwise.completed_ms;
  if (kept.failed_ms < 0) kept.failed_ms = otherwise.failed_ms;
  return kept;
}

net::awaitable<void> RetentionPass::pass(const std::atomic<bool>& go_on) {
  if (store_.search() == nullptr) co_return;
  auto list = [this](auto done) { store_.task_functions({}, std::move(done)); };
  const auto tasks =
      co_await completes<Result<std::vector<storage::TaskFunction>>>(std::move(list));
  auto read = [this](auto done) { store_.search()->retentions(std::move(done)); };
  const auto sets = co_await completes<Result<std::vector<storage::Retention>>>(std::move(read));
  if (tasks.has_error() || sets.has_error()) co_return;  // whoever needs the store says so
  const auto now = co_await store_now(store_);
  if (now.has_error()) co_return;
  for (const auto& task : tasks.value()) {
    const storage::Retention* set = nullptr;
    for (const auto& one : sets.value()) {
      if (one.task == task.name) set = &one;
    }
    const Kept kept = effective(set, task.options, options_);
    storage::RunQuery query;
    query.task = task.name;
    query.oldest_first = true;
    for (const bool completed : {true, false}) {
      const std::int64_t ms = completed ? kept.completed_ms : kept.failed_ms;
      if (ms <= 0 || !go_on) continue;
      query.statuses = completed ? std::vector{RunStatus::completed}
                                 : std::vector{RunStatus::failed, RunStatus::cancelled};
      query.ended.before = WallTime{now.value().ms - ms};
      const auto removed = co_await remove_old(query, go_on);
      if (!removed.has_error()) continue;
      ++failed_;
      log_warn("old runs were not removed",
               {{"task", task.name}, {"reason", removed.error().message}});
    }
  }
  ++passes_;
}

net::awaitable<Result<bool>> RetentionPass::all_younger(const storage::RunQuery& query,
                                                        TaskRunId after) {
  storage::RunQuery next;
  next.task = query.task;
  next.oldest_first = true;
  auto look = [this, &next, after](auto done) {
    store_.search()->find_runs(next, after, 1, 1, std::move(done));
  };
  auto found = co_await completes<Result<storage::RunPage>>(std::move(look));
  if (found.has_error()) co_return found.error();
  const auto& runs = found.value().runs;
  co_return runs.empty() || runs.front().created_at >= *query.ended.before;
}

net::awaitable<Result<void>> RetentionPass::remove_old(const storage::RunQuery& query,
                                                       const std::atomic<bool>& go_on) {
  net::steady_timer pause(co_await net::this_coro::executor);
  int given_up = 0;
  for (TaskRunId after; go_on;) {
    const MonoTime began = clock_.monotonic();
    auto younger = co_await all_younger(query, after);
    if (younger.has_error()) co_return younger.error();
    if (younger.value()) break;
    auto look = [this, &query, after](auto done) {
      store_.search()->find_runs(query, after, options_.batch, options_.rows_max, std::move(done));
    };
    auto page = co_await completes<Result<storage::RunPage>>(std::move(look));
    if (page.has_error()) co_return page.error();
    std::vector<TaskRunId> ids;
    for (const auto& run : page.value().runs) ids.push_back(run.id);
    if (!ids.empty()) {
      const auto done = co_await remove_in_parts(*store_.search(), std::move(ids),
                                                 *query.ended.before, options_.batch);
      removed_runs_ += done.removed.runs;
      removed_rows_ += done.removed.rows;
      for (const auto& one : done.failed) {
        ++failed_;
        log_warn("an old run was not removed",
                 {{"task", query.task}, {"run", one.run.value}, {"reason", one.error.message}});
      }
      // What cannot be removed keeps nothing that comes after it, unless it is very much.
      if (done.gave_up && ++given_up >= kGivenUpMax) co_return *done.gave_up;
    }
    if (!page.value().next) break;
    after = page.value().next;
    // Half of the time belongs to others.
    pause.expires_after(clock_.monotonic() - began);
    co_await pause.async_wait(net::as_tuple(net::use_awaitable));
  }
  co_return success();
}

}  // namespace sequential::server
