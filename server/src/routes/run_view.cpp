#include "routes/run_view.h"

#include <utility>

#include "async.h"
#include "routes/render.h"
#include "sequential/storage/run_view.h"

namespace sequential::server {

namespace net = boost::asio;

Answer answer_run(RouteContext& context, TaskRunId id) {
  auto read = [&context, id](auto done) { context.store.run_states()->view(id, std::move(done)); };
  const auto view = co_await completes<Result<storage::RunView>>(std::move(read));
  if (view.has_error()) co_return problem(view.error());
  co_return json_response(200, render_run(view.value()));
}

net::awaitable<Result<std::vector<std::string>>> run_summaries(
    RouteContext& context, const std::vector<storage::TaskRun>& runs) {
  std::vector<TaskRunId> ids;
  for (const auto& run : runs) ids.push_back(run.id);
  auto read = [&context, &ids](auto done) {
    context.store.run_states()->states(std::move(ids), std::move(done));
  };
  const auto states = co_await completes<Result<std::vector<storage::RunState>>>(std::move(read));
  if (states.has_error()) co_return states.error();
  const auto waiting = co_await waiting_in_queues(context, runs);
  std::vector<std::string> items;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    items.push_back(
        render_run_summary(runs[i], states.value()[i].progress, waiting.contains(runs[i].id)));
  }
  co_return items;
}

}  // namespace sequential::server
