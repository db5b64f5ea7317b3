#include "source_map.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "map_maker.h"
#include "sequential/base/base64.h"

namespace sequential::engine {
namespace {

std::shared_ptr<SourceMap> map_of_json(const std::string& json) {
  std::string code = MapMaker::line_of(json);
  return SourceMap::take_from(code);
}
std::string shown(SourceMap& map, int line, int column) {
  const auto at = map.find(line, column);
  if (!at) return "none";
  return std::string(at->source) + ":" + std::to_string(at->line) + ":" +
         std::to_string(at->column);
}
std::string first_of(const std::string& json) {
  const auto map = map_of_json(json);
  return map ? shown(*map, 1, 1) : "no map";
}

TEST(Base64, ReadsWhatIsAndRefusesWhatIsNot) {
  EXPECT_EQ(from_base64(""), "");
  EXPECT_EQ(from_base64("Zg=="), "f");
  EXPECT_EQ(from_base64("Zg"), "f");
  EXPECT_EQ(from_base64("Zm8="), "fo");
  EXPECT_EQ(from_base64("Zm9v"), "foo");
  EXPECT_EQ(from_base64("+/+/"), "\xfb\xff\xbf");
  for (const char* no : {"Z", "Zg===", "Zm9vY", "Zm 9v", "Zm-_", "=Zg="}) {
    EXPECT_FALSE(from_base64(no).has_value()) << no;
  }
}

TEST(SourceMap, IsTakenFromTheLastLineAndNoOtherLineMoves) {
  const MapMaker maker({"a.ts"});
  std::string code = "one\ntwo\n" + maker.line() + "\n\n";
  EXPECT_NE(SourceMap::take_from(code), nullptr);
  EXPECT_EQ(code, "one\ntwo\n\n\n");
  code = maker.line();
  EXPECT_NE(SourceMap::take_from(code), nullptr);
  EXPECT_EQ(code, "");
  code = "one\r\n//@ sourceMappingURL=data:application/json;charset=utf-8;base64,e30=\r\n";
  EXPECT_NE(SourceMap::take_from(code), nullptr);
  EXPECT_EQ(code, "one\r\n\r\n");
}

TEST(SourceMap, CodeWithoutOneStaysAsItIs) {
  const std::string line = MapMaker({"a.ts"}).line();
  for (const std::string& code :
       {std::string(), std::string(" \n"), std::string("code"), "one " + line, line + "\ncode",
        " " + line, "'\\\n" + line + "'", std::string("//# sourceMappingURL=code.js.map"),
        std::string("//# sourceMappingURL=data:application/json,{}"),
        std::string("//# sourceMappingURL=data:text/css;base64,e30="),
        std::string("//# sourceMappingURL=data:application/json;base64,e3!0"), "`\n" + line + "`",
        std::string("//# sourceMappingURL=data:application/json;base64,")}) {
    std::string same = code;
    EXPECT_EQ(SourceMap::take_from(same), nullptr) << code;
    EXPECT_EQ(same, code);
  }
}

TEST(SourceMap, APlaceIsThatOfTheLastMappingBeforeIt) {
  MapMaker maker({"src/a.ts", "../lib/b.ts"});
  maker.add({.line = 0, .column = 4, .source = 0, .source_line = 9, .source_column = 2})
      .add({.line = 0, .column = 10, .source = 1, .source_line = 3, .source_column = 0})
      .add({.line = 0, .column = 20})
      .add(
          {.line = 3, .column = 0, .source = 0, .source_line = 1'000'000, .source_column = 70'000});
  std::string code = maker.line();
  const auto map = SourceMap::take_from(code);
  EXPECT_EQ(shown(*map, 1, 1), "none");
  EXPECT_EQ(shown(*map, 1, 4), "none");
  EXPECT_EQ(shown(*map, 1, 5), "src/a.ts:10:3");
  EXPECT_EQ(shown(*map, 1, 10), "src/a.ts:10:3");
  EXPECT_EQ(shown(*map, 1, 11), "../lib/b.ts:4:1");
  EXPECT_EQ(shown(*map, 1, 21), "none") << "a helper of the bundler";
  EXPECT_EQ(shown(*map, 2, 1), "none");
  EXPECT_EQ(shown(*map, 4, 99), "src/a.ts:1000001:70001");
  EXPECT_EQ(shown(*map, 5, 1), "none");
  EXPECT_EQ(shown(*map, 0, 0), "none");
  EXPECT_EQ(shown(*map, -1, -1), "none");
}

TEST(SourceMap, MembersMayComeInAnyOrderAndOthersAreLeftAlone) {
  EXPECT_EQ(first_of(R"({"mappings":"AAAA","sources":["a.ts"]})"), "a.ts:1:1");
  EXPECT_EQ(
      first_of(R"({"sourcesContent":["x",null,["sources"]],"sources":["a.ts"],"x":{"mappings":"!"},
                         "mappings":"AAAAA","sourceRoot":"/src"})"),
      "/src/a.ts:1:1");
  EXPECT_EQ(first_of(R"({"sources":[null],"mappings":"AAAA"})"), ":1:1");
  EXPECT_EQ(first_of(R"({"sources":["a\nb\u0007"],"mappings":"AAAA"})").find('\n'),
            std::string::npos)
      << "a line of a stack stays one line";
}

TEST(SourceMap, ColumnsInTheWrongOrderAreFoundAllTheSame) {
  MapMaker maker({"a"});
  maker.add({.line = 0, .column = 20, .source = 0, .source_line = 2})
      .add({.line = 0, .column = 5, .source = 0, .source_line = 1});
  std::string code = maker.line();
  const auto map = SourceMap::take_from(code);
  EXPECT_EQ(shown(*map, 1, 10), "a:2:1");
  EXPECT_EQ(shown(*map, 1, 30), "a:3:1");
}

TEST(SourceMap, ABrokenMapIsNone) {
  for (
      const char* json :
      {"", "null", "[]", "{", R"({"sources":["a"],"mappings":"AAAA"} x)", R"({"mappings":"AAAA"})",
       R"({"sources":["a"],"mappings":"AAA"})", R"({"sources":["a"],"mappings":"AAAAAA"})",
       R"({"sources":["a"],"mappings":"ACAA"})", R"({"sources":["a"],"mappings":"AADA"})",
       R"({"sources":["a"],"mappings":"AAAg"})", R"({"sources":["a"],"mappings":"A!AA"})",
       R"({"sources":["a"],"mappings":"gggggggggggggB"})",
       R"({"sources":["a"],"mappings":"A+/////DAA"})", R"({"sources":["a"],"mappings":5})",
       R"({"sources":{"a":1},"mappings":"AAAA"})", R"({"version":1e999,"sources":["a"]})",
       R"({"sections":[{"offset":{"line":0,"column":0},"map":{"sources":["a"],"mappings":"AAAA"}}]})"}) {
    EXPECT_EQ(first_of(json), *json == '\0' ? "no map" : "none") << json;
  }
  std::string code = "//# sourceMappingURL=data:application/json;base64,e30=e30=";
  const auto map = SourceMap::take_from(code);
  EXPECT_EQ(shown(*map, 1, 1), "none");
}

TEST(SourceMap, BeyondItsBoundsItIsNone) {
  const auto with = [](const std::string& mappings, const std::string& sources = "\"a\"") {
    return R"({"sources":[)" + sources + R"(],"mappings":")" + mappings + "\"}";
  };
  std::string many;
  for (std::size_t i = 1; i < kMapPositionsMax; ++i) many += "CAAA,";
  EXPECT_EQ(first_of(with("AAAA," + many)), "a:1:1");
  EXPECT_EQ(first_of(with("AAAA," + many + "CAAA")), "none");
  const std::string lines(kMapLinesMax - 1, ';');
  EXPECT_EQ(first_of(with("AAAA" + lines)), "a:1:1");
  EXPECT_EQ(first_of(with("AAAA" + lines + ";")), "none");
  std::string sources = "\"a\"";
  for (std::size_t i = 1; i < kMapSourcesMax; ++i) sources += ",\"\"";
  EXPECT_EQ(first_of(with("AAAA", sources)), "a:1:1");
  EXPECT_EQ(first_of(with("AAAA", sources + ",\"\"")), "none");
  const std::string name(10 * kMapSourceNameBytesMax, 'n');
  EXPECT_LT(first_of(with("AAAA", '"' + name + '"')).size(), kMapSourceNameBytesMax + 20);
}

TEST(SourceMap, ALongRootIsKeptOnceHoweverManySourcesThereAre) {
  std::string sources = "\"a\"";
  for (std::size_t i = 1; i < kMapSourcesMax; ++i) sources += ",\"\"";
  const std::string root(kMapSourceNameBytesMax - 1, 'r');
  const auto map = map_of_json(R"({"sourceRoot":")" + root + R"(","sources":[)" + sources +
                               R"(],"mappings":"AAAA,CCAA"})");
  EXPECT_EQ(shown(*map, 1, 1), root + "/a:1:1");
  EXPECT_EQ(shown(*map, 1, 2), root + "/:1:1");
  EXPECT_LT(SourceMap::bytes_of_all(), 500'000u);
}

TEST(SourceMap, NamesBeyondTheirBoundTogetherMakeItNone) {
  const std::string name(kMapSourceNameBytesMax, 'n');
  std::string sources = '"' + name + '"';
  for (std::size_t i = 1; i < kMapNamesBytesMax / kMapSourceNameBytesMax; ++i) {
    sources += ",\"" + name + '"';
  }
  const auto with = [](const std::string& all) {
    return R"({"sources":[)" + all + R"(],"mappings":"AAAA"})";
  };
  EXPECT_EQ(first_of(with(sources)), name + ":1:1");
  EXPECT_EQ(first_of(with(sources + ",\"n\"")), "none");
}

TEST(SourceMap, ManyMapsTakeNoMoreThanTheirBoundAndAllAreOfUse) {
  std::string many = "AAAA";
  for (std::size_t i = 1; i < kMapPositionsMax; ++i) many += ",CAAA";
  const std::string json = R"({"sources":["a"],"mappings":")" + many + "\"}";
  std::vector<std::shared_ptr<SourceMap>> maps;
  for (int i = 0; i < 6; ++i) maps.push_back(map_of_json(json));
  for (int round = 0; round < 2; ++round) {
    for (const auto& map : maps) {
      EXPECT_EQ(shown(*map, 1, 1'000'000), "a:1:1");
      EXPECT_LE(SourceMap::bytes_of_all(), kMapsBytesMax);
    }
  }
  EXPECT_GT(SourceMap::bytes_of_all(), kMapsBytesMax / 2);
  maps.clear();
  EXPECT_EQ(SourceMap::bytes_of_all(), 0u);
}

TEST(SourceMap, AMapMadeToBeSlowIsReadInTime) {
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(first_of(std::string(8'000'000, '[')), "none");
  std::string objects = R"({"x":)";
  for (int i = 0; i < 1'000'000; ++i) objects += R"({"x":)";
  EXPECT_EQ(first_of(objects), "none");
  std::string zigzag;
  for (int i = 0; i < 200'000; ++i) zigzag += "CAAA,DAAA,";  // forth and back
  EXPECT_NE(first_of(R"({"sources":["a"],"mappings":")" + zigzag + "\"}"), "no map");
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
}

TEST(SourceMap, PackagesAreToldFromTheAuthorsOwnFiles) {
  for (const char* own : {"src/a.ts", "../a.ts", "my_node_modules/a.js", "node_modules.ts"}) {
    EXPECT_TRUE(is_of_the_author(own)) << own;
  }
  for (const char* package : {"node_modules/x/i.js", "../../node_modules/@s/x/i.js"}) {
    EXPECT_FALSE(is_of_the_author(package)) << package;
  }
}

}  // namespace
}  // namespace sequential::engine
