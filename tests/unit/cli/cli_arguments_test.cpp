#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>

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
