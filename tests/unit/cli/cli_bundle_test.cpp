#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bundle.h"
#include "fake_server.h"
#include "harness.h"

namespace sequential::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using When = BundleOptions::When;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

fs::path make_program(const fs::path& path, const std::string& script) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
  fs::permissions(path, fs::perms::owner_all);
  return path;
}

FakeReply published(const FakeRequest& request) {
  const std::string name = request.target.substr(std::string("/tasks/").size());
  return {.status = 201, .body = json{{"name", name}, {"version", 1}, {"created", true}}.dump()};
}

// {"version":3,"sources":["a.ts","lib/b.ts"],"mappings":""}
constexpr const char* kMapLine =
    "//# sourceMappingURL=data:application/json;base64,"
    "eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbImEudHMiLCJsaWIvYi50cyJdLCJtYXBwaW5ncyI6IiJ9";

TEST(WhyBundle, TypeScriptJsxAndWhatImports) {
  const auto why = [](const char* file, const char* code) {
    return why_bundle(file, code, When::as_needed);
  };
  for (const char* file : {"a.ts", "b/c.mts", "c.cts"}) EXPECT_EQ(why(file, ""), "is TypeScript");
  for (const char* file : {"a.tsx", "a.jsx"}) EXPECT_EQ(why(file, ""), "is JSX");
  for (const char* file : {"a.js", "a.mjs", "a.cjs", "a", "ts"}) EXPECT_EQ(why(file, "1"), "");
  EXPECT_EQ(why("a.js", "import x from 'x'"), "imports other files or packages");
  EXPECT_EQ(why_bundle("a.ts", "import x from 'x'", When::never), "");
  EXPECT_NE(why_bundle("a.js", "1", When::always), "");
}

TEST(FindEsbuild, InTheOrderOfThePlaces) {
  const TempFolder temp;
  const fs::path root = fs::path(temp.file("root", "")).parent_path();
  EsbuildPlaces places{
      .named = "",
      .folder = root / "project/src/tasks",
      .program = root / "usr/bin/sequential-runner",
      .path = "relative:" + (root / "none").string() + ":" + (root / "bin").string()};
  fs::create_directories(places.folder);
  EXPECT_EQ(find_esbuild(places).value(), "");
  const auto in_path = make_program(root / "bin/esbuild", "");
  EXPECT_EQ(find_esbuild(places).value(), in_path);
  const auto installed = make_program(root / "usr/lib/sequential-runner/esbuild", "");
  EXPECT_EQ(find_esbuild(places).value(), installed);
  const auto above = make_program(root / "node_modules/.bin/esbuild", "");
  EXPECT_EQ(find_esbuild(places).value(), above);
  const auto nearest = make_program(root / "project/node_modules/.bin/esbuild", "");
  EXPECT_EQ(find_esbuild(places).value(), nearest);
  places.named = make_program(root / "mine", "");
  EXPECT_EQ(find_esbuild(places).value(), root / "mine");

  places.named = root / "root";  // a file, but no program
  const auto refused = find_esbuild(places);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("SEQUENTIAL_ESBUILD"));
}

TEST(FindEsbuild, AFileThatCannotBeRunIsPassedOver) {
  const TempFolder temp;
  const fs::path root = fs::path(temp.file("root", "")).parent_path();
  fs::create_directories(root / "node_modules/.bin");
  std::ofstream(root / "node_modules/.bin/esbuild") << "not executable";
  EXPECT_EQ(find_esbuild({.named = "", .folder = root, .program = "", .path = ""}).value(), "");
}

TEST(ProjectFolder, IsTheNearestWithAPackageJson) {
  const TempFolder temp;
  const fs::path root = fs::path(temp.file("package.json", "{}")).parent_path();
  fs::create_directories(root / "a/b");
  EXPECT_EQ(project_folder(root / "a/b/c.ts"), root);
  std::ofstream(root / "a/package.json") << "{}";
  EXPECT_EQ(project_folder(root / "a/b/c.ts"), root / "a");
  EXPECT_EQ(project_folder("/no/such/c.ts"), "/no/such");
}

TEST(EsbuildArguments, SayEverythingThatDecidesTheBundle) {
  const auto arguments = esbuild_arguments("-src/a.ts");
  EXPECT_EQ(arguments[0], "./-src/a.ts") << "a file is never taken for an option";
  for (const char* wanted : {"--bundle", "--format=cjs", "--platform=browser", "--target=chrome102",
                             "--sourcemap=inline", "--sources-content=true", "--color=false"}) {
    EXPECT_THAT(arguments, Contains(wanted));
  }
}

