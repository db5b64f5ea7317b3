#include "sequential/base/fault.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>

namespace sequential {
namespace {

#ifdef SEQUENTIAL_FAULT_POINTS

// The plan is read once per process, so each case is a process: its wait status.
int in_child(const std::string& plan, const std::function<int()>& body, int announce_fd = -1) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("SEQUENTIAL_FAULTS", plan.c_str(), 1);
    if (announce_fd >= 0) {
      ::setenv("SEQUENTIAL_FAULTS_FD", std::to_string(announce_fd).c_str(), 1);
    }
    ::close(STDERR_FILENO);
    ::_exit(body());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, WUNTRACED), child);
  return status;
}

int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }

// How often of five hits the point asks for an error, as bits: hit 1 is bit 0.
int error_hits() {
  int bits = 0;
  for (int hit = 0; hit < 5; ++hit) bits |= FAULT_ERROR("commit.before") ? 1 << hit : 0;
  return bits;
}

TEST(FaultPoint, WithoutAPlanNothingHappens) {
  EXPECT_EQ(exit_code(in_child("", error_hits)), 0);
  EXPECT_EQ(exit_code(in_child("other.point=error", error_hits)), 0);
}

TEST(FaultPoint, ErrorActsAtItsHitOnly) {
  EXPECT_EQ(exit_code(in_child("commit.before=error", error_hits)), 0b00001);
  EXPECT_EQ(exit_code(in_child("commit.before=error@3", error_hits)), 0b00100);
  EXPECT_EQ(exit_code(in_child("commit.before=error@3+", error_hits)), 0b11100);
  EXPECT_EQ(exit_code(in_child("a=error,commit.before=error@2,commit.before=error@4", error_hits)),
            0b01010);
}

TEST(FaultPoint, Kill9AndAbortEndTheProcess) {
  const auto hit = [] {
    FAULT_POINT("here");
    return 0;
  };
  const int killed = in_child("here=kill9", hit);
  ASSERT_TRUE(WIFSIGNALED(killed));
  EXPECT_EQ(WTERMSIG(killed), SIGKILL);
  const int aborted = in_child("here=abort", hit);
  ASSERT_TRUE(WIFSIGNALED(aborted));
  EXPECT_EQ(WTERMSIG(aborted), SIGABRT);
}

TEST(FaultPoint, DelayGoesOnAfterwards) {
  const auto hit = [] {
    FAULT_POINT("here");
    return 7;
  };
  EXPECT_EQ(exit_code(in_child("here=delay:1", hit)), 7);
}

TEST(FaultPoint, StopWaitsForAContinue) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("SEQUENTIAL_FAULTS", "here=stop", 1);
    FAULT_POINT("here");
    ::_exit(7);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  EXPECT_TRUE(WIFSTOPPED(status));
  ASSERT_EQ(::kill(child, SIGCONT), 0);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(exit_code(status), 7);
}

TEST(FaultPoint, AnActingHitIsAnnounced) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  in_child("commit.before=error@2", error_hits, ends[1]);
  ::close(ends[1]);
  char text[64];
  const ssize_t length = ::read(ends[0], text, sizeof text);
  ::close(ends[0]);
  ASSERT_GT(length, 0);
  EXPECT_EQ(std::string(text, static_cast<std::size_t>(length)), "commit.before\n");
}

TEST(FaultPoint, APlanThatIsNotUnderstoodAborts) {
  for (const char* plan : {"here", "=error", "here=explode", "here=error@x", "here=delay:ms"}) {
    const int status = in_child(plan, error_hits);
    ASSERT_TRUE(WIFSIGNALED(status)) << plan;
    EXPECT_EQ(WTERMSIG(status), SIGABRT) << plan;
  }
}

#else

TEST(FaultPoint, IsAbsentFromThisBuild) {
  ::setenv("SEQUENTIAL_FAULTS", "here=abort", 1);
  FAULT_POINT("here");
  EXPECT_FALSE(FAULT_ERROR("here"));
  ::unsetenv("SEQUENTIAL_FAULTS");
}

#endif

}  // namespace
}  // namespace sequential
