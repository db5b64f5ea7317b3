#pragma once
// The SQL that finds runs, in the dialect of either store. Each statement walks one index in the
// order of run ids (its driver), and checks the rest of the query row by row.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sequential/storage/search.h"

namespace sequential::storage {

using SqlValue = std::variant<std::int64_t, std::string>;

struct SqlStatement {
  std::string text;
  std::vector<SqlValue> values;  // ?1, ?2 … or $1, $2 …
};

// Ids from `low` to `high`, both of them included.
struct IdWindow {
  std::int64_t low = 1, high = INT64_MAX;
};

class SearchSql {
 public:
  enum class Dialect { sqlite, postgres };
  // `prefix` stands before every table and function: a schema and a point, or nothing.
  SearchSql(Dialect dialect, std::string prefix, const RunQuery& query);

  // Whether rows of the driver may not fit.
  bool checks_rows() const { return residual_; }
  // Where a page begins, after the run `after`.
  IdWindow after(TaskRunId after) const;
  // count, lowest and highest id of the driver's first `rows` rows in the window.
  SqlStatement extent(IdWindow window, std::int64_t rows) const;
  // What fits of the driver's rows in the window. `select`: which columns of t (task_runs) and r
  // (its root), with the word SELECT.
  SqlStatement page(std::string_view select, IdWindow window, std::int64_t limit) const;
  // How many of them.
  SqlStatement count(IdWindow window, std::int64_t limit) const;

 private:
  enum class Driver { id, key, parent, tag, status, task, all };
  struct Text;  // a statement in the making

  void choose_driver();
  bool only_rare_statuses() const;
  std::vector<std::string_view> stored_statuses() const;
  void drive(Text& text, IdWindow window, std::int64_t limit) const;
  void drive_by_status(Text& text, IdWindow window, std::int64_t limit) const;
  void end_of_driver(Text& text, const char* id, IdWindow window, std::int64_t limit) const;
  void conditions(Text& text) const;
  void status_condition(Text& text) const;
  void tag_condition(Text& text, const TagMatch& tag) const;
  void text_condition(Text& text) const;
  void from(Text& text, IdWindow window, std::int64_t limit) const;

  const Dialect dialect_;
  const std::string prefix_;
  RunQuery query_;
  Driver driver_ = Driver::all;
  std::size_t driving_tag_ = 0;
  bool residual_ = false;
};

}  // namespace sequential::storage
