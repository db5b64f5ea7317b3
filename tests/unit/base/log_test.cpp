#include "sequential/base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace sequential {
namespace {

using nlohmann::json;

// Puts a pipe in the place of stderr.
class Log : public ::testing::Test {
 protected:
  Log() : saved_(::dup(STDERR_FILENO)) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    read_end_ = ends[0];
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[1]);
  }
  ~Log() override {
    restore();
    ::close(read_end_);
    ::close(saved_);
  }
  void restore() { ::dup2(saved_, STDERR_FILENO); }

  // Everything written until now; logging must have been stopped.
  std::vector<std::string> lines() {
    restore();  // the last writing end is closed: reading comes to an end
    std::string text;
    char buffer[65'536];
    for (;;) {
      const ssize_t got = ::read(read_end_, buffer, sizeof buffer);
      if (got <= 0) break;
      text.append(buffer, static_cast<std::size_t>(got));
    }
    std::vector<std::string> all;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) all.push_back(line);
    return all;
  }

  int read_end_ = -1;

 private:
  const int saved_;
};

TEST_F(Log, JsonLinesCarryEveryFieldWithItsType) {
  start_logging(LogLevel::info, LogFormat::json);
  log_warn("lease \"lost\"", {{"run", 7}, {"node", "a\nb"}, {"again", true}, {"big", ~0ull}});
  stop_logging();
  const auto all = lines();
  ASSERT_EQ(all.size(), 1u);
  const json line = json::parse(all[0]);
  EXPECT_EQ(line["level"], "warn");
  EXPECT_EQ(line["message"], "lease \"lost\"");
  EXPECT_EQ(line["run"], 7);
  EXPECT_EQ(line["node"], "a\\nb");
  EXPECT_EQ(line["again"], true);
  EXPECT_EQ(line["big"], ~0ull);
  EXPECT_EQ(line["at"].get<std::string>().size(), std::string("2026-11-21T21:10:03.123Z").size());
}

TEST_F(Log, ATextLineIsOneLine) {
  start_logging(LogLevel::info, LogFormat::text);
  log_error("cannot\nopen", {{"path", "a b"}, {"run", 7}});
  stop_logging();
  const auto all = lines();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_NE(all[0].find(" error cannot\\nopen path=\"a b\" run=7"), std::string::npos) << all[0];
}

TEST_F(Log, LinesBelowTheLevelAreNotWritten) {
  start_logging(LogLevel::warn, LogFormat::json);
  EXPECT_FALSE(log_enabled(LogLevel::info));
  EXPECT_TRUE(log_enabled(LogLevel::error));
  log_debug("no");
  log_info("no");
  log_warn("yes");
  stop_logging();
  EXPECT_EQ(lines().size(), 1u);
}

TEST_F(Log, WarningsAreWrittenWithoutStarting) {
  log_info("no");
  log_warn("yes");
  const auto all = lines();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_NE(all[0].find("yes"), std::string::npos);
}

TEST_F(Log, LongValuesAreCutAndTheLineStaysJson) {
  start_logging(LogLevel::info, LogFormat::json);
  log_info(std::string(100'000, 'm'), {{"v", std::string(100'000, '"')}});
  stop_logging();
  const auto all = lines();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_LT(all[0].size(), 10'000u);
  EXPECT_TRUE(json::accept(all[0]));
}

TEST_F(Log, LinesOfManyThreadsStayWhole) {
  start_logging(LogLevel::info, LogFormat::json);
  std::vector<std::thread> threads;
  std::string drained;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 100; ++i) log_info("line", {{"thread", t}, {"i", i}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  stop_logging();
  const auto all = lines();
  EXPECT_EQ(all.size(), 400u);
  for (const std::string& line : all) EXPECT_TRUE(json::accept(line)) << line;
}

// A pipe that nobody reads is full after 64 KiB; from then on lines pile up, then are dropped.
TEST_F(Log, AStalledReaderCostsTheNewestLinesAndNeverBlocks) {
  const std::uint64_t before = log_lines_dropped();
  start_logging(LogLevel::info, LogFormat::json);
  constexpr int count = 30'000;
  for (int i = 0; i < count; ++i) log_info("storm", {{"i", i}});
  const std::uint64_t dropped = log_lines_dropped() - before;
  EXPECT_GT(dropped, 10'000u);

  std::string text;
  std::thread reader([this, &text] {
    char buffer[65'536];
    for (ssize_t got; (got = ::read(read_end_, buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(got));
    }
  });
  stop_logging();
  restore();
  reader.join();

  std::int64_t expected = 0, reported = 0;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    const json parsed = json::parse(line);
    if (parsed.contains("dropped")) {
      reported += parsed["dropped"].get<std::int64_t>();
    } else if (parsed["i"] == expected) {
      ++expected;  // the oldest are kept, without a gap, until the queue was full
    }
  }
  EXPECT_GE(expected, 8'192);
  EXPECT_EQ(reported, static_cast<std::int64_t>(dropped));
}

TEST_F(Log, StoppingDoesNotWaitForAReaderThatNeverComes) {
  start_logging(LogLevel::info, LogFormat::json);
  for (int i = 0; i < 3'000; ++i) log_info("nobody reads this line, long as it is", {{"i", i}});
  stop_logging();  // the test's time limit is the assertion
  log_info("after");
}

}  // namespace
}  // namespace sequential
