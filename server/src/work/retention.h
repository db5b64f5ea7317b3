#pragma once
// RetentionPass: removes ended runs that are older than their task's retention, in short
// transactions. Any node does it whenever its time has come; what another is removing it leaves to
// that one.
//
// Threads: `pass` by one coroutine at a time; `stats` any.

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <string_view>

#include "async.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/storage/search.h"
#include "sequential/storage/store.h"

namespace sequential::server {

struct RetentionOptions {
  std::int64_t completed_ms = 0;  // 0: for ever
  std::int64_t failed_ms = 0;
  int batch = 100;         // runs of one transaction
  int rows_max = 20'000;   // runs looked at by one request to the store
};

// How long ended runs are kept, in ms; 0 for ever, -1 not said.
struct Kept {
  std::int64_t completed_ms = -1, failed_ms = -1;
};
// Of an object {"completed": "30d", "failed": 5000}, either of them perhaps missing; numbers are
// milliseconds. Errors: invalid_field.
Result<Kept> read_kept(std::string_view json, std::string_view field);
// Of a task's options: their member `retention`.
Result<Kept> kept_in_options(std::string_view options);

class RetentionPass {
 public:
  RetentionPass(storage::Store& store, const Clock& clock, RetentionOptions options)
      : store_(store), clock_(clock), options_(options) {}

  struct Stats {
    std::int64_t passes = 0, removed_runs = 0, removed_rows = 0, failed = 0;
  };
  Stats stats() const { return {passes_, removed_runs_, removed_rows_, failed_}; }
  const RetentionOptions& options() const { return options_; }

  // What is too old of all tasks. Ends early when `go_on` becomes false.
  net::awaitable<void> pass(const std::atomic<bool>& go_on);

  // As it is for a task: what was set for it, what its newest version says, or the settings.
  static Kept effective(const storage::Retention* set, std::string_view options,
                        const RetentionOptions& otherwise);

 private:
  net::awaitable<Result<void>> remove_old(const storage::RunQuery& query,
                                          const std::atomic<bool>& go_on);
  // No run of this task after `after` was created before the cut.
  net::awaitable<Result<bool>> all_younger(const storage::RunQuery& query, TaskRunId after);

  storage::Store& store_;
  const Clock& clock_;
  const RetentionOptions options_;
  std::atomic<std::int64_t> passes_{0}, removed_runs_{0}, removed_rows_{0}, failed_{0};
};

}  // namespace sequential::server
