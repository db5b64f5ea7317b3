#pragma once
// SimStore: a node's way to the one database. Every operation waits on the wire until the world
// applies it, answers it, refuses it, or answers `unavailable` for what was applied after all.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "database.h"
#include "sequential/base/check.h"

namespace sequential::simulation {

struct Operation {
  std::string what;  // "commit_slice 104", for the trace
  std::string node;
  bool writes = true;
  bool applied = false;
  std::function<void()> apply;
  std::function<void()> answer;  // after apply
  std::function<void()> refuse;  // `unavailable`; of these two, one is called at most once
};
using Wire = std::vector<std::shared_ptr<Operation>>;

class SimStore final : public storage::Store {
 public:
  // `at_once`: whether an operation that may block its caller is done inside the call.
  SimStore(std::string node, Database& database, Wire& wire, std::function<bool()> at_once)
      : node_(std::move(node)), database_(database), wire_(wire), at_once_(std::move(at_once)) {}

  const storage::News& news() const { return news_; }

  void task_function(std::string, int, storage::Done<storage::TaskFunction>) override;
  void task_function_by_id(TaskFunctionId, storage::Done<storage::TaskFunction>) override;
  void submit(storage::Submission, storage::Done<storage::Submitted>) override;
  void claim(StackRunId, storage::Lease, storage::Done<std::optional<storage::Work>>) override;
  void claim_next(storage::Lease, storage::Done<std::optional<storage::Work>>) override;
  void commit_slice(storage::SliceCommit, storage::Done<storage::SliceCommitted>) override;
  void record_outcome(storage::OutcomeRecord, storage::Done<storage::OutcomeRecorded>) override;
  void slice_lost(storage::SliceLost, storage::Done<storage::SliceLostResult>) override;
  void release(storage::Grant, storage::Done<void>) override;
  void extend(std::vector<storage::Grant>, storage::Lease,
              storage::Done<std::vector<storage::Grant>>) override;
  void cancel(TaskRunId, std::string, storage::Done<std::optional<storage::Wake>>) override;
  void pause(TaskRunId, std::string, std::string, storage::Done<void>) override;
  void resume(TaskRunId, storage::Done<std::vector<StackRunId>>) override;
  void journal_head(TaskRunId, storage::Done<storage::TaskRun>) override;
  void journal(TaskRunId, std::int64_t, std::int64_t, storage::Done<storage::JournalPage>) override;
  void outcomes(TaskRunId, std::int64_t, int,
                storage::Done<std::vector<storage::Outcome>>) override;
  void due(int, storage::Done<storage::DueWork>) override;
  void recover(std::string, std::string, storage::Done<std::int64_t>) override;
  void listen(storage::News news) override { news_ = std::move(news); }
  void run(TaskRunId, storage::Done<storage::TaskRun>) override;

  // What no Processor asks for.
  void publish(storage::Publication, storage::Done<storage::Published>) override { unused(); }
  void task_functions(std::string, storage::Done<std::vector<storage::TaskFunction>>) override {
    unused();
  }
  void runs(storage::RunFilter, storage::Done<std::vector<storage::TaskRun>>) override { unused(); }
  void stack_run(StackRunId, storage::Done<storage::StackRun>) override { unused(); }
  void stack(TaskRunId, std::int64_t, int, storage::Done<std::vector<storage::StackRun>>) override {
    unused();
  }
  void attempts(StackRunId, storage::Done<std::vector<storage::Attempt>>) override { unused(); }
  void logs(TaskRunId, std::int64_t, int, storage::Done<std::vector<storage::LogEntry>>) override {
    unused();
  }
  void status(storage::Done<storage::StoreStatus>) override { unused(); }
  void clear(storage::Done<std::int64_t>) override { unused(); }
  void keystore_put(std::string, std::string, std::string, std::function<std::string(std::int64_t)>,
                    storage::Done<std::int64_t>) override {
    unused();
  }
  void keystore_get(std::string, std::string, storage::Done<storage::KeystoreEntry>) override {
    unused();
  }
  void keystore_list(std::string, storage::Done<std::vector<storage::KeystoreEntry>>) override {
    unused();
  }
  void keystore_delete(std::string, std::string, storage::Done<bool>) override { unused(); }

 private:
  [[noreturn]] static void unused() {
    SEQUENTIAL_CHECK(!"a Processor is not known to use this");
    std::abort();
  }
  template <class T, class Transition>
  void issue(std::string what, bool writes, storage::Done<T> done, Transition transition);

  const std::string node_;
  Database& database_;
  Wire& wire_;
  const std::function<bool()> at_once_;
  storage::News news_;
};

}  // namespace sequential::simulation
