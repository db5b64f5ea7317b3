#pragma once
// TaskIsolate: one V8 isolate with the contexts of several runs of one task function version.
//
// An isolate that was terminated, or whose heap came near its limit, is condemned: nothing more
// runs in it and it is destroyed.

#include <v8.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "allocator.h"
#include "base_blob.h"
#include "natives.h"
#include "platform.h"
#include "sequential/engine/limits.h"

namespace sequential::engine::v8host {

class TaskIsolate {
 public:
  TaskIsolate(const Platform& platform, BaseBlob& base, const Limits& limits,
              std::int64_t function_id);
  TaskIsolate(const TaskIsolate&) = delete;
  TaskIsolate& operator=(const TaskIsolate&) = delete;
  ~TaskIsolate();

  v8::Isolate* isolate() const { return isolate_; }
  std::int64_t function_id() const { return function_id_; }
  IsolateHost& host() { return host_; }
  BudgetAllocator& allocator() { return allocator_; }

  // A fresh context, thawed and ready for `begin`. Uses the spare one if there is one. Empty if V8
  // could not make it (no memory). Call inside Isolate::Scope and HandleScope.
  v8::MaybeLocal<v8::Context> new_context();
  bool has_spare() const { return !spare_.IsEmpty(); }
  // Makes a context ahead of time.
  void make_spare();
  void drop_spare() { spare_.Reset(); }

  // The function's compiled script, kept here once compiled.
  v8::Global<v8::UnboundScript>& script() { return script_; }

  void condemn() { condemned_ = true; }
  bool condemned() const { return condemned_; }
  bool near_heap_limit() const { return near_heap_limit_; }

  // Rejected promises without a handler, as of now.
  std::vector<v8::Global<v8::Promise>>& rejections() { return rejections_; }

  // Memory of this isolate as last measured, and measuring it (about 2 µs).
  std::int64_t bytes() const { return bytes_; }
  std::int64_t measure();

  int runs = 0;           // contexts of runs in here, the running one included
  bool alone = false;     // made for one run that must not meet others
  bool littered = false;  // has run since its garbage was last collected

 private:
  static std::size_t on_near_heap_limit(void* self, std::size_t current, std::size_t initial);
  static void on_rejection(v8::PromiseRejectMessage message);
  v8::MaybeLocal<v8::Context> create_context();

  const Platform& platform_;
  const std::int64_t function_id_;
  BudgetAllocator allocator_;
  IsolateHost host_;
  v8::Isolate* isolate_ = nullptr;
  v8::Global<v8::Context> spare_;
  v8::Global<v8::UnboundScript> script_;
  std::vector<v8::Global<v8::Promise>> rejections_;
  std::int64_t bytes_ = 0;
  bool condemned_ = false;
  bool near_heap_limit_ = false;
};

// The isolate whose natives and callbacks are running.
TaskIsolate& task_isolate_of(v8::Isolate* isolate);

}  // namespace sequential::engine::v8host
