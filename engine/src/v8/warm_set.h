#pragma once
// WarmSet: the isolates of this engine and the suspended runs in them, within a budget of memory
// and of runs. Decides where a new run goes and which runs are forgotten.
//
// Memory is measured per isolate, now and then, and given back by destroying whole isolates, those
// longest unused first: dropping one context frees nothing until V8 next collects.
//
// Threads: the JS thread only.

#include <v8.h>

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "slice.h"
#include "task_isolate.h"

namespace sequential::engine::v8host {

class WarmSet {
 public:
  struct Options {
    std::int64_t bytes_max = 0;
    std::int64_t runs_max = 0;
    std::int64_t runs_per_isolate = 64;
    Limits limits;
  };
  struct Run {
    std::int64_t id = 0;
    TaskIsolate* isolate = nullptr;
    v8::Global<v8::Context> context;
    std::int64_t position = 0;  // outcomes delivered
    std::int64_t calls = 0;     // calls issued
    int script_id = -1;         // of the task's code in its isolate
    std::list<std::int64_t>::iterator age;
  };

  WarmSet(const Platform& platform, BaseBlob& base, const Options& options)
      : platform_(platform), base_(base), options_(options) {}
  WarmSet(const WarmSet&) = delete;
  WarmSet& operator=(const WarmSet&) = delete;
  ~WarmSet();

  // The run, now the most recently used; null if it is not warm.
  Run* find(std::int64_t run);
  // Keeps a suspended run. Its context counts in the isolate already.
  void keep(std::int64_t run, TaskIsolate& isolate, v8::Local<v8::Context> context,
            const Slice& slice, std::int64_t position);
  // Forgets the run, if it is warm.
  void drop(std::int64_t run);

  // An isolate with room for one more run of the function; with `alone`, a new one for it only.
  // The run counts in it from now on.
  TaskIsolate& isolate_for(std::int64_t function_id, bool alone);
  // The slice of a run in the isolate is over and its context is not kept.
  void leave(TaskIsolate& isolate);

  // Destroys the isolate if it is condemned, or empty and alone. Its runs are added to evicted().
  void retire(TaskIsolate& isolate);
  // Destroys what the function left, as far as no run is in it.
  void forget_function(std::int64_t function_id);

  // After a slice in the isolate: measures now and then, and brings all within the budget.
  void settle_accounts(TaskIsolate& isolate);

  // Runs forgotten without being asked, since the last call.
  std::vector<std::int64_t> take_evicted();

  // Work for a moment when no frame waits: V8's own, and a context ahead of need where the last run
  // started (about 0.4 ms, most of what a start costs).
  bool wants_idle_work() const;
  void do_idle_work();
  // Work for a long pause: collects the garbage of one isolate that has run since it was last done.
  bool wants_quiet_work() const;
  void do_quiet_work();

  std::int64_t bytes() const { return bytes_; }
  std::size_t runs() const { return runs_.size(); }

 private:
  using Isolates = std::list<std::unique_ptr<TaskIsolate>>;

  void evict(std::int64_t run);
  void destroy(Isolates::iterator isolate);
  Isolates::iterator find_isolate(const TaskIsolate& isolate);
  void measure(TaskIsolate& isolate);
  void touch(TaskIsolate& isolate);
  bool has_room(const TaskIsolate& isolate) const;

  const Platform& platform_;
  BaseBlob& base_;
  const Options options_;
  Isolates isolates_;             // the most recently used first
  std::list<std::int64_t> ages_;  // runs, the most recently used first
  std::unordered_map<std::int64_t, Run> runs_;
  std::vector<std::int64_t> evicted_;
  std::int64_t bytes_ = 0;
  TaskIsolate* last_started_ = nullptr;
  int slices_since_measured_ = 0;
  bool pump_due_ = false;
};

}  // namespace sequential::engine::v8host
