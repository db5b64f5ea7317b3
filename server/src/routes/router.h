#pragma once
// Routes: HTTP requests to answers. One function per route group, all over the same context.
//
// Threads: coroutines of many connections at once; the context is constant or thread-safe.

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "chain/chain_client.h"
#include "chain/signature.h"
#include "http/types.h"
#include "sequential/base/clock.h"
#include "sequential/engine/runtime.h"
#include "sequential/services/builtin.h"
#include "sequential/services/service.h"
#include "sequential/storage/store.h"
#include "work/dry_replay.h"
#include "work/processor.h"
#include "work/run_events.h"
#include "work/retention.h"
#include "work/store_watch.h"

namespace sequential::server {

class Scheduler;  // schedules/scheduler.h

struct RouteOptions {
  std::uint64_t submit_bytes_max = 9ull << 20;
  std::uint64_t publish_bytes_max = 5ull << 20;
  std::uint64_t chain_bytes_max = 4'096;
  std::uint64_t other_bytes_max = 1ull << 20;
  std::int64_t payload_bytes_max = 32ll << 20;
  std::uint64_t signal_bytes_max = 1ull << 20;
  std::int64_t signals_kept_max = 10'000;
  int wait_seconds_max = 300;
  Millis cancel_grace{30'000};  // of a cancellation that names none
  int tags_max = 32;              // of a run
  int search_rows_max = 20'000;  // runs that one request looks at
  std::int64_t fork_calls_max = 10'000;
  std::string api_token;                  // empty: requests need none
  std::vector<std::string> host_names;    // accepted Host names; empty: any
  bool handoff = true;
  storage::Lease lease;
  std::string limits_json;                // GET /limits
  std::string version;
};

struct RouteContext {
  boost::asio::io_context& io;
  storage::Store& store;
  engine::Runtime& runtime;
  const services::Registry& registry;
  services::Keystore& keystore;
  Processor& processor;
  ChainSigner& signer;
  ChainClient& chain;
  const StoreWatch& store_watch;
  Scheduler& scheduler;
  RunEvents& events;
  const RetentionPass& retention;
  const Clock& clock;
  DryReplays& replays;
  const RouteOptions options;
  std::atomic<bool> ready{false};  // false before start and while draining
  std::atomic<int> answering{0};   // requests that have come and are not answered
};

using Answer = boost::asio::awaitable<HttpResponse>;

// The router's two entries (HttpHandler).
std::uint64_t body_limit(const RouteContext& context, const HttpRequest& request);
Answer route(RouteContext& context, HttpRequest request);

// Route groups. `rest` are the path segments after the group's own.
Answer route_execute(RouteContext& context, const HttpRequest& request);
Answer route_tasks(RouteContext& context, const HttpRequest& request);
Answer route_runs(RouteContext& context, const HttpRequest& request);
Answer route_cancel(RouteContext& context, const HttpRequest& request, TaskRunId id);
Answer route_events(RouteContext& context, const HttpRequest& request, TaskRunId run);
// Of route_runs and route_tasks (search.cpp).
Answer list_runs(RouteContext& context, const HttpRequest& request);
Answer count_runs(RouteContext& context, const HttpRequest& request);
Answer remove_run(RouteContext& context, TaskRunId id);
Answer purge_runs(RouteContext& context, const HttpRequest& request);
Answer route_retention(RouteContext& context, const HttpRequest& request);
Answer route_stack(RouteContext& context, const HttpRequest& request);
Answer route_keystore(RouteContext& context, const HttpRequest& request);
Answer route_schedules(RouteContext& context, const HttpRequest& request);
// POST /runs/{id}/signals/{name}, GET /runs/{id}/signals; and /webhooks/{token}, which needs no
// token of the API: the address is the secret.
Answer route_signals(RouteContext& context, const HttpRequest& request, TaskRunId run);
Answer route_webhooks(RouteContext& context, const HttpRequest& request);
bool is_webhook_route(const HttpRequest& request);
Answer route_queues(RouteContext& context, const HttpRequest& request);
Answer route_ops(RouteContext& context, const HttpRequest& request);

// --- for the route groups ---------------------------------------------------------------------

HttpResponse not_found();
HttpResponse method_not_allowed(std::string_view allowed);

// A path segment as a positive id. Errors: not_found.
Result<std::int64_t> parse_id(std::string_view text);

// A query parameter as an integer in [min, max], or `fallback` when absent. Errors: invalid_field.
Result<std::int64_t> query_int(const HttpRequest& request, std::string_view name,
                               std::int64_t fallback, std::int64_t min, std::int64_t max);

// 1…128 of A-Z a-z 0-9 . _ - not beginning with a dot. Errors: invalid_field naming `field`.
Result<void> check_name(std::string_view name, std::string_view field);

// Which of these runs wait to be admitted by a queue.
boost::asio::awaitable<std::unordered_set<TaskRunId>> waiting_in_queues(
    RouteContext& context, const std::vector<storage::TaskRun>& runs);

// Waits until the run is terminal or paused, or `seconds` have passed, and reads it.
// `surely_running`: the caller knows that it cannot have ended before `ticket` was taken.
boost::asio::awaitable<Result<storage::TaskRun>> wait_for_run(
    RouteContext& context, TaskRunId run, MonoTime deadline,
    std::unique_ptr<RunWatch::Ticket> ticket, bool surely_running);

}  // namespace sequential::server
