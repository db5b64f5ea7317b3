// Finding runs and removing old ones.

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "postgres/queries.h"
#include "postgres/store_templates.h"
#include "postgres/transitions.h"
#include "sequential/base/fault.h"

namespace sequential::storage::postgres {
namespace {

std::string quoted(const std::string& schema) { return "\"" + schema + "\"."; }

SearchSql sql_of(const std::string& schema, const RunQuery& query) {
  return {SearchSql::Dialect::postgres, quoted(schema), query};
}

}  // namespace

// With its text each time: planned for its values, and none of the many kinds is kept.
Answer<Rows> Queries::ask_once(const SqlStatement& statement) {
  Params params;
  for (const SqlValue& value : statement.values) {
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      params.add(*number);
    } else {
      params.add(std::string_view(std::get<std::string>(value)));
    }
  }
  return db_.run(Statement(statement.text), params, false);
}

Answer<Queries::Extent> Queries::extent_of(const SqlStatement& statement) {
  SEQUENTIAL_ROWS(rows, ask_once(statement));
  return Extent{rows.integer(0, 0), rows.integer(0, 1), rows.integer(0, 2)};
}

Answer<Result<RunPage>> Queries::find_runs(const std::string& schema, const RunQuery& query,
                                           TaskRunId after, int limit, int rows_max) {
  const SearchSql sql = sql_of(schema, query);
  IdWindow window = sql.after(after);
  RunPage page;
  bool more = false;
  if (sql.checks_rows()) {
    auto asked = extent_of(sql.extent(window, rows_max));
    if (auto* error = std::get_if<DbError>(&asked)) return std::move(*error);
    const Extent& extent = std::get<Extent>(asked);
    page.looked_at = extent.rows;
    if (extent.rows == 0) return Result<RunPage>(std::move(page));
    more = extent.rows >= rows_max;
    window = {extent.low, extent.high};
  }
  SEQUENTIAL_ROWS(rows, ask_once(sql.page(run_columns(), window, limit)));
  for (std::size_t i = 0; i < rows.size(); ++i) page.runs.push_back(read_run(rows, i));
  if (static_cast<int>(page.runs.size()) >= limit) {
    page.next = page.runs.back().id;
  } else if (more) {
    page.next = TaskRunId(query.oldest_first ? window.high : window.low);
  }
  return Result<RunPage>(std::move(page));
}

Answer<Result<RunCount>> Queries::count_runs(const std::string& schema, const RunQuery& query,
                                             int rows_max) {
  const SearchSql sql = sql_of(schema, query);
  auto asked = extent_of(sql.extent({}, rows_max + 1));
  if (auto* error = std::get_if<DbError>(&asked)) return std::move(*error);
  const Extent& extent = std::get<Extent>(asked);
  RunCount counted;
  counted.count = extent.rows;
  if (sql.checks_rows() && extent.rows > 0) {
    SEQUENTIAL_ROWS(rows, ask_once(sql.count({extent.low, extent.high}, 0)));
    counted.count = rows.integer(0, 0);
  }
  counted.more = extent.rows > rows_max;
  counted.count = std::min<std::int64_t>(counted.count, rows_max);
  return Result<RunCount>(counted);
}

Answer<Result<std::vector<RunTag>>> Queries::run_tags(const std::string& schema, TaskRunId run) {
  const Statement select("SELECT kind::bigint, key, value, number::text FROM " + quoted(schema) +
                         "run_tags WHERE task_run_id = $1::bigint ORDER BY kind, key");
  Params params;
  params.add(run.value);
  SEQUENTIAL_ROWS(rows, ask(select, params));
  std::vector<RunTag> tags;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    RunTag& tag = tags.emplace_back();
    tag.kind = rows.integer(i, 0) == 1 ? RunTag::Kind::attribute : RunTag::Kind::tag;
    tag.key = rows.bytes(i, 1);
    tag.value = rows.bytes(i, 2);
    if (!rows.null(i, 3)) tag.number = std::strtod(rows.text(i, 3).c_str(), nullptr);
  }
  return Result<std::vector<RunTag>>(std::move(tags));
}

