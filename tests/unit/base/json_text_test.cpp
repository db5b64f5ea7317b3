#include "sequential/base/json_text.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace sequential {
namespace {

using namespace std::string_literals;

std::string problem(std::string_view text, DuplicateKeys duplicates = DuplicateKeys::allow) {
  const auto checked = check_json(text, duplicates);
  return checked ? "" : checked.error().message;
}

TEST(CheckJson, AcceptsEveryKindOfValue) {
  for (const char* text :
       {"null", "true", "false", "0", "-0", "1.5e-3", "\"\"", "[]", "{}", " [ ] ", "{ }\n",
        "[1,[2,[3]]]", R"({"a":{"b":[{}, []]}})", R"(["\u0000\ud834\udd1e\"\\\/\b\f\n\r\t"])",
        "\"\xd0\xbf\xf0\x9d\x84\x9e\""}) {
    EXPECT_EQ(problem(text), "") << text;
  }
}

TEST(CheckJson, TellsWhereAndWhatWasExpected) {
  EXPECT_EQ(problem(""), "Not valid JSON at byte 0: expected a value.");
  EXPECT_EQ(problem("[1,]"), "Not valid JSON at byte 3: expected a value.");
  EXPECT_EQ(problem("[1 2]"), "Not valid JSON at byte 3: expected ',' or ']'.");
  EXPECT_EQ(problem(R"({"a":1,})"), "Not valid JSON at byte 7: expected a key in quotes.");
  EXPECT_EQ(problem(R"({"a" 1})"), "Not valid JSON at byte 5: expected ':'.");
  EXPECT_EQ(problem("1 2"), "Not valid JSON at byte 2: expected the end of the text.");
  EXPECT_EQ(problem("\"abc"), "Not valid JSON at byte 4: a string without its closing quote.");
  EXPECT_EQ(problem("[\"a\xff\"]"), "Not valid JSON at byte 3: not UTF-8.");
}

TEST(CheckJson, RefusesWhatOnlyLooksLikeJson) {
  for (const char* text :
       {"nul", "True", "01", "-", "+1", ".5", "1.", "1e", "1e+", "0x10", "NaN", "Infinity", "'a'",
        "{a:1}", "[1,,2]", "[", "{", "]", "}", "[}", "{]", R"({"a"})", R"({1:2})", "/**/1",
        R"("\x41")", R"("\u12g4")", R"("\u123")", "\"\t\"", "\xEF\xBB\xBF{}", "[1]]"}) {
    EXPECT_NE(problem(text), "") << text;
  }
  EXPECT_NE(problem("1\0"s), "");
  EXPECT_NE(problem("\"\0\""s), "");
  EXPECT_NE(problem("\0"s), "");
}

TEST(CheckJson, RefusesNumbersThatADoubleCannotHold) {
  const std::string nines(308, '9');
  const std::string zeros(400, '0');
  EXPECT_EQ(problem("1.7976931348623157e308"), "");
  EXPECT_NE(problem("1.7976931348623159e308"), "");
  EXPECT_EQ(problem("1e-400"), "");
  EXPECT_EQ(problem("0e999999999999999999999"), "");
  EXPECT_NE(problem("1e999999999999999999999"), "");
  EXPECT_EQ(problem(nines), "");
  EXPECT_NE(problem(nines + "9"), "");
  EXPECT_EQ(problem("1" + zeros + "e-400"), "");
  EXPECT_EQ(problem("0." + zeros + "1e600"), "");
  EXPECT_EQ(problem("9007199254740993"), "");
  EXPECT_EQ(problem("[1e400]"), "Not valid JSON at byte 1: a number too large for a double.");
}

TEST(CheckJson, RefusesNestingBeyondTheLimitWithoutRecursion) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(problem(nested(kJsonDepthMax)), "");
  EXPECT_EQ(problem(nested(kJsonDepthMax + 1)),
            "Not valid JSON at byte 512: nested deeper than 512 levels.");
  EXPECT_NE(problem(std::string(1'000'000, '[')), "");
  std::string objects;
  for (int i = 0; i < 600; ++i) objects += "{\"a\":";
  EXPECT_NE(problem(objects), "");
}

TEST(CheckJson, FindsDuplicateKeysHoweverTheyAreSpelled) {
  const auto refuse = DuplicateKeys::refuse;
  EXPECT_EQ(problem(R"({"a":1,"a":2})"), "");
  EXPECT_EQ(problem(R"({"a":1,"a":2})", refuse),
            "Not valid JSON at byte 7: the same key twice in one object.");
  EXPECT_NE(problem(R"({"a":1,"\u0061":2})", refuse), "");
  EXPECT_NE(problem(R"({"x":[{"k":1,"l":2,"k":3}]})", refuse), "");
  EXPECT_NE(problem(R"({"\ud834\udd1e":1,"𝄞":2})", refuse), "");
  EXPECT_EQ(problem(R"({"\ud800":1,"\ud801":2,"\ufffd":3})", refuse), "");
  EXPECT_EQ(problem(R"({"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]})", refuse), "");
  EXPECT_EQ(problem(R"({"":1,"a":2,"ab":3})", refuse), "");
}

