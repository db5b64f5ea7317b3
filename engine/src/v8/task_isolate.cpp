#include "task_isolate.h"

#include <algorithm>
#include <utility>

#include "control.h"
#include "last_words.h"

namespace sequential::engine::v8host {
namespace {

constexpr std::uint32_t kHostSlot = 0;
constexpr std::uint32_t kTaskIsolateSlot = 1;

// What the heap may grow beyond its limit while a terminated script unwinds. Memory is committed
// only as it is used, and the process has RLIMIT_DATA.
constexpr std::size_t kUnwindBytes = 2ull << 30;
// Young objects live apart from the limited old generation; small keeps many isolates cheap.
constexpr std::size_t kYoungBytesMax = 24u << 20;
// Promises rejected and not handled by the end of a turn, beyond which no more are reported.
constexpr std::size_t kRejectionsMax = 100;
// As Error.stackTraceLimit has it, so that V8 takes one trace for both uses.
constexpr int kStackFrames = 10;
// What an isolate costs beside its heap.
constexpr std::int64_t kIsolateOverheadBytes = 600 << 10;

}  // namespace

TaskIsolate& task_isolate_of(v8::Isolate* isolate) {
  return *static_cast<TaskIsolate*>(isolate->GetData(kTaskIsolateSlot));
}

TaskIsolate::TaskIsolate(const Platform& platform, BaseBlob& base, const Limits& limits,
                         std::int64_t function_id)
    : platform_(platform),
      function_id_(function_id),
      allocator_(static_cast<std::size_t>(limits.buffer_bytes)) {
  host_.allocator = &allocator_;
  v8::Isolate::CreateParams params;
  params.snapshot_blob = base.startup_data();
  params.external_references = external_references();
  params.array_buffer_allocator = &allocator_;
  params.constraints.set_max_old_generation_size_in_bytes(
      static_cast<std::size_t>(limits.heap_bytes));
  params.constraints.set_max_young_generation_size_in_bytes(kYoungBytesMax);
  isolate_ = v8::Isolate::New(params);
  isolate_->SetData(kHostSlot, &host_);
  isolate_->SetData(kTaskIsolateSlot, this);
  isolate_->SetMicrotasksPolicy(v8::MicrotasksPolicy::kExplicit);
  // So that one walk of the stack serves both the error's text and the line of a call.
  isolate_->SetCaptureStackTraceForUncaughtExceptions(
      true, kStackFrames,
      static_cast<v8::StackTrace::StackTraceOptions>(v8::StackTrace::kLineNumber |
                                                     v8::StackTrace::kScriptId));
  isolate_->SetAllowWasmCodeGenerationCallback(
      [](v8::Local<v8::Context>, v8::Local<v8::String>) { return false; });
  isolate_->SetPromiseRejectCallback(on_rejection);
  isolate_->AddNearHeapLimitCallback(on_near_heap_limit, this);
#if V8_MAJOR_VERSION >= 11
  isolate_->SetOOMErrorHandler([](const char*, const v8::OOMDetails&) { die_of_memory(); });
#else
  isolate_->SetOOMErrorHandler([](const char*, bool) { die_of_memory(); });
#endif
}

TaskIsolate::~TaskIsolate() {
  rejections_.clear();
  spare_.Reset();
  script_.Reset();
  host_.url_script.Reset();
  v8::platform::NotifyIsolateShutdown(platform_.get(), isolate_);
  isolate_->Dispose();
}

std::size_t TaskIsolate::on_near_heap_limit(void* self, std::size_t current, std::size_t) {
  auto* const that = static_cast<TaskIsolate*>(self);
  that->near_heap_limit_ = true;
  that->condemned_ = true;
  that->isolate_->TerminateExecution();
  return current + kUnwindBytes;
}

void TaskIsolate::on_rejection(v8::PromiseRejectMessage message) {
  const auto promise = message.GetPromise();
  v8::Isolate* const isolate = promise->GetIsolate();
  auto& rejections = task_isolate_of(isolate).rejections_;
  if (message.GetEvent() == v8::kPromiseRejectWithNoHandler) {
    if (rejections.size() < kRejectionsMax) rejections.emplace_back(isolate, promise);
  } else if (message.GetEvent() == v8::kPromiseHandlerAddedAfterReject) {
    std::erase_if(rejections, [&](const v8::Global<v8::Promise>& p) { return p == promise; });
  }
}

v8::MaybeLocal<v8::Context> TaskIsolate::create_context() {
  const auto context = v8::Context::New(isolate_);
  if (context.IsEmpty()) return {};
  context->AllowCodeGenerationFromStrings(false);
  const v8::Context::Scope entered(context);
  if (!Control(context).thaw()) return {};
  return context;
}

v8::MaybeLocal<v8::Context> TaskIsolate::new_context() {
  if (spare_.IsEmpty()) return create_context();
  const auto context = spare_.Get(isolate_);
  spare_.Reset();
  return context;
}

void TaskIsolate::make_spare() {
  if (!spare_.IsEmpty() || condemned_) return;
  const v8::Isolate::Scope entered(isolate_);
  const v8::HandleScope handles(isolate_);
  v8::Local<v8::Context> context;
  if (create_context().ToLocal(&context)) spare_.Reset(isolate_, context);
}

std::int64_t TaskIsolate::measure() {
  v8::HeapStatistics heap;
  isolate_->GetHeapStatistics(&heap);
  bytes_ = static_cast<std::int64_t>(heap.total_heap_size() + heap.malloced_memory() +
                                     allocator_.used()) +
           kIsolateOverheadBytes;
  return bytes_;
}

}  // namespace sequential::engine::v8host
