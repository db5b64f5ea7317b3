#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "fake_server.h"
#include "harness.h"

namespace sequential::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kAccepted =
    R"({"success":true,"data":{"taskRunId":42,"status":"queued","links":{"self":"/runs/42"}}})";

// Accepts a run, then answers GET /runs/42 with `records` in turn, the last one for ever.
FakeServer::Handler with_records(std::vector<FakeReply> records) {
  return [records = std::move(records), next = std::size_t{0}](const FakeRequest& request) mutable {
    if (request.method == "POST") return FakeReply{.status = 202, .body = kAccepted};
    if (request.target.find("/logs") != std::string::npos) {
      return FakeReply{.status = 200,
                       .body = R"({"logs":[{"n":1,"level":"info","message":"fetching\npage 7"}]})"};
    }
    const FakeReply reply = records[next];
    if (next + 1 < records.size()) ++next;
    return reply;
  };
}
FakeReply record(const std::string& members) {
  return {.status = 200,
          .body = R"({"id":42,"task":"t","version":1,"calls":1234,)"
                  R"("created_at":"2026-11-21T10:00:00.000Z","ended_at":"2026-11-21T10:00:03.250Z",)" +
                  members + "}"};
}

TEST(Run, SubmitsAndSaysHowToFollow) {
  FakeServer server(with_records({}));
  const Ran ran = run_with({"run", "my task", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitOk);
  EXPECT_EQ(ran.out, "run 42 queued\n");
  EXPECT_THAT(ran.err, HasSubstr("runs show 42 --wait"));
  FakeRequest seen = server.requests().at(0);
  EXPECT_EQ(seen.target, "/tasks/execute");
  EXPECT_EQ(seen.body, R"({"task":"my task"})");
  EXPECT_EQ(seen.headers.count("prefer"), 0u);
}

TEST(Run, OptionsAreSentAndTheInputByteForByte) {
  FakeServer server(with_records({}));
  const std::string input = R"({"b": 1.0, "a": 9007199254740993, "s": "\ud800"})";
  run_with({"run", "t", "--input", input, "--idempotency-key", "k\"1", "--task-version", "3",
            "--priority", "-2", "--delay-ms", "0", "--server", server.url()});
  EXPECT_EQ(server.requests().at(0).body,
            R"({"task":"t","input":)" + input +
                R"(,"options":{"idempotency_key":"k\"1","version":3,"priority":-2,"delay_ms":0}})");
}

TEST(Run, InputComesFromAFileOrStandardInput) {
  FakeServer server(with_records({}));
  const TempFolder folder;
  run_with({"run", "t", "--input", "@" + folder.file("in.json", "[1]"), "--server", server.url()});
  run_with({"run", "t", "--input", "-", "--server", server.url()}, " {\"x\":2}\n");
  EXPECT_EQ(server.requests().at(0).body, R"({"task":"t","input":[1]})");
  EXPECT_EQ(json::parse(server.requests().at(1).body)["input"], json({{"x", 2}}));
}

