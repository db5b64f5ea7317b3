#pragma once
// Limits of task code, each a configuration value (limits.*) with an error code of its own.

#include <cstdint>

namespace sequential::engine {

struct Limits {
  std::int64_t heap_bytes = 128ll << 20;        // V8 heap of an isolate → memory_limit
  std::int64_t buffer_bytes = 64ll << 20;       // ArrayBuffers of an isolate → RangeError
  std::int64_t cpu_ms = 10'000;                 // CPU between two suspensions → cpu_limit
  std::int64_t wall_ms = 30'000;                // wall time between two suspensions → wall_limit
  std::int64_t hard_kill_ms = 500;              // after the soft limit, SIGKILL
  std::int64_t calls_in_flight = 10'000;        // → calls_limit
  std::int64_t payload_bytes = 32ll << 20;      // one args, result or error → payload_too_large
  std::int64_t log_entries_per_slice = 1'000;   // more are dropped, with one entry saying so
  std::int64_t log_message_bytes = 8'192;       // longer ones are cut
  std::int64_t status_bytes = 16ll << 10;       // of a status, or of a progress → RangeError
  std::int64_t attributes = 32;                 // of a run → RangeError, as the next two
  std::int64_t attribute_chars = 256;           // of one's text
  std::int64_t attributes_chars = 2'048;        // JSON of those set at once
  std::int64_t frame_bytes = 80ll << 20;        // one frame of the engine protocol
};

}  // namespace sequential::engine
