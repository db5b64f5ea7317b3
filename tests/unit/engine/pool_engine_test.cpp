// The pool over the real engine.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pool_fixture.h"

namespace sequential::engine {
namespace {

class PoolEngine : public PoolTest {
 protected:
  void SetUp() override {
    options_.processes = 2;
    options_.limits.cpu_ms = 1'000;
    options_.limits.wall_ms = 5'000;
    options_.limits.hard_kill_ms = 400;
  }

  // What a broker does, in memory: drives one run to its end, keeping its journal.
  struct Driven {
    Result<SliceResult> last = make_error(Errc::internal, "not begun");
    std::vector<RecordedCall> journal;
    std::int64_t logs = 0;
    int replays = 0;
  };
  // `between` is called before each slice but the first.
  Driven drive(std::int64_t id, const std::string& text, std::function<void()> between = {}) {
    Driven run;
    const auto task = code(id, text);
    std::int64_t delivered = 0;
    for (;;) {
      SliceRequest r;
      r.run = TaskRunId(id);
      r.code = task;
      r.input = "{\"n\":1}";
      r.seed = "0123456789abcdef";
      r.started_at_ms = 1'700'000'000'000;
      r.calls_recorded = static_cast<std::int64_t>(run.journal.size());
      r.logs_recorded = run.logs;
      for (RecordedCall& call : run.journal) {
        if (call.outcome) continue;
        ++delivered;
        call.outcome = Delivered{.seq = call.seq,
                                 .delivered_as = delivered,
                                 .failed = false,
                                 .payload = call.args,
                                 .at_ms = r.started_at_ms + delivered};
        r.outcomes.push_back(*call.outcome);
      }
      r.delivered_through = delivered;
      r.open_journal = [&run] { return std::make_shared<PagesSource>(run.journal, 10); };
      if (between && !run.journal.empty()) between();
      run.last = this->run(std::move(r));
      if (run.last.has_error()) return run;
      const SliceResult& slice = run.last.value();
      if (slice.replayed) ++run.replays;
      run.logs += static_cast<std::int64_t>(slice.logs.size());
      if (slice.status != SliceStatus::suspended) return run;
      for (const IssuedCall& call : slice.calls) {
        run.journal.push_back({.seq = call.seq,
                               .service = call.service,
                               .method = call.method,
                               .args = call.args,
                               .outcome = std::nullopt});
      }
    }
  }
  static std::string payload(const Driven& run) {
    if (run.last.has_error()) return "error: " + run.last.error().message;
    return run.last.value().payload;
  }
};

const char* const kTask = R"(module.exports = async function (input) {
  const seen = [];
  for (let i = 0; i < 12; i++) {
    console.log('step', i);
    seen.push(await __callHostTool__('svc', 'echo', [i, Math.random(), Date.now()]));
    if (i === 5) seen.push(...await Promise.all([1, 2, 3].map(n =>
      __callHostTool__('svc', 'echo', [n]))));
  }
  return { n: input.n, seen, id: crypto.randomUUID() };
};)";

TEST_F(PoolEngine, ARunEndsTheSameWarmColdAndThroughKills) {
  open();
  const auto warm = drive(1, kTask);
  ASSERT_TRUE(warm.last.has_value()) << payload(warm);
  EXPECT_EQ(warm.last.value().status, SliceStatus::completed) << payload(warm);
  EXPECT_EQ(warm.journal.size(), 15u);
  EXPECT_EQ(warm.replays, 0);
  EXPECT_EQ(warm.logs, 12);

  const auto cold = drive(2, kTask, [this] { runtime_->forget(TaskRunId(2)); });
  EXPECT_EQ(payload(cold), payload(warm));
  EXPECT_GT(cold.replays, 10);
  EXPECT_EQ(cold.logs, 12);

  int kills = 0;
  const auto killed = drive(3, kTask, [&] {
    if (++kills % 4 != 0) return;
    const auto deaths = runtime_->stats().engine_deaths;
    const auto pids = runtime_->engine_pids();
    for (const int pid : pids) ::kill(pid, SIGKILL);
    // Until the pool has seen it: the slice would else be told that its engine died.
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (runtime_->stats().engine_deaths < deaths + static_cast<std::int64_t>(pids.size())) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      std::this_thread::yield();
    }
  });
  EXPECT_EQ(payload(killed), payload(warm));
  EXPECT_GE(killed.replays, 3);
  EXPECT_EQ(killed.logs, 12);
}

