#include "sqlite/sqlite_store.h"

#include <utility>

#include "sequential/base/fault.h"
#include "sqlite/schedules.h"
#include "sqlite/store_templates.h"

namespace sequential::storage::sqlite {

SqliteStore::SqliteStore(std::string path, std::unique_ptr<FileLock> lock,
                         std::unique_ptr<Writer> writer, std::unique_ptr<Readers> readers,
                         const Clock& clock)
    : path_(std::move(path)),
      clock_(clock),
      lock_(std::move(lock)),
      writer_(std::move(writer)),
      readers_(std::move(readers)),
      schedules_(make_schedules([this](auto apply, Done<void> done) {
        write(std::move(done), std::move(apply));
      })) {}

SqliteStore::~SqliteStore() {
  // An answer may issue another request, to either side: both stay until nothing is owed.
  for (std::int64_t owed = owed_.load(); owed != 0; owed = owed_.load()) owed_.wait(owed);
  readers_.reset();
  writer_.reset();
}

// --- writes --------------------------------------------------------------------------------------

void SqliteStore::publish(Publication publication, Done<Published> done) {
  write(std::move(done), [publication = std::move(publication)](Transaction& tx) {
    return sqlite::publish(tx, publication);
  });
}

void SqliteStore::submit(Submission submission, Done<Submitted> done) {
  const How how{Flush::durable, submission.may_block};
  auto apply = [submission = std::move(submission)](Transaction& tx) {
    return sqlite::submit(tx, submission);
  };
  write(std::move(done), std::move(apply), how);
}

void SqliteStore::claim(StackRunId id, Lease lease, Done<std::optional<Work>> done) {
  write(std::move(done),
        [id, lease = std::move(lease)](Transaction& tx) { return sqlite::claim(tx, id, lease); });
}

void SqliteStore::claim_next(Lease lease, Done<std::optional<Work>> done) {
  write(std::move(done),
        [lease = std::move(lease)](Transaction& tx) { return sqlite::claim_next(tx, lease); });
}

void SqliteStore::commit_slice(SliceCommit commit, Done<SliceCommitted> done) {
  struct Apply {
    SliceCommit commit;
    Result<SliceCommitted> operator()(Transaction& tx) { return sqlite::commit_slice(tx, commit); }
  };
  // Committed: the texts are no longer needed here, so the calls' holders get them without a copy.
  const auto hand_over = [](Apply& apply, Result<SliceCommitted>& result) {
    auto& calls = result.value().calls;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (!calls[i].work) continue;
      Work& work = *calls[i].work;
      NewCall& call = apply.commit.calls[i];
      work.service_name = std::move(call.service_name);
      work.method_name = std::move(call.method_name);
      work.args = std::move(call.args);
      work.options = std::move(call.options);
    }
  };
  const How how{must_be_on_disk(commit) ? Flush::durable : Flush::lazy, commit.may_block};
  write_and_touch(std::move(done), Apply{std::move(commit)}, hand_over, how);
}

void SqliteStore::record_outcome(OutcomeRecord record, Done<OutcomeRecorded> done) {
  const How how{Flush::durable, record.may_block};
  auto apply = [record = std::move(record)](Transaction& tx) {
    return sqlite::record_outcome(tx, record);
  };
  write(std::move(done), std::move(apply), how);
}

void SqliteStore::slice_lost(SliceLost lost, Done<SliceLostResult> done) {
  write(std::move(done), [lost = std::move(lost)](Transaction& tx) {
    return sqlite::slice_lost(tx, lost);
  });
}

void SqliteStore::release(Grant grant, Done<void> done) {
  write(std::move(done), [grant](Transaction& tx) { return sqlite::release(tx, grant); });
}

void SqliteStore::extend(std::vector<Grant> grants, Lease lease, Done<std::vector<Grant>> done) {
  write(std::move(done), [grants = std::move(grants), lease = std::move(lease)](Transaction& tx) {
    return sqlite::extend(tx, grants, lease);
  });
}

void SqliteStore::cancel(TaskRunId run, std::string error, Done<std::optional<Wake>> done) {
  write(std::move(done), [run, error = std::move(error)](Transaction& tx) {
    return sqlite::cancel(tx, run, error);
  });
}

void SqliteStore::pause(TaskRunId run, std::string reason, std::string detail, Done<void> done) {
  write(std::move(done),
        [run, reason = std::move(reason), detail = std::move(detail)](Transaction& tx) {
          return sqlite::pause(tx, run, reason, detail);
        });
}

void SqliteStore::resume(TaskRunId run, Done<std::vector<StackRunId>> done) {
  write(std::move(done), [run](Transaction& tx) { return sqlite::resume(tx, run); });
}

