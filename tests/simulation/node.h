#pragma once
// A node of the simulation: the real Processor on an event loop of its own, with the loops that the
// server runs beside it (server/src/app.cpp), over the simulated store, engines and services. It
// moves only when the world polls it, and may vanish between any two steps.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sequential/base/clock.h"
#include "sim_runtime.h"
#include "sim_store.h"
#include "sink.h"
#include "work/processor.h"

namespace sequential::simulation {

// Somebody who submits one run, again and again under one key until a node says that it is stored.
struct Client {
  std::string key, input;
  Millis delay{0};
  bool waits = false;  // for the run's end, at the node
  bool under_way = false;
  bool acknowledged = false;
  std::string node;  // the one that was asked last
  TaskRunId run;
  std::optional<storage::TaskRun> heard;  // what the node said at the end
};

class Node {
 public:
  struct Parts {
    Database& database;
    Wire& wire;
    Sink& sink;
    const Clock& clock;
    std::function<void(StackRunId)> fire;
    std::function<bool()> at_once;
    server::ProcessorOptions options;  // its lease names the node
  };
  explicit Node(Parts parts);
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();

  const std::string name;
  std::optional<MonoTime> frozen_until;
  bool draining = false;
  bool drained = false;

  bool poll() { return io_.poll_one() > 0; }  // false: nothing was ready
  server::Processor& processor() { return *processor_; }
  SimRuntime& runtime() { return runtime_; }
  const storage::News& news() const { return store_.news(); }

  void submit(const std::shared_ptr<Client>& client);
  void cancel(TaskRunId run);
  void pause(TaskRunId run);
  void resume(TaskRunId run);
  void drain(Millis within);

 private:
  // An io_context that lets go of everything pending while what it refers to is still there.
  struct Io : boost::asio::io_context {
    void vanish() { shutdown(); }
  };
  template <class Step>
  boost::asio::awaitable<void> every(Millis period, Step step);
  boost::asio::awaitable<void> submit_and_wait(std::shared_ptr<Client> client);
  boost::asio::awaitable<void> wait_for_end(std::shared_ptr<Client> client);
  boost::asio::awaitable<void> cancel_run(TaskRunId run);
  boost::asio::awaitable<void> pause_run(TaskRunId run);
  boost::asio::awaitable<void> resume_run(TaskRunId run);
  boost::asio::awaitable<void> drain_all(Millis within);
  boost::asio::awaitable<void> begin();
  void spawn(boost::asio::awaitable<void> work);

  Io io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_;
  const Clock& clock_;
  Wire& wire_;
  Sink& sink_;
  const server::ProcessorOptions options_;
  const std::function<void(StackRunId)> fire_;
  SimStore store_;
  SimRuntime runtime_;
  services::Registry registry_;
  std::unique_ptr<server::Processor> processor_;
};

}  // namespace sequential::simulation
