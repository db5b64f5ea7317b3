#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "child.h"
#include "harness.h"

namespace sequential::cli {
namespace {

using ::testing::HasSubstr;
using How = ChildEnd::How;
constexpr Millis kPatience{30'000};

// A shell script as the program.
class ChildTest : public ::testing::Test {
 protected:
  ChildRequest script(const std::string& text) {
    const std::filesystem::path path = folder_.file("program", "#!/bin/sh\n" + text + "\n");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return {.program = path,
            .arguments = {},
            .folder = path.parent_path(),
            .time_max = kPatience,
            .output_bytes_max = 100'000,
            .errors_bytes_max = 10};
  }
  // What the script has written into a file of its folder.
  static std::string written(const ChildRequest& request, const char* name) {
    std::ifstream file(request.folder / name);
    std::string text;
    std::getline(file, text);
    return text;
  }

  TempFolder folder_;
};

TEST_F(ChildTest, BothStreamsAndTheExitStatusComeBack) {
  ChildRequest request = script("echo out \"$1\" \"$2\"; echo err >&2; pwd; cat; exit 3");
  request.arguments = {"a b", "$(c) 'd'"};
  const auto end = run_child(request);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(end.value().how, How::exited);
  EXPECT_EQ(end.value().number, 3);
  EXPECT_EQ(end.value().output, "out a b $(c) 'd'\n" + request.folder.string() + "\n");
  EXPECT_EQ(end.value().errors, "err\n");
}

TEST_F(ChildTest, AProgramThatDoesNotEndIsEndedWithWhatItStarted) {
  ChildRequest request = script("sleep 1000 & echo $! >pid; wait");
  request.time_max = Millis{300};
  const auto end = run_child(request);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(end.value().how, How::timed_out);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  const pid_t started = std::stoi(written(request, "pid"));
  while (::kill(started, 0) == 0 && std::chrono::steady_clock::now() < deadline) {
    std::ifstream stat("/proc/" + std::to_string(started) + "/stat");
    std::string line;
    std::getline(stat, line);
    if (line.find(") Z ") != std::string::npos) break;  // nobody reaps here
    std::this_thread::yield();
  }
  EXPECT_LT(std::chrono::steady_clock::now(), deadline);
}

TEST_F(ChildTest, TooMuchOutputEndsItAndTooManyMessagesAreLeftOut) {
  ChildRequest request = script("yes");
  const auto flood = run_child(request);
  ASSERT_TRUE(flood) << flood.error().message;
  EXPECT_EQ(flood.value().how, How::output_too_large);
  EXPECT_EQ(flood.value().output.size(), request.output_bytes_max);

  const auto talk = run_child(script("seq 1000 >&2; echo done"));
  ASSERT_TRUE(talk) << talk.error().message;
  EXPECT_EQ(talk.value().how, How::exited);
  EXPECT_EQ(talk.value().errors, "1\n2\n3\n4\n5\n");
  EXPECT_EQ(talk.value().output, "done\n");
}

TEST_F(ChildTest, ASignalIsTold) {
  const auto end = run_child(script("kill -TERM $$"));
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(end.value().how, How::signalled);
  EXPECT_EQ(end.value().number, SIGTERM);
}

TEST_F(ChildTest, WhatCannotBeStartedIsAnError) {
  ChildRequest request = script("");
  request.program = "/no/such/program";
  const auto end = run_child(request);
  ASSERT_FALSE(end);
  EXPECT_THAT(end.error().message, HasSubstr("Cannot run /no/such/program: No such file"));
}

TEST_F(ChildTest, CtrlCEndsItAndThenUs) {
  const ChildRequest request = script("echo $$ >pid; sleep 1000");
  EXPECT_EXIT(
      {
        std::thread([&request, self = ::getpid()] {  // whoever presses it, once the program runs
          while (written(request, "pid").empty()) std::this_thread::yield();
          ::kill(self, SIGINT);
        })
            .detach();
        (void)run_child(request);
        std::exit(0);
      },
      ::testing::KilledBySignal(SIGINT), "");
  const pid_t program = std::stoi(written(request, "pid"));
  EXPECT_TRUE(::kill(program, 0) != 0 && errno == ESRCH);
}

}  // namespace
}  // namespace sequential::cli