void SqliteStore::due(int limit, Done<DueWork> done) {
  // It looks at the writer's leases, but answers on a reader's thread: a sweep that dawdles there
  // (the fault point) must not keep the writer from its work.
  auto answer = [this, done = owed(std::move(done))](Result<DueWork> found) {
    auto shared = std::make_shared<Result<DueWork>>(std::move(found));
    readers_->post([shared = std::move(shared), done](Queries&, const Error*) {
      FAULT_POINT("sweep.after_select");
      done(std::move(*shared));
    });
  };
  write(Done<DueWork>(std::move(answer)),
        [limit](Transaction& tx) { return sqlite::due(tx, limit); }, How{Flush::lazy});
}

void SqliteStore::recover(std::string node, std::string /*died*/, Done<std::int64_t> done) {
  write(std::move(done),
        [node = std::move(node)](Transaction& tx) { return sqlite::recover(tx, node); });
}

void SqliteStore::clear(Done<std::int64_t> done) {
  write(std::move(done), [](Transaction& tx) { return sqlite::clear(tx); });
}

void SqliteStore::keystore_put(std::string name_space, std::string key, std::string key_id,
                               std::function<std::string(std::int64_t version)> seal,
                               Done<std::int64_t> done) {
  write(std::move(done), [name_space = std::move(name_space), key = std::move(key),
                          key_id = std::move(key_id), seal = std::move(seal)](Transaction& tx) {
    return sqlite::keystore_put(tx, name_space, key, key_id, seal);
  });
}

void SqliteStore::keystore_delete(std::string name_space, std::string key, Done<bool> done) {
  write(std::move(done),
        [name_space = std::move(name_space), key = std::move(key)](Transaction& tx) {
          return sqlite::keystore_delete(tx, name_space, key);
        });
}

// --- reads ---------------------------------------------------------------------------------------

void SqliteStore::task_function(std::string name, int version, Done<TaskFunction> done) {
  read(std::move(done),
       [name = std::move(name), version](Queries& q) { return q.task_function(name, version); });
}

void SqliteStore::task_function_by_id(TaskFunctionId id, Done<TaskFunction> done) {
  read(std::move(done), [id](Queries& q) { return q.task_function_by_id(id); });
}

void SqliteStore::task_functions(std::string name, Done<std::vector<TaskFunction>> done) {
  read(std::move(done), [name = std::move(name)](Queries& q) { return q.task_functions(name); });
}

void SqliteStore::journal_head(TaskRunId run, Done<TaskRun> done) {
  read(std::move(done), [run](Queries& q) { return q.journal_head(run); });
}

void SqliteStore::journal(TaskRunId run, std::int64_t after_seq, std::int64_t bytes_max,
                          Done<JournalPage> done) {
  read(std::move(done), [run, after_seq, bytes_max](Queries& q) {
    return q.journal(run, after_seq, bytes_max);
  });
}

void SqliteStore::outcomes(TaskRunId run, std::int64_t after, int limit,
                           Done<std::vector<Outcome>> done) {
  read(std::move(done), [run, after, limit](Queries& q) { return q.outcomes(run, after, limit); });
}

void SqliteStore::run(TaskRunId run, Done<TaskRun> done) {
  read(std::move(done), [run](Queries& q) { return q.run(run); });
}

void SqliteStore::runs(RunFilter filter, Done<std::vector<TaskRun>> done) {
  read(std::move(done), [filter = std::move(filter)](Queries& q) { return q.runs(filter); });
}

void SqliteStore::stack_run(StackRunId id, Done<StackRun> done) {
  read(std::move(done), [id](Queries& q) { return q.stack_run(id); });
}

void SqliteStore::stack(TaskRunId run, std::int64_t from_seq, int limit,
                        Done<std::vector<StackRun>> done) {
  read(std::move(done),
       [run, from_seq, limit](Queries& q) { return q.stack(run, from_seq, limit); });
}

void SqliteStore::attempts(StackRunId id, Done<std::vector<Attempt>> done) {
  read(std::move(done), [id](Queries& q) { return q.attempts(id); });
}

void SqliteStore::logs(TaskRunId run, std::int64_t after_n, int limit,
                       Done<std::vector<LogEntry>> done) {
  read(std::move(done), [run, after_n, limit](Queries& q) { return q.logs(run, after_n, limit); });
}

void SqliteStore::status(Done<StoreStatus> done) {
  read(std::move(done),
       [path = path_, &clock = clock_](Queries& q) { return q.status(path, clock); });
}

void SqliteStore::upkeep(Done<Upkeep> done) {
  read(std::move(done), [this](Queries&) {
    Upkeep found;
    found.now = clock_.now();
    found.log_bytes = writer_->log_bytes();
    found.transitions = writer_->counts().transitions;
    return Result<Upkeep>(std::move(found));
  });
}

void SqliteStore::keystore_get(std::string name_space, std::string key, Done<KeystoreEntry> done) {
  read(std::move(done), [name_space = std::move(name_space), key = std::move(key)](Queries& q) {
    return q.keystore_get(name_space, key);
  });
}

void SqliteStore::keystore_list(std::string name_space, Done<std::vector<KeystoreEntry>> done) {
  read(std::move(done),
       [name_space = std::move(name_space)](Queries& q) { return q.keystore_list(name_space); });
}

}  // namespace sequential::storage::sqlite
