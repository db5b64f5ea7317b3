#pragma once
// The framed protocol between broker and engine over one stream socketpair. Linked by both; knows
// neither V8 nor Asio. The decoders treat every byte as hostile: a frame that is not exactly a
// message of its type is an error, never a crash, an over-read or an allocation beyond its length.
//
// Grammar (little-endian):
//   frame   = length:u32  type:u8  body            length counts type and body, 1 … frame_bytes
//   string  = length:u32  bytes
//   i64     = 8 bytes two's complement             u8, u32 likewise
//   list(T) = count:u32  T*                        optional(T) = 0:u8 | 1:u8 T
// Members are encoded in the order in which the structs below declare them.
//
// Broker → engine: Hello first, then any of Begin (followed by Journal pages, the last with
// more=false, when Begin.cold and Begin.calls_recorded > 0), Check, Forget. The engine answers Ready
// to Hello, one SliceDone per Begin and one Checked per Check in the order received; between them it
// may send Progress (replay goes on), Evicted, and as its last words Dying.
// A Begin with cold=false for a run that is not warm at exactly `delivered_from` is answered by
// SliceDone{status=not_warm} at once, nothing having run.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sequential/base/error.h"
#include "sequential/engine/limits.h"

namespace sequential::engine::protocol {

inline constexpr std::uint32_t kVersion = 1;

struct Hello {
  std::uint32_t version = kVersion;
  Limits limits;
  std::int64_t warm_bytes_max = 0;  // this engine's share
  std::int64_t warm_runs_max = 0;
  std::int64_t runs_per_isolate = 64;
  bool jit = true;
};
struct OutcomeFrame {
  std::int64_t seq = 0, delivered_as = 0;
  bool failed = false;
  std::string payload;
  std::int64_t at_ms = 0;
};
struct Begin {
  std::int64_t run = 0;
  std::int64_t function_id = 0;
  bool cold = true;
  bool alone = false;
  std::int64_t delivered_from = 0;     // outcomes already seen by the warm context
  std::int64_t delivered_through = 0;  // position to reach in this slice
  std::int64_t calls_recorded = 0, logs_recorded = 0;
  std::vector<OutcomeFrame> outcomes;  // warm: from+1 … through. cold: empty (they are in Journal)
  // Cold only:
  std::string name;                    // of the task, for stack traces and `task.name`
  std::int64_t version = 0;
  std::optional<std::string> code;     // absent if this engine has been sent it before
  std::string input, seed;
  std::int64_t started_at_ms = 0;
};
struct JournalRow {
  std::int64_t seq = 0;
  std::string service, method;
  std::uint64_t args_hash_high = 0, args_hash_low = 0;  // XXH3-128 of the args text
  std::optional<OutcomeFrame> outcome;
};
struct Journal {
  std::int64_t run = 0;
  std::vector<JournalRow> rows;
  bool more = false;
};
struct Check {
  std::string name, code;
};
struct Forget {
  std::int64_t run = 0;
};
using ToEngine = std::variant<Hello, Begin, Journal, Check, Forget>;

struct Ready {
  std::uint32_t version = kVersion;
  std::string v8_version;
  std::int64_t base_blob_bytes = 0;
  bool base_from_file = false;
};
struct CallFrame {
  std::int64_t seq = 0;
  std::string service, method, args, options;
  std::int64_t source_line = 0;
};
struct LogFrame {
  std::string level, message;
};
enum class SliceDoneStatus : std::uint8_t { suspended, completed, failed, divergent, not_warm };
struct SliceDone {
  std::int64_t run = 0;
  SliceDoneStatus status = SliceDoneStatus::suspended;
  std::string payload;  // as SliceResult::payload
  std::vector<CallFrame> calls;
  std::vector<LogFrame> logs;
  bool replayed = false;
  bool warm = false;  // the context is kept; its position is Begin.delivered_through
  // The isolate was condemned by this slice: the run must be started again, alone, from its journal;
  // nothing of this slice counts (limits that a neighbour may have caused).
  bool retry_alone = false;
  std::int64_t resume_us = 0, cpu_us = 0;
  std::int64_t heap_bytes = 0;  // of all isolates of this engine, after the slice
};
struct Checked {
  bool ok = false;
  std::string message;
  std::int64_t line = 0, column = 0;
};
struct Evicted {
  std::vector<std::int64_t> runs;
};
struct Progress {
  std::int64_t run = 0, delivered = 0;  // strictly rising within one slice
};
struct Dying {  // written from the out-of-memory handler
  std::int64_t run = 0;
  bool alone = false;
  std::string limit;  // "memory_limit"
};
using FromEngine = std::variant<Ready, SliceDone, Checked, Evicted, Progress, Dying>;

// One whole frame including its length prefix. Aborts only if a body exceeds 4 GiB (limits.h caps it).
std::string encode(const ToEngine& message);
std::string encode(const FromEngine& message);

// `frame` is one frame without the length prefix (type and body). Errors: corrupt, saying where.
Result<ToEngine> decode_to_engine(std::string_view frame);
Result<FromEngine> decode_from_engine(std::string_view frame);

// Splits a byte stream into frames. Feed what arrived; take frames until nullopt. A length of 0 or
// over frame_bytes_max is an error and the stream is dead.
class FrameReader {
 public:
  explicit FrameReader(std::int64_t frame_bytes_max) : frame_bytes_max_(frame_bytes_max) {}
  void feed(std::string_view bytes);
  // The returned view is valid until the next call of feed or next.
  Result<std::optional<std::string_view>> next();

 private:
  std::int64_t frame_bytes_max_;
  std::string buffer_;
  std::size_t begin_ = 0;
};

}  // namespace sequential::engine::protocol
