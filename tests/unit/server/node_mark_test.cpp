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

class NodeMarkTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(folder_), nullptr); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file() const { return std::string(folder_) + "/node.lock"; }

  char folder_[32] = "/tmp/node-mark-XXXXXX";
};

TEST_F(NodeMarkTest, NamesTheNodeThatRanHereBefore) {
  EXPECT_EQ(NodeMark(folder_, "node-a").died(), "");
  EXPECT_EQ(NodeMark(folder_, "node-with-a-longer-name").died(), "node-a");
  EXPECT_EQ(NodeMark(folder_, "node-c").died(), "node-with-a-longer-name");
  EXPECT_EQ(NodeMark(folder_, "node-d").died(), "node-c");
}

TEST_F(NodeMarkTest, SaysNothingOfANodeThatLives) {
  std::optional<NodeMark> living(std::in_place, folder_, "node-a");
  EXPECT_EQ(NodeMark(folder_, "node-b").died(), "");
  living.reset();
  EXPECT_EQ(NodeMark(folder_, "node-c").died(), "node-a");  // b never had the mark
}

TEST_F(NodeMarkTest, OutlivesAProcessThatIsKilled) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const NodeMark mark(folder_, "node-a");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(NodeMark(folder_, "node-b").died(), "node-a");
}

TEST_F(NodeMarkTest, DoesNotBelieveWhatWasWrittenUnderAnotherBoot) {
  std::ofstream(file()) << "node-a 00000000-0000-0000-0000-000000000000\n";
  EXPECT_EQ(NodeMark(folder_, "node-b").died(), "");
}

TEST_F(NodeMarkTest, DoesNotBelieveAFileThatIsNotIts) {
  std::ofstream(file()) << std::string(100'000, 'x');
  EXPECT_EQ(NodeMark(folder_, "node-b").died(), "");
  EXPECT_EQ(NodeMark(folder_, "node-c").died(), "node-b");
}

TEST_F(NodeMarkTest, MakesTheFolder) {
  const std::string sub = std::string(folder_) + "/not/yet";
  EXPECT_EQ(NodeMark(sub, "node-a").died(), "");
  EXPECT_EQ(NodeMark(sub, "node-b").died(), "node-a");
}

TEST_F(NodeMarkTest, AFolderThatCannotBeWrittenIsNoError) {
  EXPECT_EQ(NodeMark("/proc/no-such-folder", "node-a").died(), "");
}

}  // namespace
}  // namespace sequential::server
