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
// Type bytes: broker → engine 1 + the index in ToEngine, engine → broker 128 + the index in
// FromEngine.
//
// The engine finds the socket at descriptor kSocketFd and nothing else but 0, 1 (/dev/null) and 2.
// Broker → engine: Hello first, then any of Begin (followed by Journal pages, the last with
// more=false, when Begin.cold and Begin.calls_recorded > 0; no other frame comes between), Check,
// Forget. The engine answers Ready to Hello, one SliceDone per Begin and one Checked per Check in
// the order received; between them it may send Progress (replay goes on), Evicted, and as its last
// words Dying. The next Begin or Check may arrive before the last is answered.
// - A Begin with cold=false for a run that is not warm at exactly `delivered_from` is answered by
//   SliceDone{status=not_warm} at once, nothing having run. A cold one drops the run's warm
//   context.
// - A Begin with journal pages is answered after the last page has been read, also if the slice
//   ended before. A page with abandoned=true is the last: the run is dropped, the answer is
//   not_warm.
// - What the engine sends must pass the broker's checks, else the engine dies for it: payload is
//   JSON that check_json takes (depth too), empty when suspended, an object when failed or
//   divergent; args an array, options an object or empty; calls numbered on from calls_recorded,
//   none when divergent; all texts UTF-8 and within Limits and the constants below.
// - An outcome of number 0, the first row of a journal that has it, is no call's: the run is asked
//   to end. It has no call of its own to be compared with.
// - `dropped` are calls that nobody in the run waits for any more: rising, each issued by this run.
//   cancelled says that a run that was asked to end has done so; it could as well say failed.
// - Task code runs on the engine's main thread: its CPU time is what the broker's hard limit reads.
// - An engine ends when its socket ends. Anything else that is not said here is a violation, for
//   which either side ends the engine.

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "sequential/base/error.h"
#include "sequential/engine/limits.h"

namespace sequential::engine::protocol {

inline constexpr std::uint32_t kVersion = 4;
inline constexpr int kSocketFd = 3;
inline constexpr std::size_t kNameBytesMax = 1'024;      // a call's service or method, each
inline constexpr std::size_t kSourceNameBytesMax = 16'384;  // of Checked, its escapes included
inline constexpr std::size_t kLogLevelBytesMax = 16;     // a-z
inline constexpr std::size_t kLogMessageSlackBytes = 64; // for the mark at the end of a cut message
inline constexpr std::size_t kFrameHeadBytes = 4;        // the length

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
  std::int64_t shown_as = 0;           // `task.id`; 0: run
  std::int64_t version = 0;
  std::optional<std::string> code;     // absent if this engine holds it (CodeLedger)
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
  bool abandoned = false;  // the journal cannot be read: give the slice up
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
struct DroppedFrame {
  std::int64_t seq = 0;
};
enum class SliceDoneStatus : std::uint8_t {
  suspended,
  completed,
  failed,
  divergent,
  not_warm,
  cancelled,
};
struct SliceDone {
  std::int64_t run = 0;
  SliceDoneStatus status = SliceDoneStatus::suspended;
  std::string payload;  // as SliceResult::payload
  std::vector<CallFrame> calls;
  // At most limits.log_entries_per_slice, and one that says so; then, as entries of these levels,
  // the run's newest "status" and "progress", if the slice set them.
  std::vector<LogFrame> logs;
  std::vector<DroppedFrame> dropped;
  bool replayed = false;
  bool warm = false;  // the context is kept; its position is Begin.delivered_through
  // The isolate was condemned by this slice: the run must be started again, alone, from its
  // journal; nothing of this slice counts (limits that a neighbour may have caused).
  bool retry_alone = false;
  std::int64_t resume_us = 0, cpu_us = 0;
  std::int64_t heap_bytes = 0;  // of all isolates of this engine, after the slice
};
struct Checked {
  bool ok = false;
  std::string message;
  std::int64_t line = 0, column = 0;
  std::string source{};  // as CodeProblem::source
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

// One whole frame including its length prefix. Aborts only if a body exceeds 4 GiB (limits.h caps
// it).
std::string encode(const ToEngine& message);
std::string encode(const FromEngine& message);

// `frame` is one frame without the length prefix (type and body). Errors: corrupt, saying where. A
// list from the engine longer than `limits` allow is an error before anything is allocated for it.
Result<ToEngine> decode_to_engine(std::string_view frame);
Result<FromEngine> decode_from_engine(std::string_view frame, const Limits& limits = {});

// Splits a byte stream into frames. Put in what arrived; take frames until nullopt. A length of 0
// or over frame_bytes_max is an error and the stream is dead. Memory follows the bytes that
// arrived, never the length that a frame claims; cost is linear in the bytes.
class FrameReader {
 public:
  explicit FrameReader(std::int64_t frame_bytes_max) : frame_bytes_max_(frame_bytes_max) {}
  void feed(std::string_view bytes);

  // Without a copy: read up to size() bytes into the span, then commit what was read. The span is
  // valid until the next call of any member.
  std::span<char> prepare(std::size_t bytes_min);
  void commit(std::size_t bytes);

  // The returned view is valid until the next call of any member.
  Result<std::optional<std::string_view>> next();

 private:
  std::int64_t frame_bytes_max_;
  std::string buffer_;      // storage; what has arrived and was not taken is [begin_, end_)
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

// Which functions' code an engine holds. Broker and engine keep one each and tell it of every cold
// Begin in the order of the stream, so both drop the same code at the same time and need no message
// for it. Begin without code: `use` must be true. Begin with code: `hold`, and drop what it
// returns.
class CodeLedger {
 public:
  static constexpr std::size_t kFunctionsMax = 4'096;
  static constexpr std::size_t kBytesMax = 64u << 20;

  bool holds(std::int64_t function_id) const { return index_.contains(function_id); }
  // True if held; it is then the most recently used.
  bool use(std::int64_t function_id);
  // The code is held from now on (in place of any before). Returns the functions dropped for it,
  // the least recently used first: as many as it takes to keep both bounds, this one always
  // staying.
  std::vector<std::int64_t> hold(std::int64_t function_id, std::size_t code_bytes);

 private:
  struct Entry {
    std::int64_t function_id;
    std::size_t bytes;
  };
  std::list<Entry> by_use_;  // the most recently used first
  std::unordered_map<std::int64_t, std::list<Entry>::iterator> index_;
  std::size_t bytes_ = 0;
};

}  // namespace sequential::engine::protocol
