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

FakeReply published(const FakeRequest& request) {
  const std::string name = request.target.substr(std::string("/tasks/").size());
  return {.status = 201, .body = json{{"name", name}, {"version", 3}, {"created", true}}.dump()};
}

TEST(Publish, TheNameIsTheFilesName) {
  FakeServer server(published);
  const TempFolder folder;
  const std::string code = "module.exports = async () => \"é\";\n";
  const std::string file = folder.file("say-hello.js", code);
  const Ran ran = run_with({"publish", file, "--server", server.url(), "--description", "Says it."});
  EXPECT_EQ(ran.exit, kExitOk) << ran.err;
  EXPECT_EQ(ran.out, "published say-hello version 3\n");
  FakeRequest seen = server.requests().at(0);
  EXPECT_EQ(seen.method, "PUT");
  EXPECT_EQ(seen.target, "/tasks/say-hello");
  EXPECT_EQ(seen.headers["content-type"], "application/json");
  EXPECT_EQ(json::parse(seen.body), json({{"code", code}, {"description", "Says it."}}));
}

TEST(Publish, AGivenNameIsEncodedAndGoesWithOneFile) {
  FakeServer server(published);
  const TempFolder folder;
  const std::string file = folder.file("a.mjs", "x");
  run_with({"publish", file, "--name", "team/a b", "--server", server.url()});
  EXPECT_EQ(server.requests().at(0).target, "/tasks/team%2Fa%20b");
  EXPECT_EQ(run_with({"publish", file, file, "--name", "n", "--server", server.url()}).exit,
            kExitUsage);
}

TEST(Publish, UnchangedCodeIsToldApart) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 200, .body = R"({"name":"a","version":7,"created":false})"};
  });
  const TempFolder folder;
  EXPECT_EQ(run_with({"publish", folder.file("a.js", "x"), "--server", server.url()}).out,
            "unchanged a version 7\n");
}

TEST(Publish, WhatWasNotStoredIsTold) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 200,
                     .body = R"({"name":"a","version":7,"created":false,
                                 "not_stored":["description"],"note":"a version never changes"})"};
  });
  const TempFolder folder;
  const Ran ran = run_with(
      {"publish", folder.file("a.js", "x"), "--description", "new", "--server", server.url()});
  EXPECT_EQ(ran.out, "unchanged a version 7\n");
  EXPECT_EQ(ran.err, "not stored: description (a version never changes)\n");
}

TEST(Publish, ACompileErrorShowsTheLineWithACaret) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 422,
                     .body = R"({"code":"code_invalid","detail":"bad.js:2:12: SyntaxError: Unexpected token '{'",
                                 "line":2,"column":12})"};
  });
  const TempFolder folder;
  const std::string file = folder.file("bad.js", "// é\r\n\tconst é = ({ {\r\n");
  const Ran ran = run_with({"publish", file, "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitRefused);
  EXPECT_THAT(ran.err, HasSubstr("bad.js:2:12: error: SyntaxError: Unexpected token '{'\n"
                                 "  2 |  const é = ({ {\n"
                                 "    |           ^\n"));
}

TEST(Publish, ACompileErrorInALongLineShowsItsSurroundings) {
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 422, .body = R"({"detail":"no","line":1,"column":5001})"};
  });
  const TempFolder folder;
  const std::string file =
      folder.file("min.js", std::string(5'000, 'a') + "#" + std::string(5'000, 'b'));
  const Ran ran = run_with({"publish", file, "--server", server.url()});
  EXPECT_THAT(ran.err, HasSubstr("a#b"));
  EXPECT_LT(ran.err.size(), 600u);
  const auto hash = ran.err.find('#') - ran.err.rfind('\n', ran.err.find('#'));
  const auto caret = ran.err.find('^') - ran.err.rfind('\n', ran.err.find('^'));
  EXPECT_EQ(hash, caret);
}

TEST(Publish, OneBadFileDoesNotKeepBackTheOthers) {
  FakeServer server(published);
  const TempFolder folder;
  const Ran ran = run_with({"publish", "/no/such/file.js", folder.file("latin1.js", "\xe9"),
                            folder.file("good.js", "x"), "--server", server.url()});
  EXPECT_EQ(ran.exit, kExitUsage);
  EXPECT_THAT(ran.err, HasSubstr("/no/such/file.js: No such file"));
  EXPECT_THAT(ran.err, HasSubstr("latin1.js is not UTF-8"));
  EXPECT_EQ(ran.out, "published good version 3\n");
}

TEST(Publish, JsonIsTheServersOwn) {
  FakeServer server(published);
  const TempFolder folder;
  EXPECT_EQ(run_with({"publish", folder.file("a.js", "x"), "--json", "--server", server.url()}).out,
            R"({"created":true,"name":"a","version":3})" "\n");
}

}  // namespace
}  // namespace sequential::cli
