// Processor: runs whose parent was asked to end or cancelled are, after it.

#include <boost/asio/co_spawn.hpp>
#include <utility>

#include "async.h"
#include "background.h"
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
  net::co_spawn(io_, work_off_orphans(), log_escaped);
}

// Until no note is left: each pass notes the children of those it cancelled. An error leaves the
// rest to the next sweep.
net::awaitable<void> Processor::work_off_orphans() {
  const Gate::Pass pass = gate_.enter();
  bool more = true;
  const auto turn = [this, &more]() -> net::awaitable<void> {
    more = false;  // also if it does not come through
    auto start = [this](auto done) {
      store_.children()->cancel_orphans(kOrphansPerPass, std::move(done));
    };
    auto done = co_await completes<Result<storage::OrphansCancelled>>(std::move(start));
    if (done.has_error()) {
      log_warn("runs below a cancelled one could not be cancelled yet",
               {{"reason", done.error().message}});
      co_return;
    }
    for (const TaskRunId run : done.value().runs) {
      drop_run(run);
      watch_.ended(run);
    }
    for (auto& asked : done.value().asked) {
      if (asked.root) wake(*std::move(asked.root));
      look_for_cancels_in(asked.left);
    }
    more = done.value().more;
  };
  while (pass && (orphans_wanted_.exchange(false) || more)) co_await survive(turn);
  orphans_under_way_ = false;
  if (pass && orphans_wanted_.load()) cancel_orphans();
}

}  // namespace sequential::server
