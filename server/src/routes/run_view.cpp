#include "routes/run_view.h"

#include <array>
#include <utility>

#include "async.h"
#include "routes/render.h"
#include "sequential/storage/cancellation.h"

namespace sequential::server {
namespace {

namespace net = boost::asio;

net::awaitable<Result<void>> read_parent(RouteContext& context, const storage::TaskRun& run,
                                         RunExtras& extras) {
  auto* const children = context.store.children();
  if (!run.parent_stack_run_id || children == nullptr) co_return success();
  auto read = [children, id = run.id](auto done) { children->parent_of(id, std::move(done)); };
  auto link = co_await completes<Result<std::optional<storage::ChildLink>>>(std::move(read));
  if (link.has_error()) co_return std::move(link).error();
  extras.parent = std::move(link).value();
  co_return success();
}

net::awaitable<Result<void>> read_cancelling(RouteContext& context, const storage::TaskRun& run,
                                             RunExtras& extras) {
  auto* const cancellation = context.store.cancellation();
  if (storage::is_terminal(run.status) || cancellation == nullptr) co_return success();
  auto read = [cancellation, id = run.id](auto done) {
    cancellation->cancelling(id, std::move(done));
  };
  auto found = co_await completes<Result<std::optional<storage::Cancelling>>>(std::move(read));
  if (found.has_error()) co_return std::move(found).error();
  if (found.value()) extras.cancel_at = found.value()->deadline;
  co_return success();
}

net::awaitable<Result<std::vector<storage::RunState>>> states_of(RouteContext& context,
                                                                 std::vector<TaskRunId> runs) {
  storage::RunStates* const states = context.store.run_states();
  if (states == nullptr) co_return std::vector<storage::RunState>(runs.size());
  auto read = [states, &runs](auto done) { states->states(std::move(runs), std::move(done)); };
  co_return co_await completes<Result<std::vector<storage::RunState>>>(std::move(read));
}

net::awaitable<Result<void>> read_state(RouteContext& context, const storage::TaskRun& run,
                                        RunExtras& extras) {
  auto states = co_await states_of(context, std::vector<TaskRunId>(1, run.id));
  if (states.has_error()) co_return std::move(states).error();
  extras.state = std::move(states.value().front());
  co_return success();
}

net::awaitable<Result<void>> read_attributes(RouteContext& context, const storage::TaskRun& run,
                                             RunExtras& extras) {
  // They come with entries of the log.
  if (run.log_count == 0 || context.store.search() == nullptr) co_return success();
  extras.attributes = co_await attributes_of(context, run.id);
  co_return success();
}

net::awaitable<Result<void>> read_queue(RouteContext& context, const storage::TaskRun& run,
                                        RunExtras& extras) {
  const std::vector<storage::TaskRun> one(1, run);
  const auto waiting = co_await waiting_in_queues(context, one);
  extras.in_queue = waiting.contains(run.id);
  co_return success();
}

net::awaitable<Result<void>> read_origin(RouteContext& context, const storage::TaskRun& run,
                                         RunExtras& extras) {
  storage::Rewinds* const rewinds = context.store.rewinds();
  if (rewinds == nullptr) co_return success();
  auto read = [rewinds, id = run.id](auto done) { rewinds->origin(id, std::move(done)); };
  auto origin = co_await completes<Result<storage::RunOrigin>>(std::move(read));
  if (origin.has_error()) co_return std::move(origin).error();
  extras.origin = std::move(origin).value();
  co_return success();
}

using Part = net::awaitable<Result<void>> (*)(RouteContext&, const storage::TaskRun&, RunExtras&);
constexpr std::array<Part, 6> kParts = {read_parent,     read_cancelling, read_state,
                                        read_attributes, read_queue,      read_origin};

}  // namespace

net::awaitable<Result<RunExtras>> run_extras(RouteContext& context, const storage::TaskRun& run) {
  RunExtras extras;
  for (const Part part : kParts) {
    auto read = co_await part(context, run, extras);
    if (read.has_error()) co_return std::move(read).error();
  }
  co_return extras;
}

Answer answer_run(RouteContext& context, const storage::TaskRun& run) {
  const auto extras = co_await run_extras(context, run);
  if (extras.has_error()) co_return problem(extras.error());
  co_return json_response(200, render_run(run, extras.value()));
}

Answer answer_run(RouteContext& context, TaskRunId id) {
  auto read = [&context, id](auto done) { context.store.run(id, std::move(done)); };
  const auto run = co_await completes<Result<storage::TaskRun>>(std::move(read));
  if (run.has_error()) co_return problem(run.error());
  co_return co_await answer_run(context, run.value());
}

net::awaitable<Result<std::vector<std::string>>> run_summaries(
    RouteContext& context, const std::vector<storage::TaskRun>& runs) {
  std::vector<TaskRunId> ids;
  for (const auto& run : runs) ids.push_back(run.id);
  const auto states = co_await states_of(context, std::move(ids));
  if (states.has_error()) co_return states.error();
  const auto waiting = co_await waiting_in_queues(context, runs);
  std::vector<std::string> items;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    items.push_back(render_run_summary(runs[i], states.value()[i].progress,
                                       waiting.contains(runs[i].id)));
  }
  co_return items;
}

}  // namespace sequential::server
