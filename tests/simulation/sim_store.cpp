#include "sim_store.h"

#include <optional>

namespace sequential::simulation {
namespace {

template <class Id>
std::string named(const char* what, Id id) {
  return std::string(what) + " " + std::to_string(id.value);
}

}  // namespace

template <class T, class Transition>
void SimStore::issue(std::string what, bool writes, storage::Done<T> done, Transition transition) {
  auto operation = std::make_shared<Operation>();
  auto kept = std::make_shared<std::optional<Result<T>>>();
  operation->what = std::move(what);
  operation->node = node_;
  operation->writes = writes;
  operation->apply = [kept, transition = std::move(transition)] { kept->emplace(transition()); };
  operation->answer = [kept, done] { done(std::move(**kept)); };
  operation->refuse = [done = std::move(done)] {
    done(Error{Errc::unavailable, "the database cannot be reached"});
  };
  wire_.push_back(std::move(operation));
}

void SimStore::task_function(std::string, int, storage::Done<storage::TaskFunction> done) {
  issue<storage::TaskFunction>("task_function", false, std::move(done),
                               [&db = database_] { return db.task_function(TaskFunctionId{1}); });
}

void SimStore::task_function_by_id(TaskFunctionId id, storage::Done<storage::TaskFunction> done) {
  issue<storage::TaskFunction>("task_function_by_id", false, std::move(done),
                               [&db = database_, id] { return db.task_function(id); });
}

void SimStore::submit(storage::Submission submission, storage::Done<storage::Submitted> done) {
  std::string what = "submit " + submission.idempotency_key;
  issue<storage::Submitted>(
      std::move(what), true, std::move(done),
      [&db = database_, submission = std::move(submission)] { return db.submit(submission); });
}

void SimStore::claim(StackRunId id, storage::Lease lease,
                     storage::Done<std::optional<storage::Work>> done) {
  issue<std::optional<storage::Work>>(
      named("claim", id), true, std::move(done),
      [&db = database_, id, lease = std::move(lease)] { return db.claim(id, lease); });
}

void SimStore::claim_next(storage::Lease lease, storage::Done<std::optional<storage::Work>> done) {
  issue<std::optional<storage::Work>>(
      "claim_next", true, std::move(done),
      [&db = database_, lease = std::move(lease)] { return db.claim_next(lease); });
}

void SimStore::commit_slice(storage::SliceCommit commit,
                            storage::Done<storage::SliceCommitted> done) {
  if (commit.may_block && at_once_()) return done(database_.commit_slice(node_, commit));
  auto what = named("commit_slice", commit.root.id);
  issue<storage::SliceCommitted>(std::move(what), true, std::move(done),
                                 [&db = database_, node = node_, commit = std::move(commit)] {
                                   return db.commit_slice(node, commit);
                                 });
}

void SimStore::record_outcome(storage::OutcomeRecord record,
                              storage::Done<storage::OutcomeRecorded> done) {
  if (record.may_block && at_once_()) return done(database_.record_outcome(node_, record));
  auto what = named("record_outcome", record.call.id);
  issue<storage::OutcomeRecorded>(std::move(what), true, std::move(done),
                                  [&db = database_, node = node_, record = std::move(record)] {
                                    return db.record_outcome(node, record);
                                  });
}

void SimStore::slice_lost(storage::SliceLost lost, storage::Done<storage::SliceLostResult> done) {
  auto what = named("slice_lost", lost.root.id);
  issue<storage::SliceLostResult>(std::move(what), true, std::move(done),
                                  [&db = database_, node = node_, lost = std::move(lost)] {
                                    return db.slice_lost(node, lost);
                                  });
}

void SimStore::release(storage::Grant grant, storage::Done<void> done) {
  issue<void>(named("release", grant.id), true, std::move(done),
              [&db = database_, node = node_, grant] { return db.release(node, grant); });
}

void SimStore::extend(std::vector<storage::Grant> grants, storage::Lease lease,
                      storage::Done<std::vector<storage::Grant>> done) {
  std::string what = "extend";
  for (const auto& grant : grants) what += " " + std::to_string(grant.id.value);
  issue<std::vector<storage::Grant>>(
      std::move(what), true, std::move(done),
      [&db = database_, grants = std::move(grants), lease = std::move(lease)] {
        return db.extend(grants, lease);
      });
}

void SimStore::cancel(TaskRunId run, std::string error,
                      storage::Done<std::optional<storage::Wake>> done) {
  issue<std::optional<storage::Wake>>(
      named("cancel run", run), true, std::move(done),
      [&db = database_, run, error = std::move(error)] { return db.cancel(run, error); });
}

void SimStore::pause(TaskRunId run, std::string reason, std::string, storage::Done<void> done) {
  issue<void>(named("pause run", run), true, std::move(done),
              [&db = database_, run, reason = std::move(reason)] { return db.pause(run, reason); });
}

void SimStore::resume(TaskRunId run, storage::Done<std::vector<StackRunId>> done) {
  issue<std::vector<StackRunId>>(named("resume run", run), true, std::move(done),
                                 [&db = database_, run] { return db.resume(run); });
}

void SimStore::journal_head(TaskRunId run, storage::Done<storage::TaskRun> done) {
  issue<storage::TaskRun>(named("journal_head of run", run), false, std::move(done),
                          [&db = database_, run] { return db.run(run); });
}

void SimStore::journal(TaskRunId run, std::int64_t after_seq, std::int64_t bytes,
                       storage::Done<storage::JournalPage> done) {
  issue<storage::JournalPage>(
      named("journal of run", run), false, std::move(done),
      [&db = database_, run, after_seq, bytes] { return db.journal(run, after_seq, bytes); });
}

void SimStore::outcomes(TaskRunId run, std::int64_t after, int limit,
                        storage::Done<std::vector<storage::Outcome>> done) {
  issue<std::vector<storage::Outcome>>(
      named("outcomes of run", run), false, std::move(done),
      [&db = database_, run, after, limit] { return db.outcomes(run, after, limit); });
}

void SimStore::due(int limit, storage::Done<storage::DueWork> done) {
  issue<storage::DueWork>("due", false, std::move(done), [&db = database_, limit] {
    return Result<storage::DueWork>(db.due(limit));
  });
}

void SimStore::recover(std::string, std::string, storage::Done<std::int64_t> done) {
  // A database shared by nodes cannot know who is dead.
  issue<std::int64_t>("recover", false, std::move(done),
                      [] { return Result<std::int64_t>(std::int64_t{0}); });
}

void SimStore::run(TaskRunId run, storage::Done<storage::TaskRun> done) {
  issue<storage::TaskRun>(named("read run", run), false, std::move(done),
                          [&db = database_, run] { return db.run(run); });
}

}  // namespace sequential::simulation
