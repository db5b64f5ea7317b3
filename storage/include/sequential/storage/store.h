#pragma once
// Durable task state: the only way any other module reads or writes it (architecture §4, §5).
//
// Every transition is one transaction. Every transition of a claimed stack run names the claim's
// epoch and must change exactly one row; otherwise it changes nothing and answers Errc::fenced, and
// the caller drops the work. "Outcome recorded", "parent made runnable" and "terminal" are never
// apart.
//
// Threads:  any thread may call any method.
// Blocking: no method blocks. `done` is called exactly once, later, on a thread of the store, never
//           from inside the call; it must be short and must not block. Transitions of one
//           run that one caller issues one after another are applied in that order (a claim is of
//           no run: wait for its answer); all others in any order.
//           A record with `may_block` set is the exception: the store may do that transition on the
//           calling thread, for as long as a flush takes, and call `done` from inside the call.
//           It spares two changes of thread where the caller has nothing else to do.
// Lifetime: arguments are moved in; records own their memory. The destructor completes what is
//           queued, then returns; no `done` is called after it.
// Errors:   besides those listed, every method may answer `unavailable` (nothing changed: disk
//           full, connection lost before commit), `corrupt`, `overloaded` (the bounded queue is
//           full), `internal` (these data will never be taken), or `database_went_back` (standing).
// Durability: `done` is called after the commit is on disk, shared with other transitions of the
//           same moment (group commit), except where Flush::lazy says otherwise.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/base/ids.h"
#include "sequential/storage/records.h"

