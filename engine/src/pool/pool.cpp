// The Runtime handed out: forwards to the Core, and ends it when destroyed.

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <climits>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core.h"
#include "sequential/base/clock.h"
#include "sequential/engine/engine_pool.h"

namespace sequential::engine {
namespace pool {
namespace {

class Pool final : public Runtime {
 public:
  explicit Pool(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  ~Pool() override { core_->stop(system_clock().monotonic()); }

  void run_slice(SliceRequest request, std::function<void(Result<SliceResult>)> done) override {
    auto job = std::make_shared<Job>();
    job->code = request.code;
    job->alone = request.alone;
    job->slice = std::move(request);
    job->slice_done = std::move(done);
    core_->accept(job);
  }
  void check_code(std::shared_ptr<const TaskCode> code,
                  std::function<void(Result<std::optional<CodeProblem>>)> done) override {
    auto job = std::make_shared<Job>();
    job->code = std::move(code);
    job->check_done = std::move(done);
    core_->accept(job);
  }
  std::optional<std::int64_t> warm_through(TaskRunId run) const override {
    return core_->warm_through(run);
  }
  void forget(TaskRunId run) override { core_->forget(run); }
  Stats stats() const override { return core_->stats(); }
  std::vector<int> engine_pids() const override { return core_->engine_pids(); }
  void stop(MonoTime deadline) override { core_->stop(deadline); }

 private:
  // Shared with the handlers that wait in the io_context.
  const std::shared_ptr<Core> core_;
};

Result<std::string> engine_beside_us() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0 || length == static_cast<ssize_t>(sizeof path)) {
    return make_error(Errc::unavailable,
                      "cannot find this executable's folder; set the engine's path");
  }
  const std::string self(path, static_cast<std::size_t>(length));
  return self.substr(0, self.rfind('/') + 1) + "sequential-engine";
}

}  // namespace
}  // namespace pool

Result<std::unique_ptr<Runtime>> open_engine_pool(boost::asio::io_context& io,
                                                  const PoolOptions& options) {
  std::string path = options.engine_path;
  if (path.empty()) {
    SEQUENTIAL_TRY(path, pool::engine_beside_us());
  }
  auto core = std::make_shared<pool::Core>(io, options, std::move(path));
  SEQUENTIAL_TRY(core->open());
  return std::unique_ptr<Runtime>(std::make_unique<pool::Pool>(std::move(core)));
}

}  // namespace sequential::engine
