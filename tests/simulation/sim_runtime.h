#pragma once
// SimRuntime: the engines of one node. It runs programs instead of JavaScript, keeps their contexts
// warm under the same rule as the real pool (engine/src/pool/core_route.cpp), replays cold ones
// from the journal, and loses what it holds when the world kills an engine.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "program.h"
#include "random.h"
#include "sequential/engine/runtime.h"

namespace sequential::simulation {

class SimRuntime final : public engine::Runtime {
 public:
  using Done = std::function<void(Result<engine::SliceResult>)>;

  // --- for the world ----------------------------------------------------------------------------
  bool has_work() const;      // a slice can be taken a step further
  void work(Random& random);  // takes one a step further
  bool has_slices() const { return !jobs_.empty(); }
  // Slices under way are lost, each with the chance of one in two, and so is every warm context.
  void kill_engine(Random& random);
  void evict(Random& random);                  // forgets one warm context, if there is one
  void vanish() { jobs_.clear(); }             // nobody is answered
  void refuse_next() { refuse_next_ = true; }  // the next slice finds the queue full
  struct Counts {
    int warm = 0, replays = 0, lost = 0, divergent = 0;
  };
  const Counts& counts() const { return counts_; }

  // --- engine::Runtime --------------------------------------------------------------------------
  void run_slice(engine::SliceRequest request, Done done) override;
  void check_code(std::shared_ptr<const engine::TaskCode>,
                  std::function<void(Result<std::optional<engine::CodeProblem>>)>) override {}
  std::optional<std::int64_t> warm_through(TaskRunId run) const override;
  void forget(TaskRunId run) override;
  Stats stats() const override { return {}; }
  std::vector<int> engine_pids() const override { return {}; }
  void stop(MonoTime) override {}

 private:
  struct Context {
    std::unique_ptr<Machine> machine;
    std::int64_t through = 0;  // journal position that it has seen
    std::size_t logs = 0;      // of the machine, already told
  };
  struct Job {
    engine::SliceRequest request;
    Done done;
    std::vector<engine::RecordedCall> recorded;
    std::shared_ptr<engine::JournalSource> source;
    enum class Stage { waiting, reading, ready } stage = Stage::waiting;
    bool over = false;
    bool unwanted = false;  // its context is not to be kept
  };
  using JobPtr = std::shared_ptr<Job>;

  bool is_warm(const engine::SliceRequest& request) const;
  void start(const JobPtr& job);
  void read_on(const JobPtr& job);
  void run(const JobPtr& job);
  Result<engine::SliceResult> run_warm(Job& job);
  Result<engine::SliceResult> run_cold(Job& job);
  engine::SliceResult result_of(Job& job, Context context, std::size_t known_logs);
  void finish(const JobPtr& job, Result<engine::SliceResult> result);

  std::vector<JobPtr> jobs_;
  std::map<TaskRunId, Context> warm_;
  Counts counts_;
  bool refuse_next_ = false;
};

}  // namespace sequential::simulation
