#pragma once
// The rows of the store as values. Payload members (`input`, `args`, `options`, `result`, `error`,
// `fields`, `tags`) are JSON text, kept byte for byte as they came. Times are the store's clock.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/ids.h"

namespace sequential::storage {

// One immutable version of a task function.
struct TaskFunction {
  TaskFunctionId id;
  std::string name;
  int version = 0;  // 1, 2, 3 … per name
  std::string code;
  std::string code_sha256;  // lower-case hex
  std::string description;
  std::string input_schema;  // JSON text or empty
  std::string options;       // JSON text or empty
  WallTime created_at;
};

enum class RunStatus {
  queued,
  running,
  suspended_waiting_child,
  paused,
  completed,
  failed,
  cancelled,
};
enum class StackStatus {
  pending,                  // runnable once available_at has come
  processing,               // held by lease_owner until lease_until
  suspended_waiting_child,  // root only
  paused,                   // its task run is paused
  completed,
  failed,
  cancelled,
};
std::string_view run_status_name(RunStatus status) noexcept;  // as in the enum
std::string_view stack_status_name(StackStatus status) noexcept;
std::optional<RunStatus> run_status_from(std::string_view name) noexcept;
std::optional<StackStatus> stack_status_from(std::string_view name) noexcept;
constexpr bool is_terminal(RunStatus s) { return s >= RunStatus::completed; }
constexpr bool is_terminal(StackStatus s) { return s >= StackStatus::completed; }

// What made a stack run start: kept for people who look at latency.
enum class Via { chain, timer, sweep, manual };
enum class ResumeKind { warm, replay, checkpoint };
enum class Delivery { at_least_once, at_most_once };
std::string_view via_name(Via via) noexcept;
std::string_view resume_kind_name(ResumeKind kind) noexcept;
std::string_view delivery_name(Delivery delivery) noexcept;

struct TaskRun {
  TaskRunId id;
  TaskFunctionId task_function_id;
  std::string task_name;
  int task_version = 0;
  StackRunId root;
  std::string input;
  RunStatus status = RunStatus::queued;
  std::string pause_reason;  // "poison", "divergent", "operator", …; set while paused
  std::string pause_detail;  // JSON text or empty: what a person needs to decide
  std::string result;        // JSON text, set when completed
  std::string error;         // JSON text, set when failed or cancelled
  StackRunId parent_stack_run_id;  // the call that waits for this child task, or 0
  std::string idempotency_key;
  int priority = 0;
  std::string queue_key;
  std::string tags;  // JSON text or empty
  std::string seed;  // 16 random bytes: the run's source of randomness
  StackRunId waiting_on_stack_run_id;  // set while waiting for exactly one child, else 0
  std::int64_t journal_length = 0;     // outcomes recorded = highest delivered_as
  std::int64_t call_count = 0;         // calls issued = highest seq
  std::int64_t log_count = 0;
  std::int64_t crashes = 0;  // engine deaths since the last committed slice
  WallTime created_at, updated_at;
  std::optional<WallTime> started_at, ended_at;
};

struct StackRun {
  StackRunId id;
  TaskRunId task_run_id;
  std::int64_t seq = 0;  // 0 = root, 1… = calls in program order
  StackRunId parent_stack_run_id;
  std::string service_name, method_name;  // empty for the root
  std::string args;                       // JSON text: an array
  std::string options;                    // JSON text or empty
  Delivery delivery = Delivery::at_least_once;
  StackStatus status = StackStatus::pending;
  std::string result, error;
  int attempt = 0;  // tries begun
  std::int64_t epoch = 0;
  std::string lease_owner;
  std::optional<WallTime> lease_until;
  WallTime available_at;
  std::int64_t delivered_as = 0;  // position in the journal, 0 = no outcome yet
  std::int64_t slice = 0;         // number of the slice that issued it
  int source_line = 0;            // line of the task's code that made the call, 0 = unknown
  std::optional<Via> via;
  std::optional<std::int64_t> hop_us;  // from the commit that made it runnable to its start
  std::optional<ResumeKind> resume_kind;  // how the slice that issued it was resumed
  std::optional<std::int64_t> resume_us;
  WallTime created_at, updated_at;
  std::optional<WallTime> started_at, ended_at;
};

// A try that did not end the stack run. The try that did is the stack run itself.
struct Attempt {
  StackRunId stack_run_id;
  int attempt = 0;
  std::int64_t epoch = 0;
  std::string node;
  std::optional<WallTime> started_at;
  WallTime ended_at;
  std::string outcome;  // "failed" (will be retried), "lost" (its holder vanished), "released"
  std::string error;    // JSON text or empty
};

struct LogEntry {
  std::int64_t n = 0;  // 1… in program order within the run
  std::string level;   // debug, info, warn, error
  std::string message;
  std::string fields;  // JSON text or empty
  WallTime at;
};

struct KeystoreEntry {
  std::string name_space;
  std::string key;
  std::int64_t version = 0;
  std::string sealed;  // opaque bytes; empty in listings
  std::string key_id;  // which key-encryption key sealed it
  WallTime updated_at;
};

}  // namespace sequential::storage
