#pragma once
// The Store's methods as plain calls: each waits for its answer, at most kPatience.

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sequential/base/check.h"
#include "sequential/storage/store.h"

namespace sequential::storage::test {

inline constexpr std::chrono::seconds kPatience{60};

template <class T>
class Answer {
 public:
  Done<T> done() {
    return [promise = promise_](Result<T> result) { promise->set_value(std::move(result)); };
  }
  Result<T> get() {
    SEQUENTIAL_CHECK(future_.wait_for(kPatience) == std::future_status::ready);
    return future_.get();
  }

 private:
  std::shared_ptr<std::promise<Result<T>>> promise_ = std::make_shared<std::promise<Result<T>>>();
  std::future<Result<T>> future_ = promise_->get_future();
};

class SyncStore {
 public:
  explicit SyncStore(Store& store) : store_(store) {}
  Store& async() { return store_; }

  auto publish(Publication p) { return ask<Published>(&Store::publish, std::move(p)); }
  auto task_function(std::string name, int version) {
    return ask<TaskFunction>(&Store::task_function, std::move(name), version);
  }
  auto task_function_by_id(TaskFunctionId id) {
    return ask<TaskFunction>(&Store::task_function_by_id, id);
  }
  auto task_functions(std::string name) {
    return ask<std::vector<TaskFunction>>(&Store::task_functions, std::move(name));
  }
  auto submit(Submission s) { return ask<Submitted>(&Store::submit, std::move(s)); }
  auto claim(StackRunId id, Lease lease) {
    return ask<std::optional<Work>>(&Store::claim, id, std::move(lease));
  }
  auto claim_next(Lease lease) {
    return ask<std::optional<Work>>(&Store::claim_next, std::move(lease));
  }
  auto commit_slice(SliceCommit c) {
    return ask<SliceCommitted>(&Store::commit_slice, std::move(c));
  }
  auto record_outcome(OutcomeRecord r) {
    return ask<OutcomeRecorded>(&Store::record_outcome, std::move(r));
  }
  auto slice_lost(SliceLost l) { return ask<SliceLostResult>(&Store::slice_lost, std::move(l)); }
  auto release(Grant grant) { return ask<void>(&Store::release, grant); }
  auto extend(std::vector<Grant> grants, Lease lease) {
    return ask<std::vector<Grant>>(&Store::extend, std::move(grants), std::move(lease));
  }
  auto cancel(TaskRunId run, std::string error) {
    return ask<std::optional<Wake>>(&Store::cancel, run, std::move(error));
  }
  auto pause(TaskRunId run, std::string reason = "operator", std::string detail = "") {
    return ask<void>(&Store::pause, run, std::move(reason), std::move(detail));
  }
  auto resume(TaskRunId run) { return ask<std::vector<StackRunId>>(&Store::resume, run); }
  auto journal_head(TaskRunId run) { return ask<TaskRun>(&Store::journal_head, run); }
  auto journal(TaskRunId run, std::int64_t after, std::int64_t bytes_max) {
    return ask<JournalPage>(&Store::journal, run, after, bytes_max);
  }
  auto outcomes(TaskRunId run, std::int64_t after, int limit) {
    return ask<std::vector<Outcome>>(&Store::outcomes, run, after, limit);
  }
  auto due(int limit) { return ask<DueWork>(&Store::due, limit); }
  auto recover(std::string node, std::string died = "") {
    return ask<std::int64_t>(&Store::recover, std::move(node), std::move(died));
  }
  auto run(TaskRunId run) { return ask<TaskRun>(&Store::run, run); }
  auto runs(RunFilter filter) {
    return ask<std::vector<TaskRun>>(&Store::runs, std::move(filter));
  }
  auto stack_run(StackRunId id) { return ask<StackRun>(&Store::stack_run, id); }
  auto stack(TaskRunId run, std::int64_t from_seq, int limit) {
    return ask<std::vector<StackRun>>(&Store::stack, run, from_seq, limit);
  }
  auto attempts(StackRunId id) { return ask<std::vector<Attempt>>(&Store::attempts, id); }
  auto logs(TaskRunId run, std::int64_t after, int limit) {
    return ask<std::vector<LogEntry>>(&Store::logs, run, after, limit);
  }
  auto status() { return ask<StoreStatus>(&Store::status); }
  auto clear() { return ask<std::int64_t>(&Store::clear); }
  auto keystore_put(std::string name_space, std::string key, std::string key_id,
                    std::function<std::string(std::int64_t)> seal) {
    return ask<std::int64_t>(&Store::keystore_put, std::move(name_space), std::move(key),
                             std::move(key_id), std::move(seal));
  }
  auto keystore_get(std::string name_space, std::string key) {
    return ask<KeystoreEntry>(&Store::keystore_get, std::move(name_space), std::move(key));
  }
  auto keystore_list(std::string name_space) {
    return ask<std::vector<KeystoreEntry>>(&Store::keystore_list, std::move(name_space));
  }
  auto keystore_delete(std::string name_space, std::string key) {
    return ask<bool>(&Store::keystore_delete, std::move(name_space), std::move(key));
  }

 private:
  template <class T, class Method, class... Args>
  Result<T> ask(Method method, Args... args) {
    Answer<T> answer;
    (store_.*method)(std::move(args)..., answer.done());
    return answer.get();
  }

  Store& store_;
};

}  // namespace sequential::storage::test
