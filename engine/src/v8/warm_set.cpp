#include "warm_set.h"

#include <algorithm>
#include <utility>

#include "sequential/base/check.h"

namespace sequential::engine::v8host {
namespace {

constexpr int kSlicesPerMeasurement = 32;
// An isolate this full takes no further runs: they would meet its heap limit together.
constexpr double kRoomyHeapShare = 0.5;

}  // namespace

WarmSet::~WarmSet() {
  runs_.clear();  // contexts before their isolates
  isolates_.clear();
}

WarmSet::Run* WarmSet::find(std::int64_t run) {
  const auto found = runs_.find(run);
  if (found == runs_.end()) return nullptr;
  ages_.splice(ages_.begin(), ages_, found->second.age);
  touch(*found->second.isolate);
  return &found->second;
}

void WarmSet::keep(std::int64_t run, TaskIsolate& isolate, v8::Local<v8::Context> context,
                   const Slice& slice, std::int64_t position) {
  auto found = runs_.find(run);
  if (found == runs_.end()) {
    ages_.push_front(run);
    found = runs_.emplace(run, Run{}).first;
    Run& kept = found->second;
    kept.id = run;
    kept.isolate = &isolate;
    kept.context.Reset(isolate.isolate(), context);
    kept.script_id = slice.script_id();
    kept.age = ages_.begin();
  }
  found->second.position = position;
  found->second.calls = slice.calls_emitted();
}

void WarmSet::drop(std::int64_t run) {
  const auto found = runs_.find(run);
  if (found == runs_.end()) return;
  TaskIsolate& isolate = *found->second.isolate;
  ages_.erase(found->second.age);
  runs_.erase(found);
  leave(isolate);
}

void WarmSet::leave(TaskIsolate& isolate) {
  SEQUENTIAL_CHECK(isolate.runs > 0);
  --isolate.runs;
}

void WarmSet::evict(std::int64_t run) {
  drop(run);
  evicted_.push_back(run);
}

bool WarmSet::has_room(const TaskIsolate& isolate) const {
  return isolate.runs < options_.runs_per_isolate && !isolate.condemned() &&
         static_cast<double>(isolate.bytes()) <
             kRoomyHeapShare * static_cast<double>(options_.limits.heap_bytes);
}

TaskIsolate& WarmSet::isolate_for(std::int64_t function_id, bool alone) {
  if (!alone) {
    for (const auto& isolate : isolates_) {
      if (isolate->function_id() != function_id || isolate->alone || !has_room(*isolate)) continue;
      ++isolate->runs;
      last_started_ = isolate.get();
      touch(*isolate);
      return *last_started_;
    }
  }
  isolates_.push_front(
      std::make_unique<TaskIsolate>(platform_, base_, options_.limits, function_id));
  TaskIsolate& isolate = *isolates_.front();
  isolate.alone = alone;
  isolate.runs = 1;
  if (!alone) last_started_ = &isolate;
  measure(isolate);
  return isolate;
}

WarmSet::Isolates::iterator WarmSet::find_isolate(const TaskIsolate& isolate) {
  const auto found = std::find_if(isolates_.begin(), isolates_.end(),
                                  [&](const auto& one) { return one.get() == &isolate; });
  SEQUENTIAL_CHECK(found != isolates_.end());
  return found;
}

void WarmSet::touch(TaskIsolate& isolate) {
  if (isolates_.front().get() == &isolate) return;
  isolates_.splice(isolates_.begin(), isolates_, find_isolate(isolate));
}

void WarmSet::destroy(Isolates::iterator isolate) {
  TaskIsolate* const doomed = isolate->get();
  std::vector<std::int64_t> inside;
  for (const auto& [id, run] : runs_) {
    if (run.isolate == doomed) inside.push_back(id);
  }
  std::sort(inside.begin(), inside.end());
  for (const std::int64_t id : inside) evict(id);
  if (last_started_ == doomed) last_started_ = nullptr;
  bytes_ -= doomed->bytes();
  isolates_.erase(isolate);
}

void WarmSet::retire(TaskIsolate& isolate) {
  if (isolate.condemned() || (isolate.alone && isolate.runs == 0)) destroy(find_isolate(isolate));
}

void WarmSet::forget_function(std::int64_t function_id) {
  for (auto it = isolates_.begin(); it != isolates_.end();) {
    const auto here = it++;
    if ((*here)->function_id() == function_id && (*here)->runs == 0) destroy(here);
  }
}

void WarmSet::measure(TaskIsolate& isolate) {
  bytes_ -= isolate.bytes();
  bytes_ += isolate.measure();
}

void WarmSet::settle_accounts(TaskIsolate& isolate) {
  isolate.littered = true;
  if (++slices_since_measured_ >= kSlicesPerMeasurement) {
    slices_since_measured_ = 0;
    measure(isolate);
    pump_due_ = last_started_ != nullptr;
  }
  while (static_cast<std::int64_t>(runs_.size()) > options_.runs_max && ages_.size() > 1) {
    TaskIsolate* const from = runs_.at(ages_.back()).isolate;
    evict(ages_.back());
    if (from->runs == 0 && from != &isolate) destroy(find_isolate(*from));
  }
  while (bytes_ > options_.bytes_max && isolates_.size() > 1) {
    auto oldest = std::prev(isolates_.end());
    if (oldest->get() == &isolate) oldest = std::prev(oldest);
    destroy(oldest);
  }
  if (bytes_ <= options_.bytes_max) return;
  // Only this isolate is left, and it alone is over: its older runs go, and their memory now.
  while (isolate.runs > 1 && ages_.size() > 1) evict(ages_.back());
  isolate.drop_spare();
  isolate.isolate()->LowMemoryNotification();
  measure(isolate);
}

std::vector<std::int64_t> WarmSet::take_evicted() { return std::exchange(evicted_, {}); }

bool WarmSet::wants_idle_work() const {
  if (last_started_ == nullptr) return false;
  const bool wants_spare =
      !last_started_->has_spare() && has_room(*last_started_) && bytes_ <= options_.bytes_max;
  return wants_spare || pump_due_;
}

void WarmSet::do_idle_work() {
  pump_due_ = false;
  platform_.pump(last_started_->isolate());
  if (wants_idle_work()) last_started_->make_spare();
}

bool WarmSet::wants_quiet_work() const {
  return std::any_of(isolates_.begin(), isolates_.end(),
                     [](const auto& one) { return one->littered; });
}

void WarmSet::do_quiet_work() {
  const auto littered = std::find_if(isolates_.begin(), isolates_.end(),
                                     [](const auto& one) { return one->littered; });
  if (littered == isolates_.end()) return;
  TaskIsolate& isolate = **littered;
  isolate.littered = false;
  isolate.isolate()->LowMemoryNotification();
  platform_.pump(isolate.isolate());
  measure(isolate);
}

}  // namespace sequential::engine::v8host