TEST(ExplainEsbuild, AModuleOfNodeIsNamedWithWhatToUseInstead) {
  const std::string said =
      "✘ [ERROR] Could not resolve \"node:fs/promises\"\n\n    a.js:1:15:\n      1 │ import …\n\n"
      "  The package \"node:fs/promises\" wasn't found on the file system but is built into node. "
      "Are you trying to bundle for node? You can use \"--platform=node\" to do that.\n\n"
      "✘ [ERROR] Could not resolve \"https\"\n\n    a.js:2:15:\n\n2 errors\n";
  const std::string shown = explain_esbuild(said, "/project");
  EXPECT_THAT(shown, HasSubstr("a.js:1:15:"));
  EXPECT_THAT(shown, HasSubstr("a.js:2:15:"));
  EXPECT_THAT(shown, HasSubstr("cannot import \"node:fs/promises\". A task has no files: pass"));
  EXPECT_THAT(shown, HasSubstr("cannot import \"https\". Use fetch"));
  EXPECT_THAT(shown, Not(HasSubstr("--platform")));
}

TEST(ExplainEsbuild, APackageThatIsMissingIsToBeInstalled) {
  const std::string said =
      "✘ [ERROR] Could not resolve \"@scope/one/part\"\n\n    a.js:6:20:\n\n"
      "  You can mark the path \"@scope/one/part\" as external to exclude it.\n\n"
      "✘ [ERROR] Could not resolve \"two/part.js\"\n\n"
      "✘ [ERROR] Could not resolve \"./three.js\"\n\n";
  const std::string shown = explain_esbuild(said, "/project");
  EXPECT_THAT(shown, HasSubstr("run `npm install @scope/one` in /project"));
  EXPECT_THAT(shown, HasSubstr("run `npm install two` in /project"));
  EXPECT_THAT(shown, Not(HasSubstr("install ./three")));
  EXPECT_THAT(shown, Not(HasSubstr("external")));
}

TEST(ExplainEsbuild, OtherMessagesAreShownAsTheyAre) {
  const std::string said = "✘ [ERROR] Unexpected \";\"\n\n    b.ts:1:39:\n      1 │ return 1 +;\n";
  EXPECT_EQ(explain_esbuild(said + "\n", "/project") + "\n", said);
  EXPECT_EQ(explain_esbuild("", "/project"), "");
  EXPECT_THAT(explain_esbuild("Top-level await is not supported", "/"), HasSubstr("task function"));
}

// A project with an esbuild that does what a test says.
class PublishBundled : public ::testing::Test {
 protected:
  PublishBundled() {
    file_ = temp_.file("a.ts", "let n: number = 1;\n");
    folder_ = fs::path(file_).parent_path();
    std::ofstream(folder_ / "package.json") << "{}";
  }
  void esbuild(const std::string& script) {
    make_program(folder_ / "node_modules/.bin/esbuild", script);
  }
  Ran publish(const FakeServer& server, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"publish", file_, "--server", server.url()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_with(arguments);
  }

  TempFolder temp_;
  std::string file_;
  fs::path folder_;
};

TEST_F(PublishBundled, TheBundleIsSentAndToldOf) {
  esbuild("echo \"$@\" >arguments; echo 'warned of' >&2; printf 'bundled;\\n%s\\n' '" +
          std::string(kMapLine) + "'");
  FakeServer server(published);
  const Ran ran = publish(server);
  EXPECT_EQ(ran.exit, kExitOk) << ran.err;
  EXPECT_EQ(
      ran.out,
      "published a version 1, bundled from 2 files, 136 B of which 127 B are the source map\n");
  EXPECT_EQ(ran.err, "warned of\n");
  const auto requests = server.requests();
  EXPECT_EQ(requests.at(0).target, "/tasks/a");
  EXPECT_EQ(json::parse(requests.at(0).body)["code"], "bundled;\n" + std::string(kMapLine) + "\n");
  std::ifstream arguments(folder_ / "arguments");  // which says where it was run, too
  std::string first;
  arguments >> first;
  EXPECT_EQ(first, "./a.ts");

  const auto answer = json::parse(publish(server, {"--json"}).out);
  EXPECT_EQ(answer["bundled"], json({{"inputs", 2}, {"bytes", 136}, {"source_map_bytes", 127}}));
  EXPECT_EQ(answer["version"], 1);
}

