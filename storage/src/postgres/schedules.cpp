#include "postgres/schedules.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "sequential/base/fault.h"

namespace sequential::storage::postgres {
namespace {

constexpr const char* kColumns =
    "SELECT s.name, s.spec, s.overlap, s.paused, s.revision, s.next_tick, s.due_at, s.last_tick,"
    " s.last_started_at, s.last_skipped_at, s.last_run, s.started, s.skipped, s.missed,"
    " s.created_at, s.updated_at, t.id, t.ended_at FROM ";

struct ScheduleStatements {
  explicit ScheduleStatements(const std::string& schema) {
    const std::string s = "\"" + schema + "\".";
    const std::string from =
        kColumns + s + "schedules s LEFT JOIN " + s + "task_runs t ON t.id = s.last_run ";
    // Its tick cannot start before the last run is over.
    const std::string blocked =
        "(s.overlap IN ('queue', 'cancel') AND t.id IS NOT NULL AND t.ended_at IS NULL)";
    const std::string first = " ORDER BY s.due_at, s.name LIMIT $2::bigint";
    const auto call = [&s](const std::string& function, int parameters) {
      std::string numbers;
      for (int i = 1; i <= parameters; ++i) numbers += (i == 1 ? "$" : ", $") + std::to_string(i);
      return Statement("SELECT * FROM " + s + function + "(" + numbers + ")");
    };
    put = call("schedule_put_v1", 12);
    fire = call("schedule_fire_v1", 25);
    remove = call("schedule_remove_v1", 3);
    now = call("now_ms", 1);
    get = Statement(from + "WHERE s.name = $1::bytea");
    list = Statement(from + "WHERE s.name > $1::bytea ORDER BY s.name LIMIT $2::bigint");
    due = Statement(from + "WHERE s.due_at <= $1::bigint AND NOT " + blocked + first);
    waiting = Statement(from + "WHERE s.due_at <= $1::bigint AND " + blocked + first);
    next = Statement("SELECT min(due_at) FROM " + s + "schedules WHERE due_at > $1::bigint");
  }
  Statement put, fire, remove, now, get, list, due, waiting, next;
};

Schedule read_schedule(const Rows& rows, std::size_t row) {
  Schedule s;
  s.name = rows.bytes(row, 0);
  s.spec = rows.bytes(row, 1);
  s.overlap = overlap_from(rows.text(row, 2)).value_or(Overlap::skip);
  s.paused = rows.boolean(row, 3);
  s.revision = rows.integer(row, 4);
  s.next_tick = rows.time_if(row, 5);
  s.due_at = rows.time_if(row, 6);
  s.last_tick = rows.time_if(row, 7);
  s.last_started_at = rows.time_if(row, 8);
  s.last_skipped_at = rows.time_if(row, 9);
  s.last_run = rows.id<TaskRunId>(row, 10);
  s.started = rows.integer(row, 11);
  s.skipped = rows.integer(row, 12);
  s.missed = rows.integer(row, 13);
  s.created_at = rows.time(row, 14);
  s.updated_at = rows.time(row, 15);
  s.last_run_over = rows.null(row, 16) || !rows.null(row, 17);
  s.last_run_ended_at = rows.time_if(row, 17);
  return s;
}

std::vector<Schedule> read_all(const Rows& rows) {
  std::vector<Schedule> found;
  for (std::size_t i = 0; i < rows.size(); ++i) found.push_back(read_schedule(rows, i));
  return found;
}

Error unknown(const std::string& name) {
  return {Errc::schedule_not_found, "there is no schedule '" + name + "'"};
}

std::int64_t or_zero(const std::optional<WallTime>& time) { return time ? time->ms : 0; }

Answered<Schedule> get_schedule(const Try& attempt, const ScheduleStatements& sql,
                                const std::string& name) {
  Params params;
  params.add(name);
  SEQUENTIAL_ROWS(rows, attempt.run(sql.get, params));
  if (rows.size() == 0) return Result<Schedule>(unknown(name));
  return Result<Schedule>(read_schedule(rows, 0));
}

Answered<Schedule> put_schedule(const Try& attempt, const ScheduleStatements& sql,
                                const SchedulePut& p) {
  Params params = attempt.head();
  params.add(p.name).add(p.spec).add(overlap_name(p.overlap)).add(p.paused).add(p.revision);
  params.add(or_zero(p.next_tick)).add(or_zero(p.due_at)).add(p.count_max);
  SEQUENTIAL_ROWS(rows, attempt.run(sql.put, params));
  if (auto error = told(rows)) return Result<Schedule>(*std::move(error));
  attempt.context.history.acknowledged();
  return get_schedule(attempt, sql, p.name);
}

Answered<DueSchedules> due_schedules(const Try& attempt, const ScheduleStatements& sql, int limit) {
  DueSchedules found;
  Params clock;
  clock.add(attempt.context.now());
  SEQUENTIAL_ROWS(now, attempt.run(sql.now, clock));
  found.now = now.time(0, 0);
  Params params;
  params.add(found.now.ms);
  SEQUENTIAL_ROWS(next, attempt.run(sql.next, params));
  found.next_due = next.time_if(0, 0);
  params.add(static_cast<std::int64_t>(std::max(limit, 0)));
  SEQUENTIAL_ROWS(due, attempt.run(sql.due, params));
  found.due = read_all(due);
  SEQUENTIAL_ROWS(waiting, attempt.run(sql.waiting, params));
  found.blocked = read_all(waiting);
  return Result<DueSchedules>(std::move(found));
}

Params fire_params(const Try& attempt, const ScheduleFire& f, TaskRunId floor) {
  const Submission& s = f.submission;
  const Lease none{"", Millis{0}};
  const Lease& lease = s.handoff ? *s.handoff : none;
  Params params = attempt.head();
  params.add(f.name).add(f.revision).add(or_zero(f.expected)).add(f.tick.ms).add(f.missed);
  params.add(f.start).add(or_zero(f.next_tick)).add(or_zero(f.due_at));
  params.add(overlap_name(f.overlap)).add(floor.value).add(s.task_function_id.value);
  params.add(s.task_name).add(s.task_version).add(s.input).add(s.idempotency_key);
  params.add(s.priority).add(s.queue_key).add(s.tags).add(s.seed).add(lease.node);
  params.add(static_cast<std::int64_t>(lease.length.count()));
  return params;
}

Submitted read_submitted(const Rows& rows, const Submission& s) {
  Submitted submitted;
  submitted.run = rows.id<TaskRunId>(0, 4);
  submitted.root = rows.id<StackRunId>(0, 5);
  submitted.status = run_status_from(rows.text(0, 6)).value_or(RunStatus::queued);
  submitted.created_at = rows.time(0, 7);
  submitted.existing = rows.boolean(0, 8);
  if (rows.null(0, 9)) return submitted;
  Work& work = submitted.work.emplace();
  work.grant = {submitted.root, submitted.run, 1};
  work.lease_until = rows.time(0, 9);
  work.task_function_id = s.task_function_id;
  work.task_name = s.task_name;
  return submitted;
}

Answered<ScheduleFired> fire_schedule(const Try& attempt, const ScheduleStatements& sql,
                                      const ScheduleFire& f, TaskRunId floor) {
  SEQUENTIAL_ROWS(rows, attempt.run(sql.fire, fire_params(attempt, f, floor)));
  if (rows.text(0, 0) == error_code_name(Errc::schedule_not_found)) {
    return Result<ScheduleFired>(unknown(f.name));
  }
  if (auto error = told(rows)) return Result<ScheduleFired>(*std::move(error));
  using What = ScheduleFired::What;
  ScheduleFired fired;
  const std::string done = rows.text(0, 2);
  fired.what = done == "started"   ? What::started
               : done == "skipped" ? What::skipped
               : done == "moved"   ? What::moved
                                   : What::blocked;
  fired.previous = rows.id<TaskRunId>(0, 3);
  if (fired.what == What::started) {
    fired.submitted = read_submitted(rows, f.submission);
    const std::int64_t run = fired.submitted->run.value;
    attempt.acknowledged(
        {Witness::Kind::run, run, fired.submitted->created_at.ms, 0, run});
  } else {
    attempt.context.history.acknowledged();
  }
  return Result<ScheduleFired>(std::move(fired));
}

class PostgresSchedules final : public Schedules {
 public:
  PostgresSchedules(const std::string& schema, ScheduleAccess access)
      : sql_(schema), access_(std::move(access)) {}

