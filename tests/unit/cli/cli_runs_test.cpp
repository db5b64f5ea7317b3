#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "fake_server.h"
#include "harness.h"

namespace sequential::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(RunsList, IsATableWithACursor) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 200, .body = R"({"runs":[
      {"id":12,"task":"gmail","version":2,"status":"completed","calls":5000,
       "created_at":"2026-11-21T10:00:00.000Z","ended_at":"2026-11-21T10:01:30.000Z"},
      {"id":7,"task":"x","version":1,"status":"queued","calls":0,
       "created_at":"2026-11-21T09:00:00.000Z","ended_at":null}],"next_cursor":"7"})"};
  });
  const Ran ran = run_with({"runs", "list", "--status", "a b", "--task", "t", "--limit", "2",
                            "--cursor", "99", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitOk);
  EXPECT_EQ(ran.out,
            "RUN  TASK   VERSION  STATUS     CALLS  CREATED (UTC)              TOOK\n"
            " 12  gmail        2  completed  5,000  2026-11-21 10:00:00  1 min 30 s\n"
            "  7  x            1  queued         0  2026-11-21 09:00:00\n");
  EXPECT_THAT(ran.err, HasSubstr("--cursor 7"));
  EXPECT_EQ(server.requests().at(0).target, "/runs?status=a%20b&task=t&limit=2&cursor=99");
}

TEST(RunsList, SaysWhenThereAreNone) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 200, .body = R"({"runs":[],"next_cursor":null})"};
  });
  const Ran ran = run_with({"runs", "list", "--server", server.url()});
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "no runs\n");
}

TEST(RunsList, AnotherPrintsNoRowsThatTextsOfRunsMadeUp) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 200, .body = R"({"runs":[
      {"id":1,"task":"a\n  2  forged","version":1,"status":"queued","calls":0,
       "created_at":"2026-11-21T09:00:00.000Z"}],"next_cursor":null})"};
  });
  const Ran ran = run_with({"runs", "list", "--server", server.url()});
  EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 2) << ran.out;
  EXPECT_THAT(ran.out, HasSubstr("a\\n  2  forged"));
}

TEST(Arguments, ThatSayNothingAreNotTakenForSomethingElse) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.status = 200, .body = "{}"}; });
  const std::vector<std::vector<std::string>> wrong = {
      {"runs", "purge", "--tag=", "--dry-run"},
      {"runs", "purge", "--attr", "foo", "--yes"},
      {"runs", "list", "--attr", "=x"},
      {"runs", "retry", "--task", "t", "--limit", "0"},
      {"runs", "retry", "--task", "t", "--limit", "-3"},
      {"runs", "fork", "3", "--call", "1", "--result", ""},
      {"runs", "fork", "3", "--input", ""},
      {"tasks", "retention", "t", "--reset", "--completed", "3d"}};
  for (std::vector<std::string> arguments : wrong) {
    arguments.insert(arguments.end(), {"--server", server.url()});
    const Ran ran = run_with(arguments);
    EXPECT_EQ(ran.exit, kExitUsage) << arguments[1] << " " << arguments[2] << ran.out;
    EXPECT_THAT(ran.err, HasSubstr("error: "));
  }
  EXPECT_TRUE(server.requests().empty());
}

TEST(Output, ThatCannotBeWrittenIsAFailure) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 200, .body = R"({"runs":[],"next_cursor":null})"};
  });
  Main main;
  main.out = std::fopen("/dev/full", "w");
  ASSERT_NE(main.out, nullptr);
  const Ran ran = run_with({"runs", "list", "--json", "--server", server.url()}, "", main);
  EXPECT_EQ(ran.exit, kExitOutput);
  EXPECT_THAT(ran.err, HasSubstr("could not be written"));
}

TEST(RunsReplay, AnAnswerOfAnotherShapeIsNoCrash) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 200, .body = R"({"same":"x","difference":3,"next":{}})"};
  });
  EXPECT_EQ(run_with({"runs", "replay", "4", "--server", server.url()}).exit, kExitRunFailed);
}

TEST(RunsShow, ShowsTheRunItsPayloadsAndItsLastCalls) {
  FakeServer server([](const FakeRequest& request) {
    if (request.target.find("/stack") != std::string::npos) {
      return FakeReply{.status = 200, .body = R"({"stack":[
        {"id":9,"seq":119,"service":"gapi","method":"gmail.users.messages.list",
         "status":"completed","attempt":1,"via":"chain","hop_us":310,"resume_kind":"warm",
         "resume_us":95,"source_line":40},
        {"id":10,"seq":120,"service":"http","method":"fetch","status":"processing","attempt":2}],
        "next_from":null})"};
    }
    return FakeReply{.status = 200, .body = R"({"id":5,"task":"gmail","version":2,
      "status":"suspended_waiting_child","input":{"q":"a\u001bb"},"result":null,"error":null,
      "calls":120,"logs":3,"waiting_on_stack_run_id":10,"created_at":"2026-11-21T10:00:00.000Z",
      "started_at":null,"ended_at":null})"};
  });
  const Ran ran = run_with({"runs", "show", "5", "--calls", "2", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitOk) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("run 5  suspended_waiting_child\n"));
  EXPECT_THAT(ran.out, HasSubstr("waits for stack run 10\n"));
  EXPECT_THAT(ran.out, HasSubstr("input\n{\n  \"q\": \"a\\u001bb\"\n}\n"));
  EXPECT_THAT(ran.out, Not(HasSubstr("result")));
  EXPECT_THAT(ran.out, HasSubstr("119  gapi.gmail.users.messages.list  completed     1  chain  "
                                 "310 µs  warm 95 µs    40\n"));
  EXPECT_EQ(server.requests().at(1).target, "/runs/5/stack?from=119&limit=2");
}

