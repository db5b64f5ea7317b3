#pragma once
// Processor: does the work of a stack run (a slice of task code, or one host call), commits it, and
// fires what comes next. The one place where claims turn into committed outcomes.
//
// Threads:  any; coroutines run on the io_context.
// Blocking: never.
// Lifetime: the collaborators outlive it; `drain` before destruction.
// Bounds:   at most `in_flight_max` stack runs at once. A hint above it is dropped, because the row
//           is in the database: a claim already held waits here, the rest is asked for as slots
//           become free.

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "chain/hint_desk.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/base/gate.h"
#include "sequential/engine/runtime.h"
#include "sequential/services/service.h"
#include "sequential/storage/cancellation.h"
#include "sequential/storage/store.h"
#include "work/decide.h"
#include "work/held.h"
#include "work/inner_service.h"
#include "work/one_answer.h"
#include "work/queue_desk.h"
#include "work/run_watch.h"
#include "work/sessions.h"
#include "work/wake_timers.h"

namespace sequential::server {

namespace net = boost::asio;

double random01();  // in [0, 1)

struct ProcessorOptions {
  storage::Lease lease;
  int in_flight_max = 1024;
  std::size_t hint_claims_max = 8;  // hints that ask the store at the same time
  std::size_t hints_max = 10'000;   // hints that wait to
  bool handoff = true;              // the chain goes to this node itself
  int crashes_max = 3;
  Millis sweep_period{5'000};
  Millis hint_wait{1'000};  // a claim that waited longer for its hint has lost it
  std::int64_t payload_bytes_max = 32ll << 20;
  std::int64_t journal_page_bytes = 1ll << 20;
  std::size_t sessions_max = 20'000;
  std::size_t timers_max = 100'000;
  double (*random)() = &random01;  // spreads the retries of failed calls
  bool store_is_exclusive = true;  // what this process read once stays true until it writes
};

// What one request to /stack/process did.
struct Report {
  StackRunId id;
  TaskRunId run;
  std::string status;  // completed, failed, retrying, suspended…, busy, not_runnable, fenced, …
  std::vector<StackRunId> fired;
};

class Processor {
 public:
  // `fire` sends a hint for a stack run (0: for the oldest runnable one).
  Processor(net::io_context& io, storage::Store& store, engine::Runtime& runtime,
            const services::Registry& registry, const Clock& clock, ProcessorOptions options,
            std::function<void(StackRunId)> fire);

  // Processes that stack run (0: the oldest runnable one) and reports when it is done.
  net::awaitable<Report> process(StackRunId id, storage::Via via);
  // The same without waiting; false if there was no free slot and the hint was dropped.
  bool accept(StackRunId id, storage::Via via);
  // The same for a hint from outside, of which only so many may ask the store (HintDesk).
  enum class Hinted { taken, coalesced, deferred, refused };
  Hinted hint(StackRunId id, storage::Via via);
  HintDesk::Stats hints() const { return hints_.stats(); }

  // A claim made elsewhere in this node (submit with handoff) by a request sent at `asked`, or just
  // now: keeps it and fires its hint.
  void adopt(storage::Work work, MonoTime asked = MonoTime::max());

  // Remembers a run just submitted here, so that its first slice needs no read.
  void remember(TaskRunId run, Session session);

  // One pass of the repair: fires forgotten claims and whatever the database has due. Answers the
  // number of stack runs started.
  net::awaitable<int> sweep(storage::Via via);
  net::awaitable<void> renew_leases();
  void arm_timer(StackRunId id, Millis in) { timers_.arm(id, in); }

  // The code of a task by name; version 0 = newest. Errors: task_not_found.
  net::awaitable<Result<std::shared_ptr<const engine::TaskCode>>> newest_code(std::string name,
                                                                              int version);
  void published(const std::string& name);

  // An operator ended or paused the run: nothing of it stays warm here.
  void forget(TaskRunId run);

  // A request to this node made a run's root runnable: takes it up if it was claimed for us, else
  // fires its hint.
  void wake(storage::Wake wake);

  // A run was asked to end or cancelled, or retried: so are its unfinished children, or those that
  // it has let go (storage/children.h).
  void cancel_orphans();

  // A request to this node asked the run to end, or cancelled it.
  void asked_to_end(TaskRunId run, storage::CancelRequested asked);
  void run_cancelled(TaskRunId run, std::optional<storage::Wake> parent);

  // Another node made a stack run runnable without taking it: a sweep pass soon, at most four a
  // second. Another node ended or paused a run.
  void hear_of_work();
  void hear_of_end(TaskRunId run);

  Millis sweep_period() const { return options_.sweep_period; }
  RunWatch& watch() { return watch_; }
  QueueDesk& queues() { return queues_; }
  // This stack run is the only one that this node has claimed, so nobody else waits for a thread
  // that blocks for the moment of a flush, and there is nobody to share the flush with.
  bool alone() const { return in_flight_.load() <= 1 && held_.size() <= 1; }

  bool idle() const { return in_flight_.load() == 0 && held_.size() == 0; }
  int in_flight() const { return in_flight_.load(); }
  std::size_t held() const { return held_.size(); }
  std::size_t timers_armed() const { return timers_.armed(); }

  // Stops starting work; waits until the work under way is done, the deadline passes or `hurry` is
  // set; gives back what nobody has begun. Answers whether all is done.
  net::awaitable<bool> drain(MonoTime deadline, const std::atomic<bool>& hurry);
  // After a drain that did not finish: stops waiting for services. Calls that may be made again are
  // given back, the others' outcome is recorded as unknown. (Slices end with the engines.)
  void interrupt();
  // After a drain: what requests under way at its beginning were handed since.
  net::awaitable<void> give_back_untouched();

 private:
  struct Slot {  // one of in_flight_max, freed on destruction
    explicit Slot(Processor& owner) : owner_(&owner) {}
    Slot(Slot&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
      if (owner_ != nullptr) owner_->free_slot();
    }
    Processor* owner_;
  };
  // The only slice of its run at work on this node, until ended or destroyed.
  class Turn {
   public:
    Turn(Processor& owner, TaskRunId run) : owner_(owner), run_(run) {
      const std::lock_guard lock(owner_.mutex_);
      taken_ = owner_.slicing_.insert(run_).second;
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { end(); }
    void end() {
      if (!std::exchange(taken_, false)) return;
      const std::lock_guard lock(owner_.mutex_);
      owner_.slicing_.erase(run_);
    }
    explicit operator bool() const { return taken_; }

   private:
    Processor& owner_;
    const TaskRunId run_;
    bool taken_ = false;
  };
  // A hint's turn to ask the store, until told what it heard or destroyed.
  class Asking {
   public:
    Asking(Processor& owner, StackRunId id) : owner_(owner), id_(id) {}
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;
    ~Asking() { answered(false); }
    void answered(bool nothing) {
      if (std::exchange(done_, true)) return;
      owner_.begin_hint(owner_.hints_.answered(id_, nothing));
    }

   private:
    Processor& owner_;
    const StackRunId id_;
    bool done_ = false;
  };
  QueueDesk::Options queue_options();
  std::optional<Slot> take_slot();
  void timer_due(StackRunId id);
  void look_in(Millis in);  // a pass of the sweep by then, unless one is to come before
  net::awaitable<void> sweep_for_timer();
  void free_slot();

  bool begin_hint(std::optional<Hint> hint);
  net::awaitable<void> run_hint(StackRunId id, storage::Via via, Slot slot);
  net::awaitable<Report> process_in_slot(StackRunId id, storage::Via via, Asking* asking = nullptr);
  net::awaitable<void> run_detached(StackRunId id, storage::Via via, Slot slot);
  net::awaitable<bool> still_ours(storage::Grant grant);
  net::awaitable<Report> run_work(Held::Taken taken, storage::Via via);
  net::awaitable<Report> run_call(Held::Taken taken, storage::Via via);
  net::awaitable<Report> record_call(const storage::Work& work, CallDecision decision,
                                     storage::Via via, Micros waited);
  // What the service has done with the call in the store already. Nothing: it answered as any
  // service does, with `reply`.
  net::awaitable<std::optional<Report>> run_inner(InnerService& service, const storage::Work& work,
                                                  services::CallReply& reply);
  Report call_ended(const storage::Work& work, CallEnded ended, MonoTime asked);
  net::awaitable<Report> run_slice(storage::Work work);
  // Nothing if the call was not sent, because the server stops.
  net::awaitable<std::optional<services::CallReply>> call_service(
      const storage::Work& work, const services::CallPolicy& policy);
  Result<services::CallPolicy> policy_of(const storage::Work& work) const;

  net::awaitable<Result<engine::SliceRequest>> prepare_slice(const storage::Work& work,
                                                             SliceFacts& facts);
  net::awaitable<Result<engine::SliceRequest>> load_slice(const storage::Work& work,
                                                          SliceFacts& facts);
  net::awaitable<Result<std::shared_ptr<const engine::TaskCode>>> code_of(TaskFunctionId id);
  std::shared_ptr<const engine::TaskCode> keep_code(storage::TaskFunction function);
  void prepare_calls(storage::SliceCommit& commit) const;
  net::awaitable<Report> commit_slice(storage::Work work, SliceDecision decision, Turn& turn);
  net::awaitable<void> cancel_overdue();
  net::awaitable<void> cancel_now(storage::Cancellation& cancellation, TaskRunId run);
  void look_for_cancels_in(Millis in);
  void drop_calls(storage::Grant root, std::vector<std::int64_t> seqs);
  net::awaitable<Report> lose_slice(storage::Work work, storage::SliceLost lost, Turn& turn);
  net::awaitable<void> give_back(storage::Grant grant, Millis again_in);
  void slice_committed(const SliceDecision& decision, storage::SliceCommitted& done,
                       MonoTime asked, Report& report);
  void woken(storage::Wake wake, MonoTime asked, Report& report);
  void drop_run(TaskRunId run);
  net::awaitable<void> work_off_orphans();
  bool handoff() const { return options_.handoff && !gate_.is_closed(); }
  void fire(StackRunId id, Report& report);

  net::io_context& io_;
  storage::Store& store_;
  engine::Runtime& runtime_;
  const services::Registry& registry_;
  const Clock& clock_;
  const ProcessorOptions options_;
  const std::function<void(StackRunId)> fire_;

  Held held_;
  Sessions sessions_;
  RunWatch watch_;
  WakeTimers timers_;
  HintDesk hints_;
  QueueDesk queues_;
  Gate gate_;
  CallsUnderWay under_way_;
  std::atomic<bool> interrupted_{false};
  std::atomic<int> in_flight_{0};
  std::atomic<bool> look_soon_{false};  // a pass for news is on its way
  std::atomic<bool> orphans_wanted_{false}, orphans_under_way_{false};
  std::atomic<bool> missed_{false};  // a hint was dropped: ask for the oldest when a slot is free

  std::atomic<std::int64_t> publications_{0};
  std::mutex mutex_;
  std::deque<std::pair<StackRunId, storage::Via>> waiting_;  // held claims without a slot; guarded
  std::unordered_set<StackRunId> waiting_ids_;               // of those; guarded
  std::unordered_map<TaskFunctionId, std::shared_ptr<const engine::TaskCode>> code_;  // guarded
  std::unordered_map<std::string, std::shared_ptr<const engine::TaskCode>> newest_;   // guarded
  std::unordered_set<TaskRunId> slicing_;    // with a slice at work here; guarded
  MonoTime look_at_ = MonoTime::max();       // guarded; when the next look_in pass is to come
  MonoTime cancels_at_{};                    // guarded; when to look for runs to cancel again
  std::unordered_set<StackRunId> by_timer_;  // fired by a timer, not yet begun; guarded
};

}  // namespace sequential::server
