#pragma once
// The Dying frame, prepared before it is needed: when memory runs out nothing can be allocated any
// more, only a write of ready bytes and the end of the process.
//
// Threads: `prepare_last_words` on the JS thread; `die_of_memory` on any, V8's workers too.

#include <cstdint>

namespace sequential::engine::v8host {

inline constexpr int kExitOutOfMemory = 70;

// From now on running out of memory is this run's doing. 0: no run is at work.
void prepare_last_words(std::int64_t run, bool alone);

// While a frame is being written, another thread's last words would land in its middle.
class FrameWriteScope {
 public:
  FrameWriteScope();
  FrameWriteScope(const FrameWriteScope&) = delete;
  FrameWriteScope& operator=(const FrameWriteScope&) = delete;
  ~FrameWriteScope();
};

[[noreturn]] void die_of_memory() noexcept;

// Makes operator new end the process like V8's own out-of-memory does.
void install_new_handler();

}  // namespace sequential::engine::v8host
