// Starting and stopping: what an engine gets, what an operator is told when none starts.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "pool_fixture.h"
#include "sequential/base/clock.h"
#include "sequential/engine/protocol.h"

namespace sequential::engine {
namespace {

using std::chrono::milliseconds;

class PoolStart : public PoolTest {
 protected:
  // The fake engine under a name that tells it how to start.
  void use_engine(const std::string& name) {
    const auto link = dir_.path() / name;
    std::filesystem::create_symlink(TEST_ENGINE, link);
    options_.engine_path = link.string();
  }
  std::string open_error() {
    const auto opened = open_engine_pool(io_, options_);
    EXPECT_TRUE(opened.has_error());
    if (opened.has_value()) return "it opened";
    EXPECT_EQ(opened.error().code, Errc::unavailable);
    EXPECT_NE(opened.error().message.find(options_.engine_path), std::string::npos)
        << opened.error().message;
    return opened.error().message;
  }
};

bool alive(int pid) { return ::kill(pid, 0) == 0; }

TEST_F(PoolStart, AnEngineGetsItsSocketAndNothingElse) {
  // A descriptor that a careless library opened.
  const int careless = ::open("/dev/null", O_RDONLY);
  open();
  auto answer = start_check("environment");
  const auto result = answer_of(answer);
  ::close(careless);
  ASSERT_TRUE(result.has_value());
  std::string message = result.value()->message;
  for (const char* const fd : {"0,", "1,", "2,", "3,"}) {
    const auto at = message.find(fd);
    ASSERT_NE(at, std::string::npos) << message;
    message.erase(at, 2);
  }
  EXPECT_EQ(message, "fds= env=0 group=own");
}

TEST_F(PoolStart, AMissingProgramIsNamed) {
  options_.engine_path = (dir_.path() / "nothing").string();
  EXPECT_NE(open_error().find("No such file"), std::string::npos);
}

TEST_F(PoolStart, AProgramThatEndsIsReportedWithItsStatusAndLastWords) {
  use_engine("noisy");
  const std::string error = open_error();
  EXPECT_NE(error.find("exit status 7"), std::string::npos) << error;
  EXPECT_NE(error.find("no base blob"), std::string::npos) << error;
  EXPECT_EQ(error.find('\x1b'), std::string::npos) << "control characters reach the terminal";
}

TEST_F(PoolStart, AProgramThatSaysNothingIsGivenUpInTime) {
  use_engine("silent");
  options_.start_timeout_ms = 50;
  EXPECT_NE(open_error().find("50 ms"), std::string::npos);
}

TEST_F(PoolStart, AnotherProtocolVersionIsRefused) {
  use_engine("newer");
  EXPECT_NE(open_error().find("version " + std::to_string(protocol::kVersion + 1)),
            std::string::npos);
}

TEST_F(PoolStart, EveryEngineWorks) {
  options_.processes = 3;
  open();
  await_all_engines();
  EXPECT_EQ(runtime_->engine_pids().size(), 3u);
  // Each holds one slice, so three at once need three engines.
  const Gate gates[] = {Gate(dir_), Gate(dir_), Gate(dir_)};
  std::vector<SliceFuture> answers;
  for (const Gate& gate : gates) {
    answers.push_back(start(request(static_cast<std::int64_t>(answers.size()) + 1, gate.word())));
  }
  for (const Gate& gate : gates) gate.open();
  std::vector<std::string> pids;
  for (auto& answer : answers) pids.push_back(member(answer_of(answer), "pid"));
  std::sort(pids.begin(), pids.end());
  EXPECT_EQ(std::unique(pids.begin(), pids.end()) - pids.begin(), 3);
  const auto stats = runtime_->stats();
  EXPECT_EQ(stats.engines, 3);
  EXPECT_EQ(stats.slices, 3);
  EXPECT_GT(stats.rss_bytes, 3 * 100'000);
}

TEST_F(PoolStart, StopLetsWhatIsUnderWayFinish) {
  open();
  const Gate gate(dir_);
  auto under_way = start(request(1, gate.word()));
  auto stopped = std::async(std::launch::async,
                            [this] { runtime_->stop(system_clock().monotonic() + kPatience); });
  gate.open();
  EXPECT_TRUE(answer_of(under_way).has_value());
  ASSERT_EQ(stopped.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(run(request(2, "")).error().code, Errc::shutting_down);
  runtime_->stop(system_clock().monotonic());  // again, with nothing left to do
}

TEST_F(PoolStart, StopAnswersAllAndEndsTheEnginesAtItsDeadline) {
  options_.processes = 2;
  open();
  const auto pids = runtime_->engine_pids();
  std::vector<SliceFuture> answers;
  for (std::int64_t i = 1; i <= 10; ++i) answers.push_back(start(request(i, "hang")));
  runtime_->stop(system_clock().monotonic() + milliseconds(20));
  for (auto& answer : answers) {
    EXPECT_EQ(answer_of(answer).error().code, Errc::shutting_down);
  }
  for (const int pid : pids) EXPECT_FALSE(alive(pid));
}

TEST_F(PoolStart, DestroyingThePoolEndsItsEngines) {
  open();
  const auto pids = runtime_->engine_pids();
  auto answer = start(request(1, "hang"));
  runtime_.reset();
  EXPECT_EQ(answer_of(answer).error().code, Errc::shutting_down);
  for (const int pid : pids) EXPECT_FALSE(alive(pid));
}

}  // namespace
}  // namespace sequential::engine