namespace sequential::storage {

template <class T>
using Done = std::function<void(Result<T>)>;

// Who claims, and for how long unless extended. `node` is random per boot, never reused.
struct Lease {
  std::string node;
  Millis length{30'000};
};

// Proof of a claim. Whoever holds the highest epoch of a stack run may write it, nobody else.
struct Grant {
  StackRunId id;
  TaskRunId run;
  std::int64_t epoch = 0;
};

// Everything a node needs to work on a claimed stack run.
struct Work {
  Grant grant;
  std::int64_t seq = 0;  // 0: a slice of the run's own code, else a call
  WallTime lease_until;
  // The run (both kinds).
  TaskFunctionId task_function_id;
  std::string task_name;
  // A call (seq > 0).
  std::string service_name, method_name, args, options;
  Delivery delivery = Delivery::at_least_once;
  int attempt = 1;  // this try's number, committed before the try begins
  // True if an earlier at_most_once try was begun and its end is not known: never send it again.
  bool outcome_unknown = false;
};

enum class Flush { durable, lazy };  // lazy: may be lost with the process, never torn or reordered

struct Publication {
  std::string name;
  std::string code;
  std::string code_sha256;  // hex
  std::string description, input_schema, options;
};
struct Published {
  TaskFunctionId id;
  int version = 0;
  bool created = false;  // false: identical code was already the newest version
};

struct Submission {
  TaskFunctionId task_function_id;
  std::string task_name;
  int task_version = 0;
  std::string input;
  std::string idempotency_key;  // empty = none
  std::string request_hash;     // of everything that must agree for the same key
  int priority = 0;
  std::string queue_key, tags;
  StackRunId parent_stack_run_id;
  Millis delay{0};               // start no earlier than now + delay
  std::string seed;              // 16 bytes
  std::optional<Lease> handoff;  // claim the root for this node in the same transaction
  bool may_block = false;
};
struct Submitted {
  TaskRunId run;
  StackRunId root;
  RunStatus status = RunStatus::queued;
  WallTime created_at;
  bool existing = false;     // the idempotency key was known: nothing was changed
  std::optional<Work> work;  // with handoff and no delay
};

struct NewCall {
  std::int64_t seq = 0;
  std::string service_name, method_name, args, options;
  Delivery delivery = Delivery::at_least_once;
  Millis delay{0};  // available_at = now + delay (durable timers)
  int source_line = 0;
};
struct NewLog {
  std::string level, message, fields;
};

// cancelled: by a task that was asked to end (Cancellation), and did.
enum class SliceEnd { suspended, completed, failed, cancelled, paused };
constexpr bool is_terminal(SliceEnd end) {
  return end != SliceEnd::suspended && end != SliceEnd::paused;
}

struct SliceCommit {
  Grant root;
  std::int64_t delivered_through = 0;  // journal position up to which the slice has seen outcomes
  std::vector<NewCall> calls;          // in seq order, contiguous after TaskRun::call_count
  std::vector<NewLog> logs;            // in order, follow TaskRun::log_count
  SliceEnd end = SliceEnd::suspended;
  std::string payload;  // completed: result; failed, cancelled: error; paused: detail (JSON text)
  std::string reason;   // paused: "divergent", …
  std::optional<ResumeKind> resume_kind;
  std::int64_t resume_us = 0;
  std::optional<Lease> handoff;  // claim new calls (without delay) and a runnable root for a node
  int handoff_calls_max = 1'000'000;  // the first so many calls; the rest are left pending
  Flush flush = Flush::lazy;  // durable whenever the end is terminal or a call is at_most_once
  bool may_block = false;
};

// One recorded result, as it is delivered to the run.
struct Outcome {
  std::int64_t seq = 0;
  std::int64_t delivered_as = 0;
  bool failed = false;
  std::string payload;  // result, or error as JSON object text
  WallTime at;          // the recorded time: the run's clock after this delivery
};

struct CommittedCall {
  StackRunId id;
  std::int64_t seq = 0;
  std::optional<Work> work;              // claimed for this node
  std::optional<WallTime> available_at;  // set if it waits for a timer
};

// A run woken up (its root is runnable), by a call's outcome or by a child task's end.
struct Wake {
  TaskRunId run;
  StackRunId root;
  std::optional<Work> work;  // claimed for this node
};

struct SliceCommitted {
  std::vector<CommittedCall> calls;
  RunStatus status = RunStatus::running;
  // Set if outcomes were recorded meanwhile: the root is runnable again.
  std::optional<Wake> root;
  // Terminal, and the run was a child task: its parent call was settled and that run woken.
  std::optional<Wake> parent;
};

enum class CallEnd { completed, failed, retry };

struct OutcomeRecord {
  Grant call;
  CallEnd end = CallEnd::completed;
  std::string payload;  // completed: result; failed, retry: error (JSON text)
  Millis retry_after{0};
  std::optional<Via> via;
  std::optional<std::int64_t> hop_us;
  std::optional<Lease> handoff;  // claim the root, if this makes it runnable, for this node
  bool may_block = false;
};
struct OutcomeRecorded {
  std::int64_t delivered_as = 0;         // 0 after retry, or when the run had already ended
  WallTime at;                           // the recorded time
  std::optional<WallTime> available_at;  // retry: when the next try is due
  std::optional<Wake> wake;              // the root was waiting and is runnable now
};

enum class Lost { engine_killed, released };
struct SliceLost {
  Grant root;
  Lost why = Lost::engine_killed;
  int crashes_max = 3;  // engine_killed: the run is paused as "poison" at this many
  std::string detail;   // JSON text for the pause
};
struct SliceLostResult {
  std::int64_t crashes = 0;
  bool paused = false;
};

// What a replay needs: the calls of a run in seq order with their outcomes.
struct JournalRow {
  std::int64_t seq = 0;
  std::string service_name, method_name, args;
  std::optional<Outcome> outcome;
};
struct JournalPage {
  std::vector<JournalRow> rows;
  bool more = false;
};

struct DueWork {
  std::vector<StackRunId> ids;         // runnable or abandoned, oldest first
  std::optional<WallTime> next_due;    // the earliest future available_at
  std::optional<WallTime> next_watch;  // when another node's lease may be over; unset: nobody's is
  WallTime now;                        // the store's clock, to arm timers by difference
};

struct RunFilter {
  std::optional<RunStatus> status;
  std::string task_name;  // empty = any
  TaskRunId before;       // cursor: ids below this; 0 = newest
  int limit = 50;         // 1…1000
};

struct StoreStatus {
  std::string kind;      // "sqlite", "postgres"
  std::string location;  // no secrets
  std::string schema_version;
  std::int64_t size_bytes = 0;
  std::vector<std::pair<std::string, std::int64_t>> tables;      // rows
  std::vector<std::pair<std::string, std::int64_t>> runs;        // by status
  std::vector<std::pair<std::string, std::int64_t>> stack_runs;  // by status
  std::int64_t oldest_runnable_ms = 0;  // age of the oldest runnable stack run, 0 = none
};

// What keeps the store from cleaning up behind its work, and its clock.
struct Upkeep {
  WallTime now;
  // PostgreSQL: transactions begun since the oldest snapshot that somebody still holds, and who.
  // What was updated or deleted since cannot be vacuumed.
  std::int64_t oldest_xmin_age = 0;
  std::string held_by;
  std::int64_t transitions = 0;  // SQLite: asked for since the start, claims in vain included
  // SQLite: of the write-ahead log that is in use. More than wal_checkpoint_pages: a reader of the
  // file (a backup, a shell) keeps it from being folded in.
  std::int64_t log_bytes = 0;
};

// What other nodes on the same database did, as far as word of it gets through: a hint for speed,
// never something to rely on. Called on a thread of the store; must be short and must not block.
struct News {
  std::function<void(StackRunId)> runnable;  // became runnable without being claimed
  std::function<void(TaskRunId)> ended;      // reached a terminal status, or was paused
};

// Further contracts, each in a header of its own and on the same terms as Store. Owned by the
// store.
class Children;      // children.h: tasks that tasks start
class Signals;       // signals.h: what runs are told from outside
class Cancellation;  // cancellation.h: asking a run to end; calls that nobody waits for any more
class RunStates;     // run_states.h: what a run shows of itself
class Queues;        // queues.h: how many runs of a task or key may be at work
class Schedules;     // schedules.h: runs that begin by the clock
class Rewinds;       // rewinds.h: runs that go on from an earlier point, or from a copy of one
class Search;        // search.h: finding runs, and removing old ones

class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  virtual ~Store() = default;

