#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "fake_server.h"
#include "harness.h"

namespace sequential::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

FakeReply no_content(const FakeRequest&) { return {.status = 204, .body = ""}; }

TEST(KeystoreSet, TakesTheValueFromStandardInputWithoutItsLineEnd) {
  FakeServer server(no_content);
  const Ran ran =
      run_with({"keystore", "set", "default", "API/KEY", "--server", server.url()}, "s3\"cret\n");
  EXPECT_EQ(ran.exit, kExitOk);
  EXPECT_EQ(ran.out, "stored default/API/KEY\n");
  const FakeRequest seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "PUT");
  EXPECT_EQ(seen.target, "/keystore/default/API%2FKEY");
  EXPECT_EQ(json::parse(seen.body), json({{"value", "s3\"cret"}}));
}

TEST(KeystoreSet, TakesTheValueFromAFile) {
  FakeServer server(no_content);
  const TempFolder folder;
  const std::string file = folder.file("key.json", "{\n  \"a\": 1\n}\n");
  run_with({"keystore", "set", "n", "k", "--value-file", file, "--server", server.url()});
  EXPECT_EQ(json::parse(server.requests().at(0).body)["value"], "{\n  \"a\": 1\n}");
}

TEST(KeystoreSet, RefusesWhatCannotBeASecret) {
  FakeServer server(no_content);
  const std::string url = server.url();
  EXPECT_EQ(run_with({"keystore", "set", "n", "k", "--server", url}, "\n").exit, kExitUsage);
  EXPECT_EQ(run_with({"keystore", "set", "n", "k", "--server", url}, "\xff\xfe").exit, kExitUsage);
  EXPECT_EQ(run_with({"keystore", "set", "n", "k", "--server", url}, std::string(2 << 20, 'x')).exit,
            kExitUsage);
  EXPECT_TRUE(server.requests().empty());
}

TEST(KeystoreSet, OnATerminalTheValueIsNotShown) {
  FakeServer server(no_content);
  const Ran ran =
      run_on_terminal({"keystore", "set", "n", "k", "--server", server.url()}, "hunter2\n");
  EXPECT_EQ(ran.exit, kExitOk);
  EXPECT_THAT(ran.err, HasSubstr("value of n/k: "));
  EXPECT_THAT(ran.err, Not(HasSubstr("hunter2")));
  EXPECT_EQ(json::parse(server.requests().at(0).body)["value"], "hunter2");
}

TEST(Keystore, ListsNamesAndDeletes) {
  FakeServer server([](const FakeRequest& request) {
    if (request.method == "DELETE") return FakeReply{.status = 204, .body = ""};
    return FakeReply{.status = 200, .body = R"({"entries":[{"namespace":"default","key":"A",
      "version":3,"updated_at":"2026-11-21T10:00:00.000Z"}]})"};
  });
  EXPECT_EQ(run_with({"keystore", "list", "default", "--server", server.url()}).out,
            "NAMESPACE  KEY  VERSION  UPDATED (UTC)\ndefault    A          3  2026-11-21 10:00:00\n");
  EXPECT_EQ(run_with({"keystore", "delete", "default", "A", "--server", server.url()}).out,
            "deleted default/A\n");
  EXPECT_EQ(server.requests().at(0).target, "/keystore/default");
  EXPECT_EQ(server.requests().at(1).target, "/keystore/default/A");
}

TEST(DbStatus, ShowsEveryCount) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 200, .body = R"({"kind":"sqlite","location":"data/s.db",
      "schema_version":"0003","size_bytes":3565158,"tables":{"task_runs":12000},
      "runs":[["completed",11999],["queued",1]],"stack_runs":{},"oldest_runnable_ms":1500})"};
  });
  const Ran ran = run_with({"db", "status", "--server", server.url()});
  EXPECT_THAT(ran.out, HasSubstr("store     sqlite at data/s.db\n"));
  EXPECT_THAT(ran.out, HasSubstr("size      3.4 MiB\n"));
  EXPECT_THAT(ran.out, HasSubstr("oldest    runnable for 1.5 s\n"));
  EXPECT_THAT(ran.out, HasSubstr("  task_runs                 12,000\n"));
  EXPECT_THAT(ran.out, HasSubstr("  completed                 11,999\n"));
  EXPECT_THAT(ran.out, Not(HasSubstr("stack_runs")));
}

TEST(DbClear, DeletesOnlyWhenToldTo) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 200, .body = R"({"deleted_runs":1234})"};
  });
  EXPECT_EQ(run_with({"db", "clear", "--server", server.url()}, "clear\n").exit, kExitUsage);
  EXPECT_EQ(run_on_terminal({"db", "clear", "--server", server.url()}, "yes\n").exit, kExitUsage);
  EXPECT_TRUE(server.requests().empty());

  EXPECT_EQ(run_with({"db", "clear", "--yes", "--server", server.url()}).out,
            "deleted 1,234 runs\n");
  EXPECT_EQ(run_on_terminal({"db", "clear", "--server", server.url()}, "clear\n").exit, kExitOk);
  ASSERT_EQ(server.requests().size(), 2u);
  EXPECT_EQ(server.requests().at(1).method, "POST");
  EXPECT_EQ(server.requests().at(1).body, R"({"confirm":"clear"})");
}

}  // namespace
}  // namespace sequential::cli
