#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "fake_server.h"
#include "harness.h"

namespace sequential::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(Arguments, WrongOnesExitTwoAndHelpExitsZero) {
  EXPECT_EQ(run_with({}).exit, kExitUsage);
  EXPECT_EQ(run_with({"fly"}).exit, kExitUsage);
  EXPECT_EQ(run_with({"run"}).exit, kExitUsage);
  EXPECT_EQ(run_with({"run", "x", "--timeout", "5"}).exit, kExitUsage);  // without --wait
  EXPECT_EQ(run_with({"runs", "show", "seven"}).exit, kExitUsage);
  EXPECT_EQ(run_with({"runs", "list", "--limit", "0"}).exit, kExitUsage);
  const Ran help = run_with({"--help"});
  EXPECT_EQ(help.exit, kExitOk);
  EXPECT_THAT(help.out, HasSubstr("Exit codes:"));
  EXPECT_EQ(run_with({"keystore", "set", "--help"}).exit, kExitOk);
}

TEST(Arguments, AWrongWordIsNamedWithWhatItMayHaveBeen) {
  const auto said = [](const std::vector<std::string>& arguments) {
    const Ran ran = run_with(arguments);
    EXPECT_EQ(ran.exit, kExitUsage);
    return ran.err.substr(0, ran.err.find('\n'));
  };
  EXPECT_EQ(said({"publsh", "x.js"}),
            "error: there is no command \"publsh\"; did you mean publish?");
  EXPECT_EQ(said({"bogus"}),
            "error: there is no command \"bogus\"; there are serve, publish, tasks, run, runs, logs, "
            "schedules, signal, queues, keystore, db and version");
  EXPECT_EQ(said({"runs", "lst"}),
            "error: there is no command \"runs lst\"; did you mean runs list?");
  EXPECT_EQ(said({"--server", "runs", "db", "--json", "drop"}),
            "error: there is no command \"db drop\"; db has status and clear");
  EXPECT_EQ(said({"run", "x", "--tiemout", "5"}),
            "error: there is no option \"--tiemout\"; did you mean --timeout?");
  EXPECT_EQ(said({"run", "x", "--nonsense=5"}), "error: there is no option \"--nonsense\"");
  EXPECT_EQ(said({"runs"}),
            "error: runs needs one of its commands: list, count, delete, purge, show, replay, fork, "
            "cancel, pause, resume or retry");
  EXPECT_THAT(said({}), HasSubstr("name a command: serve, publish"));
  EXPECT_THAT(said({"run"}), HasSubstr("name is required"));
  EXPECT_EQ(said({"fl\x1b[2Jy"}).find('\x1b'), std::string::npos);
}

TEST(Arguments, AWrongNumberIsAnsweredInWords) {
  const auto said = [](const std::vector<std::string>& arguments) { return run_with(arguments).err; };
  for (const char* id : {"abc", "0", "-1", "1.5", "9223372036854775808", "1x"}) {
    EXPECT_THAT(said({"runs", "show", id}),
                ::testing::StartsWith("error: id must be a positive whole number, not "))
        << id;
    EXPECT_THAT(said({"logs", id}), HasSubstr("must be a positive whole number")) << id;
  }
  EXPECT_THAT(said({"runs", "list", "--limit", "0"}),
              HasSubstr("--limit must be a whole number from 1 to 1000, not 0"));
  EXPECT_THAT(said({"run", "t", "--priority", "x"}),
              HasSubstr("--priority must be a whole number from -1000 to 1000, not x"));
  EXPECT_THAT(said({"run", "t", "--task-version", "0"}),
              HasSubstr("--task-version must be a positive whole number, not 0"));
}

TEST(Arguments, VersionSaysWhatWasBuiltIn) {
  Main main;
  main.version = "1.2.3";
  main.components = {"v8 10.2", "sqlite 3.40"};
  EXPECT_EQ(run_with({"version"}, "", main).out, "sequential-runner 1.2.3\n  v8 10.2\n  sqlite 3.40\n");
  EXPECT_EQ(run_with({"version", "--json"}, "", main).out,
            "{\"version\":\"1.2.3\",\"components\":[\"v8 10.2\",\"sqlite 3.40\"]}\n");
  EXPECT_THAT(run_with({"--version"}, "", main).out, HasSubstr("1.2.3"));
}