  // --- task functions -------------------------------------------------------------------------
  virtual void publish(Publication, Done<Published>) = 0;
  // version 0 = newest. Errors: task_not_found.
  virtual void task_function(std::string name, int version, Done<TaskFunction>) = 0;
  virtual void task_function_by_id(TaskFunctionId, Done<TaskFunction>) = 0;
  // Newest version of each name, by name, without code; all versions of one name if given.
  virtual void task_functions(std::string name, Done<std::vector<TaskFunction>>) = 0;

  // --- transitions ----------------------------------------------------------------------------
  // Inserts task run and root stack run. Errors: idempotency_conflict if the key is known with
  // another request_hash; task_not_found.
  virtual void submit(Submission, Done<Submitted>) = 0;
  // Takes this stack run if it is pending and due, or processing under an expired lease; nullopt if
  // it is neither (someone else has it, it is done, not yet due, or does not exist).
  virtual void claim(StackRunId, Lease, Done<std::optional<Work>>) = 0;
  // Takes the highest-priority, longest-due one. nullopt: nothing is runnable.
  virtual void claim_next(Lease, Done<std::optional<Work>>) = 0;
  // Errors: fenced; conflict if calls or logs do not continue the run's numbering.
  virtual void commit_slice(SliceCommit, Done<SliceCommitted>) = 0;
  // Errors: fenced.
  virtual void record_outcome(OutcomeRecord, Done<OutcomeRecorded>) = 0;
  // The slice ended without a result. The root is runnable again, or paused. Errors: fenced.
  virtual void slice_lost(SliceLost, Done<SliceLostResult>) = 0;
  // Gives a claimed stack run back untouched: pending again, its attempt not counted. Errors:
  // fenced.
  virtual void release(Grant, Done<void>) = 0;
  // Renews leases; answers those of `grants` that no longer hold (fenced).
  virtual void extend(std::vector<Grant> grants, Lease, Done<std::vector<Grant>>) = 0;
  // Ends the run now; unfinished stack runs become cancelled and their holders fenced; a waiting
  // parent call fails. Errors: run_not_found; conflict if already terminal.
  virtual void cancel(TaskRunId, std::string error, Done<std::optional<Wake>>) = 0;
  // No further slice or call begins; calls under way still record. Errors: run_not_found, conflict.
  virtual void pause(TaskRunId, std::string reason, std::string detail, Done<void>) = 0;
  // Errors: run_not_found; conflict unless paused. Answers the runnable stack runs.
  virtual void resume(TaskRunId, Done<std::vector<StackRunId>>) = 0;