TEST_F(PoolEngine, CodeIsCheckedWithItsPosition) {
  open();
  auto good = start_check("module.exports = async () => 1;");
  EXPECT_EQ(answer_of(good).value(), std::nullopt);
  auto bad = start_check("const a = 1;\nconst = 2;\n");
  const auto problem = answer_of(bad);
  ASSERT_TRUE(problem.has_value() && problem.value().has_value());
  EXPECT_EQ(problem.value()->line, 2);
}

TEST_F(PoolEngine, ATaskThatThrowsFails) {
  open();
  const auto run = drive(1, "module.exports = async () => { throw new TypeError('no'); };");
  ASSERT_TRUE(run.last.has_value()) << payload(run);
  EXPECT_EQ(run.last.value().status, SliceStatus::failed);
  EXPECT_EQ(json_member(payload(run), "message"), "\"no\"");
}

TEST_F(PoolEngine, AChangedTaskIsDivergent) {
  open();
  auto first = drive(1, "module.exports = async () => __callHostTool__('s', 'a', []);");
  SliceRequest r = request(2, "{}");
  r.code = code(2, "module.exports = async () => __callHostTool__('s', 'b', []);");
  r.seed = "0123456789abcdef";
  r.calls_recorded = r.delivered_through = 1;
  r.open_journal = [&] { return std::make_shared<PagesSource>(first.journal, 10); };
  const auto result = run(std::move(r));
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result.value().status, SliceStatus::divergent) << result.value().payload;
}

// F33, F34, F35: a limit, softly or by the death of the engine, and nobody else is harmed.
TEST_F(PoolEngine, HostileCodeMeetsALimitAndOthersGoOn) {
  open();
  const char* const bodies[] = {
      "for (;;) {}",
      "for (;;) { try { for (;;) {} } finally { continue; } }",
      "await (async () => { for (;;) await null; })()",
      "Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)",
      "new Array(1e8).fill(1)",
      "const a = []; for (;;) a.push(new Array(1000).fill('x' + a.length))",
  };
  std::int64_t id = 100;
  for (const char* const body : bodies) {
    SCOPED_TRACE(body);
    const std::string text = std::string("module.exports = async () => { ") + body + "; };";
    SliceRequest r = request(++id, "{}");
    r.code = code(id, text);
    r.seed = "0123456789abcdef";
    auto hostile = start(std::move(r));
    const auto other = drive(id + 1'000, kTask);
    ASSERT_TRUE(other.last.has_value()) << payload(other);
    EXPECT_EQ(other.last.value().status, SliceStatus::completed) << payload(other);
    const auto result = answer_of(hostile);
    if (result.has_value()) {
      EXPECT_EQ(result.value().status, SliceStatus::failed);
      EXPECT_NE(result.value().payload.find("_limit"), std::string::npos) << result.value().payload;
    } else {
      EXPECT_EQ(result.error().code, Errc::engine_lost) << result.error().message;
      EXPECT_NE(result.error().detail.find("_limit"), std::string::npos) << result.error().detail;
    }
  }
}

TEST_F(PoolEngine, AJournalThatFailsLeavesTheEngineWell) {
  open();
  auto done = drive(1, kTask);
  class Failing final : public JournalSource {
   public:
    explicit Failing(std::vector<RecordedCall> rows) : rows_(std::move(rows)) {}
    void next(std::function<void(Result<RecordedPage>)> answer) override {
      if (rows_.empty()) return answer(make_error(Errc::unavailable, "the store is away"));
      answer(RecordedPage{.rows = std::exchange(rows_, {}), .more = true});
    }

   private:
    std::vector<RecordedCall> rows_;
  };
  SliceRequest r = request(2, "{\"n\":1}");
  r.code = code(2, kTask);
  r.seed = "0123456789abcdef";
  r.calls_recorded = r.delivered_through = static_cast<std::int64_t>(done.journal.size());
  done.journal.resize(6);
  r.open_journal = [&] { return std::make_shared<Failing>(done.journal); };
  EXPECT_EQ(run(std::move(r)).error().message, "the store is away");
  EXPECT_EQ(payload(drive(3, kTask)), payload(drive(4, kTask)));
  EXPECT_EQ(runtime_->stats().engine_deaths, 0);
}

// Journals of many frames, with progress reported in between.
TEST_F(PoolEngine, ALongRunIsReplayed) {
  open();
  const auto run = drive(1, R"(module.exports = async () => {
    let sum = 0;
    for (let i = 0; i < 3000; i++) sum += (await __callHostTool__('svc', 'm', [i]))[0];
    return sum;
  };)");
  EXPECT_EQ(payload(run), "4498500");
  EXPECT_EQ(run.replays, 0);
  SliceRequest r = request(2, "{\"n\":1}");
  r.code = code(9, R"(module.exports = async () => {
    let sum = 0;
    for (let i = 0; i < 3000; i++) sum += (await __callHostTool__('svc', 'm', [i]))[0];
    return sum;
  };)");
  r.seed = "0123456789abcdef";
  r.started_at_ms = 1'700'000'000'000;
  r.calls_recorded = r.delivered_through = 3'000;
  r.open_journal = [&] { return std::make_shared<PagesSource>(run.journal, 250); };
  const auto replayed = this->run(std::move(r));
  ASSERT_TRUE(replayed.has_value()) << replayed.error().message;
  EXPECT_TRUE(replayed.value().replayed);
  EXPECT_EQ(replayed.value().payload, "4498500");
}