TEST(Run, InputThatIsNoJsonNeverLeaves) {
  FakeServer server(with_records({}));
  const Ran ran = run_with({"run", "t", "--input", "{user:1}", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitUsage);
  EXPECT_THAT(ran.err, HasSubstr("at byte 1"));
  EXPECT_EQ(run_with({"run", "t", "--input", "@/none", "--server", server.url()}).exit, kExitUsage);
  EXPECT_EQ(run_with({"run", "t", "--input", "-", "--server", server.url()}, "").exit, kExitUsage);
  EXPECT_TRUE(server.requests().empty());
}

TEST(RunWait, PrintsTheResultInTheOrderTheTaskGaveIt) {
  FakeServer server(with_records({record(R"("status":"running")"),
                                  record(R"("status":"completed","result":{"z":1,"a":[2]})")}));
  const Ran ran = run_with({"run", "t", "--wait", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitOk);
  EXPECT_EQ(ran.out, "{\n  \"z\": 1,\n  \"a\": [\n    2\n  ]\n}\n");
  EXPECT_THAT(ran.err, HasSubstr("run 42 completed in 3.2 s, 1,234 calls"));
  EXPECT_THAT(ran.err, Not(HasSubstr("\r")));  // no progress where nobody looks
  EXPECT_EQ(server.requests().at(0).headers["prefer"], "");
  EXPECT_EQ(server.requests().at(1).target, "/runs/42?wait=20");
}

TEST(RunWait, AFailedRunExitsOneWithTheTasksOwnStack) {
  FakeServer server(with_records({record(
      R"("status":"failed","error":{"name":"TypeError","message":"x is not a function",
         "stack":"TypeError: x is not a function\n    at t.js:3:5"})")}));
  const Ran ran = run_with({"run", "t", "--wait", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitRunFailed);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("TypeError: x is not a function\n    at t.js:3:5"));
}

TEST(RunWait, APausedRunIsNotWaitedFor) {
  FakeServer server(with_records({record(R"("status":"paused","pause_reason":"poison")")}));
  const Ran ran = run_with({"run", "t", "--wait", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitRunFailed);
  EXPECT_THAT(ran.err, HasSubstr("paused: poison"));
}

TEST(RunWait, ARestartOfTheServerIsWaitedOut) {
  FakeServer server(with_records({{.status = 503, .body = R"({"detail":"starting"})"},
                                  record(R"("status":"completed","result":null)")}));
  const Ran ran = run_with({"run", "t", "--wait", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitOk);
  EXPECT_EQ(ran.out, "null\n");
}

TEST(RunWait, TheTimeoutEndsTheWaitAndNotTheRun) {
  FakeServer server(with_records({record(R"("status":"running")")}));
  const Ran ran = run_with({"run", "t", "--wait", "--timeout", "1", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitStillRunning);
  EXPECT_THAT(ran.err, HasSubstr("The run goes on. Come back with: sequential-runner runs show 42"));
  for (const FakeRequest& request : server.requests()) {
    EXPECT_THAT(request.target, Not(HasSubstr("cancel")));
  }
}

TEST(RunWait, CtrlCEndsTheWaitAndNotTheRun) {
  auto records = with_records({record(R"("status":"running")")});
  FakeServer server([&records](const FakeRequest& request) {
    if (request.method == "GET") ::kill(::getpid(), SIGINT);
    return records(request);
  });
  const Ran ran = run_with({"run", "t", "--wait", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitStillRunning);
  EXPECT_THAT(ran.err, HasSubstr("Interrupted. The run goes on."));
}

TEST(RunWait, ATerminalSeesProgressThatIsRemovedAtTheEnd) {
  const FakeReply suspended = record(R"("status":"suspended_waiting_child")");
  // The second is what this server, which has no events, answers when asked for them.
  FakeServer server(with_records(
      {suspended, suspended, suspended, record(R"("status":"completed","result":1)")}));
  const Ran ran = run_on_terminal({"run", "t", "--wait", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitOk);
  EXPECT_THAT(ran.err, HasSubstr("run 42  suspended_waiting_child  1,234 calls"));
  EXPECT_THAT(ran.err, HasSubstr("fetching"));
  EXPECT_THAT(ran.err, Not(HasSubstr("page 7")));  // one line
  const auto progress = ran.err.find("1,234 calls  ");
  EXPECT_NE(ran.err.find("\r\x1b[K", progress), std::string::npos);
  EXPECT_EQ(ran.out, "1\n");
}

TEST(RunWait, JsonPrintsTheRunsRecord) {
  FakeServer server(with_records({record(R"("status":"failed","error":null)")}));
  const Ran ran = run_with({"run", "t", "--wait", "--json", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitRunFailed);
  EXPECT_EQ(json::parse(ran.out)["id"], 42);
}

TEST(Run, AnUnknownTaskExitsFour) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 404,
                     .body = R"({"code":"task_not_found","detail":"No task is named \"t\"."})"};
  });
  const Ran ran = run_with({"run", "t", "--wait", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitNotFound);
  EXPECT_THAT(ran.err, StartsWith("error: No task is named \"t\"."));
}

}  // namespace
}  // namespace sequential::cli
