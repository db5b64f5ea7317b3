#include "postgres/postgres_store.h"

#include <algorithm>
#include <utility>

#include "postgres/schedules.h"
#include "postgres/store_templates.h"
#include "postgres/upkeep.h"
#include "sequential/base/fault.h"

namespace sequential::storage::postgres {
namespace {

constexpr int kLeaseConnections = 1;
constexpr int kSweepConnections = 1;
constexpr std::size_t kIdsInStock = 512;  // taken at a time

}  // namespace

PostgresStore::PostgresStore(std::unique_ptr<Link> link, TaskRunId newest_run)
    : link_(std::move(link)),
      context_{Statements(link_->options().schema), link_->clock(), link_->history(), room_bell_,
               link_->options().use_given_clock},
      queries_(link_->options().schema),
      cancellation_(link_->options().schema),
      newest_run_(newest_run.value),
      news_(*link_, link_->clock()),
      schedules_(make_schedules(link_->options().schema, schedule_access())),
      leases_(*link_, context_, kLeaseConnections, link_->options().queue_max, true),
      sweeps_(*link_, context_, kSweepConnections, link_->options().queue_max, false),
      readers_(*link_, context_, link_->options().readers, link_->options().queue_max, false),
      transitions_(*link_, context_, link_->options().connections, link_->options().queue_max,
                   true) {}

PostgresStore::~PostgresStore() {
  // An answer may issue another request, of any kind: all pools stay until nothing is owed.
  for (std::int64_t owed = owed_.load(); owed != 0; owed = owed_.load()) owed_.wait(owed);
}

ScheduleAccess PostgresStore::schedule_access() {
  ScheduleAccess access;
  access.post = [this](ScheduleUse use, auto apply, Done<void> done) {
    How how;
    how.pool = use == ScheduleUse::write   ? &transitions_
               : use == ScheduleUse::sweep ? &sweeps_
                                           : &readers_;
    write<void>(std::move(done), how, std::move(apply), [](auto&) {});
  };
  access.newest_run = [this] { return TaskRunId(newest_run_.load()); };
  access.tell_runnable = [this](StackRunId root) { news_.tell_runnable(root); };
  return access;
}

// Runnable, and claimed for nobody: whoever hears of it may take it.
void PostgresStore::tell(const Wake& wake) {
  if (!wake.work) news_.tell_runnable(wake.root);
}

Result<void> PostgresStore::standing() const {
  if (link_->history().gone_back()) return link_->history().why();
  return success();
}

std::optional<DbError> PostgresStore::take_ids(const Try& attempt, std::size_t count,
                                               std::vector<std::int64_t>& ids) {
  const auto take = [&] {
    const std::lock_guard lock(ids_mutex_);
    for (; ids.size() < count && !ids_.empty(); ids_.pop_front()) ids.push_back(ids_.front());
  };
  take();
  if (ids.size() >= count) return std::nullopt;
  // Perhaps beside others who do the same: then there are more in stock for a while.
  const std::size_t more = std::max(kIdsInStock, count - ids.size());
  auto fresh = new_stack_run_ids(attempt, static_cast<int>(more));
  if (auto* error = std::get_if<DbError>(&fresh)) {
    // Not the transition itself: sent again it is still sent for the first time.
    if (error->fate == DbError::Fate::lost && !attempt.again) {
      error->fate = DbError::Fate::disconnected;
    }
    return std::move(*error);
  }
  const auto& values = std::get<std::vector<std::int64_t>>(fresh);
  {
    const std::lock_guard lock(ids_mutex_);
    ids_.insert(ids_.end(), values.begin(), values.end());
  }
  take();
  if (ids.size() < count) return take_ids(attempt, count, ids);
  return std::nullopt;
}

// --- writes --------------------------------------------------------------------------------------

void PostgresStore::publish(Publication publication, Done<Published> done) {
  auto apply = [publication = std::move(publication)](const Try& attempt) {
    return postgres::publish(attempt, publication);
  };
  write<Published>(std::move(done), {}, std::move(apply), kNoTouch);
}

void PostgresStore::submit(Submission submission, Done<Submitted> done) {
  How how;
  how.before = "submit.before_commit";
  const TaskRunId floor(newest_run_.load());
  const bool now = submission.delay.count() <= 0;
  auto apply = [submission = std::move(submission), floor](const Try& attempt) {
    return postgres::submit(attempt, submission, floor);
  };
  auto touch = [this, now](auto&, Submitted& submitted) {
    FAULT_POINT("submit.after_commit");
    if (submitted.existing) return;
    remember_newest(submitted.run);
    if (now && !submitted.work) news_.tell_runnable(submitted.root);
  };
  write<Submitted>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::remember_newest(TaskRunId run) {
  std::int64_t newest = newest_run_.load();
  while (newest < run.value && !newest_run_.compare_exchange_weak(newest, run.value)) {
  }
}

void PostgresStore::claim(StackRunId id, Lease lease, Done<std::optional<Work>> done) {
  How how;
  how.key = key_of(id);
  auto apply = [id, lease = std::move(lease)](const Try& attempt) {
    return postgres::claim(attempt, id, lease);
  };
  auto touch = [](auto&, std::optional<Work>& work) {
    if (work) FAULT_POINT("claim.after_commit");
  };
  write<std::optional<Work>>(std::move(done), how, std::move(apply), touch);
}

void PostgresStore::claim_next(Lease lease, Done<std::optional<Work>> done) {
  auto apply = [lease = std::move(lease)](const Try& attempt) {
    return postgres::claim_next(attempt, lease);
  };
  auto touch = [](auto&, std::optional<Work>& work) {
    if (work) FAULT_POINT("claim.after_commit");
  };
  write<std::optional<Work>>(std::move(done), {}, std::move(apply), touch);
}

void PostgresStore::commit_slice(SliceCommit commit, Done<SliceCommitted> done) {
  How how;
  how.key = key_of(commit.root.run);
  const bool ends = is_terminal(commit.end);
  if (commit.end != SliceEnd::paused) {
    how.before = ends ? "complete.before_commit" : "suspend.before_commit";
  }
  struct Apply {
    PostgresStore& store;
    SliceCommit commit;
    std::vector<std::int64_t> ids;
    Answered<SliceCommitted> operator()(const Try& attempt) {
      if (auto error = store.take_ids(attempt, commit.calls.size(), ids)) return *std::move(error);
      return postgres::commit_slice(attempt, commit, ids);
    }
  };
  auto touch = [this](Apply& apply, SliceCommitted& done_slice) {
    const SliceEnd end = apply.commit.end;
    if (end == SliceEnd::suspended) {
      FAULT_POINT("suspend.after_commit");
    } else if (end != SliceEnd::paused) {
      FAULT_POINT("complete.after_commit");
    }
    // Committed: the texts are no longer needed here, so the calls' holders get them uncopied.
    for (std::size_t i = 0; i < done_slice.calls.size(); ++i) {
      CommittedCall& made = done_slice.calls[i];
      if (!made.work) {
        if (!made.available_at) news_.tell_runnable(made.id);
        continue;
      }
      NewCall& call = apply.commit.calls[i];
      made.work->service_name = std::move(call.service_name);
      made.work->method_name = std::move(call.method_name);
      made.work->args = std::move(call.args);
      made.work->options = std::move(call.options);
    }
    if (done_slice.root) tell(*done_slice.root);
    if (done_slice.parent) tell(*done_slice.parent);
    if (is_terminal(done_slice.status) || done_slice.status == RunStatus::paused) {
      news_.tell_ended(apply.commit.root.run);
    }
  };
  write<SliceCommitted>(std::move(done), how, Apply{*this, std::move(commit), {}},
                        std::move(touch));
}

void PostgresStore::record_outcome(OutcomeRecord record, Done<OutcomeRecorded> done) {
  How how;
  how.key = key_of(record.call.run);
  how.before = "call.before_record";
  const StackRunId call = record.call.id;
  // To be made again at once: its node gives it away.
  const bool given_away = record.end == CallEnd::retry && record.retry_after.count() == 0;
  auto apply = [record = std::move(record)](const Try& attempt) {
    return postgres::record_outcome(attempt, record);
  };
  auto touch = [this, given_away, call](auto&, OutcomeRecorded& recorded) {
    FAULT_POINT("call.after_record");
    if (given_away) news_.tell_runnable(call);
    if (!recorded.wake) return;
    FAULT_POINT("resume.after_commit");
    tell(*recorded.wake);
  };
  write<OutcomeRecorded>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::slice_lost(SliceLost lost, Done<SliceLostResult> done) {
  How how;
  how.key = key_of(lost.root.run);
  const Grant root = lost.root;
  auto apply = [lost = std::move(lost)](const Try& attempt) {
    return postgres::slice_lost(attempt, lost);
  };
  auto touch = [this, root](auto&, SliceLostResult& result) {
    result.paused ? news_.tell_ended(root.run) : news_.tell_runnable(root.id);
  };
  write<SliceLostResult>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::release(Grant grant, Done<void> done) {
  How how;
  how.key = key_of(grant.run);
  how.before = "release.before_commit";
  auto apply = [grant](const Try& attempt) { return postgres::release(attempt, grant); };
  auto touch = [this, grant](auto&) { news_.tell_runnable(grant.id); };
  write<void>(std::move(done), how, std::move(apply), std::move(touch));
}

// Never behind work, and never behind the transition it is about: that one may wait for a lock.
void PostgresStore::extend(std::vector<Grant> grants, Lease lease, Done<std::vector<Grant>> done) {
  How how;
  how.pool = &leases_;
  how.before = "lease.before_renew";
  auto apply = [grants = std::move(grants), lease = std::move(lease)](const Try& attempt) {
    return postgres::extend(attempt, grants, lease);
  };
  write<std::vector<Grant>>(std::move(done), how, std::move(apply), kNoTouch);
}

void PostgresStore::cancel(TaskRunId run, std::string error, Done<std::optional<Wake>> done) {
  How how;
  how.key = key_of(run);
  auto apply = [run, error = std::move(error)](const Try& attempt) {
    return postgres::cancel(attempt, run, error);
  };
  auto touch = [this, run](auto&, std::optional<Wake>& wake) {
    news_.tell_ended(run);
    if (wake) tell(*wake);
  };
  write<std::optional<Wake>>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::pause(TaskRunId run, std::string reason, std::string detail, Done<void> done) {
  How how;
  how.key = key_of(run);
  auto apply = [run, reason = std::move(reason), detail = std::move(detail)](const Try& attempt) {
    return postgres::pause(attempt, run, reason, detail);
  };
  auto touch = [this, run](auto&) { news_.tell_ended(run); };
  write<void>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::resume(TaskRunId run, Done<std::vector<StackRunId>> done) {
  How how;
  how.key = key_of(run);
  auto apply = [run](const Try& attempt) { return postgres::resume(attempt, run); };
  auto touch = [this](auto&, std::vector<StackRunId>& ids) {
    for (const StackRunId id : ids) news_.tell_runnable(id);
  };
  write<std::vector<StackRunId>>(std::move(done), how, std::move(apply), std::move(touch));
}

// On a connection of the sweeps: one that dawdles must hold up neither transitions nor readers.
void PostgresStore::due(int limit, Done<DueWork> done) {
  How how;
  how.pool = &sweeps_;
  auto apply = [this, limit](const Try& attempt) -> Answered<DueWork> {
    if (const auto sound = standing(); sound.has_error()) return Result<DueWork>(sound.error());
    return postgres::due(attempt, limit);
  };
  auto touch = [](auto&, DueWork&) { FAULT_POINT("sweep.after_select"); };
  write<DueWork>(std::move(done), how, std::move(apply), touch);
}

// Others may be alive: their leases end by themselves.
void PostgresStore::recover(std::string /*node*/, std::string died, Done<std::int64_t> done) {
  How how;
  how.pool = &leases_;
  auto apply = [died = std::move(died)](const Try& attempt) -> Answered<std::int64_t> {
    if (died.empty()) return Result<std::int64_t>(0);
    return postgres::recover(attempt, died);
  };
  write<std::int64_t>(std::move(done), how, std::move(apply), kNoTouch);
}

void PostgresStore::listen(News news) { news_.listen(std::move(news)); }

void PostgresStore::clear(Done<std::int64_t> done) {
  auto apply = [](const Try& attempt) { return postgres::clear(attempt); };
  write<std::int64_t>(std::move(done), {}, std::move(apply), kNoTouch);
}

void PostgresStore::keystore_put(std::string name_space, std::string key, std::string key_id,
                                 std::function<std::string(std::int64_t version)> seal,
                                 Done<std::int64_t> done) {
  auto apply = [name_space = std::move(name_space), key = std::move(key),
                key_id = std::move(key_id), seal = std::move(seal)](const Try& attempt) {
    return postgres::keystore_put(attempt, name_space, key, key_id, seal);
  };
  write<std::int64_t>(std::move(done), {}, std::move(apply), kNoTouch);
}

void PostgresStore::keystore_delete(std::string name_space, std::string key, Done<bool> done) {
  auto apply = [name_space = std::move(name_space), key = std::move(key),
                seen = false](const Try& attempt) mutable {
    return postgres::keystore_delete(attempt, name_space, key, seen);
  };
  write<bool>(std::move(done), {}, std::move(apply), kNoTouch);
}

// --- reads ---------------------------------------------------------------------------------------

void PostgresStore::task_function(std::string name, int version, Done<TaskFunction> done) {
  read(std::move(done),
       [name = std::move(name), version](Queries& q) { return q.task_function(name, version); });
}

void PostgresStore::task_function_by_id(TaskFunctionId id, Done<TaskFunction> done) {
  read(std::move(done), [id](Queries& q) { return q.task_function_by_id(id); });
}

void PostgresStore::task_functions(std::string name, Done<std::vector<TaskFunction>> done) {
  read(std::move(done), [name = std::move(name)](Queries& q) { return q.task_functions(name); });
}

void PostgresStore::journal_head(TaskRunId run, Done<TaskRun> done) {
  read(std::move(done), [run](Queries& q) { return q.journal_head(run); });
}

void PostgresStore::journal(TaskRunId run, std::int64_t after_seq, std::int64_t bytes_max,
                            Done<JournalPage> done) {
  read(std::move(done), [run, after_seq, bytes_max](Queries& q) {
    return q.journal(run, after_seq, bytes_max);
  });
}

void PostgresStore::outcomes(TaskRunId run, std::int64_t after, int limit,
                             Done<std::vector<Outcome>> done) {
  read(std::move(done), [run, after, limit](Queries& q) { return q.outcomes(run, after, limit); });
}

void PostgresStore::run(TaskRunId run, Done<TaskRun> done) {
  read(std::move(done), [run](Queries& q) { return q.run(run); });
}

void PostgresStore::runs(RunFilter filter, Done<std::vector<TaskRun>> done) {
  read(std::move(done), [filter = std::move(filter)](Queries& q) { return q.runs(filter); });
}

void PostgresStore::stack_run(StackRunId id, Done<StackRun> done) {
  read(std::move(done), [id](Queries& q) { return q.stack_run(id); });
}

void PostgresStore::stack(TaskRunId run, std::int64_t from_seq, int limit,
                          Done<std::vector<StackRun>> done) {
  read(std::move(done),
       [run, from_seq, limit](Queries& q) { return q.stack(run, from_seq, limit); });
}

void PostgresStore::attempts(StackRunId id, Done<std::vector<Attempt>> done) {
  read(std::move(done), [id](Queries& q) { return q.attempts(id); });
}

void PostgresStore::logs(TaskRunId run, std::int64_t after_n, int limit,
                         Done<std::vector<LogEntry>> done) {
  read(std::move(done), [run, after_n, limit](Queries& q) { return q.logs(run, after_n, limit); });
}

void PostgresStore::status(Done<StoreStatus> done) {
  read(std::move(done), [this](Queries& q) {
    return q.status(link_->options().schema, link_->conninfo().location, context_.now());
  });
}

// As `due`: the connection that renews leases must never wait for a look around.
void PostgresStore::upkeep(Done<Upkeep> done) {
  How how;
  how.pool = &sweeps_;
  auto apply = [](const Try& attempt) { return postgres::upkeep(attempt); };
  write<Upkeep>(std::move(done), how, apply, kNoTouch);
}

void PostgresStore::keystore_get(std::string name_space, std::string key,
                                 Done<KeystoreEntry> done) {
  read(std::move(done), [name_space = std::move(name_space), key = std::move(key)](Queries& q) {
    return q.keystore_get(name_space, key);
  });
}

void PostgresStore::keystore_list(std::string name_space, Done<std::vector<KeystoreEntry>> done) {
  read(std::move(done),
       [name_space = std::move(name_space)](Queries& q) { return q.keystore_list(name_space); });
}

}  // namespace sequential::storage::postgres
