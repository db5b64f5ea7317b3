#include "search_sql.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

namespace sequential::storage {
namespace {

constexpr std::string_view kSuspended = "suspended_waiting_child";

bool has(const std::vector<RunStatus>& statuses, RunStatus status) {
  return std::find(statuses.begin(), statuses.end(), status) != statuses.end();
}

// "ab" → "ac": the first text that is above all those that begin with it; empty: there is none.
std::string after_prefix(std::string text) {
  while (!text.empty() && text.back() == '\xff') text.pop_back();
  if (!text.empty()) text.back() = static_cast<char>(static_cast<unsigned char>(text.back()) + 1);
  return text;
}

}  // namespace

struct SearchSql::Text {
  Dialect dialect;
  const std::string& prefix;
  SqlStatement made;
  bool some = false;  // a condition

  Text& operator<<(std::string_view sql) {
    made.text += sql;
    return *this;
  }
  Text& table(std::string_view name) { return *this << prefix << name; }
  Text& value(std::int64_t number) {
    made.values.emplace_back(number);
    return placeholder("::bigint");
  }
  // Of a column that holds what came from outside, or of one that holds names of ours.
  Text& bytes(std::string text) {
    made.values.emplace_back(std::move(text));
    return placeholder("::bytea");
  }
  Text& name(std::string_view text) {
    made.values.emplace_back(std::string(text));
    return placeholder("::text");
  }
  Text& placeholder(std::string_view type) {
    const std::string number = std::to_string(made.values.size());
    return dialect == Dialect::sqlite ? *this << "?" << number : *this << "$" << number << type;
  }
  Text& condition() {
    *this << (some ? " AND " : " WHERE ");
    some = true;
    return *this;
  }
};

SearchSql::SearchSql(Dialect dialect, std::string prefix, const RunQuery& query)
    : dialect_(dialect), prefix_(std::move(prefix)), query_(query) {
  // Only what failed or was cancelled has an error.
  if (!query_.text.empty() && query_.statuses.empty()) {
    query_.statuses = {RunStatus::failed, RunStatus::cancelled};
  }
  choose_driver();
}

void SearchSql::choose_driver() {
  const auto tag =
      std::find_if(query_.tags.begin(), query_.tags.end(),
                   [](const TagMatch& match) { return match.how == TagMatch::How::equal; });
  const bool exact_task = !query_.task.empty() && query_.task.back() != '*';
  if (query_.id) {
    driver_ = Driver::id;
  } else if (!query_.idempotency_key.empty()) {
    driver_ = Driver::key;
  } else if (query_.parent) {
    driver_ = Driver::parent;
  } else if (tag != query_.tags.end()) {
    driver_ = Driver::tag;
    driving_tag_ = static_cast<std::size_t>(tag - query_.tags.begin());
  } else if (exact_task && !only_rare_statuses()) {
    driver_ = Driver::task;
  } else if (!query_.statuses.empty()) {
    driver_ = Driver::status;
  } else if (exact_task) {
    driver_ = Driver::task;
  }
  const auto& q = query_;
  const bool one_of_two = has(q.statuses, RunStatus::running) !=
                          has(q.statuses, RunStatus::suspended_waiting_child);
  residual_ = (q.id && driver_ != Driver::id) || (q.parent && driver_ != Driver::parent) ||
              (!q.idempotency_key.empty() && driver_ != Driver::key) ||
              (!q.task.empty() && driver_ != Driver::task) || q.version != 0 ||
              (!q.statuses.empty() && (driver_ != Driver::status || one_of_two)) ||
              q.tags.size() > (driver_ == Driver::tag ? 1u : 0u) || !q.created.any() ||
              !q.started.any() || !q.ended.any() || !q.text.empty() || !q.queue_key.empty();
}

// Few runs are in them at a time, or few end so: their index leads to less than a task's name.
bool SearchSql::only_rare_statuses() const {
  return !query_.statuses.empty() && !has(query_.statuses, RunStatus::completed);
}

// As task_runs has them: it does not tell suspended from running.
std::vector<std::string_view> SearchSql::stored_statuses() const {
  std::vector<std::string_view> names;
  for (const RunStatus status : query_.statuses) {
    const bool suspended = status == RunStatus::suspended_waiting_child;
    const auto name = run_status_name(suspended ? RunStatus::running : status);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

IdWindow SearchSql::after(TaskRunId after) const {
  if (!after) return {};
  if (query_.oldest_first) return {after.value + 1, INT64_MAX};
  return {1, after.value - 1};
}

// `id` is the driver's column with run ids. limit 0: none.
void SearchSql::end_of_driver(Text& text, const char* id, IdWindow window,
                              std::int64_t limit) const {
  text.condition() << id << " >= ";
  text.value(window.low).condition() << id << " <= ";
  text.value(window.high);
  if (limit == 0) return;
  text << " ORDER BY " << id << (query_.oldest_first ? " LIMIT " : " DESC LIMIT ");
  text.value(limit);
}

void SearchSql::drive_by_status(Text& text, IdWindow window, std::int64_t limit) const {
  const char* const index = dialect_ == Dialect::sqlite ? " INDEXED BY task_runs_status" : "";
  bool first = true;
  text << "SELECT id FROM (";
  for (const std::string_view status : stored_statuses()) {
    text << (first ? "" : " UNION ALL ") << "SELECT id FROM (SELECT id FROM ";
    text.table("task_runs") << index << " WHERE status = ";
    text.name(status).some = true;
    end_of_driver(text, "id", window, limit);
    text << ") s";
    first = false;
  }
  text << ") u";
  if (limit == 0) return;
  text << " ORDER BY id" << (query_.oldest_first ? " LIMIT " : " DESC LIMIT ");
  text.value(limit);
}

void SearchSql::drive(Text& text, IdWindow window, std::int64_t limit) const {
  const bool sqlite = dialect_ == Dialect::sqlite;
  const char* id = "id";
  switch (driver_) {
    case Driver::status:
      return drive_by_status(text, window, limit);
    case Driver::parent:
      id = "child_run";
      text << "SELECT child_run AS id FROM ";
      break;
    case Driver::tag:
      id = "task_run_id";
      text << "SELECT task_run_id AS id FROM ";
      break;
    default:
      text << "SELECT id FROM ";
  }
  text.some = false;
  if (driver_ == Driver::tag) {
    const TagMatch& tag = query_.tags[driving_tag_];
    text.table("run_tags") << (sqlite ? " INDEXED BY run_tags_value" : "");
    text.condition() << "kind = " << std::to_string(static_cast<int>(tag.kind)) << " AND key = ";
    text.bytes(tag.key) << " AND value = ";
    text.bytes(tag.value);
  } else if (driver_ == Driver::parent) {
    text.table("child_tasks").condition() << "parent_run = ";
    text.value(query_.parent.value);
  } else if (driver_ == Driver::task) {
    text.table("task_runs") << (sqlite ? " INDEXED BY task_runs_name" : "");
    text.condition() << "task_name = ";
    text.bytes(query_.task);
  } else if (driver_ == Driver::key) {
    text.table("task_runs").condition() << "idempotency_key = ";
    text.bytes(query_.idempotency_key);
  } else {
    text.table("task_runs");
    if (driver_ == Driver::id) {
      text.condition() << "id = ";
      text.value(query_.id.value);
    }
  }
  end_of_driver(text, id, window, limit);
}

void SearchSql::status_condition(Text& text) const {
  if (query_.statuses.empty()) return;
  const bool both = has(query_.statuses, RunStatus::running) &&
                    has(query_.statuses, RunStatus::suspended_waiting_child);
  text.condition() << "(";
  bool first = true;
  for (const RunStatus status : query_.statuses) {
    const bool suspended = status == RunStatus::suspended_waiting_child;
    text << (first ? "" : " OR ") << "(t.status = ";
    text.name(run_status_name(suspended ? RunStatus::running : status));
    if ((suspended || status == RunStatus::running) && !both) {
      text << (suspended ? " AND r.status = " : " AND r.status <> ");
      text.name(kSuspended);
    }
    text << ")";
    first = false;
  }
  text << ")";
}

void SearchSql::tag_condition(Text& text, const TagMatch& tag) const {
  text.condition() << "EXISTS (SELECT 1 FROM ";
  text.table("run_tags") << " g WHERE g.task_run_id = t.id AND g.kind = "
                         << std::to_string(static_cast<int>(tag.kind)) << " AND g.key = ";
  text.bytes(tag.key);
  if (tag.how == TagMatch::How::equal) {
    text << " AND g.value = ";
    text.bytes(tag.value) << ")";
    return;
  }
  text << (tag.how == TagMatch::How::less ? " AND g.number < " : " AND g.number > ");
  if (dialect_ == Dialect::sqlite) text << "CAST(";
  text.name(tag.value) << (dialect_ == Dialect::sqlite ? " AS REAL))" : "::float8)");
}

void SearchSql::text_condition(Text& text) const {
  if (query_.text.empty()) return;
  text.condition() << "t.error IS NOT NULL AND ";
  if (dialect_ == Dialect::postgres) {
    text << "position(" << prefix_ << "searchable(";
    text.bytes(query_.text) << ") IN " << prefix_ << "error_words(t.error)) > 0";
    return;
  }
  text << "instr(lower(CASE WHEN json_valid(t.error) THEN"
          " coalesce(json_extract(t.error, '$.name'), '') || ' ' ||"
          " coalesce(json_extract(t.error, '$.code'), '') || ' ' ||"
          " coalesce(json_extract(t.error, '$.message'), '') ELSE t.error END), lower(";
  text.bytes(query_.text) << ")) > 0";
}

void SearchSql::conditions(Text& text) const {
  text.some = false;
  status_condition(text);
  const auto bytes = [&text](const char* column, const std::string& wanted) {
    if (wanted.empty()) return;
    text.condition() << column << " = ";
    text.bytes(wanted);
  };
  const auto range = [&text](const std::string& column, const TimeRange& wanted) {
    if (wanted.after) text.condition() << column << " >= ";
    if (wanted.after) text.value(wanted.after->ms);
    if (wanted.before) text.condition() << column << " < ";
    if (wanted.before) text.value(wanted.before->ms);
  };
  if (!query_.task.empty() && query_.task.back() == '*') {
    const std::string begin = query_.task.substr(0, query_.task.size() - 1);
    const std::string end = after_prefix(begin);
    text.condition() << "t.task_name >= ";
    text.bytes(begin);
    if (!end.empty()) text << " AND t.task_name < ";
    if (!end.empty()) text.bytes(end);
  } else {
    bytes("t.task_name", query_.task);
  }
  if (query_.version != 0) text.condition() << "t.task_version = ";
  if (query_.version != 0) text.value(query_.version);
  if (query_.id) text.condition() << "t.id = ";
  if (query_.id) text.value(query_.id.value);
  bytes("t.idempotency_key", query_.idempotency_key);
  bytes("t.queue_key", query_.queue_key);
  if (query_.parent && driver_ != Driver::parent) {
    text.condition() << "EXISTS (SELECT 1 FROM ";
    text.table("child_tasks") << " p WHERE p.child_run = t.id AND p.parent_run = ";
    text.value(query_.parent.value) << ")";
  }
  for (const TagMatch& tag : query_.tags) tag_condition(text, tag);
  range("t.created_at", query_.created);
  range("t.started_at", query_.started);
  range("t.ended_at", query_.ended);
  text_condition(text);
}

void SearchSql::from(Text& text, IdWindow window, std::int64_t limit) const {
  const char* const join = dialect_ == Dialect::sqlite ? " CROSS JOIN " : " JOIN ";
  text << " FROM (";
  drive(text, window, residual_ ? 0 : limit);
  text << ") c" << join;
  text.table("task_runs") << " t ON t.id = c.id" << join;
  text.table("stack_runs") << " r ON r.id = t.root_stack_run_id";
  conditions(text);
}

SqlStatement SearchSql::extent(IdWindow window, std::int64_t rows) const {
  Text text{dialect_, prefix_, {}};
  text << "SELECT count(*), coalesce(min(id), 0), coalesce(max(id), 0) FROM (";
  drive(text, window, rows);
  text << ") d";
  return std::move(text.made);
}

SqlStatement SearchSql::page(std::string_view select, IdWindow window, std::int64_t limit) const {
  Text text{dialect_, prefix_, {}};
  text << select;
  from(text, window, limit);
  text << " ORDER BY c.id" << (query_.oldest_first ? " LIMIT " : " DESC LIMIT ");
  text.value(limit);
  return std::move(text.made);
}

SqlStatement SearchSql::count(IdWindow window, std::int64_t limit) const {
  Text text{dialect_, prefix_, {}};
  text << "SELECT count(*)";
  from(text, window, limit);
  return std::move(text.made);
}

}  // namespace sequential::storage
