#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "sequential/config/load.h"

namespace sequential::config {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Pairs = Sources::Pairs;

Result<Loaded> from_file(const std::string& json) { return load_text(json, "test.json", {}); }
Result<Loaded> from_flags(Pairs flags) {
  return load({.file = "", .environment = {}, .flags = std::move(flags)});
}
Result<Loaded> from_environment(Pairs variables) {
  return load({.file = "", .environment = std::move(variables), .flags = {}});
}
std::string problem(const Result<Loaded>& loaded) {
  if (loaded) return "";
  EXPECT_EQ(loaded.error().code, Errc::config_invalid);
  return loaded.error().message;
}

TEST(Load, WithNothingGivenEverythingHasItsDefault) {
  const Config config = load({}).value().config;
  EXPECT_EQ(config.server.address, "127.0.0.1");
  EXPECT_EQ(config.server.port, 8765);
  EXPECT_EQ(config.store.path, "data/sequential.db");
  EXPECT_EQ(config.chain.key_file, "data/chain.key");
  EXPECT_EQ(config.keystore.key_file, "data/keystore.key");
}

TEST(Load, ALaterSourceWins) {
  const Sources sources = {.file = "",
                           .environment = {{"SEQUENTIAL_SERVER_PORT", "2"},
                                           {"SEQUENTIAL_SERVER_THREADS", "2"}},
                           .flags = {{"server.port", "3"}}};
  const auto loaded =
      load_text(R"({"server":{"port":1,"threads":1,"drain_ms":1}})", "f.json", sources);
  ASSERT_TRUE(loaded) << problem(loaded);
  EXPECT_EQ(loaded.value().config.server.port, 3);
  EXPECT_EQ(loaded.value().config.server.threads, 2);
  EXPECT_EQ(loaded.value().config.server.drain_ms, 1);
  const Pairs expected = {{"server.drain_ms", "file f.json"},
                          {"server.port", "flag"},
                          {"server.threads", "environment SEQUENTIAL_SERVER_THREADS"}};
  EXPECT_THAT(loaded.value().origins, ::testing::UnorderedElementsAreArray(expected));
}

TEST(Load, EveryKindOfValueComesFromTheFile) {
  const auto loaded = from_file(R"({"$schema":"x","server":{"port":0,"submit_bytes_max":"2 MiB",
      "publish_bytes_max":4096,"allowed_hosts":["a.example","b.example"]},
      "chain":{"enabled":false},"log":{"level":"debug"}})");
  ASSERT_TRUE(loaded) << problem(loaded);
  const Config& config = loaded.value().config;
  EXPECT_EQ(config.server.port, 0);
  EXPECT_EQ(config.server.submit_bytes_max, 2 << 20);
  EXPECT_EQ(config.server.publish_bytes_max, 4096);
  EXPECT_THAT(config.server.allowed_hosts, ::testing::ElementsAre("a.example", "b.example"));
  EXPECT_FALSE(config.chain.enabled);
  EXPECT_EQ(config.log.level, "debug");
}

TEST(Load, EveryKindOfValueComesAsText) {
  const auto loaded = from_flags({{"server.submit_bytes_max", "64KiB"},
                                  {"chain.enabled", "0"},
                                  {"services.http.allow_hosts", "a:1,b"},
                                  {"services.keystore.readable", R"(["x","y,z"])"},
                                  {"log.format", "json"}});
  ASSERT_TRUE(loaded) << problem(loaded);
  const Config& config = loaded.value().config;
  EXPECT_EQ(config.server.submit_bytes_max, 64 << 10);
  EXPECT_FALSE(config.chain.enabled);
  EXPECT_THAT(config.services.http.allow_hosts, ::testing::ElementsAre("a:1", "b"));
  EXPECT_THAT(config.services.keystore.readable, ::testing::ElementsAre("x", "y,z"));
  EXPECT_EQ(config.log.format, "json");
}