TEST(Arguments, ServeGetsItsSettingsAndSetWins) {
  ServeArguments seen;
  Main main;
  main.serve = [&seen](const ServeArguments& arguments) {
    seen = arguments;
    return 42;
  };
  const Ran ran = run_with({"serve", "--config", "c.json", "--set", "server.port=1", "--port", "0",
                            "--set", "chain.url=http://a/?b=c", "--print-config"},
                           "", main);
  EXPECT_EQ(ran.exit, 42);
  EXPECT_EQ(seen.config_file, "c.json");
  EXPECT_TRUE(seen.print_config);
  EXPECT_FALSE(seen.print_schema);
  EXPECT_THAT(seen.settings, ElementsAre(Pair("server.port", "0"), Pair("server.port", "1"),
                                         Pair("chain.url", "http://a/?b=c")));
  EXPECT_EQ(run_with({"serve", "--set", "nonsense"}, "", main).exit, kExitUsage);
  EXPECT_EQ(run_with({"serve"}).exit, kExitUsage);
}

TEST(Arguments, TheTokenComesFromAFile) {
  FakeServer server([](const FakeRequest&) { return FakeReply{.status = 200, .body = "{}"}; });
  const TempFolder folder;
  const std::string token = folder.file("token", "abc.def\n");
  run_with({"tasks", "list", "--server", server.url(), "--token-file", token});
  EXPECT_EQ(server.requests().at(0).headers["authorization"], "Bearer abc.def");

  const std::string bad = folder.file("bad", "abc\r\nX-Evil: 1\n");
  EXPECT_EQ(run_with({"tasks", "list", "--server", server.url(), "--token-file", bad}).exit,
            kExitUsage);
  EXPECT_EQ(run_with({"tasks", "list", "--server", server.url(), "--token-file", "/none"}).exit,
            kExitUsage);
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST(Errors, EachKindHasItsExitCode) {
  int status = 0;
  FakeServer server([&status](const FakeRequest&) {
    return FakeReply{.status = status,
                     .body = R"({"status":0,"code":"some_code","detail":"Something \u001b happened.",
                                 "field":"input.x"})"};
  });
  const auto exit_for = [&](int answer) {
    status = answer;
    return run_with({"tasks", "list", "--server", server.url()}).exit;
  };
  EXPECT_EQ(exit_for(400), kExitRefused);
  EXPECT_EQ(exit_for(401), kExitRefused);
  EXPECT_EQ(exit_for(404), kExitNotFound);
  EXPECT_EQ(exit_for(409), kExitRefused);
  EXPECT_EQ(exit_for(422), kExitRefused);
  EXPECT_EQ(exit_for(429), kExitServer);
  EXPECT_EQ(exit_for(500), kExitServer);
  EXPECT_EQ(exit_for(503), kExitServer);
  const Ran ran = run_with({"tasks", "list", "--server", server.url(), "--json"});
  EXPECT_THAT(ran.err, HasSubstr("error: Something \\u001b happened."));
  EXPECT_THAT(ran.err, HasSubstr("field: input.x"));
  EXPECT_THAT(ran.err, HasSubstr("some_code"));
  EXPECT_THAT(ran.out, HasSubstr("\"code\":\"some_code\""));
}

TEST(Errors, AnAnswerThatIsNoProblemDocumentIsStillTold) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 502, .body = "<html>Bad gateway</html>"};
  });
  const Ran ran = run_with({"tasks", "list", "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitServer);
  EXPECT_THAT(ran.err, HasSubstr("The server answered 502"));
}

TEST(Errors, NoServerExitsThreeAndSaysHowToStartOne) {
  std::string url;
  {
    const FakeServer gone([](const FakeRequest&) { return FakeReply{}; });
    url = gone.url();
  }
  EXPECT_EQ(run_with({"runs", "show", "1", "--wait", "--server", url}).exit, kExitUnreachable);
  const Ran ran = run_with({"db", "status", "--server", url});
  EXPECT_EQ(ran.exit, kExitUnreachable);
  EXPECT_THAT(ran.err, HasSubstr("sequential-runner serve"));
}

}  // namespace
}  // namespace sequential::cli