TEST(RunsShow, SaysWhyARunIsPausedAndWhatCanBeDone) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 200, .body = R"({"id":5,"task":"t","version":1,"status":"paused",
      "pause_reason":"poison","pause_detail":{"message":"it took \u001b 3 engines"},"calls":0})"};
  });
  const Ran shown = run_with({"runs", "show", "5", "--server", server.url()});
  EXPECT_THAT(shown.out, HasSubstr("poison"));
  EXPECT_THAT(shown.out, HasSubstr("\"message\": \"it took \\u001b 3 engines\""));
  EXPECT_THAT(shown.err, HasSubstr("POST /runs/5/resume"));
  const Ran waited = run_with({"runs", "show", "5", "--wait", "--server", server.url()});
  EXPECT_EQ(waited.exit, kExitRunFailed);
  EXPECT_THAT(waited.err, HasSubstr("paused: poison\n"));
  EXPECT_THAT(waited.err, HasSubstr("it took \\u001b 3 engines"));
  EXPECT_THAT(waited.err, HasSubstr("GET /errors/poison"));
}

TEST(RunsShow, AnUnknownRunExitsFour) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 404, .body = R"({"code":"run_not_found","detail":"No run 5."})"};
  });
  EXPECT_EQ(run_with({"runs", "show", "5", "--server", server.url()}).exit, kExitNotFound);
  EXPECT_EQ(run_with({"runs", "show", "5", "--wait", "--server", server.url()}).exit,
            kExitNotFound);
  EXPECT_EQ(run_with({"logs", "5", "-f", "--server", server.url()}).exit, kExitNotFound);
}

// Two pages of logs, the run ending between them.
FakeServer::Handler logging_run() {
  return [asked = 0](const FakeRequest& request) mutable {
    if (request.target.find("/logs") == std::string::npos) {
      return FakeReply{.status = 200, .body = R"({"id":5,"status":"completed"})"};
    }
    ++asked;
    if (request.target.find("after=0") != std::string::npos) {
      return FakeReply{.status = 200, .body = R"({"logs":[
        {"n":1,"level":"info","message":"one","at":"2026-11-21T10:00:00.000Z"},
        {"n":2,"level":"error","message":"two\u001b[2J","at":"2026-11-21T10:00:01.000Z"}]})"};
    }
    if (request.target.find("after=2") != std::string::npos && asked > 2) {
      return FakeReply{.status = 200, .body = R"({"logs":[
        {"n":3,"level":"warn","message":"three","at":"2026-11-21T10:00:02.000Z"}]})"};
    }
    return FakeReply{.status = 200, .body = R"({"logs":[]})"};
  };
}

TEST(Logs, PrintWhatIsThere) {
  FakeServer server(logging_run());
  const Ran ran = run_with({"logs", "5", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitOk);
  EXPECT_EQ(ran.out, "10:00:00 info  one\n10:00:01 error two\\u001b[2J\n");
}

TEST(Logs, AsJsonTheyAreOneDocumentHoweverManyPagesAndHoweverFew) {
  FakeServer pages([](const FakeRequest& request) {
    const bool first = request.target.ends_with("after=0");
    const bool second = request.target.ends_with("after=1");
    return FakeReply{.status = 200, .body = first    ? R"({"logs":[{"n":1,"message":"\ud800"}]})"
                                            : second ? R"({"logs":[{"n":2,"message":"b"}]})"
                                                     : R"({"logs":[]})"};
  });
  EXPECT_EQ(run_with({"logs", "5", "--json", "--server", pages.url()}).out,
            R"({"logs":[{"n":1,"message":"\ud800"},{"n":2,"message":"b"}],"next_after":2})"
            "\n");
  FakeServer none(
      [](const FakeRequest&) { return FakeReply{.status = 200, .body = R"({"logs":[]})"}; });
  EXPECT_EQ(run_with({"logs", "5", "--json", "--server", none.url()}).out,
            "{\"logs\":[],\"next_after\":0}\n");
}

TEST(Logs, FollowedAsJsonTheyAreOneEntryALine) {
  FakeServer server(logging_run());
  const Ran ran = run_with({"logs", "5", "-f", "--json", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitOk);
  std::istringstream lines(ran.out);
  std::string line;
  int n = 0;
  while (std::getline(lines, line)) EXPECT_EQ(nlohmann::json::parse(line)["n"], ++n);
  EXPECT_EQ(n, 3);
}

TEST(Logs, FollowingLosesNothingAndEndsWithTheRun) {
  FakeServer server(logging_run());
  const Ran ran = run_with({"logs", "5", "-f", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitOk);
  EXPECT_EQ(ran.out, "10:00:00 info  one\n10:00:01 error two\\u001b[2J\n10:00:02 warn  three\n");
}

TEST(Tasks, AreListedAndTheirCodePrinted) {
  FakeServer server([](const FakeRequest& request) {
    if (request.target == "/tasks") {
      return FakeReply{.status = 200, .body = R"({"tasks":[{"name":"hello","version":2,
        "description":"Says it.","created_at":"2026-11-21T10:00:00.000Z"}]})"};
    }
    return FakeReply{.status = 200, .body = R"({"name":"hello","version":2,"code":"return 1"})"};
  });
  EXPECT_EQ(run_with({"tasks", "list", "--server", server.url()}).out,
            "TASK   VERSION  PUBLISHED (UTC)      DESCRIPTION\n"
            "hello        2  2026-11-21 10:00:00  Says it.\n");
  EXPECT_EQ(run_with({"tasks", "show", "hello", "--server", server.url()}).out, "return 1\n");
}

}  // namespace
}  // namespace sequential::cli