TEST(Load, AnEmptyListClearsADefault) {
  EXPECT_TRUE(from_flags({{"services.keystore.readable", ""}})
                  .value()
                  .config.services.keystore.readable.empty());
}

TEST(Load, KeyFilesFollowTheDatabaseUnlessNamed) {
  const Config config =
      from_flags({{"store.path", "/srv/x/s.db"}, {"chain.key_file", "/k"}}).value().config;
  EXPECT_EQ(config.chain.key_file, "/k");
  EXPECT_EQ(config.keystore.key_file, "/srv/x/keystore.key");
}

TEST(Load, AnUnknownMemberIsRefusedWithAGuess) {
  EXPECT_THAT(problem(from_file(R"({"server":{"prot":1}})")),
              HasSubstr("server.prot (file test.json): no such setting; did you mean server.port?"));
  EXPECT_THAT(problem(from_file(R"({"sever":{"port":1}})")), HasSubstr("did you mean server?"));
  EXPECT_THAT(problem(from_file(R"({"drain_ms":1})")), HasSubstr("did you mean server.drain_ms?"));
  EXPECT_THAT(problem(from_file(R"({"xyzzyplugh":1})")), Not(HasSubstr("did you mean")));
  EXPECT_THAT(problem(from_flags({{"server.threds", "1"}})),
              HasSubstr("did you mean server.threads?"));
}

TEST(Load, AnUnknownVariableOfASectionIsRefusedAndOthersAreNotOurs) {
  EXPECT_THAT(problem(from_environment({{"SEQUENTIAL_SERVER_PROT", "1"}})),
              HasSubstr("did you mean SEQUENTIAL_SERVER_PORT?"));
  EXPECT_TRUE(from_environment({{"SEQUENTIAL_SERVER", "http://x"},
                                {"SEQUENTIAL_FAULTS", "a=error"},
                                {"SEQUENTIAL_CONFIG", "f"},
                                {"SEQUENTIAL_TOKEN_FILE", "f"}}));
}

TEST(Load, ErrorsNameTheSettingWhatWasExpectedAndWhatCame) {
  EXPECT_EQ(problem(from_flags({{"server.port", "65536"}})),
            "server.port (flag): must be a whole number from 0 to 65535, not 65536");
  EXPECT_THAT(problem(from_flags({{"server.port", "80a"}})), HasSubstr("not \"80a\""));
  EXPECT_THAT(problem(from_file(R"({"server":{"port":"80"}})")), HasSubstr("not \"80\""));
  EXPECT_THAT(problem(from_file(R"({"server":{"port":80.5}})")), HasSubstr("not 80.5"));
  EXPECT_THAT(problem(from_file(R"({"server":{"port":18446744073709551615}})")),
              HasSubstr("not 18446744073709551615"));
  EXPECT_THAT(problem(from_file(R"({"server":5})")), HasSubstr("must be an object"));
  EXPECT_THAT(problem(from_file(R"({"chain":{"enabled":1}})")), HasSubstr("must be true or false"));
  EXPECT_THAT(problem(from_flags({{"log.level", "loud"}})),
              HasSubstr("must be one of debug, info, warn, error, not \"loud\""));
  EXPECT_THAT(problem(from_flags({{"limits.heap_bytes", "1KiB"}})),
              HasSubstr("a size from 8 MiB to 16 GiB"));
  EXPECT_THAT(problem(from_flags({{"limits.heap_bytes", "8MB"}})), HasSubstr("not \"8MB\""));
  EXPECT_THAT(problem(from_file(R"({"server":{"allowed_hosts":["a",1]}})")), HasSubstr("list"));
  EXPECT_EQ(from_flags({{"server.port", "x"}}).error().field, "server.port");
}

TEST(Load, AllProblemsAreToldAtOnce) {
  const std::string text =
      problem(from_flags({{"server.port", "x"}, {"server.threads", "-1"}, {"nope.nope", "1"}}));
  EXPECT_THAT(text, HasSubstr("server.port"));
  EXPECT_THAT(text, HasSubstr("server.threads"));
  EXPECT_THAT(text, HasSubstr("nope.nope"));
}

