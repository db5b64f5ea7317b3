// How SQLite finds rows: by plan, not by stopwatch. A hundred thousand old runs must not slow a
// claim, so no statement of the writer may walk a table that grows with history.

#include <set>

#include "sqlite/queries.h"
#include "sqlite/statements.h"
#include "sqlite_files.h"

namespace sequential::storage::test {
namespace {

using sqlite::Connection;

class QueryPlanTest : public SqliteTest {
 protected:
  void SetUp() override {
    open();
    close();
    connection_ = Connection::open(options_.path, Connection::Mode::read_write).value();
  }
  std::string plan(const std::string& sql) {
    std::string text;
    sqlite3_stmt* statement = nullptr;
    const std::string explain = "EXPLAIN QUERY PLAN " + sql;
    EXPECT_EQ(sqlite3_prepare_v2(connection_->handle(), explain.c_str(), -1, &statement, nullptr),
              SQLITE_OK)
        << sqlite3_errmsg(connection_->handle());
    while (sqlite3_step(statement) == SQLITE_ROW) {
      text += reinterpret_cast<const char*>(sqlite3_column_text(statement, 3));
      text += '\n';
    }
    sqlite3_finalize(statement);
    return text;
  }
  std::vector<std::string> prepared() {
    std::vector<std::string> all;
    for (sqlite3_stmt* s = sqlite3_next_stmt(connection_->handle(), nullptr); s != nullptr;
         s = sqlite3_next_stmt(connection_->handle(), s)) {
      all.emplace_back(sqlite3_sql(s));
    }
    return all;
  }

  std::unique_ptr<Connection> connection_;
};

TEST_F(QueryPlanTest, ClaimsUseThePartialIndexOfPendingWorkInItsOrder) {
  const std::string next =
      plan("SELECT priority, available_at, id FROM stack_runs"
           " WHERE status = 'pending' AND priority <= ?1"
           " ORDER BY priority DESC, available_at, id LIMIT 1");
  // Newer SQLite says COVERING INDEX.
  EXPECT_TRUE(next.starts_with("SEARCH stack_runs USING")) << next;
  EXPECT_NE(next.find("INDEX stack_runs_pending ("), std::string::npos) << next;
  EXPECT_EQ(next.find("TEMP B-TREE"), std::string::npos) << next;
}

TEST_F(QueryPlanTest, NoWriterStatementWalksATableThatGrowsWithHistory) {
  const sqlite::Statements statements(*connection_);
  ASSERT_FALSE(connection_->failed()) << connection_->error().message;
  int checked = 0;
  for (const std::string& sql : prepared()) {
    if (sql.starts_with("DELETE FROM") && sql.find("WHERE") == std::string::npos) continue;
    if (sql == "SELECT count(*) FROM task_runs") continue;  // of `clear`
    if (sql.find("sqlite_master") != std::string::npos) continue;  // the tables: not many
    std::string found = plan(sql);
    // The members of a JSON text that is given.
    constexpr std::string_view kMembers = "SCAN e VIRTUAL TABLE";
    for (std::size_t at; (at = found.find(kMembers)) != std::string::npos;) {
      found.replace(at, kMembers.size(), "");
    }
    EXPECT_EQ(found.find("SCAN"), std::string::npos) << sql << "\n" << found;
    EXPECT_EQ(found.find("TEMP B-TREE"), std::string::npos) << sql << "\n" << found;
    ++checked;
  }
  EXPECT_GT(checked, 30);
}

TEST_F(QueryPlanTest, ReadersSeekExceptWhereTheyCountOrListEverything) {
  const sqlite::Queries queries(*connection_);
  ASSERT_FALSE(connection_->failed()) << connection_->error().message;
  int checked = 0;
  for (const std::string& sql : prepared()) {
    const bool counts = sql.find("GROUP BY") != std::string::npos;
    const bool lists_functions = sql.find("FROM task_functions f") != std::string::npos;
    const bool lists_keys = sql.find("?1 = '' OR namespace") != std::string::npos;
    if (counts || lists_functions || lists_keys) continue;
    const std::string found = plan(sql);
    EXPECT_EQ(found.find("SCAN stack_runs"), std::string::npos) << sql << "\n" << found;
    EXPECT_EQ(found.find("SCAN t\n"), std::string::npos) << sql << "\n" << found;
    EXPECT_EQ(found.find("TEMP B-TREE"), std::string::npos) << sql << "\n" << found;
    ++checked;
  }
  EXPECT_GT(checked, 15);
}

}  // namespace
}  // namespace sequential::storage::test
