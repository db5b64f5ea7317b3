// The log's tail cut at any byte, as a crash of the machine may leave it: what was committed before
// the torn frame is there, and nothing of the torn transaction.

#include "sqlite_files.h"

namespace sequential::storage::test {
namespace {

constexpr std::size_t kFrameBytes = 24 + 4'096;

class TornWalTest : public SqliteTest {
 protected:
  // A database and its log, as they were while the store served, before and after one more run.
  void SetUp() override {
    options_.wal_checkpoint_pages = 1'000;  // the migrations alone write more than a hundred
    open();
    const TaskFunctionId function = publish();
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(store().submit(submission(function)).has_value());
    wal_before_ = read_log();
    ASSERT_TRUE(store().submit(submission(function)).has_value());
    db_ = read_file(options_.path);
    wal_ = read_log();
    close();
    ASSERT_GT(wal_.size(), wal_before_.size() + kFrameBytes);
    ASSERT_EQ((wal_.size() - 32) % kFrameBytes, 0u);
  }
  // The log up to its last frame, without the room reserved behind it.
  std::string read_log() {
    std::string log = read_file(options_.path + "-wal");
    std::size_t end = 32;
    const std::string_view salt = std::string_view(log).substr(16, 8);
    while (end + kFrameBytes <= log.size() && std::string_view(log).substr(end + 8, 8) == salt) {
      end += kFrameBytes;
    }
    log.resize(end);
    return log;
  }
  std::string runs_with(std::string_view wal) {
    const std::string path = folder_.file("torn.db");
    std::filesystem::remove(path + "-shm");
    write_file(path, db_);
    write_file(path + "-wal", wal);
    return ask_file(path, "SELECT count(*) FROM task_runs");
  }
  // The same by the store itself, and whether it can go on.
  void expect_store_with(std::string_view wal, std::size_t expected) {
    SqliteOptions options = options_;
    options.path = folder_.file("torn-store.db");
    for (const char* const suffix : {"", "-wal", "-shm"}) {
      std::filesystem::remove(options.path + suffix);
    }
    write_file(options.path, db_);
    write_file(options.path + "-wal", wal);
    auto opened = open_sqlite(options, clock_);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    SyncStore store(*opened.value());
    EXPECT_EQ(store.runs({}).value().size(), expected);
    const TaskFunctionId function = store.task_function("task", 0).value().id;
    ASSERT_TRUE(store.submit(submission(function)).has_value());
    EXPECT_EQ(store.runs({}).value().size(), expected + 1);
  }

  std::string db_, wal_, wal_before_;
};

TEST_F(TornWalTest, CutAtEachByteOfTheLastFrameKeepsAllThatWasCommittedBefore) {
  ASSERT_EQ(runs_with(wal_), "6");
  ASSERT_EQ(runs_with(wal_before_), "5");
  const std::string path = folder_.file("torn.db");
  write_file(path, db_);
  write_file(path + "-wal", wal_);
  for (std::size_t cut = 1; cut <= kFrameBytes; ++cut) {
    std::filesystem::remove(path + "-shm");  // the next look reads the log from its start
    std::filesystem::resize_file(path + "-wal", wal_.size() - cut);
    ASSERT_EQ(ask_file(path, "SELECT count(*) FROM task_runs"), "5") << cut;
  }
}

TEST_F(TornWalTest, OneFlippedByteInTheLastFrameUndoesOnlyItsTransaction) {
  for (std::size_t back = 1; back <= kFrameBytes; back += 17) {
    std::string flipped = wal_;
    flipped[flipped.size() - back] = static_cast<char>(flipped[flipped.size() - back] ^ 0x40);
    ASSERT_EQ(runs_with(flipped), "5") << back;
  }
}

TEST_F(TornWalTest, RoomReservedBehindTheLastFrameMeansNothing) {
  EXPECT_EQ(runs_with(wal_ + std::string(10 * kFrameBytes, '\0')), "6");
  EXPECT_EQ(runs_with(wal_.substr(0, wal_.size() - 5) + std::string(100'000, '\0')), "5");
}

TEST_F(TornWalTest, TheStoreOpensAndGoesOnWithATornLog) {
  expect_store_with(wal_, 6);
  for (const std::size_t cut : {std::size_t{1}, std::size_t{24}, kFrameBytes - 1, kFrameBytes,
                                kFrameBytes + 100, wal_.size() - wal_before_.size()}) {
    SCOPED_TRACE(cut);
    expect_store_with(std::string_view(wal_).substr(0, wal_.size() - cut), 5);
  }
}

}  // namespace
}  // namespace sequential::storage::test
