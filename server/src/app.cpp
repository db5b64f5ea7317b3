#include "app.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "async.h"
#include "background.h"
#include "chain/chain_client.h"
#include "chain/signature.h"
#include "http/http_server.h"
#include "node_mark.h"
#include "routes/router.h"
#include "schedules/scheduler.h"
#include "sequential/base/bytes.h"
#include "sequential/base/fault.h"
#include "sequential/base/log.h"
#include "work/processor.h"
#include "work/retention.h"
#include "work/run_events.h"
#include "work/signal_service.h"
#include "work/store_watch.h"
#include "work/tasks_service.h"

namespace sequential::server {
namespace {

constexpr auto kToken = net::as_tuple(net::use_awaitable);
// A claim handed to this node that waited longer for its hint has lost it.
constexpr Millis kHintWaitMax{1'000};
constexpr Millis kStopEnginesWithin{2'000};
constexpr Millis kGiveBackWithin{1'000};  // after a drain's grace
constexpr Millis kGoodbyeWithin{500};  // for event streams: who reads slowly misses it
constexpr Millis kDrainPoll{5};
constexpr Millis kLookToBeSure{15'000};

Millis ms(std::int64_t value) { return Millis{value}; }

HttpLimits http_limits(const config::Server& c) {
  HttpLimits limits;
  limits.header_bytes_max = static_cast<std::uint32_t>(c.header_bytes_max);
  limits.header_timeout = ms(c.header_timeout_ms);
  limits.body_timeout = ms(c.body_timeout_ms);
  limits.idle_timeout = ms(c.idle_timeout_ms);
  limits.write_timeout = ms(c.write_timeout_ms);
  limits.connections_max = c.connections_max;
  limits.connections_per_address_max = c.connections_per_address_max;
  limits.requests_per_connection_max = c.requests_per_connection_max;
  return limits;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

bool listens_everywhere(const std::string& address) {
  return address == "0.0.0.0" || address == "::";
}

Result<std::string> read_token(const config::Server& c) {
  if (c.api_token_file.empty()) {
    if (is_loopback(c.address)) return std::string();
    return Error{Errc::config_invalid,
                 "server.address " + c.address +
                     " can be reached by others, so server.api_token_file is needed: a file with "
                     "the token that clients must send",
                 "server.api_token_file"};
  }
  std::ifstream file(c.api_token_file);
  std::string token;
  if (!std::getline(file, token) || token.size() < 16) {
    return Error{Errc::config_invalid,
                 "server.api_token_file " + c.api_token_file +
                     " must hold a token of at least 16 characters in its first line",
                 "server.api_token_file"};
  }
  return token;
}

std::vector<std::string> host_names(const config::Server& c) {
  auto names = c.allowed_hosts;
  if (is_loopback(c.address)) {
    for (const char* own : {"localhost", "127.0.0.1", "[::1]"}) names.emplace_back(own);
    names.push_back(c.address);
  }
  return names;
}

ProcessorOptions processor_options(const config::Config& c, storage::Lease lease,
                                   bool store_is_exclusive) {
  ProcessorOptions options;
  options.lease = std::move(lease);
  options.in_flight_max = c.server.max_in_flight;
  options.hint_claims_max = static_cast<std::size_t>(c.chain.claims_max);
  options.hints_max = static_cast<std::size_t>(c.chain.hints_max);
  options.handoff = c.chain.url.empty();
  options.crashes_max = c.engine.crashes_max;
  // A lost hint is noticed within one sweep_ms: its age and the pause between passes add up to it.
  options.hint_wait = std::min(ms(c.store.sweep_ms / 4), kHintWaitMax);
  options.sweep_period = ms(c.store.sweep_ms) - options.hint_wait;
  options.payload_bytes_max = c.limits.payload_bytes;
  options.sessions_max = static_cast<std::size_t>(c.engine.warm_runs_max);
  options.store_is_exclusive = store_is_exclusive;
  return options;
}

SchedulerOptions scheduler_options(const config::Config& c, storage::Lease lease) {
  SchedulerOptions options;
  options.lease = std::move(lease);
  options.handoff = c.chain.url.empty();
  if (c.store.sweep_ms > 0) options.period = ms(c.store.sweep_ms);
  options.payload_bytes_max = c.limits.payload_bytes;
  options.catch_up_max = c.schedules.catch_up_max;
  options.count_max = c.schedules.max;
  options.backfill_max = c.schedules.backfill_max;
  options.cancel_grace = ms(c.limits.cancel_grace_ms);
  return options;
}

RunEventsOptions event_options(const config::Server& c, bool store_is_exclusive) {
  RunEventsOptions options;
  options.streams_max = c.event_streams_max;
  options.heartbeat = ms(c.event_heartbeat_ms);
  options.poll = ms(c.event_poll_ms);
  // Whatever changes is heard of here; a look without news is only made to be sure.
  if (store_is_exclusive) options.poll = std::max(options.poll, kLookToBeSure);
  options.pace = ms(c.event_pace_ms);
  return options;
}

StoreWatchOptions watch_options(const config::Config& c) {
  StoreWatchOptions options;
  options.xmin_age_warn = c.store.postgres.xmin_age_warn;
  options.log_bytes_warn = c.store.sqlite.log_bytes_warn;
  return options;
}

RetentionOptions retention_options(const config::Config& c) {
  RetentionOptions options;
  options.completed_ms = c.retention.completed_ms;
  options.failed_ms = c.retention.failed_ms;
  options.batch = c.retention.batch;
  options.rows_max = c.search.rows_max;
  return options;
}

Result<ChainOptions> chain_options(const config::Config& c, const HttpServer& http) {
  ChainOptions options;
  if (c.chain.url.empty()) {
    options.host = listens_everywhere(http.address()) ? "127.0.0.1" : http.address();
    options.port = std::to_string(http.port());
  } else {
    SEQUENTIAL_TRY(options, parse_chain_url(c.chain.url));
  }
  options.connections_max = c.chain.connections;
  options.queue_max = static_cast<std::size_t>(c.chain.queue_max);
  options.timeout = ms(c.chain.timeout_ms);
  options.enabled = c.chain.enabled;
  return options;
}

RouteOptions route_options(const config::Config& c, const storage::Lease& lease,
                           const std::string& version, std::string limits_json,
                           std::string api_token) {
  RouteOptions options;
  options.submit_bytes_max = static_cast<std::uint64_t>(c.server.submit_bytes_max);
  options.publish_bytes_max = static_cast<std::uint64_t>(c.server.publish_bytes_max);
  options.chain_bytes_max = static_cast<std::uint64_t>(c.server.chain_bytes_max);
  options.payload_bytes_max = c.limits.payload_bytes;
  options.signal_bytes_max = static_cast<std::uint64_t>(c.limits.signal_bytes);
  options.signals_kept_max = c.limits.signals_kept;
  options.wait_seconds_max = static_cast<int>(c.server.wait_seconds_max);
  options.cancel_grace = ms(c.limits.cancel_grace_ms);
  options.tags_max = c.search.tags_max;
  options.search_rows_max = c.search.rows_max;
  options.fork_calls_max = c.server.fork_calls_max;
  options.api_token = std::move(api_token);
  options.host_names = host_names(c.server);
  options.handoff = c.chain.url.empty();
  options.lease = lease;
  options.limits_json = std::move(limits_json);
  options.version = version;
  return options;
}

// The engines, the store and the kernel want the other half of the cores; more threads than that
// only pass work to and fro (docs/decisions/0017).
int io_threads(const config::Server& c) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return c.threads > 0 ? c.threads : std::max(1, cores / 2);
}

// Runs an io_context on threads of its own until destroyed.
class Threads {
 public:
  Threads(net::io_context& io, int count) : io_(io), guard_(io.get_executor()) {
    for (int i = 0; i < count; ++i) threads_.emplace_back([&io] { io.run(); });
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() { stop(); }
  void stop() {
    guard_.reset();
    io_.stop();
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  net::io_context& io_;
  net::executor_work_guard<net::io_context::executor_type> guard_;
  std::vector<std::thread> threads_;
};

// Awaits a coroutine or a callback from the main thread.
template <class T>
class Waiter {
 public:
  void give(T value) {
    const std::lock_guard lock(mutex_);
    value_ = std::move(value);
    given_.notify_all();
  }
  T take() {
    std::unique_lock lock(mutex_);
    given_.wait(lock, [this] { return value_.has_value(); });
    return std::move(*value_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable given_;
  std::optional<T> value_;
};

// What a node consists of, in the order in which it is put together.
class Node {
 public:
  Node(const config::Config& config, const std::string& version, std::string limits_json,
       const Backends& backends)
      : config_(config),
        version_(version),
        limits_json_(std::move(limits_json)),
        backends_(backends),
        lease_{"node-" + to_hex(random_bytes(8)), ms(config.store.lease_ms)} {}

  Result<void> start() {
    SEQUENTIAL_TRY(auto token, read_token(config_.server));
    SEQUENTIAL_TRY(store_, backends_.store(config_, clock_));
    SEQUENTIAL_TRY(keystore_, services::open_keystore(*store_, config_.keystore.key_file));
    SEQUENTIAL_TRY(auto chain_key, load_chain_key(config_.chain.key_file));
    signer_ = std::make_unique<ChainSigner>(std::move(chain_key), clock_);
    threads_ = std::make_unique<Threads>(io_, io_threads(config_.server));
    SEQUENTIAL_TRY(http_, open_http_server(io_, config_.server.address, config_.server.port,
                                           http_limits(config_.server), handler()));
    SEQUENTIAL_TRY(runtime_, backends_.runtime(io_, config_));
    start_services();
    SEQUENTIAL_TRY(auto chain, chain_options(config_, *http_));
    chain_ = std::make_unique<ChainClient>(io_, *signer_, std::move(chain));
    processor_ = std::make_unique<Processor>(
        io_, *store_, *runtime_, registry_, clock_,
        processor_options(config_, lease_, backends_.store_is_exclusive),
        [this](StackRunId id) { chain_->fire(id); });
    tasks_->attach(*processor_);
    scheduler_ = std::make_unique<Scheduler>(io_, *store_, *processor_, clock_,
                                             scheduler_options(config_, lease_));
    store_watch_ = std::make_unique<StoreWatch>(*store_, clock_, watch_options(config_));
    events_ = std::make_unique<RunEvents>(
        io_, *store_, clock_, event_options(config_.server, backends_.store_is_exclusive));
    processor_->watch().on_change([this](TaskRunId run) { events_->changed(run); });
    retention_ = std::make_unique<RetentionPass>(*store_, clock_, retention_options(config_));
    DryReplayOptions replay_options;
    replay_options.at_once_max = config_.server.replays_max;
    replay_options.deadline = ms(config_.server.replay_ms);
    replays_ = std::make_unique<DryReplays>(*store_, *runtime_, clock_, replay_options);
    context_.reset(new RouteContext{
        // an aggregate that cannot be moved
        io_, *store_, *runtime_, registry_, *keystore_, *processor_, *signer_, *chain_,
        *store_watch_, *scheduler_, *events_, *retention_, clock_, *replays_,
        route_options(config_, lease_, version_, limits_json_, std::move(token))});
    SEQUENTIAL_TRY(take_back_work());
    listen();
    context_->ready = true;
    http_->start();
    start_loops();
    return success();
  }

  std::string url() const {
    const bool v6 = http_->address().find(':') != std::string::npos;
    const std::string host = v6 ? "[" + http_->address() + "]" : http_->address();
    return "http://" + host + ":" + std::to_string(http_->port());
  }

  // Finishes or gives back what is under way, then takes everything apart.
  void stop() {
    const MonoTime deadline = clock_.monotonic() + ms(config_.server.drain_ms);
    go_on_ = false;
    if (scheduler_) scheduler_->stop();
    if (context_) {
      context_->ready = false;
      events_->stop();  // those who watch go to another node, or come back
      if (!drain(deadline)) {
        log_info("stopping: the grace is used up, what is under way is given back");
        processor_->interrupt();
        runtime_->stop(clock_.monotonic());
        hurry_ = false;
        if (!drain(clock_.monotonic() + kGiveBackWithin)) log_warn("not all work was given back");
      }
      FAULT_POINT("drain.before_release");
    }
    if (http_) http_->stop();
    if (chain_) chain_->stop();
    if (runtime_) runtime_->stop(clock_.monotonic() + kStopEnginesWithin);
    if (threads_) threads_->stop();  // from here on nobody issues a call or a write
    http_client_.reset();
    store_.reset();  // completes what is queued and closes the file
  }

  // Any thread, while stop() is at work: waits for nothing any more.
  void hurry() { hurry_ = true; }

 private:
  // Blocks until no work is under way, the deadline has passed or someone is in a hurry; whether
  // none is.
  bool drain(MonoTime deadline) {
    Waiter<bool> drained;
    auto finish = [this, deadline, &drained]() -> net::awaitable<void> {
      bool done = false;
      const auto work = [this, deadline, &done]() -> net::awaitable<void> {
        done = co_await processor_->drain(deadline, hurry_);
        if (done) co_await requests_answered(deadline);
        co_await processor_->give_back_untouched();
      };
      co_await survive(work);
      drained.give(done);
    };
    net::co_spawn(io_, finish(), log_escaped);
    return drained.take();
  }

  // A request that came before the drain may be handed a claim after it. Event streams have a last
  // word to say.
  net::awaitable<void> requests_answered(MonoTime deadline) {
    net::steady_timer pause(io_);
    // Watchers are told to come back elsewhere, but not waited for as long as answers are.
    const MonoTime heard = std::min(deadline, clock_.monotonic() + kGoodbyeWithin);
    const auto due = [&](MonoTime now) {
      if (context_->answering > 0 || scheduler_->busy()) return now < deadline;
      return events_->streams() > 0 && now < heard;
    };
    while (due(clock_.monotonic()) && !hurry_) {
      pause.expires_after(kDrainPoll);
      co_await pause.async_wait(kToken);
    }
  }

  HttpHandler handler() {
    return {[this](const HttpRequest& request) { return body_limit(*context_, request); },
            [this](HttpRequest request) { return route(*context_, std::move(request)); }};
  }

  void start_services() {
    services::HttpClientOptions options;
    const auto& c = config_.services.http;
    options.allow_hosts = c.allow_hosts;
    options.connections_max = c.connections_max;
    options.connections_per_host_max = c.connections_per_host_max;
    options.queue_max = c.queue_max;
    options.proxy = c.proxy;
    options.ca_file = c.ca_file;
    http_client_ = services::open_http_client(options);
    backends_.services(registry_, config_, keystore_, *http_client_, clock_);
    const TasksServiceOptions tasks{static_cast<int>(config_.limits.child_depth), lease_.length,
                                    static_cast<int>(config_.search.tags_max)};
    tasks_ = std::make_shared<TasksService>(io_, *store_, clock_, tasks);
    registry_.add(tasks_);
    start_signals();
  }

  void start_signals() {
    if (store_->signals() == nullptr) return;
    SignalServiceOptions options;
    options.kept_max = config_.limits.signals_kept;
    options.lease = lease_;
    options.handoff = [this] { return config_.chain.url.empty() && go_on_; };
    options.public_url = config_.server.public_url;
    if (options.public_url.empty() && !listens_everywhere(http_->address())) {
      options.public_url = url();
    } else if (options.public_url.empty()) {
      log_warn(
          "server.public_url is not set and the server listens on every address: no webhook "
          "can be made, and createWebhook fails",
          {{"address", http_->address()}});
    }
    options.wake = [this](storage::Wake wake) { processor_->wake(std::move(wake)); };
    registry_.add(make_signal_service(io_, *store_, clock_, std::move(options)));
  }

  // What a dead process of this installation held is ours at once where the store can tell.
  Result<void> take_back_work() {
    // An exclusive store knows it by itself.
    if (!backends_.store_is_exclusive) {
      const auto folder = std::filesystem::absolute(config_.store.path).parent_path();
      mark_.emplace(folder.string());
    }
    Waiter<Result<std::int64_t>> freed;
    store_->recover(lease_.node, mark_ ? mark_->died() : std::string(),
                    [&freed](Result<std::int64_t> count) { freed.give(std::move(count)); });
    SEQUENTIAL_TRY(const auto count, freed.take());
    if (mark_) mark_->write(lease_.node);
    if (count > 0) log_info("taking up work that a stopped process left", {{"stack_runs", count}});
    return success();
  }

  void listen() {
    storage::News news;
    news.runnable = [this](StackRunId) {
      net::post(io_, [this] { processor_->hear_of_work(); });
    };
    news.ended = [this](TaskRunId run) {
      net::post(io_, [this, run] { processor_->hear_of_end(run); });
    };
    store_->listen(std::move(news));
  }

  void start_loops() {
    if (config_.store.sweep_ms > 0) {
      auto sweep = [this] { return sweep_once(); };
      net::co_spawn(io_, every(go_on_, processor_->sweep_period(), std::move(sweep)), log_escaped);
    }
    scheduler_->begin();
    auto renew = [this] { return processor_->renew_leases(); };
    net::co_spawn(io_, every(go_on_, lease_.length / 3, std::move(renew)), log_escaped);
    if (config_.retention.pass_ms > 0) {
      auto remove = [this] { return retention_->pass(go_on_); };
      net::co_spawn(io_, every(go_on_, ms(config_.retention.pass_ms), std::move(remove)),
                    log_escaped);
    }
    auto look = [this] { return store_watch_->look(); };
    net::co_spawn(io_, every(go_on_, ms(config_.store.upkeep_ms), std::move(look)), log_escaped);
  }

  net::awaitable<void> sweep_once() {
    const int started = co_await processor_->sweep(storage::Via::sweep);
    if (started > 0) log_debug("the sweep started stack runs", {{"count", started}});
  }

  const config::Config& config_;
  const std::string version_;
  const std::string limits_json_;
  const Backends& backends_;
  const Clock& clock_ = system_clock();
  const storage::Lease lease_;
  std::optional<NodeMark> mark_;  // to the very end: what it locks says that we live

  net::io_context io_;
  std::atomic<bool> go_on_{true};
  services::Registry registry_;
  std::shared_ptr<TasksService> tasks_;
  std::unique_ptr<storage::Store> store_;
  std::shared_ptr<services::Keystore> keystore_;
  std::unique_ptr<ChainSigner> signer_;
  std::unique_ptr<services::HttpClient> http_client_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<engine::Runtime> runtime_;
  std::unique_ptr<ChainClient> chain_;
  std::unique_ptr<Processor> processor_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<StoreWatch> store_watch_;
  std::unique_ptr<RunEvents> events_;
  std::unique_ptr<RetentionPass> retention_;
  std::unique_ptr<DryReplays> replays_;
  std::unique_ptr<RouteContext> context_;
  std::atomic<bool> hurry_{false};
  std::unique_ptr<Threads> threads_;  // last made, first ended: nothing runs while the rest goes
};

}  // namespace

Result<void> run_node(const config::Config& config, const std::string& version,
                      const std::string& limits_json, const Backends& backends,
                      const std::function<void(const std::string& url)>& announce) {
  // Signals come to this thread alone, so that a stop is ordinary code.
  net::io_context signals;
  net::signal_set wanted(signals, SIGTERM, SIGINT);
  std::signal(SIGPIPE, SIG_IGN);
  // Never destroyed: coroutines that the drain did not wait for stay suspended and refer to its
  // parts until the process ends, which it does as soon as we return.
  Node& node = *std::make_unique<Node>(config, version, limits_json, backends).release();
  auto started = node.start();
  if (started.has_error()) {
    node.stop();
    return started;
  }
  log_info("serving", {{"url", node.url()}, {"version", version}});
  announce(node.url());
  wanted.async_wait([](const boost::system::error_code&, int) {});
  signals.run();
  log_info("stopping: finishing what is under way");
  wanted.async_wait([&node](const boost::system::error_code& error, int) {
    if (!error) node.hurry();
  });
  signals.restart();
  std::thread second([&signals] { signals.run(); });
  node.stop();
  signals.stop();
  second.join();
  return success();
}

}  // namespace sequential::server
