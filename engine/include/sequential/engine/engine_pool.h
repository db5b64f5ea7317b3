#pragma once
// The Runtime that starts sequential-engine processes and talks to them over socketpairs.

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "sequential/base/error.h"
#include "sequential/engine/limits.h"
#include "sequential/engine/runtime.h"

namespace sequential::engine {

struct PoolOptions {
  std::string engine_path;                     // empty: sequential-engine beside this executable
  int processes = 0;                           // 0: one per core
  int queue_max = 10'000;                      // slices waiting for an engine, in all
  int warm_runs_max = 20'000;                  // contexts kept warm, in all
  std::int64_t warm_bytes_max = 1ll << 30;     // memory budget of all engines' heaps
  int runs_per_isolate = 64;
  bool jit = true;
  bool evict_always = false;                   // tests: forget the context after every slice
  std::int64_t start_timeout_ms = 10'000;      // an engine must say hello by then
  int restarts_per_minute_max = 600;
  Limits limits;
};

// Starts the processes and waits until the first is ready, at most start_timeout_ms. `io` must be
// running for anything to happen afterwards and outlives the pool; any number of threads may run
// it. Engines end with the thread that started them (their parent-death signal): call this on a
// thread that outlives the pool, as those that run `io` do. Runtime::stop and the destructor wait
// for answers given by `io`, so neither is called on its threads. Errors: unavailable, with the
// path and the reason, if no engine can be started.
Result<std::unique_ptr<Runtime>> open_engine_pool(boost::asio::io_context& io,
                                                  const PoolOptions& options);

}  // namespace sequential::engine
