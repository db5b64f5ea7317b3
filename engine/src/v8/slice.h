#pragma once
// Slice: one stretch of a run's task code, from a Begin frame to its SliceDone. Warm: delivers the
// new outcomes to the waiting context. Cold: starts the code anew and delivers the journal's
// outcomes.
//
// A turn is what happens between two settled microtask queues: the start of the code, or the
// delivery of one outcome. Limits of time and of log entries are per turn, so that a replay, whose
// slices are cut elsewhere, behaves the same.

#include <v8.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "control.h"
#include "effects.h"
#include "sequential/base/error.h"
#include "sequential/engine/protocol.h"
#include "task_isolate.h"
#include "task_loader.h"
#include "watchdog.h"

namespace sequential::engine::v8host {

// What a slice needs of the engine around it.
struct SliceHost {
  Watchdog& watchdog;
  const Limits& limits;
  // Blocks for the next page of the journal. Errors: the stream ended or broke; the engine ends.
  std::function<Result<protocol::Journal>()> next_page;
  std::function<void(const protocol::Progress&)> progress;
};

class Slice {
 public:
  Slice(SliceHost& host, const protocol::Begin& begin, TaskIsolate& isolate);
  Slice(const Slice&) = delete;
  Slice& operator=(const Slice&) = delete;
  ~Slice();

  // Highest call number issued so far, of this run in all its slices.
  std::int64_t calls_emitted() const { return effects_.calls_emitted; }

  // The script that the task's code is, for the line numbers of its calls.
  int script_id() const { return effects_.script_id; }

  // In the context, which is the run's warm one.
  Result<protocol::SliceDone> run_warm(v8::Local<v8::Context> context, int script_id);
  // In a fresh context. not_warm if the journal was abandoned.
  Result<protocol::SliceDone> run_cold(v8::Local<v8::Context> context, TaskFunction& function);

 private:
  // False if the slice is over: ended, stopped by a limit, or divergent.
  bool going() const;
  // True once V8 was told to stop.
  bool stopped() const;
  // Runs f and everything it makes ready to run, under the watchdog. False as going().
  bool turn(const std::function<void()>& f);
  bool start(v8::Local<v8::Context> context, TaskFunction& function);
  bool deliver(v8::Local<v8::Context> context, const protocol::OutcomeFrame& outcome);
  Result<bool> replay(v8::Local<v8::Context> context);  // false: abandoned
  Result<void> take_page(v8::Local<v8::Context> context, protocol::Journal& page);
  void deliver_held(v8::Local<v8::Context> context);
  void report_progress();
  void report_rejections(const Control& control);
  void fail(const char* name, std::string message, std::string code, std::string stack = {});
  void fail_load(v8::Local<v8::Context> context, const LoadProblem& problem);

  protocol::SliceDone result(v8::Local<v8::Context> context);
  void conclude_limits(protocol::SliceDone& done);
  void conclude_end(protocol::SliceDone& done);
  bool stuck(v8::Local<v8::Context> context);
  void end_stuck(v8::Local<v8::Context> context);
  void conclude_dropped(protocol::SliceDone& done);

  SliceHost& host_;
  const protocol::Begin& begin_;
  TaskIsolate& isolate_;
  Effects effects_;
  Watchdog::Fired fired_ = Watchdog::Fired::no;
  bool refused_buffer_ = false;
  std::int64_t delivered_ = 0;                           // position reached
  std::map<std::int64_t, protocol::OutcomeFrame> held_;  // read ahead of their turn, by position
  MonoTime progress_sent_{};
  std::int64_t cpu_began_ns_ = 0;
};

}  // namespace sequential::engine::v8host
