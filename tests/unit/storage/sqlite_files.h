#pragma once
// Looking at and damaging database files from outside the store.

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "sequential/storage/sqlite.h"
#include "support/manual_clock.h"
#include "support/store_test.h"
#include "support/sync_store.h"
#include "support/temp_dir.h"

namespace sequential::storage::test {

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// Runs SQL on a file that no store has open.
inline void execute_on(const std::string& path, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  char* message = nullptr;
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
  sqlite3_free(message);
  sqlite3_close(db);
}

// The first column of the first row, as text; the error's text if there is one.
inline std::string ask_file(const std::string& path, const std::string& sql) {
  sqlite3* db = nullptr;
  sqlite3_stmt* statement = nullptr;
  std::string answer;
  if (sqlite3_open(path.c_str(), &db) == SQLITE_OK &&
      // Only look: no checkpoint, and so no flush, when it is closed.
      sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr) == SQLITE_OK &&
      sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW) {
    const auto* const text = sqlite3_column_text(statement, 0);
    answer = text == nullptr ? "" : reinterpret_cast<const char*>(text);
  } else {
    answer = sqlite3_errmsg(db);
  }
  sqlite3_finalize(statement);
  sqlite3_close(db);
  return answer;
}

// A store on a file in a folder of its own.
class SqliteTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<Store>> try_open() { return open_sqlite(options_, clock_); }
  void open() {
    auto opened = try_open();
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    store_ = std::move(opened).value();
    sync_ = std::make_unique<SyncStore>(*store_);
  }
  void close() {
    sync_.reset();
    store_.reset();
  }
  SyncStore& store() { return *sync_; }

  TaskFunctionId publish() {
    Publication publication;
    publication.name = "task";
    publication.code = "1";
    publication.code_sha256 = "sha256";
    return store().publish(publication).value().id;
  }
  static Submission submission(TaskFunctionId function) {
    Submission s;
    s.task_function_id = function;
    s.task_name = "task";
    s.task_version = 1;
    s.input = "{}";
    s.seed = "0123456789abcdef";
    return s;
  }

  TempDir folder_;
  ManualClock clock_;
  SqliteOptions options_ = [this] {
    SqliteOptions options;
    options.path = folder_.file("test.db");
    options.wal_checkpoint_pages = 100;
    return options;
  }();
  std::unique_ptr<Store> store_;
  std::unique_ptr<SyncStore> sync_;
};

}  // namespace sequential::storage::test
