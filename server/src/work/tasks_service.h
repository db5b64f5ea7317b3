#pragma once
// tasks: task runs that tasks start. `run` starts one and waits for its end (storage/children.h),
// `start` starts one that nobody waits for. Both are made at least once and take effect once.
//
// Threads:  as InnerService.
// Lifetime: the store outlives it; `attach` before the first call.

#include <boost/asio/io_context.hpp>

#include "sequential/base/clock.h"
#include "sequential/storage/store.h"
#include "work/inner_service.h"

namespace sequential::server {

class Processor;
struct ChildRequest;  // tasks_service.cpp

struct TasksServiceOptions {
  int depth_max = 200;
  Millis patience{30'000};  // with a store that is away
  int tags_max = 32;        // of a run
};

class TasksService final : public InnerService {
 public:
  TasksService(boost::asio::io_context& io, storage::Store& store, const Clock& clock,
               TasksServiceOptions options)
      : io_(io), store_(store), clock_(clock), options_(options) {}
  void attach(Processor& processor) { processor_ = &processor; }

  std::string_view name() const override { return "tasks"; }
  std::string_view description() const override;
  std::vector<services::MethodInfo> methods() const override;
  services::CallPolicy policy(std::string_view method) const override;
  boost::asio::awaitable<InnerReply> run(const storage::Work& work,
                                         const std::optional<storage::Lease>& handoff) override;

 private:
  boost::asio::awaitable<InnerReply> run_child(const storage::Work& work, ChildRequest& request);
  boost::asio::awaitable<InnerReply> start_detached(const storage::Work& work,
                                                    ChildRequest& request);
  // Takes up, or lets others take up, what was just submitted.
  void submitted(const ChildRequest& request, storage::Submitted& run);

  boost::asio::io_context& io_;
  storage::Store& store_;
  const Clock& clock_;
  const TasksServiceOptions options_;
  Processor* processor_ = nullptr;
};

}  // namespace sequential::server