TEST_F(PublishBundled, OverridesDecide) {
  esbuild("echo bundled");
  FakeServer server(published);
  EXPECT_EQ(publish(server, {"--no-bundle"}).exit, kExitOk);
  EXPECT_EQ(json::parse(server.requests().at(0).body)["code"], "let n: number = 1;\n");
  const std::string plain = temp_.file("plain.js", "module.exports = () => 1;");
  EXPECT_EQ(run_with({"publish", plain, "--server", server.url()}).out,
            "published plain version 1\n");
  EXPECT_EQ(json::parse(server.requests().at(1).body)["code"], "module.exports = () => 1;");
  EXPECT_EQ(run_with({"publish", plain, "--bundle", "--server", server.url()}).exit, kExitOk);
  EXPECT_EQ(json::parse(server.requests().at(2).body)["code"], "bundled\n");
  EXPECT_EQ(publish(server, {"--bundle", "--no-bundle"}).exit, kExitUsage);
  EXPECT_EQ(publish(server, {"--bundle-timeout", "0"}).exit, kExitUsage);
}

TEST_F(PublishBundled, WithoutEsbuildPeopleAreToldWhatToDo) {
  FakeServer server(published);
  const std::string path = ::getenv("PATH") == nullptr ? "" : ::getenv("PATH");
  ::setenv("PATH", "", 1);
  const Ran ran = publish(server);
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(ran.exit, kExitUsage);
  EXPECT_THAT(ran.err, HasSubstr("a.ts is TypeScript, so it has to be bundled"));
  EXPECT_THAT(ran.err, HasSubstr("Run `npm install esbuild` in " + folder_.string()));
  EXPECT_TRUE(server.requests().empty());
  const Ran named = publish(server, {"--esbuild", "/no/such/esbuild"});
  EXPECT_EQ(named.exit, kExitUsage);
  EXPECT_THAT(named.err, HasSubstr("/no/such/esbuild"));
}

TEST_F(PublishBundled, WhatEsbuildRefusesIsNotSent) {
  FakeServer server(published);
  esbuild("echo '✘ [ERROR] Unexpected \";\"' >&2; exit 1");
  const Ran refused = publish(server);
  EXPECT_EQ(refused.exit, kExitRefused);
  EXPECT_THAT(refused.err, HasSubstr("a.ts cannot be bundled:\n✘ [ERROR] Unexpected \";\"\n"));
  esbuild("exit 9");
  EXPECT_THAT(publish(server).err, HasSubstr("exit status 9"));
  esbuild("kill -KILL $$");
  EXPECT_THAT(publish(server).err, HasSubstr("ended by signal 9"));
  esbuild("sleep 1000");
  const Ran late = publish(server, {"--bundle-timeout", "1"});
  EXPECT_EQ(late.exit, kExitUsage);
  EXPECT_THAT(late.err, HasSubstr("did not end in 1 s (--bundle-timeout)"));
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(PublishBundled, AFaultIsShownInTheAuthorsFile) {
  esbuild("printf 'bundled;\\nmore;\\n%s\\n' '" + std::string(kMapLine) + "'");
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 422,
                     .body = R"({"code":"code_invalid","detail":"lib/b.ts:2:3: Error: no",
                                 "line":2,"column":3,"source":"lib/b.ts"})"};
  });
  fs::create_directories(folder_ / "lib");
  std::ofstream(folder_ / "lib/b.ts") << "first\nthrow new Error('no')\n";
  const Ran ran = publish(server);
  EXPECT_EQ(ran.exit, kExitRefused);
  EXPECT_THAT(ran.err, HasSubstr("lib/b.ts:2:3: error: Error: no\n  2 | throw new Error('no')\n"
                                 "    |   ^\n"));
}

TEST_F(PublishBundled, AFaultOfTheBundlersOwnCodeIsShownInTheBundle) {
  esbuild("printf 'bundled;\\nmore;\\n'");
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 422, .body = R"({"detail":"a.js:2:1: no","line":2,"column":1})"};
  });
  EXPECT_THAT(publish(server).err, HasSubstr("a.ts (bundled):2:1: error: no\n  2 | more;\n"));
}

TEST_F(PublishBundled, ABundleThatIsTooLargeIsExplained) {
  esbuild("printf 'bundled;\\n%s\\n' '" + std::string(kMapLine) + "'");
  FakeServer server([](const FakeRequest&) {
    return FakeReply{.status = 413, .body = R"({"code":"payload_too_large","detail":"too much"})"};
  });
  const Ran ran = publish(server);
  EXPECT_EQ(ran.exit, kExitRefused);
  EXPECT_THAT(ran.err, HasSubstr("too much"));
  EXPECT_THAT(ran.err, HasSubstr("of which 127 B are the source map. The server's setting "
                                 "server.publish_bytes_max says"));
}

}  // namespace
}  // namespace sequential::cli
