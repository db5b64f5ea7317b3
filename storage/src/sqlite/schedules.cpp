#include "sqlite/schedules.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sequential::storage::sqlite {
namespace {

constexpr const char* kSelect =
    "SELECT s.name, s.spec, s.overlap, s.paused, s.revision, s.next_tick, s.due_at, s.last_tick,"
    " s.last_started_at, s.last_skipped_at, s.last_run, s.started, s.skipped, s.missed,"
    " s.created_at, s.updated_at, t.id, t.ended_at"
    " FROM schedules s LEFT JOIN task_runs t ON t.id = s.last_run ";
// Its tick cannot start before the last run is over.
constexpr const char* kBlocked =
    "s.overlap IN ('queue', 'cancel') AND t.id IS NOT NULL AND t.ended_at IS NULL";

Schedule read_schedule(const Cursor& row) {
  Schedule s;
  s.name = row.text(0);
  s.spec = row.text(1);
  s.overlap = overlap_from(row.view(2)).value_or(Overlap::skip);
  s.paused = row.integer(3) != 0;
  s.revision = row.integer(4);
  s.next_tick = row.time_if(5);
  s.due_at = row.time_if(6);
  s.last_tick = row.time_if(7);
  s.last_started_at = row.time_if(8);
  s.last_skipped_at = row.time_if(9);
  s.last_run = row.id<TaskRunId>(10);
  s.started = row.integer(11);
  s.skipped = row.integer(12);
  s.missed = row.integer(13);
  s.created_at = row.time(14);
  s.updated_at = row.time(15);
  s.last_run_over = row.null(16) || !row.null(17);
  s.last_run_ended_at = row.time_if(17);
  return s;
}

std::optional<Schedule> find(Transaction& tx, const std::string& name) {
  Statement select(tx.sql.db, std::string(kSelect) + "WHERE s.name = ?1");
  Cursor row = select.query(name);
  if (!row.next()) return std::nullopt;
  return read_schedule(row);
}

Error unknown(const std::string& name) {
  return {Errc::schedule_not_found, "there is no schedule '" + name + "'"};
}

Result<Schedule> put_schedule(Transaction& tx, const SchedulePut& p) {
  const auto known = find(tx, p.name);
  if ((known ? known->revision : 0) != p.revision) {
    return Error(Errc::conflict, "somebody else changed this schedule at the same moment");
  }
  const WallTime now = tx.clock.now();
  if (!known) {
    std::int64_t count = 0;
    {
      Statement counted(tx.sql.db, "SELECT count(*) FROM schedules");
      Cursor row = counted.query();
      if (row.next()) count = row.integer(0);
    }
    if (count >= p.count_max) {
      return Error(Errc::conflict, "there are " + std::to_string(count) +
                                       " schedules, which is as many as schedules.max allows");
    }
  }
  Statement write(
      tx.sql.db,
      "INSERT INTO schedules (name, revision, overlap, paused, next_tick, due_at, started, skipped,"
      " missed, created_at, updated_at, spec) VALUES (?1, ?2 + 1, ?3, ?4, ?5, ?6, 0, 0, 0, ?7, ?7,"
      " ?8) ON CONFLICT (name) DO UPDATE SET revision = excluded.revision,"
      " overlap = excluded.overlap, paused = excluded.paused, next_tick = excluded.next_tick,"
      " due_at = excluded.due_at, updated_at = excluded.updated_at, spec = excluded.spec");
  tx.must(write.run(p.name, p.revision, overlap_name(p.overlap), p.paused ? 1 : 0, p.next_tick,
                    p.due_at, now, p.spec) == 1);
  if (auto written = find(tx, p.name)) return *std::move(written);
  return unknown(p.name);  // the transaction has failed
}

Result<std::vector<Schedule>> list_schedules(Transaction& tx, const std::string& after, int limit) {
  std::vector<Schedule> found;
  Statement select(tx.sql.db, std::string(kSelect) + "WHERE s.name > ?1 ORDER BY s.name LIMIT ?2");
  Cursor row = select.query(after, std::max(limit, 0));
  while (row.next()) found.push_back(read_schedule(row));
  return found;
}

Result<DueSchedules> due_schedules(Transaction& tx, int limit) {
  DueSchedules found;
  found.now = tx.clock.now();
  const auto read = [&](const std::string& which, std::vector<Schedule>& into) {
    Statement select(tx.sql.db, std::string(kSelect) + "WHERE s.due_at <= ?1 AND " + which +
                                    " ORDER BY s.due_at, s.name LIMIT ?2");
    Cursor row = select.query(found.now, std::max(limit, 0));
    while (row.next()) into.push_back(read_schedule(row));
  };
  read(std::string("NOT (") + kBlocked + ")", found.due);
  read(kBlocked, found.blocked);
  Statement next(tx.sql.db, "SELECT min(due_at) FROM schedules WHERE due_at > ?1");
  Cursor row = next.query(found.now);
  if (row.next()) found.next_due = row.time_if(0);
  return found;
}

Result<ScheduleFired> fire_schedule(Transaction& tx, const ScheduleFire& f) {
  const auto schedule = find(tx, f.name);
  if (!schedule) return unknown(f.name);
  const WallTime now = tx.clock.now();
  const bool at_tick = !f.expected || (schedule->next_tick == f.expected && schedule->due_at &&
                                       *schedule->due_at <= now);
  if (schedule->revision != f.revision || !at_tick) {
    return Error(Errc::fenced, "the schedule has gone on, or was changed");
  }
  ScheduleFired fired;
  using What = ScheduleFired::What;
  if (!f.start) {
    fired.what = What::moved;
  } else if (f.overlap != Overlap::allow && !schedule->last_run_over) {
    fired.previous = schedule->last_run;
    fired.what = f.overlap == Overlap::skip ? What::skipped : What::blocked;
    if (fired.what == What::blocked || !f.expected) return fired;
  } else {
    SEQUENTIAL_TRY(fired.submitted, submit(tx, f.submission));
  }
  Statement move(tx.sql.db,
                 "UPDATE schedules SET next_tick = CASE WHEN ?3 THEN ?4 ELSE next_tick END,"
                 " due_at = CASE WHEN ?3 THEN ?5 ELSE due_at END, missed = missed + ?6,"
                 " last_tick = coalesce(?7, last_tick), last_run = coalesce(?8, last_run),"
                 " last_started_at = coalesce(?9, last_started_at), started = started + ?10,"
                 " last_skipped_at = coalesce(?11, last_skipped_at), skipped = skipped + ?12"
                 " WHERE name = ?1 AND revision = ?2");
  const bool started = fired.submitted.has_value();
  const bool skipped = fired.what == What::skipped;
  const auto if_so = [](bool so, WallTime time) {
    return so ? std::optional<WallTime>(time) : std::nullopt;
  };
  tx.must(move.run(f.name, f.revision, f.expected ? 1 : 0, f.next_tick, f.due_at, f.missed,
                   if_so(f.expected.has_value(), f.tick),
                   started ? fired.submitted->run : TaskRunId(), if_so(started, now),
                   started ? 1 : 0, if_so(skipped, f.tick), skipped ? 1 : 0) == 1);
  tx.faults = {"schedule.before_commit", {"schedule.after_commit"}};
  return fired;
}

class SqliteSchedules final : public Schedules {
 public:
  explicit SqliteSchedules(PostChange post) : post_(std::move(post)) {}

