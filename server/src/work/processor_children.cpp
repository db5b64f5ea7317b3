// Processor: runs whose parent was cancelled are cancelled after it.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <utility>

#include "async.h"
#include "sequential/base/log.h"
#include "sequential/storage/children.h"
#include "work/processor.h"

namespace sequential::server {
namespace {

constexpr int kOrphansPerPass = 64;  // in one transaction of the SQLite store

}  // namespace

void Processor::cancel_orphans() {
  if (store_.children() == nullptr) return;
  orphans_wanted_ = true;
  if (orphans_under_way_.exchange(true)) return;
  net::co_spawn(io_, work_off_orphans(), net::detached);
}

// Until no note is left: each pass notes the children of those it cancelled. An error leaves the
// rest to the next sweep.
net::awaitable<void> Processor::work_off_orphans() {
  const Gate::Pass pass = gate_.enter();
  bool more = true;
  while (pass && (orphans_wanted_.exchange(false) || more)) {
    auto start = [this](auto done) {
      store_.children()->cancel_orphans(kOrphansPerPass, std::move(done));
    };
    const auto done = co_await completes<Result<storage::OrphansCancelled>>(std::move(start));
    if (done.has_error()) {
      log_warn("runs below a cancelled one could not be cancelled yet",
               {{"reason", done.error().message}});
      break;
    }
    for (const TaskRunId run : done.value().runs) {
      drop_run(run);
      watch_.ended(run);
    }
    more = done.value().more;
  }
  orphans_under_way_ = false;
  if (pass && orphans_wanted_.load()) cancel_orphans();
}

}  // namespace sequential::server
