#pragma once
// The fixture of the conformance suites, and short words for the steps they take.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sequential/storage/store.h"
#include "support/backend.h"
#include "support/manual_clock.h"
#include "support/sync_store.h"

namespace sequential::storage::test {

inline constexpr Millis kLease{30'000};

inline Lease lease_of(const std::string& node) { return {node, kLease}; }

inline NewCall call_of(std::int64_t seq, std::string args = "[1]") {
  NewCall call;
  call.seq = seq;
  call.service_name = "echo";
  call.method_name = "echo";
  call.args = std::move(args);
  return call;
}

inline SliceCommit slice_of(const Grant& root, std::vector<NewCall> calls,
                            std::int64_t delivered_through = 0) {
  SliceCommit commit;
  commit.root = root;
  commit.calls = std::move(calls);
  commit.delivered_through = delivered_through;
  return commit;
}

inline SliceCommit end_of(const Grant& root, SliceEnd end, std::string payload,
                          std::int64_t delivered_through = 0) {
  SliceCommit commit = slice_of(root, {}, delivered_through);
  commit.end = end;
  commit.payload = std::move(payload);
  return commit;
}

inline OutcomeRecord outcome_of(const Grant& call, std::string result = "{\"ok\":true}") {
  OutcomeRecord record;
  record.call = call;
  record.payload = std::move(result);
  return record;
}

inline OutcomeRecord failure_of(const Grant& call, std::string error = "{\"code\":\"x\"}") {
  OutcomeRecord record = outcome_of(call, std::move(error));
  record.end = CallEnd::failed;
  return record;
}

inline OutcomeRecord retry_of(const Grant& call, Millis after,
                              std::string error = "{\"code\":\"x\"}") {
  OutcomeRecord record = outcome_of(call, std::move(error));
  record.end = CallEnd::retry;
  record.retry_after = after;
  return record;
}

// A run with a claimed root.
struct Running {
  TaskRunId run;
  StackRunId root;
  Grant grant;
};

class StoreTest : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    open();
    function_ = publish("task", "module.exports = async () => 1");
  }

  void TearDown() override {
    if (store_ == nullptr) return;
    EXPECT_EQ(database_->damage(), "");
  }

  void open() {
    auto opened = database_->open(clock_);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    store_ = std::move(opened).value();
    sync_ = std::make_unique<SyncStore>(*store_);
  }
  void close() {
    sync_.reset();
    store_.reset();
  }
  void reopen() {
    close();
    open();
  }

  TaskFunctionId publish(const std::string& name, const std::string& code) {
    Publication publication;
    publication.name = name;
    publication.code = code;
    publication.code_sha256 = "sha256 of " + code;
    return store().publish(publication).value().id;
  }

  Submission submission() const {
    Submission s;
    s.task_function_id = function_;
    s.task_name = "task";
    s.task_version = 1;
    s.input = "{\"q\":1}";
    s.seed = "0123456789abcdef";
    return s;
  }

  Submitted submit() { return store().submit(submission()).value(); }

  // Submitted and claimed in one transaction for node "a".
  Running start(Submission s) {
    s.handoff = lease_of("a");
    const Submitted submitted = store().submit(std::move(s)).value();
    return {submitted.run, submitted.root, submitted.work.value().grant};
  }
  Running start() { return start(submission()); }

  // One slice of calls numbered on from `first_seq`, claimed for node "a".
  std::vector<Work> issue(const Running& running, std::int64_t first_seq, int count) {
    std::vector<NewCall> calls;
    for (int i = 0; i < count; ++i) calls.push_back(call_of(first_seq + i));
    SliceCommit commit = slice_of(running.grant, std::move(calls), first_seq - 1);
    commit.handoff = lease_of("a");
    auto committed = store().commit_slice(std::move(commit)).value();
    std::vector<Work> works;
    for (auto& call : committed.calls) works.push_back(std::move(call.work).value());
    return works;
  }

  TaskRun run_row(TaskRunId run) { return store().run(run).value(); }
  RunStatus run_status(TaskRunId run) { return run_row(run).status; }
  StackRun row(StackRunId id) { return store().stack_run(id).value(); }
  StackStatus status_of(StackRunId id) { return row(id).status; }

  SyncStore& store() { return *sync_; }

  ManualClock clock_;
  const std::unique_ptr<Database> database_ = GetParam().create();
  std::unique_ptr<Store> store_;
  std::unique_ptr<SyncStore> sync_;
  TaskFunctionId function_;
};

// The answer is an error of this code.
template <class T>
::testing::AssertionResult refused(const Result<T>& result, Errc code) {
  if (result.has_value()) return ::testing::AssertionFailure() << "succeeded";
  if (result.error().code == code) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << error_code_name(result.error().code) << ": " << result.error().message;
}

inline std::string backend_name(const ::testing::TestParamInfo<Backend>& backend) {
  return backend.param.name;
}

}  // namespace sequential::storage::test

#define SEQUENTIAL_ON_EVERY_BACKEND(suite)                                              \
  INSTANTIATE_TEST_SUITE_P(Stores, suite,                                               \
                           ::testing::ValuesIn(::sequential::storage::test::backends()), \
                           ::sequential::storage::test::backend_name)
