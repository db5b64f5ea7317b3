#include "node_mark.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace sequential::server {
namespace {

// A node begins and ends here: which one it knows to be dead.
std::string began(const std::string& folder, const std::string& node) {
  NodeMark mark(folder);
  std::string died = mark.died();
  mark.write(node);
  return died;
}

class NodeMarkTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(folder_), nullptr); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file() const { return std::string(folder_) + "/node.lock"; }

  char folder_[32] = "/tmp/node-mark-XXXXXX";
};

TEST_F(NodeMarkTest, NamesTheNodeThatRanHereBefore) {
  EXPECT_EQ(began(folder_, "node-a"), "");
  EXPECT_EQ(began(folder_, "node-with-a-longer-name"), "node-a");
  EXPECT_EQ(began(folder_, "node-c"), "node-with-a-longer-name");
  EXPECT_EQ(began(folder_, "node-d"), "node-c");
}

TEST_F(NodeMarkTest, SaysNothingOfANodeThatLives) {
  std::optional<NodeMark> living(std::in_place, folder_);
  living->write("node-a");
  EXPECT_EQ(began(folder_, "node-b"), "");
  living.reset();
  EXPECT_EQ(began(folder_, "node-c"), "node-a");  // b never had the mark
}

TEST_F(NodeMarkTest, OutlivesAProcessThatIsKilled) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    NodeMark mark(folder_);
    mark.write("node-a");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(began(folder_, "node-b"), "node-a");
}

TEST_F(NodeMarkTest, AStartThatFailsBeforeItTookOverLeavesThatToTheNext) {
  EXPECT_EQ(began(folder_, "node-a"), "");
  EXPECT_EQ(NodeMark(folder_).died(), "node-a");
  EXPECT_EQ(NodeMark(folder_).died(), "node-a");
}

TEST_F(NodeMarkTest, DoesNotBelieveWhatWasWrittenUnderAnotherBoot) {
  std::ofstream(file()) << "node-a 00000000-0000-0000-0000-000000000000\n";
  EXPECT_EQ(began(folder_, "node-b"), "");
}

TEST_F(NodeMarkTest, DoesNotBelieveAFileThatIsNotIts) {
  std::ofstream(file()) << std::string(100'000, 'x');
  EXPECT_EQ(began(folder_, "node-b"), "");
  EXPECT_EQ(began(folder_, "node-c"), "node-b");
}

TEST_F(NodeMarkTest, MakesTheFolder) {
  const std::string sub = std::string(folder_) + "/not/yet";
  EXPECT_EQ(began(sub, "node-a"), "");
  EXPECT_EQ(began(sub, "node-b"), "node-a");
}

TEST_F(NodeMarkTest, AFolderThatCannotBeWrittenIsNoError) {
  EXPECT_EQ(began("/proc/no-such-folder", "node-a"), "");
}

}  // namespace
}  // namespace sequential::server
