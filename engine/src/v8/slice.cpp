#include "slice.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "sequential/base/check.h"
#include "sequential/base/json_text.h"
#include "text.h"

namespace sequential::engine::v8host {
namespace {

using protocol::SliceDoneStatus;

constexpr Millis kProgressEvery{100};
constexpr std::size_t kErrorMessageBytesMax = 8'192;
constexpr std::size_t kErrorStackBytesMax = 16'384;

std::int64_t thread_cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

std::string error_json(std::string_view name, std::string_view message, std::string_view code,
                       std::string_view stack) {
  JsonObject error;
  error.string("name", name).string("message", clip_utf8(message, kErrorMessageBytesMax));
  error.string("code", code).string("stack", clip_utf8(stack, kErrorStackBytesMax));
  return std::move(error).text();
}

struct LimitText {
  const char* code;
  std::string message;
};

}  // namespace

Slice::Slice(SliceHost& host, const protocol::Begin& begin, TaskIsolate& isolate)
    : host_(host), begin_(begin), isolate_(isolate) {
  effects_.limits = host.limits;
  effects_.calls_recorded = begin.calls_recorded;
  if (!begin.cold) effects_.calls_emitted = begin.calls_recorded;
  effects_.logs_recorded = begin.logs_recorded;
  effects_.began = system_clock().monotonic();
  progress_sent_ = effects_.began;
  cpu_began_ns_ = thread_cpu_ns();
  isolate_.allocator().take_refused();
  isolate_.host().effects = &effects_;
}

Slice::~Slice() {
  isolate_.host().effects = nullptr;
  isolate_.rejections().clear();
}

bool Slice::going() const {
  return !effects_.ended && effects_.stop_code.empty() && fired_ == Watchdog::Fired::no &&
         !isolate_.condemned() && !effects_.matcher.divergence().has_value();
}

// V8 forgets a termination once the script has unwound, so what caused it is asked too.
bool Slice::stopped() const {
  return isolate_.isolate()->IsExecutionTerminating() || isolate_.condemned() ||
         !effects_.stop_code.empty() || host_.watchdog.fired() != Watchdog::Fired::no;
}

bool Slice::turn(const std::function<void()>& f) {
  v8::Isolate* const isolate = isolate_.isolate();
  host_.watchdog.arm(isolate);
  f();
  if (!stopped()) isolate->PerformMicrotaskCheckpoint();
  if (!isolate_.rejections().empty() && !stopped()) {
    report_rejections(Control(isolate->GetCurrentContext()));
    // Describing a reason can run getters of the task, and those can make promises ready.
    isolate->PerformMicrotaskCheckpoint();
  }
  refused_buffer_ = isolate_.allocator().take_refused() || refused_buffer_;
  const bool neighbours_matter = refused_buffer_ && isolate_.runs > 1;
  if (stopped() || neighbours_matter) isolate_.condemn();
  fired_ = host_.watchdog.disarm();
  if (fired_ != Watchdog::Fired::no) isolate_.condemn();
  return going();
}

void Slice::report_rejections(const Control& control) {
  v8::Isolate* const isolate = isolate_.isolate();
  std::vector<v8::Global<v8::Promise>> rejections;
  std::swap(rejections, isolate_.rejections());
  for (const auto& rejection : rejections) {
    const v8::HandleScope handles(isolate);
    const v8::TryCatch caught(isolate);
    const auto promise = rejection.Get(isolate);
    if (promise->HasHandler()) continue;
    if (!control.unhandled(promise->Result())) return;
  }
}

Result<protocol::SliceDone> Slice::run_warm(v8::Local<v8::Context> context, int script_id) {
  const v8::Context::Scope entered(context);
  effects_.script_id = script_id;
  delivered_ = begin_.delivered_from;
  for (const protocol::OutcomeFrame& outcome : begin_.outcomes) {
    if (!going() || !deliver(context, outcome)) break;
    report_progress();
  }
  return result(context);
}

Result<protocol::SliceDone> Slice::run_cold(v8::Local<v8::Context> context,
                                            TaskFunction& function) {
  const v8::Context::Scope entered(context);
  start(context, function);
  if (begin_.calls_recorded > 0) {
    SEQUENTIAL_TRY(const bool complete, replay(context));
    if (!complete) {
      protocol::SliceDone done;
      done.run = begin_.run;
      done.status = SliceDoneStatus::not_warm;
      return done;
    }
  }
  return result(context);
}

bool Slice::start(v8::Local<v8::Context> context, TaskFunction& function) {
  v8::Isolate* const isolate = isolate_.isolate();
  return turn([&] {
    const v8::HandleScope handles(isolate);
    v8::TryCatch caught(isolate);
    const Control control(context);
    const bool begun = control.begin({.id = begin_.shown_as != 0 ? begin_.shown_as : begin_.run,
                                      .name = function.name,
                                      .version = function.version,
                                      .seed = begin_.seed,
                                      .started_at_ms = begin_.started_at_ms,
                                      .limits = host_.limits});
    v8::Local<v8::String> text;
    v8::Local<v8::Value> input;
    if (!begun || !to_v8(isolate, begin_.input).ToLocal(&text) ||
        !v8::JSON::Parse(context, text).ToLocal(&input)) {
      if (!caught.HasTerminated()) fail("Error", "the input cannot be read", "internal");
      return;
    }
    TaskLoader loader(function, isolate_.script());
    const auto loaded = loader.load(context);
    if (!loaded) {
      fail_load(context, loader.problem());
      return;
    }
    effects_.script_id = loaded->script_id;
    control.start(loaded->function, input);
  });
}

bool Slice::deliver(v8::Local<v8::Context> context, const protocol::OutcomeFrame& outcome) {
  v8::Isolate* const isolate = isolate_.isolate();
  delivered_ = outcome.delivered_as;
  effects_.dropped.erase(outcome.seq);
  return turn([&] {
    const v8::HandleScope handles(isolate);
    const v8::TryCatch caught(isolate);
    v8::Local<v8::String> text;
    v8::Local<v8::Value> value;
    if (!to_v8(isolate, outcome.payload).ToLocal(&text) ||
        !v8::JSON::Parse(context, text).ToLocal(&value)) {
      if (!caught.HasTerminated() && !isolate_.condemned()) {
        fail("Error", "the outcome of call " + std::to_string(outcome.seq) + " cannot be read",
             "internal");
      }
      return;
    }
    const auto settled = Control(context).settle(outcome.seq, outcome.failed, value, outcome.at_ms);
    if (settled == Control::Settled::unknown_call) effects_.matcher.missing(outcome.seq);
    if (settled == Control::Settled::no && !caught.HasTerminated() && !isolate_.condemned()) {
      fail("Error", "the outcome of call " + std::to_string(outcome.seq) + " cannot be delivered",
           "internal");
    }
  });
}

Result<bool> Slice::replay(v8::Local<v8::Context> context) {
  for (;;) {
    SEQUENTIAL_TRY(protocol::Journal page, host_.next_page());
    if (page.abandoned) return false;
    SEQUENTIAL_TRY(take_page(context, page));
    if (!page.more) break;
  }
  return true;
}

Result<void> Slice::take_page(v8::Local<v8::Context> context, protocol::Journal& page) {
  for (protocol::JournalRow& row : page.rows) {
    // A task that ended before its recorded calls: the first of them is what it is compared with.
    if (!going() && row.seq > effects_.calls_emitted + 1) break;
    if (row.seq > 0) {  // 0 is no call: the run was asked to end
      const bool due =
          effects_.matcher.recorded(row.seq, {std::move(row.service), std::move(row.method),
                                              Hash128{row.args_hash_high, row.args_hash_low}});
      if (!due) return make_error(Errc::corrupt, "a journal row out of order");
    }
    if (!going()) continue;
    if (row.outcome) {
      const auto position = row.outcome->delivered_as;
      held_.emplace(position, std::move(*row.outcome));
    }
    deliver_held(context);
  }
  return success();
}

void Slice::deliver_held(v8::Local<v8::Context> context) {
  for (auto next = held_.begin(); next != held_.end() && next->first == delivered_ + 1 &&
                                  next->first <= begin_.delivered_through;
       next = held_.begin()) {
    const protocol::OutcomeFrame outcome = std::move(next->second);
    held_.erase(next);
    if (!deliver(context, outcome)) return;
    report_progress();
  }
}

void Slice::report_progress() {
  const MonoTime now = system_clock().monotonic();
  if (now - progress_sent_ < kProgressEvery) return;
  progress_sent_ = now;
  host_.progress({.run = begin_.run, .delivered = delivered_});
}

void Slice::fail(const char* name, std::string message, std::string code, std::string stack) {
  if (effects_.ended) return;
  effects_.ended = true;
  effects_.succeeded = false;
  effects_.payload = error_json(name, message, code, stack);
}

void Slice::fail_load(v8::Local<v8::Context> context, const LoadProblem& problem) {
  if (problem.terminated) return;
  v8::Isolate* const isolate = isolate_.isolate();
  const v8::TryCatch caught(isolate);
  // What the code threw while it ran has a stack of its own; a syntax error has only a position.
  if (!problem.thrown.IsEmpty() && problem.message.rfind("SyntaxError", 0) != 0 &&
      Control(context).fail(problem.thrown)) {
    return;
  }
  const std::string file = problem.source.empty() ? begin_.name + ".js" : problem.source;
  const std::string at = problem.line > 0
                             ? "\n    at " + file + ":" + std::to_string(problem.line) + ":" +
                                   std::to_string(problem.column)
                             : "";
  const bool syntax = problem.message.rfind("SyntaxError", 0) == 0;
  fail(syntax ? "SyntaxError" : "Error", problem.message, "code_invalid", problem.message + at);
}

// Nothing that the task waits for can come.
bool Slice::stuck(v8::Local<v8::Context> context) {
  if (isolate_.condemned() || effects_.ended || !effects_.calls.empty()) return false;
  const v8::HandleScope handles(isolate_.isolate());
  const v8::TryCatch caught(isolate_.isolate());
  return Control(context).pending() == 0;
}

void Slice::end_stuck(v8::Local<v8::Context> context) {
  turn([&] {
    const v8::HandleScope handles(isolate_.isolate());
    const v8::TryCatch caught(isolate_.isolate());
    Control(context).end_cancelled();
  });
  if (isolate_.condemned()) return;
  fail("DeadlockError",
       "the task waits for a promise that nothing can settle: no call is in flight", "deadlock");
}

protocol::SliceDone Slice::result(v8::Local<v8::Context> context) {
  protocol::SliceDone done;
  done.run = begin_.run;
  done.replayed = begin_.cold && begin_.calls_recorded > 0;
  done.cpu_us = (thread_cpu_ns() - cpu_began_ns_) / 1'000;
  effects_.mark_first_effect();
  done.resume_us = effects_.first_effect_us;
  auto& matcher = effects_.matcher;
  if (!isolate_.condemned()) {
    if (begin_.cold && effects_.calls_emitted < begin_.calls_recorded) {
      matcher.missing(effects_.calls_emitted + 1);
    }
    if (matcher.divergence()) {
      done.status = SliceDoneStatus::divergent;
      done.payload = matcher.divergence_json();
      return done;
    }
    if (stuck(context)) end_stuck(context);
  }
  if (isolate_.condemned()) {
    conclude_limits(done);
  } else {
    if (effects_.ended) conclude_end(done);
    conclude_dropped(done);
  }
  done.calls = std::move(effects_.calls);
  done.logs = std::move(effects_.logs);
  if (effects_.status) done.logs.push_back({"status", *std::move(effects_.status)});
  if (effects_.progress) done.logs.push_back({"progress", *std::move(effects_.progress)});
  // Entries that did not fit are sent by the next slice, which a replay makes again from the start:
  // the recorded ones are then exactly the first so many.
  done.warm =
      done.status == SliceDoneStatus::suspended && !effects_.logs_dropped && !isolate_.condemned();
  return done;
}

void Slice::conclude_limits(protocol::SliceDone& done) {
  const bool memory = isolate_.near_heap_limit() || (refused_buffer_ && isolate_.runs > 1);
  if (memory && isolate_.runs > 1) {
    done.retry_alone = true;
    effects_.calls.clear();
    effects_.logs.clear();
    effects_.status.reset();
    effects_.progress.reset();
    return;
  }
  LimitText limit{"internal", "the slice was terminated"};
  if (!effects_.stop_code.empty()) {
    const bool calls = effects_.stop_code == "calls_limit";
    limit = {effects_.stop_code.c_str(),
             calls ? "more than limits.calls_in_flight = " +
                         std::to_string(host_.limits.calls_in_flight) +
                         " calls in flight or made in one slice"
                   : "the calls of one slice exceed limits.frame_bytes together"};
  } else if (memory) {
    limit = {"memory_limit", "the task needs more memory than limits.heap_bytes = " +
                                 std::to_string(host_.limits.heap_bytes)};
  } else if (fired_ == Watchdog::Fired::cpu) {
    limit = {"cpu_limit", "the task computed for more than limits.cpu_ms = " +
                              std::to_string(host_.limits.cpu_ms) + " without waiting for a call"};
  } else if (fired_ == Watchdog::Fired::wall) {
    limit = {"wall_limit",
             "the task ran for more than limits.wall_ms = " + std::to_string(host_.limits.wall_ms) +
                 " without waiting for a call"};
  }
  done.status = SliceDoneStatus::failed;
  done.payload = error_json("LimitError", limit.message, limit.code, "");
  // A turn that was cut short is not repeatable: its calls do not count.
  effects_.calls.clear();
}

// The last so many, if there are more. A replay drops all those of earlier slices again, which have
// been told of already: what is new comes after them. What is not told goes on to its own end.
void Slice::conclude_dropped(protocol::SliceDone& done) {
  const auto too_many =
      static_cast<std::int64_t>(effects_.dropped.size()) - host_.limits.calls_in_flight;
  std::int64_t first = 0;
  if (too_many > 0) {
    std::vector<std::int64_t> order;
    order.reserve(effects_.dropped.size());
    for (const auto& [seq, drop] : effects_.dropped) order.push_back(drop);
    const auto nth = order.begin() + too_many;
    std::nth_element(order.begin(), nth, order.end());
    first = *nth;
  }
  for (const auto& [seq, drop] : effects_.dropped) {
    if (drop >= first) done.dropped.push_back({.seq = seq});
  }
}

void Slice::conclude_end(protocol::SliceDone& done) {
  const auto bytes_max = static_cast<std::size_t>(host_.limits.payload_bytes);
  done.status = effects_.succeeded   ? SliceDoneStatus::completed
                : effects_.cancelled ? SliceDoneStatus::cancelled
                                     : SliceDoneStatus::failed;
  const bool too_large = effects_.payload.size() > bytes_max;
  const bool too_deep = !too_large && json_deeper_than(effects_.payload, kJsonDepthMax);
  if (!too_large && !too_deep) {
    done.payload = std::move(effects_.payload);
    return;
  }
  const std::string what = effects_.succeeded ? "the result" : "the error";
  done.status = SliceDoneStatus::failed;
  done.payload = too_large ? error_json("RangeError",
                                        what + " of the task exceeds limits.payload_bytes = " +
                                            std::to_string(host_.limits.payload_bytes),
                                        "payload_too_large", "")
                           : error_json("RangeError", what + " of the task is nested too deep",
                                        "payload_too_large", "");
}

}  // namespace sequential::engine::v8host