  // --- journal and repair ---------------------------------------------------------------------
  // Errors: run_not_found.
  virtual void journal_head(TaskRunId, Done<TaskRun>) = 0;
  // Rows with seq > after_seq, at most about bytes_max of payload but at least one row.
  virtual void journal(TaskRunId, std::int64_t after_seq, std::int64_t bytes_max,
                       Done<JournalPage>) = 0;
  // Outcomes with delivered_as > after, in order.
  virtual void outcomes(TaskRunId, std::int64_t after, int limit, Done<std::vector<Outcome>>) = 0;
  // What the sweep acts on. Changes nothing.
  virtual void due(int limit, Done<DueWork>) = 0;
  // Frees every lease held by other nodes where the store knows that no other process can be alive
  // (SQLite: the file is ours alone). A store that nodes share frees those of the node `died`,
  // whose process the caller knows to have ended; none if that is empty. Answers how many.
  virtual void recover(std::string node, std::string died, Done<std::int64_t>) = 0;

  // Whether work may be begun. An error (database_went_back) once the store has found that it lacks
  // what it had acknowledged: from then on it refuses every change, until the process is restarted.
  virtual Result<void> standing() const { return success(); }

  // Once, before work begins. A store of one process has no news.
  virtual void listen(News) {}

  // --- looking ----------------------------------------------------------------------------------
  virtual void run(TaskRunId, Done<TaskRun>) = 0;  // Errors: run_not_found
  // Newest first, without input, result and error.
  virtual void runs(RunFilter, Done<std::vector<TaskRun>>) = 0;
  virtual void stack_run(StackRunId, Done<StackRun>) = 0;  // Errors: not_found
  virtual void stack(TaskRunId, std::int64_t from_seq, int limit, Done<std::vector<StackRun>>) = 0;
  virtual void attempts(StackRunId, Done<std::vector<Attempt>>) = 0;
  virtual void logs(TaskRunId, std::int64_t after_n, int limit, Done<std::vector<LogEntry>>) = 0;
  virtual void status(Done<StoreStatus>) = 0;
  // To be asked rarely, and of stores that have something to say.
  virtual void upkeep(Done<Upkeep> done) { done(Upkeep{}); }
  // Deletes all runs, stack runs, attempts, logs, checkpoints; keeps task functions and keystore.
  // Every grant still held is fenced, also after ids are allocated again. Answers runs deleted.
  virtual void clear(Done<std::int64_t>) = 0;

  // --- further contracts ------------------------------------------------------------------------
  // Null: this store has none.
  virtual Children* children() { return nullptr; }
  virtual Signals* signals() { return nullptr; }
  virtual Cancellation* cancellation() { return nullptr; }
  virtual RunStates* run_states() { return nullptr; }
  virtual Queues* queues() { return nullptr; }
  virtual Schedules* schedules() { return nullptr; }
  virtual Rewinds* rewinds() { return nullptr; }
  virtual Search* search() { return nullptr; }

  // --- keystore (sealed values only) -------------------------------------------------------------
  // The entry to write: `seal(version)` is called inside the transaction with the version the row
  // will have, because the version is bound into the seal. Must be pure and fast.
  virtual void keystore_put(std::string name_space, std::string key, std::string key_id,
                            std::function<std::string(std::int64_t version)> seal,
                            Done<std::int64_t>) = 0;
  // Errors: key_not_found.
  virtual void keystore_get(std::string name_space, std::string key, Done<KeystoreEntry>) = 0;
  // Every entry (of one namespace if given), without sealed values, by namespace and key.
  virtual void keystore_list(std::string name_space, Done<std::vector<KeystoreEntry>>) = 0;
  virtual void keystore_delete(std::string name_space, std::string key, Done<bool>) = 0;
};

}  // namespace sequential::storage