// Scanning goes eight bytes at a time: what ends a string must be seen at every offset.
TEST(CheckJson, SeesEverySpecialByteAtEveryOffset) {
  for (std::size_t length = 0; length < 40; ++length) {
    for (std::size_t at = 0; at < length; ++at) {
      std::string body(length, 'x');
      for (const char special : {'"', '\x1f', '\x00', '\xff', '\x80'}) {
        body[at] = special;
        EXPECT_NE(problem("\"" + body + "\""), "") << length << " " << at;
      }
      body[at] = '\x7f';
      EXPECT_EQ(problem("\"" + body + "\""), "") << length << " " << at;
    }
  }
}

bool encodes_a_code_point(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const auto tail = [&](std::size_t i) { return at(i) >= 0x80 && at(i) <= 0xBF; };
  if (bytes.size() == 1) return at(0) < 0x80;
  if (bytes.size() == 2) {
    return (at(0) < 0x80 && at(1) < 0x80) || (at(0) >= 0xC2 && at(0) <= 0xDF && tail(1));
  }
  return false;
}

TEST(Utf8, OneAndTwoByteTextsAreJudgedExactly) {
  for (int a = 0; a < 256; ++a) {
    const std::string one{static_cast<char>(a)};
    ASSERT_EQ(is_valid_utf8(one), encodes_a_code_point(one)) << a;
    for (int b = 0; b < 256; ++b) {
      const std::string two{static_cast<char>(a), static_cast<char>(b)};
      ASSERT_EQ(is_valid_utf8(two), encodes_a_code_point(two)) << a << " " << b;
    }
  }
}

TEST(Utf8, LongerFormsMustBeShortestAndNoSurrogates) {
  for (const char* good : {"\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF",
                           "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(is_valid_utf8(good));
    EXPECT_FALSE(is_valid_utf8(std::string_view(good).substr(1)));
    EXPECT_FALSE(is_valid_utf8(std::string_view(good, std::string_view(good).size() - 1)));
  }
  for (const char* bad :
       {"\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80", "\xF8\x88\x80\x80\x80", "\xC0\xAF", "abcdefgh\x80"}) {
    EXPECT_FALSE(is_valid_utf8(bad));
  }
}

TEST(JsonString, EscapesWhatMustBeEscapedAndNothingElse) {
  EXPECT_EQ(json_string("a\"b\\c/\n\x01\x7f é"), "\"a\\\"b\\\\c/\\n\\u0001\x7f é\"");
  EXPECT_EQ(json_string("x\xff\xc3"), "\"x\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST(ClipUtf8, NeverExceedsItsBoundAndNeverCutsACharacter) {
  const std::string text = "ab\n\xff𝄞é\x01xyz";
  for (std::size_t bound = 0; bound < 40; ++bound) {
    const std::string clipped = clip_utf8(text, bound);
    EXPECT_LE(clipped.size(), bound);
    EXPECT_TRUE(is_valid_utf8(clipped)) << bound;
  }
  EXPECT_EQ(clip_utf8(text, 100), "ab\\n\xEF\xBF\xBD𝄞é\\u0001xyz");
  EXPECT_EQ(clip_utf8("abcdef", 6), "abcdef");
  EXPECT_EQ(clip_utf8("abcdefg", 6), "abc…");
}

TEST(JsonMember, FindsTheRawText) {
  EXPECT_EQ(json_member(R"({"a": {"b":1}})", "a"), R"({"b":1})");
  EXPECT_EQ(json_member(R"( { "x" : [1,"]}",{"a":2}] , "a" : -1.5e3 } )", "a"), "-1.5e3");
  EXPECT_EQ(json_member(R"({"x":{"a":1},"b":2})", "a"), "");
  EXPECT_EQ(json_member(R"({"\u0061":"\"}"})", "a"), R"("\"}")");
  EXPECT_EQ(json_member(R"({"a":1,"a":2})", "a"), "2");
  EXPECT_EQ(json_member("{}", "a"), "");
  EXPECT_EQ(json_member("[1]", "a"), "");
}

TEST(JsonMember, StaysInsideTextsThatAreNotJson) {
  const std::string valid = R"({"a":{"b":["x\"y",{}]},"c":true})";
  for (std::size_t length = 0; length < valid.size(); ++length) {
    const std::string cut = valid.substr(0, length);  // its own allocation, for the sanitizer
    (void)json_member(cut, "c");
    (void)json_member(cut, "a");
  }
}

TEST(JsonObject, WritesMembersInOrder) {
  JsonObject object;
  object.string("s\"", "v\n").raw("r", "[1]").raw("e", "").number("n", -3).boolean("b", true);
  object.null("z");
  EXPECT_EQ(std::move(object).text(),
            R"({"s\"":"v\n","r":[1],"e":null,"n":-3,"b":true,"z":null})");
  EXPECT_EQ(JsonObject().text(), "{}");
}

}  // namespace
}  // namespace sequential
