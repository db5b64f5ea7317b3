// Finding runs and removing old ones.

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sqlite/queries.h"
#include "sqlite/store_templates.h"
#include "sqlite/transaction.h"

namespace sequential::storage::sqlite {
namespace {

constexpr WallTime kAnyTime{std::numeric_limits<std::int64_t>::max()};

// The runs of one removal.
class Removal {
 public:
  Removal(Transaction& tx, int runs_max) : tx_(tx), runs_max_(runs_max) {
    for (const std::string& table : run_tables(tx)) {
      tables_.push_back(std::make_unique<Statement>(
          tx.sql.db, "DELETE FROM " + table + " WHERE task_run_id = ?1"));
    }
  }

  bool full() const { return removed_.runs >= runs_max_; }
  const Removed& removed() const { return removed_; }

  // With the runs that it has started. Whether all of it was removed.
  bool remove(TaskRunId run, WallTime ended_before) {
    StackRunId root;
    {
      Cursor row = tx_.sql.ended_run.query(run, ended_before);
      if (!row.next()) return false;
      root = row.id<StackRunId>(0);
    }
    {
      Cursor row = tx_.sql.child_not_ended.query(run);
      if (row.next()) return false;
    }
    for (const TaskRunId child : children(run)) {
      if (full() || !remove(child, kAnyTime)) return false;
    }
    if (full() || tx_.failed()) return false;
    {
      Cursor open = tx_.sql.open_stack_runs.query(run, 0);
      while (open.next()) tx_.leases.drop(open.id<StackRunId>(0));
    }
    tx_.sql.remove_attempts.run(run);
    removed_.rows += 1 + tx_.sql.remove_stack_runs.run(run);
    for (const auto& table : tables_) removed_.rows += table->run(run);
    tx_.sql.remove_child.run(run);
    tx_.sql.remove_orphan.run(run);
    tx_.must(tx_.sql.remove_run.run(run) == 1);
    ++removed_.runs;
    return true;
  }

 private:
  std::vector<TaskRunId> children(TaskRunId run) {
    std::vector<TaskRunId> ids;
    Cursor row = tx_.sql.children_of.query(run, runs_max_);
    while (row.next()) ids.push_back(row.id<TaskRunId>(0));
    return ids;
  }

