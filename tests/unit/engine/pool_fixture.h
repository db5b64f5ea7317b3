#pragma once
// An engine pool over fake engines, run by two io threads, and what tests need to talk to it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sequential/base/json_text.h"
#include "sequential/engine/engine_pool.h"
#include "sequential/engine/runtime.h"

namespace sequential::engine {

inline constexpr std::chrono::seconds kPatience{20};  // far more than anything here takes

// The answer, or the test fails: nothing is waited for without an end.
template <class T>
T answer_of(std::future<T>& future) {
  if (future.wait_for(kPatience) != std::future_status::ready) {
    ADD_FAILURE() << "no answer within the test's patience";
    std::abort();  // what it refers to would outlive the test
  }
  return future.get();
}

using SliceFuture = std::future<Result<SliceResult>>;
using CheckFuture = std::future<Result<std::optional<CodeProblem>>>;

// A journal of calls 1 … n of which the first `outcomes` have one.
inline std::vector<RecordedCall> journal_of(std::int64_t calls, std::int64_t outcomes,
                                            std::size_t payload_bytes = 0) {
  std::vector<RecordedCall> rows;
  for (std::int64_t seq = 1; seq <= calls; ++seq) {
    RecordedCall row{.seq = seq,
                     .service = "svc",
                     .method = "m",
                     .args = "[" + std::to_string(seq) + "]",
                     .outcome = std::nullopt};
    if (seq <= outcomes) {
      std::string payload =
          payload_bytes == 0 ? std::to_string(seq) : "\"" + std::string(payload_bytes, 'p') + "\"";
      row.outcome = Delivered{.seq = seq,
                              .delivered_as = seq,
                              .failed = false,
                              .payload = std::move(payload),
                              .at_ms = seq};
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// Gives pages at once, or as `give` says.
class PagesSource final : public JournalSource {
 public:
  PagesSource(std::vector<RecordedCall> rows, std::size_t page_rows)
      : rows_(std::move(rows)), page_rows_(page_rows) {}
  void next(std::function<void(Result<RecordedPage>)> done) override {
    RecordedPage page;
    while (at_ < rows_.size() && page.rows.size() < page_rows_) page.rows.push_back(rows_[at_++]);
    page.more = at_ < rows_.size();
    done(std::move(page));
  }

 private:
  std::vector<RecordedCall> rows_;
  std::size_t page_rows_;
  std::size_t at_ = 0;
};

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "sequential-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A FIFO at which a fake engine waits until the test opens it.
class Gate {
 public:
  explicit Gate(const TempDir& dir) {
    static int count = 0;
    path_ = (dir.path() / ("gate" + std::to_string(++count))).string();
    EXPECT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  }
  std::string word() const { return "gate:" + path_; }
  // Returns once an engine has arrived and been let through.
  void open() const {
    const int fd = ::open(path_.c_str(), O_WRONLY);
    EXPECT_GE(fd, 0);
    ::close(fd);
  }

 private:
  std::string path_;
};

class PoolTest : public ::testing::Test {
 protected:
  PoolTest() : work_(boost::asio::make_work_guard(io_)) {
    options_.engine_path = TEST_ENGINE;
    options_.processes = 1;
    for (auto& thread : threads_) thread = std::thread([this] { io_.run(); });
  }
  ~PoolTest() override {
    runtime_.reset();
    work_.reset();
    for (auto& thread : threads_) thread.join();
  }

  void open() {
    auto opened = open_engine_pool(io_, options_);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    runtime_ = std::move(opened).value();
  }

  // `open` returns when one engine is ready; this when all are.
  void await_all_engines() {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (runtime_->stats().engines < options_.processes) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      std::this_thread::yield();
    }
  }

  static std::shared_ptr<const TaskCode> code(std::int64_t id = 1, std::string text = "code") {
    return std::make_shared<TaskCode>(
        TaskCode{.id = TaskFunctionId(id), .name = "task", .version = 1, .code = std::move(text)});
  }
  // A cold start without calls.
  static SliceRequest request(std::int64_t run, std::string script) {
    SliceRequest r;
    r.run = TaskRunId(run);
    r.code = code();
    r.input = std::move(script);
    r.seed = std::string(16, 's');
    return r;
  }
  // The slice after `calls` calls of which all have been delivered; `seen` of them before.
  static SliceRequest resumed(std::int64_t run, std::string script, std::int64_t calls,
                              std::int64_t seen) {
    SliceRequest r = request(run, std::move(script));
    r.calls_recorded = r.delivered_through = calls;
    for (std::int64_t n = seen + 1; n <= calls; ++n) {
      r.outcomes.push_back(
          {.seq = n, .delivered_as = n, .failed = false, .payload = std::to_string(n), .at_ms = n});
    }
    r.open_journal = [calls] {
      return std::make_shared<PagesSource>(journal_of(calls, calls), 100);
    };
    return r;
  }

  SliceFuture start(SliceRequest request) {
    auto promise = std::make_shared<std::promise<Result<SliceResult>>>();
    auto future = promise->get_future();
    runtime_->run_slice(std::move(request), [promise](Result<SliceResult> result) {
      promise->set_value(std::move(result));
    });
    return future;
  }
  Result<SliceResult> run(SliceRequest request) {
    auto future = start(std::move(request));
    return answer_of(future);
  }
  CheckFuture start_check(std::string text) {
    auto promise = std::make_shared<std::promise<Result<std::optional<CodeProblem>>>>();
    auto future = promise->get_future();
    runtime_->check_code(code(1, std::move(text)),
                         [promise](auto result) { promise->set_value(std::move(result)); });
    return future;
  }

  // A member of a completed fake run's result.
  static std::string member(const Result<SliceResult>& result, std::string_view key) {
    if (result.has_error()) return "error: " + result.error().message;
    return std::string(json_member(result.value().payload, key));
  }
  static std::string detail(const Result<SliceResult>& result, std::string_view key) {
    if (result.has_value()) return "no error";
    return std::string(json_member(result.error().detail, key));
  }

  TempDir dir_;
  PoolOptions options_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::array<std::thread, 2> threads_;
  std::unique_ptr<Runtime> runtime_;
};

}  // namespace sequential::engine