  void put(SchedulePut p, Done<Schedule> done) override {
    auto put = [this, p = std::move(p)](const Try& attempt) {
      return put_schedule(attempt, sql_, p);
    };
    ask<Schedule>(ScheduleUse::write, std::move(done), std::move(put));
  }
  void get(std::string name, Done<Schedule> done) override {
    auto read = [this, name = std::move(name)](const Try& attempt) {
      return get_schedule(attempt, sql_, name);
    };
    ask<Schedule>(ScheduleUse::read, std::move(done), std::move(read));
  }
  void list(std::string after, int limit, Done<std::vector<Schedule>> done) override {
    using All = std::vector<Schedule>;
    auto read = [this, after = std::move(after), limit](const Try& attempt) -> Answered<All> {
      Params params;
      params.add(after).add(static_cast<std::int64_t>(std::max(limit, 0)));
      SEQUENTIAL_ROWS(rows, attempt.run(sql_.list, params));
      return Result<All>(read_all(rows));
    };
    ask<All>(ScheduleUse::read, std::move(done), std::move(read));
  }
  void remove(std::string name, Done<bool> done) override {
    auto remove = [this, name = std::move(name)](const Try& attempt) -> Answered<bool> {
      Params params;
      params.add(attempt.context.now()).add(attempt.lock_ms).add(name);
      SEQUENTIAL_ROWS(rows, attempt.run(sql_.remove, params));
      attempt.context.history.acknowledged();
      // Sent again it may find that the first time did it.
      return Result<bool>(rows.boolean(0, 0) || attempt.again);
    };
    ask<bool>(ScheduleUse::write, std::move(done), std::move(remove));
  }
  void due(int limit, Done<DueSchedules> done) override {
    ask<DueSchedules>(ScheduleUse::sweep, std::move(done), [this, limit](const Try& attempt) {
      return due_schedules(attempt, sql_, limit);
    });
  }
  void fire(ScheduleFire f, Done<ScheduleFired> done) override {
    auto fire = [this, f = std::move(f), floor = access_.newest_run()](const Try& attempt) {
      FAULT_POINT("schedule.before_commit");
      return fire_schedule(attempt, sql_, f, floor);
    };
    auto tell = [this, done = std::move(done)](Result<ScheduleFired> fired) {
      FAULT_POINT("schedule.after_commit");
      if (fired.has_value() && fired.value().submitted && !fired.value().submitted->existing &&
          !fired.value().submitted->work) {
        access_.tell_runnable(fired.value().submitted->root);
      }
      done(std::move(fired));
    };
    ask<ScheduleFired>(ScheduleUse::write, std::move(tell), std::move(fire));
  }

 private:
  template <class T, class Apply>
  void ask(ScheduleUse use, Done<T> done, Apply apply) {
    auto kept = std::make_shared<std::optional<Result<T>>>();
    auto keep = [kept, apply = std::move(apply)](const Try& attempt) -> Answered<void> {
      auto answer = apply(attempt);
      if (auto* failed = std::get_if<DbError>(&answer)) return std::move(*failed);
      kept->emplace(std::get<Result<T>>(std::move(answer)));
      return Result<void>(success());
    };
    auto answer = [kept, done = std::move(done)](Result<void> result) {
      if (result.has_error()) return done(std::move(result).error());
      done(*std::move(*kept));
    };
    access_.post(use, std::move(keep), std::move(answer));
  }

  const ScheduleStatements sql_;
  const ScheduleAccess access_;
};

}  // namespace

std::unique_ptr<Schedules> make_schedules(const std::string& schema, ScheduleAccess access) {
  return std::make_unique<PostgresSchedules>(schema, std::move(access));
}

}  // namespace sequential::storage::postgres
