// Rewinds on PostgreSQL: functions of migrations/postgres, and what their rows mean.

#include "sequential/storage/rewinds.h"

#include <utility>

#include "postgres/store_templates.h"
#include "postgres/transitions.h"

namespace sequential::storage::postgres {
namespace {

// Columns from `from` on: root, ids.
Rewound rewound(const Rows& rows, TaskRunId run, int from) {
  Rewound answer{run, rows.id<StackRunId>(0, from), false, {}, false};
  for (const std::int64_t id : rows.integers(0, from + 1)) answer.runnable.emplace_back(id);
  return answer;
}

Answered<Rewound> resume_on(const Try& attempt, TaskRunId run, const RewindTo& to) {
  Params params = attempt.head();
  params.add(run.value).add(to.rewinds).add(to.function.value).add(to.version);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.resume_on, params));
  if (auto error = told(rows)) return Result<Rewound>(*std::move(error));
  attempt.context.history.acknowledged();
  return Result<Rewound>(rewound(rows, run, 2));
}

Answered<Rewound> retry_run(const Try& attempt, const Retry& retry) {
  const RewindTo& to = retry.to;
  Params params = attempt.head();
  params.add(retry.run.value).add(to.rewinds).add(to.function.value).add(to.version);
  params.add(to.through).add(to.calls).add(to.logs).add(retry.call).add(retry.unknown_again);
  params.add(static_cast<std::int64_t>(retry.grace.count())).add(retry.dropped);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.retry_run, params));
  if (auto error = told(rows)) return Result<Rewound>(*std::move(error));
  attempt.context.history.acknowledged();
  Rewound retried = rewound(rows, retry.run, 2);
  retried.queued = rows.boolean(0, 4);
  return Result<Rewound>(std::move(retried));
}

Answered<Rewound> fork_run(const Try& attempt, const Fork& fork, TaskRunId floor) {
  const RewindTo& to = fork.to;
  const EditedOutcome none;
  const EditedOutcome& outcome = fork.outcome ? *fork.outcome : none;
  std::vector<std::int64_t> seqs, delays;
  for (const auto& [seq, delay] : fork.delays) {
    seqs.push_back(seq);
    delays.push_back(static_cast<std::int64_t>(delay.count()));
  }
  Params params = attempt.head();
  params.add(floor.value).add(fork.source.value).add(to.rewinds).add(to.function.value);
  params.add(to.version).add(to.through).add(to.calls).add(to.logs).add(fork.calls_max);
  params.add(fork.input.has_value()).add(std::string_view(fork.input ? *fork.input : ""));
  params.add(outcome.seq).add(outcome.failed).add(std::string_view(outcome.payload));
  params.add(seqs).add(delays).add(fork.priority.has_value()).add(fork.priority.value_or(0));
  params.add(fork.tags.has_value()).add(std::string_view(fork.tags ? *fork.tags : ""));
  params.add(std::string_view(fork.idempotency_key)).add(std::string_view(fork.request_hash));
  params.add(fork.dropped);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.fork_run, params));
  if (auto error = told(rows)) return Result<Rewound>(*std::move(error));
  Rewound made = rewound(rows, rows.id<TaskRunId>(0, 2), 3);
  made.existing = rows.boolean(0, 5);
  made.queued = rows.boolean(0, 7);
  attempt.acknowledged({Witness::Kind::run, made.run.value, rows.integer(0, 6), 0, made.run.value});
  return Result<Rewound>(std::move(made));
}

}  // namespace

void PostgresStore::rewind(Done<Rewound> done, TaskRunId key,
                           std::function<Answered<Rewound>(const Try&)> apply) {
  How how;
  how.key = key_of(key);
  how.before = "rewind.before_commit";
  auto touch = [this](auto&, Rewound& rewound) {
    FAULT_POINT("rewind.after_commit");
    for (const StackRunId id : rewound.runnable) news_.tell_runnable(id);
  };
  write<Rewound>(std::move(done), how, std::move(apply), std::move(touch));
}

void PostgresStore::resume_on(TaskRunId run, RewindTo to, Done<Rewound> done) {
  rewind(std::move(done), run, [run, to](const Try& attempt) {
    return postgres::resume_on(attempt, run, to);
  });
}

void PostgresStore::retry_run(Retry retry, Done<Rewound> done) {
  const TaskRunId run = retry.run;
  rewind(std::move(done), run, [retry = std::move(retry)](const Try& attempt) {
    return postgres::retry_run(attempt, retry);
  });
}

void PostgresStore::fork_run(Fork fork, Done<Rewound> done) {
  const TaskRunId source = fork.source, floor(newest_run_.load());
  rewind(std::move(done), source, [fork = std::move(fork), floor](const Try& attempt) {
    return postgres::fork_run(attempt, fork, floor);
  });
}

void PostgresStore::origin(TaskRunId run, Done<RunOrigin> done) {
  read(std::move(done), [run](Queries& q) { return q.origin(run); });
}

void PostgresStore::failed_calls(TaskRunId run, int limit, Done<std::vector<FailedCall>> done) {
  read(std::move(done), [run, limit](Queries& q) { return q.failed_calls(run, limit); });
}

void PostgresStore::made_after(Grant call, Done<std::int64_t> done) {
  read(std::move(done), [call](Queries& q) { return q.made_after(call); });
}

}  // namespace sequential::storage::postgres
