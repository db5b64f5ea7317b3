// Processor: runs that are asked to end, their deadlines, and calls that nobody waits for.

#include <algorithm>
#include <utility>

#include "async.h"
#include "sequential/base/log.h"
#include "sequential/storage/cancellation.h"
#include "work/processor.h"

namespace sequential::server {
namespace {

constexpr int kCancelsAtOnce = 512;  // that one pass cancels

// The run did not end by itself: its error says so.
std::string forced(std::string error) {
  if (error.size() > 2 && error.back() == '}') {
    error.pop_back();
    error += R"(,"forced":true})";
  }
  return error;
}

}  // namespace

void Processor::run_cancelled(TaskRunId run, std::optional<storage::Wake> parent) {
  drop_run(run);
  watch_.ended(run);
  cancel_orphans();
  if (parent) wake(*std::move(parent));
}

void Processor::asked_to_end(TaskRunId run, storage::CancelRequested asked) {
  if (asked.over) {
    run_cancelled(run, std::move(asked.parent));
    return;
  }
  if (asked.root) wake(*std::move(asked.root));
  look_for_cancels_in(asked.left);
  cancel_orphans();
}

void Processor::look_for_cancels_in(Millis in) {
  if (in > options_.sweep_period) return;  // the sweep comes first
  {
    const std::lock_guard lock(mutex_);
    cancels_at_ = std::min(cancels_at_, clock_.monotonic() + in);
  }
  look_in(in + Millis{1});
}

// Part of the sweep, but not of each of its passes, some of which follow one another closely.
net::awaitable<void> Processor::cancel_overdue() {
  storage::Cancellation* const cancellation = store_.cancellation();
  if (cancellation == nullptr) co_return;
  {
    const std::lock_guard lock(mutex_);
    const MonoTime now = clock_.monotonic();
    if (now < cancels_at_) co_return;
    cancels_at_ = now + options_.sweep_period;
  }
  auto start = [cancellation](auto done) {
    cancellation->cancels_due(kCancelsAtOnce, std::move(done));
  };
  auto due = co_await completes<Result<storage::CancelsDue>>(std::move(start));
  if (due.has_error()) {
    log_warn("the sweep could not look for runs to cancel", {{"reason", due.error().message}});
    co_return;
  }
  for (const TaskRunId run : due.value().runs) co_await cancel_now(*cancellation, run);
  if (due.value().next_in) look_for_cancels_in(*due.value().next_in);
}

net::awaitable<void> Processor::cancel_now(storage::Cancellation& cancellation, TaskRunId run) {
  auto read = [&cancellation, run](auto done) { cancellation.cancelling(run, std::move(done)); };
  auto found = co_await completes<Result<std::optional<storage::Cancelling>>>(std::move(read));
  if (found.has_error() || !found.value()) co_return;  // it has ended meanwhile
  auto write = [this, run, &found](auto done) {
    store_.cancel(run, forced(std::move(found.value()->error)), std::move(done));
  };
  auto parent = co_await completes<Result<std::optional<storage::Wake>>>(std::move(write));
  if (parent.has_value()) {
    run_cancelled(run, std::move(parent).value());
  } else if (parent.error().code != Errc::conflict && parent.error().code != Errc::run_not_found) {
    log_warn("a run could not be cancelled",
             {{"run", run.value}, {"reason", parent.error().message}});
  }
}

// After the commit of the slice that no longer waits for them. Lost, they go on to their end.
void Processor::drop_calls(storage::Grant root, std::vector<std::int64_t> seqs) {
  storage::Cancellation* const cancellation = store_.cancellation();
  if (cancellation == nullptr || seqs.empty()) return;
  cancellation->drop_calls(root, std::move(seqs), [run = root.run](Result<std::int64_t> dropped) {
    if (dropped.has_value()) return;
    log_info("calls that nobody waits for go on to their end",
             {{"run", run.value}, {"reason", dropped.error().message}});
  });
}

}  // namespace sequential::server
