#pragma once
// SqliteStore: the Store contract, by handing writes to the writer and reads to the readers.

#include <atomic>
#include <memory>
#include <string>

#include "sequential/storage/children.h"
#include "sequential/storage/schedules.h"
#include "sequential/storage/cancellation.h"
#include "sequential/storage/run_states.h"
#include "sequential/storage/signals.h"
#include "sequential/storage/search.h"
#include "sequential/storage/queues.h"
#include "sequential/storage/rewinds.h"
#include "sequential/storage/sqlite.h"
#include "sqlite/file_lock.h"
#include "sqlite/readers.h"
#include "sqlite/writer.h"

namespace sequential::storage::sqlite {

class SqliteStore final : public Store,
                          public Children,
                          public Cancellation,
                          public RunStates,
                          public Signals,
                          public Search,
                          public Queues,
                          public Rewinds {
 public:
  SqliteStore(std::string path, std::unique_ptr<FileLock> lock, std::unique_ptr<Writer> writer,
              std::unique_ptr<Readers> readers, const Clock& clock);
  ~SqliteStore() override;

  Writer::Counts counts() const { return writer_->counts(); }

  void publish(Publication, Done<Published>) override;
  void task_function(std::string name, int version, Done<TaskFunction>) override;
  void task_function_by_id(TaskFunctionId, Done<TaskFunction>) override;
  void task_functions(std::string name, Done<std::vector<TaskFunction>>) override;

  void submit(Submission, Done<Submitted>) override;
  void claim(StackRunId, Lease, Done<std::optional<Work>>) override;
  void claim_next(Lease, Done<std::optional<Work>>) override;
  void commit_slice(SliceCommit, Done<SliceCommitted>) override;
  void record_outcome(OutcomeRecord, Done<OutcomeRecorded>) override;
  void slice_lost(SliceLost, Done<SliceLostResult>) override;
  void release(Grant, Done<void>) override;
  void extend(std::vector<Grant> grants, Lease, Done<std::vector<Grant>>) override;
  void cancel(TaskRunId, std::string error, Done<std::optional<Wake>>) override;
  void pause(TaskRunId, std::string reason, std::string detail, Done<void>) override;
  void resume(TaskRunId, Done<std::vector<StackRunId>>) override;

  void journal_head(TaskRunId, Done<TaskRun>) override;
  void journal(TaskRunId, std::int64_t after_seq, std::int64_t bytes_max,
               Done<JournalPage>) override;
  void outcomes(TaskRunId, std::int64_t after, int limit, Done<std::vector<Outcome>>) override;
  void due(int limit, Done<DueWork>) override;
  void recover(std::string node, std::string died, Done<std::int64_t>) override;

  void run(TaskRunId, Done<TaskRun>) override;
  void runs(RunFilter, Done<std::vector<TaskRun>>) override;
  void stack_run(StackRunId, Done<StackRun>) override;
  void stack(TaskRunId, std::int64_t from_seq, int limit, Done<std::vector<StackRun>>) override;
  void attempts(StackRunId, Done<std::vector<Attempt>>) override;
  void logs(TaskRunId, std::int64_t after_n, int limit, Done<std::vector<LogEntry>>) override;
  void status(Done<StoreStatus>) override;
  void upkeep(Done<Upkeep>) override;
  void clear(Done<std::int64_t>) override;

  Children* children() override { return this; }

  Schedules* schedules() override { return schedules_.get(); }

  Cancellation* cancellation() override { return this; }
  void request_cancel(CancelRequest, Done<CancelRequested>) override;
  void drop_calls(Grant root, std::vector<std::int64_t> seqs, Done<std::int64_t>) override;
  void cancels_due(int limit, Done<CancelsDue>) override;
  void cancelling(TaskRunId, Done<std::optional<Cancelling>>) override;

  RunStates* run_states() override { return this; }
  void states(std::vector<TaskRunId>, Done<std::vector<RunState>>) override;
  void view(TaskRunId, Done<RunView>) override;
  void look(TaskRunId, std::int64_t after_log, int log_limit, Done<RunLook>) override;
  void calls(CallsAsked, Done<std::vector<CallTrace>>) override;

  Signals* signals() override { return this; }
  void take(SignalTake, Done<SignalTaken>) override;
  void send(SignalSend, Done<SignalSent>) override;
  void kept(TaskRunId, std::int64_t after, int limit, Done<std::vector<KeptSignal>>) override;
  void create_webhook(WebhookNew, Done<OutcomeRecorded>) override;
  void webhook(std::string key, Done<Webhook>) override;
  void answer_webhook(WebhookAnswer, Done<SignalSent>) override;

  Rewinds* rewinds() override { return this; }
  void resume_on(TaskRunId run, RewindTo to, Done<Rewound>) override;
  void retry_run(Retry, Done<Rewound>) override;
  void fork_run(Fork, Done<Rewound>) override;
  void origin(TaskRunId, Done<RunOrigin>) override;
  void failed_calls(TaskRunId, int limit, Done<std::vector<FailedCall>>) override;
  void made_after(Grant call, Done<std::int64_t>) override;

  void keystore_put(std::string name_space, std::string key, std::string key_id,
                    std::function<std::string(std::int64_t version)> seal,
                    Done<std::int64_t>) override;
  void keystore_get(std::string name_space, std::string key, Done<KeystoreEntry>) override;
  void keystore_list(std::string name_space, Done<std::vector<KeystoreEntry>>) override;
  void keystore_delete(std::string name_space, std::string key, Done<bool>) override;

  Search* search() override { return this; }
  void find_runs(RunQuery, TaskRunId after, int limit, int rows_max, Done<RunPage>) override;
  void count_runs(RunQuery, int rows_max, Done<RunCount>) override;
  void run_tags(TaskRunId, Done<std::vector<RunTag>>) override;
  void remove_runs(std::vector<TaskRunId>, WallTime ended_before, int runs_max,
                   Done<Removed>) override;
  void set_retention(Retention, Done<void>) override;
  void retentions(Done<std::vector<Retention>>) override;

  Queues* queues() override { return this; }
  void admit(std::string task, std::optional<Lease> handoff, int claims_max,
             Done<Admission>) override;
  void on_room(std::function<void(const std::string&)> listener) override;
  void queues_due(Done<std::vector<QueueDue>>) override;
  void change_queue(std::string task, QueueChange, Done<QueueLimits>) override;
  void queue_list(std::string after, int limit, Done<std::vector<QueueInfo>>) override;
  void queue_of(std::string task, Done<QueueInfo>) override;
  void queue_keys(std::string task, std::optional<std::string> after, int limit,
                  Done<std::vector<QueueKey>>) override;
  void waiting_in_queues(std::vector<TaskRunId> runs, Done<std::vector<TaskRunId>>) override;

 private:
  void start_child(ChildStart, Done<Submitted>) override;
  void cancel_orphans(int limit, Done<OrphansCancelled>) override;
  void parent_of(TaskRunId, Done<std::optional<ChildLink>>) override;

  // Counts an answer as owed until `done` has returned.
  template <class T>
  auto owed(Done<T> done);
  struct How {
    Flush flush = Flush::durable;
    bool may_block = false;
  };
  template <class T, class Apply>
  void write(Done<T> done, Apply apply, How how = {});
  template <class T, class Apply, class Touch>
  void write_and_touch(Done<T> done, Apply apply, Touch touch, How how);
  template <class T, class Read>
  void read(Done<T> done, Read read);

  const std::string path_;
  const Clock& clock_;
  const std::unique_ptr<FileLock> lock_;  // given up last
  std::atomic<std::int64_t> owed_{0};
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<Readers> readers_;
  const std::unique_ptr<Schedules> schedules_;
};

}  // namespace sequential::storage::sqlite