Answer<Result<std::vector<Retention>>> Queries::retentions(const std::string& schema) {
  const Statement select("SELECT task, completed_ms, failed_ms FROM " + quoted(schema) +
                         "task_retention ORDER BY task");
  SEQUENTIAL_ROWS(rows, ask(select, Params()));
  std::vector<Retention> all;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    all.push_back({rows.bytes(i, 0), rows.integer(i, 1), rows.integer(i, 2)});
  }
  return Result<std::vector<Retention>>(std::move(all));
}

Answered<Removed> remove_runs(const Try& attempt, const std::vector<TaskRunId>& runs,
                              WallTime ended_before, int runs_max) {
  std::vector<std::int64_t> ids;
  for (const TaskRunId run : runs) ids.push_back(run.value);
  Params params = attempt.head();
  params.add(ended_before.ms).add(static_cast<std::int64_t>(runs_max)).add(ids);
  SEQUENTIAL_ROWS(rows, attempt.run(attempt.context.sql.remove_runs, params));
  if (auto error = told(rows)) return Result<Removed>(*std::move(error));
  attempt.context.history.acknowledged();
  return Result<Removed>(Removed{rows.integer(0, 2), rows.integer(0, 3)});
}

Answered<void> set_retention(const Try& attempt, const Retention& retention) {
  Params params;
  params.add(retention.task);
  const bool drop = retention.completed_ms < 0 && retention.failed_ms < 0;
  if (!drop) {
    params.add(retention.completed_ms).add(retention.failed_ms).add(attempt.context.now());
  }
  const auto& sql = attempt.context.sql;
  SEQUENTIAL_ROWS(rows, attempt.run(drop ? sql.drop_retention : sql.put_retention, params));
  static_cast<void>(rows);
  attempt.context.history.acknowledged();
  return Result<void>(success());
}

// --- the store's methods -------------------------------------------------------------------------

void PostgresStore::find_runs(RunQuery query, TaskRunId after, int limit, int rows_max,
                              Done<RunPage> done) {
  read(std::move(done), [this, query = std::move(query), after, limit, rows_max](Queries& q) {
    return q.find_runs(link_->options().schema, query, after, limit, rows_max);
  });
}

void PostgresStore::count_runs(RunQuery query, int rows_max, Done<RunCount> done) {
  read(std::move(done), [this, query = std::move(query), rows_max](Queries& q) {
    return q.count_runs(link_->options().schema, query, rows_max);
  });
}

void PostgresStore::run_tags(TaskRunId run, Done<std::vector<RunTag>> done) {
  read(std::move(done),
       [this, run](Queries& q) { return q.run_tags(link_->options().schema, run); });
}

void PostgresStore::remove_runs(std::vector<TaskRunId> runs, WallTime ended_before, int runs_max,
                                Done<Removed> done) {
  How how;
  how.before = "purge.before_commit";
  auto apply = [runs = std::move(runs), ended_before, runs_max](const Try& attempt) {
    return postgres::remove_runs(attempt, runs, ended_before, runs_max);
  };
  auto touch = [](auto&, Removed&) { FAULT_POINT("purge.after_commit"); };
  write<Removed>(std::move(done), how, std::move(apply), touch);
}

void PostgresStore::set_retention(Retention retention, Done<void> done) {
  auto apply = [retention = std::move(retention)](const Try& attempt) {
    return postgres::set_retention(attempt, retention);
  };
  write<void>(std::move(done), {}, std::move(apply), [](auto&) {});
}

void PostgresStore::retentions(Done<std::vector<Retention>> done) {
  read(std::move(done), [this](Queries& q) { return q.retentions(link_->options().schema); });
}

}  // namespace sequential::storage::postgres
