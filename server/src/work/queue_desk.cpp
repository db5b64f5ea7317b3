#include "work/queue_desk.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <unordered_set>
#include <vector>

#include "async.h"
#include "background.h"
#include "sequential/base/log.h"
#include "sequential/storage/queues.h"

namespace sequential::server {
namespace {

constexpr std::size_t kTasksMax = 10'000;
// Submits that have to wait come in crowds: one look for all of a moment.
constexpr Millis kSubmittedPause{50};
constexpr Millis kPauseMin{2};

}  // namespace

QueueDesk::QueueDesk(boost::asio::io_context& io, storage::Store& store, const Clock& clock,
                     Options options)
    : io_(io), store_(store), clock_(clock), options_(std::move(options)), timer_(io) {
  if (store_.queues() == nullptr) return;
  store_.queues()->on_room([ear = ear_](const std::string& task) {
    const std::lock_guard lock(ear->mutex);
    if (ear->desk != nullptr) ear->desk->ask(task);
  });
}

QueueDesk::~QueueDesk() {
  const std::lock_guard lock(ear_->mutex);
  ear_->desk = nullptr;
}

bool QueueDesk::tell(const storage::Submission& submission, const storage::Submitted& submitted) {
  if (submitted.existing) return false;
  const bool now = submission.delay.count() <= 0;
  const bool waits = now && submission.handoff && !submitted.work;
  if (!submission.queue_key.empty() || waits || knows(submission.task_name)) {
    this->submitted(submission.task_name, !submitted.work);
  }
  return waits;
}

void QueueDesk::submitted(const std::string& task, bool waits) {
  if (waits) return ask_in(task, kSubmittedPause);
  const std::lock_guard lock(mutex_);
  if (lines_.size() < kTasksMax) lines_.try_emplace(task);
}

bool QueueDesk::knows(const std::string& task) {
  const std::lock_guard lock(mutex_);
  return lines_.contains(task);
}

void QueueDesk::ask(const std::string& task) {
  if (store_.queues() == nullptr) return;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_ || (lines_.size() >= kTasksMax && !lines_.contains(task))) return;
    Line& line = lines_[task];
    line.again = true;
    if (std::exchange(line.asking, true)) return;
  }
  boost::asio::co_spawn(io_, serve(task), log_escaped);
}

boost::asio::awaitable<void> QueueDesk::serve(std::string task) {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      Line& line = lines_[task];
      if (stopped_ || !std::exchange(line.again, false)) {
        line.asking = false;
        co_return;
      }
    }
    bool more = false;
    const auto turn = [this, &task, &more]() -> boost::asio::awaitable<void> {
      auto ask_store = [this, &task](auto done) {
        const auto lease = options_.handoff() ? std::optional(options_.lease) : std::nullopt;
        store_.queues()->admit(task, lease, options_.claims_max(), std::move(done));
      };
      auto answer = co_await completes<Result<storage::Admission>>(std::move(ask_store));
      if (answer.has_error()) {
        log_warn("runs that wait in a queue could not be admitted",
                 {{"task", task}, {"reason", answer.error().message}});
        co_return;  // the next sweep asks again
      }
      storage::Admission& admission = answer.value();
      for (const StackRunId id : admission.calls) options_.begin({TaskRunId(), id, std::nullopt});
      for (auto& wake : admission.admitted) options_.begin(std::move(wake));
      if (admission.next_in) ask_in(task, *admission.next_in);
      more = admission.more;
    };
    co_await survive(turn);
    if (!more) continue;
    const std::lock_guard lock(mutex_);
    lines_[task].again = true;
  }
}

boost::asio::awaitable<void> QueueDesk::sweep() {
  if (store_.queues() == nullptr) co_return;
  auto read = [this](auto done) { store_.queues()->queues_due(std::move(done)); };
  const auto found = co_await completes<Result<std::vector<storage::QueueDue>>>(std::move(read));
  if (found.has_error()) {
    log_warn("the sweep could not read the queues", {{"reason", found.error().message}});
    co_return;
  }
  std::unordered_set<std::string_view> known;
  for (const auto& due : found.value()) known.insert(due.task);
  {
    const std::lock_guard lock(mutex_);
    for (const auto& due : found.value()) {
      if (lines_.size() < kTasksMax) lines_.try_emplace(due.task);
    }
    std::erase_if(lines_, [&known](const auto& entry) {
      const auto& [task, line] = entry;
      return !line.asking && line.at == MonoTime::max() && !known.contains(task);
    });
  }
  for (const auto& due : found.value()) {
    if (due.open) ask(due.task);
  }
}

void QueueDesk::ask_in(const std::string& task, Millis in) {
  const std::lock_guard lock(mutex_);
  if (stopped_ || (lines_.size() >= kTasksMax && !lines_.contains(task))) return;
  Line& line = lines_[task];
  const MonoTime at = clock_.monotonic() + std::max(in, kPauseMin);
  if (at >= line.at) return;
  timers_.erase({line.at, task});
  line.at = at;
  timers_.emplace(at, task);
  schedule();
}

void QueueDesk::schedule() {
  if (timers_.empty() || timers_.begin()->first == scheduled_) return;
  scheduled_ = timers_.begin()->first;
  timer_.expires_at(scheduled_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) due();
  });
}

void QueueDesk::due() {
  std::vector<std::string> tasks;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    const MonoTime now = clock_.monotonic();
    while (!timers_.empty() && timers_.begin()->first <= now) {
      tasks.push_back(timers_.begin()->second);
      lines_[tasks.back()].at = MonoTime::max();
      timers_.erase(timers_.begin());
    }
    scheduled_ = MonoTime::max();
    schedule();
  }
  for (const auto& task : tasks) ask(task);
}

void QueueDesk::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  timers_.clear();
  timer_.cancel();
}

}  // namespace sequential::server
