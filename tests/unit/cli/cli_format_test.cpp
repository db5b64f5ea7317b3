#include "format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "json_body.h"

namespace sequential::cli {
namespace {

TEST(Format, NumbersTimesAndSizes) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1'000), "1,000");
  EXPECT_EQ(grouped(-1'234'567), "-1,234,567");
  EXPECT_EQ(show_duration_ms(-1), "");
  EXPECT_EQ(show_duration_ms(340), "340 ms");
  EXPECT_EQ(show_duration_ms(12'340), "12.3 s");
  EXPECT_EQ(show_duration_ms(245'000), "4 min 05 s");
  EXPECT_EQ(show_duration_ms(7'380'000), "2 h 03 min");
  EXPECT_EQ(show_size(17), "17 B");
  EXPECT_EQ(show_size(3'565'158), "3.4 MiB");
  EXPECT_EQ(show_time("2026-11-21T21:10:03.123Z"), "2026-11-21 21:10:03");
  EXPECT_EQ(show_time(""), "");
}

TEST(Format, TimesAreSubtractedAcrossDays) {
  EXPECT_EQ(ms_between("2026-12-31T23:59:59.900Z", "2027-01-01T00:00:00.150Z"), 250);
  EXPECT_EQ(ms_between("2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"), 86'400'000);
  EXPECT_EQ(ms_between("", "2026-03-01T00:00:00Z"), -1);
  EXPECT_EQ(ms_between("nonsense, not a time", "2026-03-01T00:00:00Z"), -1);
}

TEST(Format, NobodysTextTurnsTheTerminalsAround) {
  EXPECT_EQ(harmless("a\xE2\x80\xAE"
                     "b\xE2\x81\xA9 \xE2\x82\xAC\n"),
            "a\\u202eb\\u2069 \xE2\x82\xAC\n");
  EXPECT_EQ(one_line("a\nb\tc"), "a\\nb\\tc");
}

TEST(Format, TablesAlignWhateverTheAlphabet) {
  Table table({"NAME", "N"}, {1});
  table.add({"é漢", "1"});
  table.add({"longer", "1,000"});
  EXPECT_EQ(table.text({}), "NAME        N\né漢         1\nlonger  1,000\n");
}

TEST(Format, ColoursOnlyWhereTheyAreWanted) {
  EXPECT_EQ(paint({}, Colour::red, "x"), "x");
  const Terminal terminal{.is_terminal = true, .colours = true, .columns = 80};
  EXPECT_EQ(paint(terminal, Colour::red, "x"), "\x1b[31mx\x1b[0m");
  EXPECT_EQ(width_of("\x1b[31mx\x1b[0m"), 1u);
}

TEST(Format, FitCutsAtACharacter) {
  EXPECT_EQ(fit("abc", 3), "abc");
  EXPECT_EQ(fit("abcd", 3), "ab…");
  EXPECT_EQ(fit("漢字漢字", 5), "漢字…");
  EXPECT_EQ(fit("ab", 0), "");
}

TEST(Format, TextFromOutsideCannotDriveTheTerminal) {
  EXPECT_EQ(harmless("a\x1b[2Jb\r\n\tc\x7f\xc2\x9b"), "a\\u001b[2Jb\\r\n\tc\\u007f\\u009b");
  EXPECT_EQ(harmless("é\xff"), "é\xEF\xBF\xBD");
}

TEST(JsonBody, LoneSurrogatesOfJavaScriptAreReplaced) {
  const auto body = parse_body(R"({"a":"x\ud800y","b":"\ud83d\ude00","c":"\\ud800"})");
  ASSERT_TRUE(body);
  EXPECT_EQ(text_of(*body, "a"), "x\xEF\xBF\xBDy");
  EXPECT_EQ(text_of(*body, "b"), "😀");
  EXPECT_EQ(text_of(*body, "c"), "\\ud800");
  EXPECT_FALSE(parse_body("{"));
}

TEST(JsonBody, IndentingChangesNothingButSpace) {
  const std::string_view text = R"( {"z":1.0,"a":[9007199254740993, "\ud800 {\",:}" ,[ ],{ }],"z":-0})";
  EXPECT_EQ(pretty(text),
            "{\n  \"z\": 1.0,\n  \"a\": [\n    9007199254740993,\n    \"\\ud800 {\\\",:}\",\n    [],\n"
            "    {}\n  ],\n  \"z\": -0\n}");
  EXPECT_EQ(pretty(std::string_view("null")), "null");
  EXPECT_EQ(pretty(std::string_view("{broken")), "{broken");
}

}  // namespace
}  // namespace sequential::cli
