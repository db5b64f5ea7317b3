#include "engine.h"

#include <string>
#include <utility>
#include <variant>

#include "last_words.h"
#include "sequential/base/check.h"
#include "text.h"

namespace sequential::engine::v8host {
namespace {

// A Check has a page of its own in the last words: no run is at work.
constexpr std::int64_t kNoRun = 0;

// A broker that has the next frame nearly ready must not find the engine busy with something else.
constexpr Micros kIdleAfter{500};
// An engine without work for so long gives back what memory it can.
constexpr Micros kQuietAfter{5'000'000};

Error violation(const char* what) { return make_error(Errc::corrupt, what); }

}  // namespace

Engine::Engine(Channel& channel, const Platform& platform, BaseBlob& base, Watchdog& watchdog,
               const protocol::Hello& hello)
    : channel_(channel),
      platform_(platform),
      base_(base),
      watchdog_(watchdog),
      hello_(hello),
      warm_(platform, base,
            {.bytes_max = hello.warm_bytes_max,
             .runs_max = hello.warm_runs_max,
             .runs_per_isolate = hello.runs_per_isolate,
             .limits = hello.limits}) {
  prepare_last_words(kNoRun, false);
}

Result<void> Engine::send(const protocol::FromEngine& message) {
  if (channel_.write(message)) return success();
  return make_error(Errc::unavailable, "the broker is gone");
}

Result<void> Engine::serve() {
  SEQUENTIAL_TRY(send(protocol::Ready{.v8_version = v8::V8::GetVersion(),
                                      .base_blob_bytes = static_cast<std::int64_t>(base_.size()),
                                      .base_from_file = base_.from_file()}));
  for (;;) {
    use_idle_time();
    SEQUENTIAL_TRY(auto message, channel_.read());
    if (!message) return success();
    SEQUENTIAL_TRY(handle(std::move(*message)));
  }
}

// Until a frame waits or nothing is left to do.
void Engine::use_idle_time() {
  while (warm_.wants_idle_work()) {
    if (channel_.ready(kIdleAfter)) return;
    warm_.do_idle_work();
  }
  while (warm_.wants_quiet_work()) {
    if (channel_.ready(kQuietAfter)) return;
    warm_.do_quiet_work();
  }
}

Result<void> Engine::handle(protocol::ToEngine message) {
  if (auto* const frame = std::get_if<protocol::Begin>(&message)) return begin(*frame);
  if (const auto* const frame = std::get_if<protocol::Check>(&message)) return check(*frame);
  if (const auto* const frame = std::get_if<protocol::Forget>(&message)) {
    const auto* const run = warm_.find(frame->run);
    if (run == nullptr) return success();
    TaskIsolate& isolate = *run->isolate;
    warm_.drop(frame->run);
    warm_.retire(isolate);
    return success();
  }
  return violation("a frame that is not expected here");
}

protocol::SliceDone Engine::not_warm(std::int64_t run) const {
  protocol::SliceDone done;
  done.run = run;
  done.status = protocol::SliceDoneStatus::not_warm;
  return done;
}

Result<void> Engine::begin(protocol::Begin& frame) {
  prepare_last_words(frame.run, frame.alone);
  const auto answered = frame.cold ? begin_cold(frame) : begin_warm(frame);
  prepare_last_words(kNoRun, false);
  return answered;
}

Result<void> Engine::begin_warm(const protocol::Begin& frame) {
  WarmSet::Run* const run = warm_.find(frame.run);
  const bool usable = run != nullptr && run->position == frame.delivered_from &&
                      run->calls == frame.calls_recorded && (!frame.alone || run->isolate->alone);
  if (!usable) return answer(not_warm(frame.run), nullptr);
  TaskIsolate& isolate = *run->isolate;
  SliceHost host{watchdog_, hello_.limits, {}, [&](const protocol::Progress& progress) {
                   channel_.write(progress);
                 }};
  protocol::SliceDone done;
  {
    const v8::Isolate::Scope entered(isolate.isolate());
    const v8::HandleScope handles(isolate.isolate());
    const auto context = run->context.Get(isolate.isolate());
    Slice slice(host, frame, isolate);
    SEQUENTIAL_TRY(auto answered, slice.run_warm(context, run->script_id));
    done = std::move(answered);
    if (done.warm) {
      warm_.keep(frame.run, isolate, context, slice, frame.delivered_through);
    }
  }
  if (!done.warm) warm_.drop(frame.run);
  return answer(std::move(done), &isolate);
}

Result<void> Engine::begin_cold(protocol::Begin& frame) {
  warm_.drop(frame.run);
  SEQUENTIAL_TRY(TaskFunction* const function, function_of(frame));
  TaskIsolate& isolate = warm_.isolate_for(frame.function_id, frame.alone);
  SliceHost host{watchdog_, hello_.limits, [&] { return next_page(frame.run); },
                 [&](const protocol::Progress& progress) { channel_.write(progress); }};
  protocol::SliceDone done;
  {
    const v8::Isolate::Scope entered(isolate.isolate());
    const v8::HandleScope handles(isolate.isolate());
    v8::Local<v8::Context> context;
    if (!isolate.new_context().ToLocal(&context)) die_of_memory();
    Slice slice(host, frame, isolate);
    SEQUENTIAL_TRY(auto answered, slice.run_cold(context, *function));
    done = std::move(answered);
    if (done.warm) {
      warm_.keep(frame.run, isolate, context, slice, frame.delivered_through);
    }
  }
  if (!done.warm) warm_.leave(isolate);
  return answer(std::move(done), &isolate);
}

Result<void> Engine::answer(protocol::SliceDone done, TaskIsolate* isolate) {
  if (isolate != nullptr) {
    const bool gone = isolate->condemned() || (isolate->alone && isolate->runs == 0);
    warm_.retire(*isolate);
    if (!gone) warm_.settle_accounts(*isolate);
  }
  auto evicted = warm_.take_evicted();
  std::erase(evicted, done.run);
  if (!evicted.empty()) {
    SEQUENTIAL_TRY(send(protocol::Evicted{.runs = std::move(evicted)}));
  }
  done.heap_bytes = warm_.bytes();
  return send(std::move(done));
}

Result<TaskFunction*> Engine::function_of(protocol::Begin& frame) {
  if (!frame.code) {
    const auto found = functions_.find(frame.function_id);
    if (!ledger_.use(frame.function_id) || found == functions_.end()) {
      return violation("a run of a function whose code was not sent");
    }
    return found->second.get();
  }
  for (const std::int64_t dropped : ledger_.hold(frame.function_id, frame.code->size())) {
    warm_.forget_function(dropped);
    functions_.erase(dropped);
  }
  auto& function = functions_[frame.function_id];
  // Sent again, it is the same code: versions are immutable.
  if (!function) {
    function = std::make_unique<TaskFunction>();
    function->id = frame.function_id;
    function->name = frame.name;
    function->version = frame.version;
    set_code(*function, std::move(*frame.code));
  }
  return function.get();
}

Result<protocol::Journal> Engine::next_page(std::int64_t run) {
  SEQUENTIAL_TRY(auto message, channel_.read());
  if (!message) return make_error(Errc::unavailable, "the broker is gone");
  auto* const page = std::get_if<protocol::Journal>(&*message);
  if (page == nullptr || page->run != run) return violation("a journal page was due");
  return std::move(*page);
}

Result<void> Engine::check(const protocol::Check& frame) {
  TaskFunction function;
  function.name = frame.name;
  set_code(function, frame.code);
  protocol::Checked checked;
  TaskIsolate isolate(platform_, base_, hello_.limits, 0);
  {
    const v8::Isolate::Scope entered(isolate.isolate());
    const v8::HandleScope handles(isolate.isolate());
    v8::Local<v8::Context> context;
    if (!isolate.new_context().ToLocal(&context)) die_of_memory();
    const v8::Context::Scope inside(context);
    const v8::TryCatch caught(isolate.isolate());
    Effects effects;
    effects.limits = hello_.limits;
    isolate.host().effects = &effects;
    watchdog_.arm(isolate.isolate());
    const bool begun = Control(context).begin(
        {.name = frame.name, .seed = std::string(16, '\0'), .limits = hello_.limits});
    TaskLoader loader(function, isolate.script());
    const bool loaded = begun && loader.load(context).has_value();
    const auto fired = watchdog_.disarm();
    isolate.host().effects = nullptr;
    isolate.rejections().clear();
    checked.ok = loaded && fired == Watchdog::Fired::no && !isolate.condemned();
    if (!checked.ok) {
      const LoadProblem& problem = loader.problem();
      checked.message =
          isolate.near_heap_limit() ? "loading the code needs too much memory" : problem.message;
      checked.line = problem.line;
      checked.column = problem.column;
      checked.source = problem.source;
    }
  }
  return send(std::move(checked));
}

}  // namespace sequential::engine::v8host