// More runs than contexts: each is evicted again and again, and ends as if it had never been.
TEST_F(PoolEngine, EvictionsUnderPressureChangeNothing) {
  options_.warm_runs_max = 4;
  open();
  std::string expected;
  std::vector<std::future<Driven>> runs;
  for (std::int64_t id = 1; id <= 24; ++id) {
    runs.push_back(std::async(std::launch::async, [this, id] { return drive(id, kTask); }));
  }
  for (auto& future : runs) {
    const Driven run = answer_of(future);
    if (expected.empty()) expected = payload(run);
    EXPECT_EQ(payload(run), expected);
  }
  EXPECT_GT(runtime_->stats().evictions, 0);
  EXPECT_GT(runtime_->stats().replays, 0);
  EXPECT_EQ(runtime_->stats().engine_deaths, 0);
}

bool gone(int pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);  // fails, and never throws, if the process goes just now
  const auto name_end = text.rfind(')');
  // Its new parent may take its time to reap it.
  return name_end == std::string::npos || text.substr(name_end, 3) == ") Z";
}

// In a process of its own, because it is killed: not even a running slice outlives the broker.
TEST(PoolEngineDeath, AKilledBrokerTakesItsEnginesWithIt) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t broker = ::fork();
  if (broker == 0) {
    boost::asio::io_context io;
    PoolOptions options;
    options.engine_path = TEST_ENGINE;
    options.processes = 1;
    auto pool = open_engine_pool(io, options);
    if (pool.has_error()) ::_exit(1);
    SliceRequest r;
    r.run = TaskRunId(1);
    r.code = std::make_shared<TaskCode>(TaskCode{.id = TaskFunctionId(1),
                                                 .name = "spin",
                                                 .version = 1,
                                                 .code = "module.exports = () => { for (;;); }"});
    r.input = "{}";
    r.seed = "0123456789abcdef";
    pool.value()->run_slice(std::move(r), [](auto) {});
    const int pid = pool.value()->engine_pids().at(0);
    if (::write(ends[1], &pid, sizeof pid) != sizeof pid) ::_exit(1);
    io.run();
    ::_exit(1);
  }
  ::close(ends[1]);
  int engine = 0;
  const bool told = ::read(ends[0], &engine, sizeof engine) == sizeof engine;
  ::close(ends[0]);
  ::kill(broker, SIGKILL);
  ASSERT_EQ(::waitpid(broker, nullptr, 0), broker);
  ASSERT_TRUE(told);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!gone(engine)) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  }
}

// The broker's orderly end does too.
TEST_F(PoolEngine, EnginesEndWithThePool) {
  open();
  const auto pids = runtime_->engine_pids();
  runtime_.reset();
  for (const int pid : pids) EXPECT_NE(::kill(pid, 0), 0);
}

}  // namespace
}  // namespace sequential::engine