  Transaction& tx_;
  const int runs_max_;
  std::vector<std::unique_ptr<Statement>> tables_;
  Removed removed_;
};

SearchSql sql_of(const RunQuery& query) { return {SearchSql::Dialect::sqlite, "", query}; }

}  // namespace

std::vector<std::string> run_tables(Transaction& tx) {
  std::vector<std::string> names;
  Cursor row = tx.sql.run_tables.query();
  while (row.next()) names.push_back("\"" + row.text(0) + "\"");
  return names;
}

Result<Removed> remove_runs(Transaction& tx, const std::vector<TaskRunId>& runs,
                            WallTime ended_before, int runs_max) {
  Removal removal(tx, runs_max);
  for (const TaskRunId run : runs) {
    if (removal.full()) break;
    removal.remove(run, ended_before);
  }
  // No number comes again.
  tx.sql.set_meta.run("task_run_id_high", tx.ids.run);
  tx.sql.set_meta.run("stack_run_id_high", tx.ids.stack_run);
  tx.faults = {"purge.before_commit", {"purge.after_commit"}};
  return removal.removed();
}

Result<void> set_retention(Transaction& tx, const Retention& retention) {
  if (retention.completed_ms < 0 && retention.failed_ms < 0) {
    tx.sql.drop_retention.run(retention.task);
  } else {
    tx.sql.put_retention.run(retention.task, retention.completed_ms, retention.failed_ms,
                             tx.clock.now());
  }
  return success();
}

Queries::Extent Queries::extent_of(const SqlStatement& statement) {
  Statement made(db_, statement.text);
  Cursor row = made.query_with(statement.values);
  if (!row.next()) return {};
  return {row.integer(0), row.integer(1), row.integer(2)};
}

Result<RunPage> Queries::find_runs(const RunQuery& query, TaskRunId after, int limit,
                                   int rows_max) {
  const SearchSql sql = sql_of(query);
  IdWindow window = sql.after(after);
  RunPage page;
  bool more = false;
  if (sql.checks_rows()) {
    const Extent extent = extent_of(sql.extent(window, rows_max));
    page.looked_at = extent.rows;
    if (extent.rows == 0) return answer(std::move(page));
    more = extent.rows >= rows_max;
    window = {extent.low, extent.high};
  }
  {
    const SqlStatement statement = sql.page(kRun, window, limit);
    Statement made(db_, statement.text);
    Cursor row = made.query_with(statement.values);
    while (row.next()) page.runs.push_back(read_run(row));
  }
  if (static_cast<int>(page.runs.size()) >= limit) {
    page.next = page.runs.back().id;
  } else if (more) {
    page.next = TaskRunId(query.oldest_first ? window.high : window.low);
  }
  return answer(std::move(page));
}

Result<RunCount> Queries::count_runs(const RunQuery& query, int rows_max) {
  const SearchSql sql = sql_of(query);
  const Extent extent = extent_of(sql.extent({}, rows_max + 1));
  RunCount counted;
  counted.count = extent.rows;
  if (sql.checks_rows() && extent.rows > 0) {
    const SqlStatement statement = sql.count({extent.low, extent.high}, 0);
    Statement made(db_, statement.text);
    Cursor row = made.query_with(statement.values);
    if (row.next()) counted.count = row.integer(0);
  }
  counted.more = extent.rows > rows_max;
  counted.count = std::min<std::int64_t>(counted.count, rows_max);
  return answer(counted);
}

Result<std::vector<RunTag>> Queries::run_tags(TaskRunId run) {
  std::vector<RunTag> tags;
  {
    Statement select(db_,
                     "SELECT kind, key, value, number FROM run_tags WHERE task_run_id = ?1"
                     " ORDER BY kind, key");
    Cursor row = select.query(run);
    while (row.next()) {
      RunTag& tag = tags.emplace_back();
      tag.kind = row.integer(0) == 1 ? RunTag::Kind::attribute : RunTag::Kind::tag;
      tag.key = row.text(1);
      tag.value = row.text(2);
      if (!row.null(3)) tag.number = row.real(3);
    }
  }
  return answer(std::move(tags));
}

Result<std::vector<Retention>> Queries::retentions() {
  std::vector<Retention> all;
  {
    Statement select(db_, "SELECT task, completed_ms, failed_ms FROM task_retention ORDER BY task");
    Cursor row = select.query();
    while (row.next()) all.push_back({row.text(0), row.integer(1), row.integer(2)});
  }
  return answer(std::move(all));
}

// --- the store's methods -------------------------------------------------------------------------

void SqliteStore::find_runs(RunQuery query, TaskRunId after, int limit, int rows_max,
                            Done<RunPage> done) {
  read(std::move(done), [query = std::move(query), after, limit, rows_max](Queries& q) {
    return q.find_runs(query, after, limit, rows_max);
  });
}

void SqliteStore::count_runs(RunQuery query, int rows_max, Done<RunCount> done) {
  read(std::move(done),
       [query = std::move(query), rows_max](Queries& q) { return q.count_runs(query, rows_max); });
}

void SqliteStore::run_tags(TaskRunId run, Done<std::vector<RunTag>> done) {
  read(std::move(done), [run](Queries& q) { return q.run_tags(run); });
}

void SqliteStore::remove_runs(std::vector<TaskRunId> runs, WallTime ended_before, int runs_max,
                              Done<Removed> done) {
  write(std::move(done), [runs = std::move(runs), ended_before, runs_max](Transaction& tx) {
    return sqlite::remove_runs(tx, runs, ended_before, runs_max);
  });
}

void SqliteStore::set_retention(Retention retention, Done<void> done) {
  write(std::move(done), [retention = std::move(retention)](Transaction& tx) {
    return sqlite::set_retention(tx, retention);
  });
}

void SqliteStore::retentions(Done<std::vector<Retention>> done) {
  read(std::move(done), [](Queries& q) { return q.retentions(); });
}

}  // namespace sequential::storage::sqlite