TEST(Load, ASecretIsNotQuotedInAnError) {
  const auto loaded = from_flags({{"services.http.proxy", "http://u:hunter2@p\n"}});
  EXPECT_THAT(problem(loaded), HasSubstr("services.http.proxy"));
  EXPECT_THAT(problem(loaded), Not(HasSubstr("hunter2")));
}

TEST(Load, SettingsMustFitTogether) {
  EXPECT_THAT(problem(from_flags({{"server.address", "0.0.0.0"}})),
              HasSubstr("server.api_token_file: must be set"));
  EXPECT_TRUE(from_flags({{"server.address", "0.0.0.0"}, {"server.api_token_file", "t"}}));
  EXPECT_TRUE(from_flags({{"server.address", "::1"}}));
  EXPECT_TRUE(from_flags({{"server.address", "127.1.2.3"}}));
  EXPECT_THAT(problem(from_flags({{"server.address", "localhost"}})), HasSubstr("IP address"));
  EXPECT_THAT(problem(from_flags({{"store.sweep_ms", "60000"}})), HasSubstr("store.lease_ms"));
  EXPECT_THAT(problem(from_flags({{"store.kind", "postgres"}})), HasSubstr("store.url_file"));
  EXPECT_THAT(problem(from_flags({{"store.kind", "postgres"},
                                  {"store.url", "postgresql://u:secret@h/d"},
                                  {"store.url_file", "url"}})),
              AllOf(HasSubstr("exactly one"), Not(HasSubstr("secret"))));
  EXPECT_THAT(problem(from_flags({{"limits.payload_bytes", "64MiB"}})),
              HasSubstr("limits.frame_bytes"));
  EXPECT_THAT(problem(from_flags({{"chain.url", "ftp://x"}})), HasSubstr("chain.url"));
}

TEST(Load, AFileThatIsNoJsonIsToldByLineAndColumn) {
  EXPECT_EQ(problem(from_file("{\n  \"server\": {\n    \"port\": 1,\n  }\n}")),
            "test.json: not valid JSON at line 4, column 3: expected a key in quotes.");
  EXPECT_THAT(problem(from_file("[]")), HasSubstr("must be a JSON object"));
  EXPECT_THAT(problem(from_file(R"({"log":{"level":"info","level":"warn"}})")),
              HasSubstr("the same key twice"));
  EXPECT_THAT(problem(from_file(std::string(100'000, '['))), HasSubstr("nested deeper"));
}

class LoadFile : public ::testing::Test {
 protected:
  LoadFile() {
    char name[] = "/tmp/sequential_config_test_XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  ~LoadFile() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(LoadFile, IsReadFromDisk) {
  const std::string path = folder_ / "c.json";
  std::ofstream(path) << R"({"server":{"port":1234}})";
  EXPECT_EQ(load({.file = path, .environment = {}, .flags = {}}).value().config.server.port, 1234);
}

TEST_F(LoadFile, AMissingOrHugeFileIsAnError) {
  EXPECT_THAT(problem(load({.file = folder_ / "none.json", .environment = {}, .flags = {}})),
              HasSubstr("No such file"));
  const std::string path = folder_ / "huge.json";
  std::ofstream(path) << std::string(kFileBytesMax + 1, ' ');
  EXPECT_THAT(problem(load({.file = path, .environment = {}, .flags = {}})),
              HasSubstr("larger than 1 MiB"));
  EXPECT_THAT(problem(load({.file = folder_, .environment = {}, .flags = {}})),
              HasSubstr("Cannot read"));
}

TEST(ParseSet, SplitsAtTheFirstEqualsSign) {
  EXPECT_EQ(parse_set("a.b=c=d").value(), std::pair(std::string("a.b"), std::string("c=d")));
  EXPECT_FALSE(parse_set("a.b"));
  EXPECT_FALSE(parse_set("=x"));
}

}  // namespace
}  // namespace sequential::config