  void put(SchedulePut p, Done<Schedule> done) override {
    ask<Schedule>(std::move(done),
                  [p = std::move(p)](Transaction& tx) { return put_schedule(tx, p); });
  }
  void get(std::string name, Done<Schedule> done) override {
    ask<Schedule>(std::move(done), [name = std::move(name)](Transaction& tx) -> Result<Schedule> {
      if (auto found = find(tx, name)) return *std::move(found);
      return unknown(name);
    });
  }
  void list(std::string after, int limit, Done<std::vector<Schedule>> done) override {
    ask<std::vector<Schedule>>(std::move(done), [after = std::move(after), limit](Transaction& tx) {
      return list_schedules(tx, after, limit);
    });
  }
  void remove(std::string name, Done<bool> done) override {
    ask<bool>(std::move(done), [name = std::move(name)](Transaction& tx) -> Result<bool> {
      Statement gone(tx.sql.db, "DELETE FROM schedules WHERE name = ?1");
      return gone.run(name) == 1;
    });
  }
  void due(int limit, Done<DueSchedules> done) override {
    ask<DueSchedules>(std::move(done),
                      [limit](Transaction& tx) { return due_schedules(tx, limit); });
  }
  void fire(ScheduleFire f, Done<ScheduleFired> done) override {
    ask<ScheduleFired>(std::move(done),
                       [f = std::move(f)](Transaction& tx) { return fire_schedule(tx, f); });
  }

 private:
  template <class T, class Apply>
  void ask(Done<T> done, Apply apply) {
    auto kept = std::make_shared<std::optional<T>>();
    auto keep = [kept, apply = std::move(apply)](Transaction& tx) -> Result<void> {
      SEQUENTIAL_TRY(auto value, apply(tx));
      kept->emplace(std::move(value));
      return success();
    };
    auto answer = [kept, done = std::move(done)](Result<void> result) {
      if (result.has_error()) return done(std::move(result).error());
      done(*std::move(*kept));
    };
    post_(std::move(keep), std::move(answer));
  }

  const PostChange post_;
};

}  // namespace

std::unique_ptr<Schedules> make_schedules(PostChange post) {
  return std::make_unique<SqliteSchedules>(std::move(post));
}

}  // namespace sequential::storage::sqlite
