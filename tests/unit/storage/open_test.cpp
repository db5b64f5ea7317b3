// Opening: whom the file belongs to, who else may read it, and what is refused.

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sqlite_files.h"

namespace sequential::storage::test {
namespace {

class OpenTest : public SqliteTest {};

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 0777;
}

TEST_F(OpenTest, FilesAndNewFoldersArePrivateWhateverTheUmask) {
  const mode_t before = ::umask(0);
  options_.path = folder_.file("new/deep/store.db");
  open();
  publish();
  EXPECT_EQ(mode_of(folder_.file("new")), 0700u);
  EXPECT_EQ(mode_of(folder_.file("new/deep")), 0700u);
  for (const char* const suffix : {"", "-wal", "-shm", ".lock"}) {
    EXPECT_EQ(mode_of(options_.path + suffix), 0600u) << suffix;
  }
  ::umask(before);
}

TEST_F(OpenTest, ASecondOpeningInTheSameProcessIsRefusedWhileTheFirstLasts) {
  open();
  const auto second = try_open();
  ASSERT_TRUE(refused(second, Errc::in_use));
  EXPECT_NE(second.error().message.find(std::to_string(::getpid())), std::string::npos)
      << second.error().message;
  publish();  // and the first does not mind
  close();
  open();
}

TEST_F(OpenTest, ASecondProcessIsRefusedWhileTheFirstLasts) {
  open();
  close();  // threads do not survive a fork: the child opens first
  int ready[2], go[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(go), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    auto opened = open_sqlite(options_, clock_);
    const bool told = ::write(ready[1], opened.has_value() ? "y" : "n", 1) == 1;
    const bool asked = ::read(go[0], &byte, 1) == 1;
    ::_exit(told && asked ? 0 : 1);  // no destructor: the lock goes with the process
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_TRUE(refused(try_open(), Errc::in_use));
  ASSERT_EQ(::write(go[1], "g", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  open();
  for (const int fd : {ready[0], ready[1], go[0], go[1]}) ::close(fd);
}

TEST_F(OpenTest, AnotherNameOfTheFileIsRefusedToo) {
  const std::string path = options_.path;
  open();
  publish();
  for (const bool hard : {false, true}) {
    options_.path = folder_.file(hard ? "hard.db" : "soft.db");
    if (hard) {
      std::filesystem::create_hard_link(path, options_.path);
    } else {
      std::filesystem::create_symlink(path, options_.path);
    }
    EXPECT_TRUE(refused(try_open(), Errc::in_use)) << options_.path;
  }
  options_.path = path;
}

TEST_F(OpenTest, ALinkToAFileYetToBeMadeLeadsToItAndItsLog) {
  const std::string target = folder_.file("target.db");
  options_.path = folder_.file("link.db");
  std::filesystem::create_symlink("target.db", options_.path);
  open();
  publish();
  EXPECT_TRUE(std::filesystem::is_symlink(options_.path));
  EXPECT_TRUE(std::filesystem::exists(target + "-wal"));
  EXPECT_FALSE(std::filesystem::exists(options_.path + "-wal"));
  options_.path = target;
  EXPECT_TRUE(refused(try_open(), Errc::in_use));
}

TEST_F(OpenTest, AFileThatIsNoDatabaseIsCorruptAndLeftAlone) {
  const std::string bytes(10'000, 'x');
  write_file(options_.path, bytes);
  EXPECT_TRUE(refused(try_open(), Errc::corrupt));
  EXPECT_EQ(read_file(options_.path), bytes);
}

TEST_F(OpenTest, AnEmptyFileIsAFreshDatabase) {
  write_file(options_.path, "");
  open();
  publish();
}

TEST_F(OpenTest, APathThatCannotBeIsUnavailableAndNamed) {
  write_file(folder_.file("file"), "x");
  options_.path = folder_.file("file") + "/below/store.db";
  const auto result = try_open();
  ASSERT_TRUE(refused(result, Errc::unavailable));
  EXPECT_NE(result.error().message.find("file"), std::string::npos);
  options_.path = folder_.path();
  EXPECT_TRUE(refused(try_open(), Errc::unavailable));
}

TEST_F(OpenTest, OptionsOutOfRangeAreRefused) {
  const SqliteOptions good = options_;
  const auto expect_bad = [&](auto change) {
    options_ = good;
    change(options_);
    EXPECT_TRUE(refused(try_open(), Errc::config_invalid));
  };
  expect_bad([](SqliteOptions& o) { o.path = ""; });
  expect_bad([](SqliteOptions& o) { o.readers = 0; });
  expect_bad([](SqliteOptions& o) { o.readers = 65; });
  expect_bad([](SqliteOptions& o) { o.queue_max = 0; });
  expect_bad([](SqliteOptions& o) { o.batch_max = 0; });
  expect_bad([](SqliteOptions& o) { o.wal_checkpoint_pages = 0; });
  expect_bad([](SqliteOptions& o) { o.cache_kib = 0; });
  expect_bad([](SqliteOptions& o) { o.size_bytes_max = -1; });
}

TEST_F(OpenTest, ADamagedFileIsFoundAfterAnUncleanStop) {
  open();
  const TaskFunctionId function = publish();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(store().submit(submission(function)).has_value());
  close();
  EXPECT_EQ(ask_file(options_.path, "SELECT value FROM meta WHERE key = 'clean'"), "1");
  execute_on(options_.path, "UPDATE meta SET value = 0 WHERE key = 'clean'");
  // Every page but the first ones, so that some table's tree is broken.
  std::string damaged = read_file(options_.path);
  for (std::size_t at = 20 * 4'096; at + 64 < damaged.size(); at += 4'096) {
    damaged.replace(at, 64, std::string(64, '\x5a'));
  }
  ASSERT_GT(damaged.size(), 21u * 4'096);
  write_file(options_.path, damaged);
  const auto result = try_open();
  ASSERT_TRUE(refused(result, Errc::corrupt));
  EXPECT_NE(result.error().message.find(options_.path), std::string::npos);
}

TEST_F(OpenTest, AStopLeavesOneFileAndNoLog) {
  open();
  publish();
  close();
  EXPECT_FALSE(std::filesystem::exists(options_.path + "-wal"));
  EXPECT_FALSE(std::filesystem::exists(options_.path + "-shm"));
  EXPECT_EQ(ask_file(options_.path, "SELECT count(*) FROM task_functions"), "1");
}

}  // namespace
}  // namespace sequential::storage::test
