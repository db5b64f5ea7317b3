// POST /runs/{id}/signals/{name}; GET /runs/{id}/signals.

#include "sequential/storage/signals.h"

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "async.h"
#include "routes/page_budget.h"
#include "routes/render.h"
#include "routes/router.h"
#include "sequential/base/bytes.h"
#include "sequential/base/json_text.h"

namespace sequential::server {
namespace {

constexpr std::int64_t kPageMax = 1'000;
constexpr std::int64_t kPageDefault = 200;
constexpr std::size_t kKeyMax = 256;

Answer send(RouteContext& context, const HttpRequest& request, TaskRunId run,
            const std::string& name) {
  const auto named = check_name(name, "the signal's name");
  if (named.has_error()) co_return problem(named.error());
  storage::SignalSend send;
  send.run = run;
  send.name = name;
  send.payload = request.body.empty() ? "null" : request.body;
  const auto json = check_json(send.payload);
  if (json.has_error()) co_return problem(json.error());
  if (request.idempotency_key) {
    const auto key = unquoted(*request.idempotency_key);
    if (key.empty() || key.size() > kKeyMax) {
      co_return problem(Error{Errc::invalid_field, "Idempotency-Key must have 1 to 256 bytes",
                              "Idempotency-Key"});
    }
    send.key = "key:" + std::string(key);
    send.request_hash = to_hex(sha256(name + "\n" + send.payload));
  }
  send.kept_max = context.options.signals_kept_max;
  if (context.options.handoff && context.ready) send.handoff = context.options.lease;
  auto write = [&context, &send](auto done) {
    context.store.signals()->send(std::move(send), std::move(done));
  };
  auto sent = co_await completes<Result<storage::SignalSent>>(std::move(write));
  if (sent.has_error()) co_return problem(sent.error());
  if (sent.value().wake) context.processor.wake(std::move(*sent.value().wake));
  JsonObject body;
  body.boolean("delivered", sent.value().delivered);
  body.boolean("existing", sent.value().existing);
  co_return json_response(202, std::move(body).text());
}

std::string render(const storage::KeptSignal& signal) {
  JsonObject item;
  item.number("id", signal.id).string("name", signal.name);
  item.string("at", iso_time(signal.at)).raw("payload", signal.payload);
  return std::move(item).text();
}

// The last page is an empty one.
Answer list(RouteContext& context, const HttpRequest& request, TaskRunId run) {
  const auto after = query_int(request, "after", 0, 0, INT64_MAX);
  if (after.has_error()) co_return problem(after.error());
  const auto limit = query_int(request, "limit", kPageDefault, 1, kPageMax);
  if (limit.has_error()) co_return problem(limit.error());
  std::vector<std::string> items;
  std::int64_t last = after.value();
  PageBudget page(limit.value(), kPageBytesMax);
  while (const int portion = page.portion()) {
    auto read = [&context, run, last, portion](auto done) {
      context.store.signals()->kept(run, last, portion, std::move(done));
    };
    const auto kept = co_await completes<Result<std::vector<storage::KeptSignal>>>(std::move(read));
    if (kept.has_error()) co_return problem(kept.error());
    for (const auto& signal : kept.value()) {
      std::string item = render(signal);
      if (!page.take(item.size())) break;
      items.push_back(std::move(item));
      last = signal.id;
    }
    if (std::ssize(kept.value()) < portion) break;
  }
  JsonObject body;
  body.raw("signals", json_array(items)).number("next_after", last);
  co_return json_response(200, std::move(body).text());
}

}  // namespace

Answer route_signals(RouteContext& context, const HttpRequest& request, TaskRunId run) {
  if (context.store.signals() == nullptr) co_return not_found();
  if (request.segments.size() == 4) {
    if (request.verb != Verb::post) co_return method_not_allowed("POST");
    co_return co_await send(context, request, run, request.segments[3]);
  }
  if (request.verb != Verb::get && request.verb != Verb::head) {
    co_return method_not_allowed("GET");
  }
  co_return co_await list(context, request, run);
}

}  // namespace sequential::server
