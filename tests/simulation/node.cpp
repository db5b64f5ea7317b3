#include "node.h"

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <utility>
#include <vector>

#include "async.h"
#include "work/timer.h"

namespace sequential::simulation {

namespace net = boost::asio;
using server::completes;

namespace {

constexpr auto kToken = net::as_tuple(net::use_awaitable);
constexpr Millis kClientWaits{20'000};
constexpr Millis kLookAgain{1'000};
constexpr const char* kCancelled = R"({"name":"CancelledError","code":"cancelled","message":""})";

void escaped(const std::exception_ptr& error) {
  if (error) std::rethrow_exception(error);  // out of poll(), and the program ends
}

}  // namespace

Node::Node(Parts parts)
    : name(parts.options.lease.node),
      guard_(io_.get_executor()),
      clock_(parts.clock),
      wire_(parts.wire),
      sink_(parts.sink),
      options_(parts.options),
      fire_(std::move(parts.fire)),
      store_(name, parts.database, parts.wire, std::move(parts.at_once)) {
  registry_.add(std::make_shared<SinkService>(name, sink_));
  registry_.add(std::make_shared<SimTimerService>());
  processor_ = std::make_unique<server::Processor>(io_, store_, runtime_, registry_, clock_,
                                                   options_, fire_);
  spawn(begin());
}

// Everything that waits for an answer goes first: coroutines end while their Processor is there.
Node::~Node() {
  for (const auto& operation : wire_) {
    if (operation->node != name) continue;
    operation->node.clear();
    operation->answer = nullptr;
    operation->refuse = nullptr;
  }
  sink_.hang_up(name, clock_.monotonic());
  runtime_.vanish();
  io_.vanish();
  processor_.reset();
}

void Node::spawn(net::awaitable<void> work) { net::co_spawn(io_, std::move(work), escaped); }

net::awaitable<void> Node::begin() {
  auto recover = [this](auto done) { store_.recover(name, "", std::move(done)); };
  for (;;) {  // a process that cannot reach the database at its start is started again
    const auto freed = co_await completes<Result<std::int64_t>>(recover);
    if (freed.has_value()) break;
  }
  storage::News news;
  news.runnable = [this](StackRunId) { net::post(io_, [this] { processor_->hear_of_work(); }); };
  news.ended = [this](TaskRunId run) {
    net::post(io_, [this, run] { processor_->hear_of_end(run); });
  };
  store_.listen(std::move(news));
  auto sweep = [this]() -> net::awaitable<void> {
    co_await processor_->sweep(storage::Via::sweep);
  };
  spawn(every(processor_->sweep_period(), std::move(sweep)));
  auto renew = [this] { return processor_->renew_leases(); };
  spawn(every(options_.lease.length / 3, std::move(renew)));
}

template <class Step>
net::awaitable<void> Node::every(Millis period, Step step) {
  server::Timer timer(io_);
  while (!draining) {
    co_await step();
    timer.expires_after(period);
    co_await timer.async_wait(kToken);
  }
}

// --- what routes do ------------------------------------------------------------------------------

void Node::submit(const std::shared_ptr<Client>& client) {
  client->under_way = true;
  client->node = name;
  spawn(submit_and_wait(client));
}

net::awaitable<void> Node::submit_and_wait(std::shared_ptr<Client> client) {
  auto code = co_await processor_->newest_code("task", 0);
  if (code.has_error()) {
    client->under_way = false;
    co_return;
  }
  storage::Submission submission;
  submission.task_function_id = code.value()->id;
  submission.task_name = "task";
  submission.task_version = code.value()->version;
  submission.input = client->input;
  submission.idempotency_key = client->key;
  submission.seed = client->key;
  submission.delay = client->delay;
  if (options_.handoff) submission.handoff = options_.lease;
  auto submit = [this, &submission](auto done) { store_.submit(submission, std::move(done)); };
  const MonoTime asked = clock_.monotonic();
  auto stored = co_await completes<Result<storage::Submitted>>(std::move(submit));
  if (stored.has_error()) {
    client->under_way = false;
    co_return;
  }
  storage::Submitted& submitted = stored.value();
  client->acknowledged = true;
  client->run = submitted.run;
  if (submitted.work) {
    server::Session session;
    session.root = submitted.root;
    session.code = code.value();
    session.input = submission.input;
    session.seed = submission.seed;
    session.started_at_ms = submitted.created_at.ms;
    processor_->remember(submitted.run, std::move(session));
    processor_->adopt(std::move(*submitted.work), asked);
  } else if (!submitted.existing) {
    processor_->arm_timer(submitted.root, submission.delay);
  }
  if (client->waits) co_await wait_for_end(client);
  client->under_way = false;
}

net::awaitable<void> Node::wait_for_end(std::shared_ptr<Client> client) {
  const MonoTime deadline = clock_.monotonic() + kClientWaits;
  auto read = [this, run = client->run](auto done) { store_.run(run, std::move(done)); };
  for (;;) {
    const auto until = std::min(deadline, clock_.monotonic() + kLookAgain);
    const auto ticket =
        processor_->watch().enter(co_await net::this_coro::executor, client->run, until);
    auto now = co_await completes<Result<storage::TaskRun>>(read);
    if (now.has_value() && storage::is_terminal(now.value().status)) {
      client->heard = std::move(now).value();
      co_return;
    }
    if (now.has_error() || draining || clock_.monotonic() >= deadline) co_return;
    co_await ticket->wait();
  }
}

void Node::cancel(TaskRunId run) { spawn(cancel_run(run)); }
void Node::pause(TaskRunId run) { spawn(pause_run(run)); }
void Node::resume(TaskRunId run) { spawn(resume_run(run)); }

net::awaitable<void> Node::cancel_run(TaskRunId run) {
  auto write = [this, run](auto done) { store_.cancel(run, kCancelled, std::move(done)); };
  const auto wake = co_await completes<Result<std::optional<storage::Wake>>>(std::move(write));
  if (wake.has_error()) co_return;
  processor_->forget(run);
  processor_->watch().ended(run);
}

net::awaitable<void> Node::pause_run(TaskRunId run) {
  auto write = [this, run](auto done) { store_.pause(run, "operator", {}, std::move(done)); };
  const auto paused = co_await completes<Result<void>>(std::move(write));
  if (paused.has_value()) processor_->watch().ended(run);
}

net::awaitable<void> Node::resume_run(TaskRunId run) {
  auto write = [this, run](auto done) { store_.resume(run, std::move(done)); };
  const auto runnable = co_await completes<Result<std::vector<StackRunId>>>(std::move(write));
  if (runnable.has_error()) co_return;
  for (const auto id : runnable.value()) fire_(id);
}

void Node::drain(Millis within) {
  draining = true;
  spawn(drain_all(within));
}

net::awaitable<void> Node::drain_all(Millis within) {
  const std::atomic<bool> hurry{false};
  if (!co_await processor_->drain(clock_.monotonic() + within, hurry)) {
    // Whatever the sink answers to these from here on is too late.
    for (auto& call : sink_.pending) {
      if (call.node == name && !std::exchange(call.silent, true)) ++sink_.ledger[call.key].late;
    }
    processor_->interrupt();
    co_await processor_->drain(clock_.monotonic() + Millis{1'000}, hurry);
  }
  drained = true;
}

}  // namespace sequential::simulation
