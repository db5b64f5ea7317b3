#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "sequential/base/json_text.h"
#include "sequential/config/load.h"
#include "settings.h"

namespace sequential::config {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

const std::filesystem::path kFolder = SEQUENTIAL_CONFIG_FOLDER;

std::string contents(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

TEST(Schema, TheFileInTheSourceTreeIsCurrent) {
  EXPECT_EQ(contents(kFolder / "sequential.schema.json"), schema_json())
      << "build the target config_schema to rewrite it";
}

TEST(Schema, DescribesEverySettingAndNothingElse) {
  const json schema = json::parse(schema_json());
  for (const Setting& setting : settings()) {
    const json* node = &schema;
    std::istringstream path{std::string(setting.path)};
    for (std::string part; std::getline(path, part, '.');) {
      EXPECT_EQ((*node)["additionalProperties"], false) << setting.path;
      node = &(*node)["properties"][part];
    }
    EXPECT_FALSE((*node)["description"].get<std::string>().empty()) << setting.path;
  }
}

TEST(Example, LoadsAsItIs) {
  const auto loaded =
      load({.file = kFolder / "sequential.example.json", .environment = {}, .flags = {}});
  ASSERT_TRUE(loaded) << loaded.error().message;
}

TEST(PrintConfig, ShowsEverySettingWithItsOriginAndHidesSecrets) {
  const auto loaded = load({.file = "",
                            .environment = {{"SEQUENTIAL_LOG_LEVEL", "warn"}},
                            .flags = {{"services.http.proxy", "http://u:hunter2@proxy:1"}}});
  ASSERT_TRUE(loaded);
  const std::string text = print_config(loaded.value());
  EXPECT_THAT(text, Not(HasSubstr("hunter2")));
  const json printed = json::parse(text);
  EXPECT_EQ(printed.size(), settings().size());
  EXPECT_EQ(printed["log.level"],
            json({{"value", "warn"}, {"origin", "environment SEQUENTIAL_LOG_LEVEL"}}));
  EXPECT_EQ(printed["server.port"], json({{"value", 8765}, {"origin", "default"}}));
  EXPECT_EQ(printed["services.http.proxy"], json({{"value", "(hidden)"}, {"origin", "flag"}}));
}

TEST(Limits, ListsEveryLimitWithValueUnitAndBounds) {
  const FixedLimit fixed[] = {
      {.name = "task.name_bytes_max", .value = 128, .unit = "bytes", .help = "A task's name."}};
  Config config;
  config.limits.cpu_ms = 77;
  const std::string text = limits_json(config, fixed);
  ASSERT_TRUE(check_json(text));
  bool cpu = false, depth = false, name = false;
  const json body = json::parse(text);
  for (const json& limit : body["limits"]) {
    EXPECT_FALSE(limit["unit"].get<std::string>().empty()) << limit;
    EXPECT_FALSE(limit["help"].get<std::string>().empty()) << limit;
    EXPECT_LE(limit["min"].get<std::int64_t>(), limit["max"].get<std::int64_t>()) << limit;
    EXPECT_NE(limit["name"], "server.port");
    cpu = cpu || (limit["name"] == "limits.cpu_ms" && limit["value"] == 77);
    depth = depth || (limit["name"] == "json.depth_max" && limit["value"] == 512);
    name = name || limit["name"] == "task.name_bytes_max";
  }
  EXPECT_TRUE(cpu && depth && name);
}

}  // namespace
}  // namespace sequential::config
