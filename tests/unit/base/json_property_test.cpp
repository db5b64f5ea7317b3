// Random texts, valid and mutated, judged by check_json and by nlohmann::json, which must agree.
// The seed is fixed; a failure prints the text.
#include <gtest/gtest.h>

#include <cctype>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <string_view>

#include "sequential/base/json_text.h"

namespace sequential {
namespace {

using nlohmann::json;

class Generator {
 public:
  std::size_t below(std::size_t n) { return random_() % n; }
  bool chance(std::size_t one_in) { return below(one_in) == 0; }

  std::string value(int depth) {
    switch (below(depth > 0 ? 8 : 6)) {
      case 0: return "null";
      case 1: return chance(2) ? "true" : "false";
      case 2:
      case 3: return number();
      case 4:
      case 5: return string();
      case 6: return array(depth);
      default: return object(depth);
    }
  }

  std::string number() {
    std::string out = chance(3) ? "-" : "";
    out += chance(4) ? "0" : std::to_string(1 + below(chance(4) ? 1'000'000'000 : 100));
    if (chance(3)) out += "." + std::to_string(below(10'000));
    if (chance(4)) {
      constexpr std::string_view marks[] = {"e", "E", "e+", "e-", "E-"};
      out += std::string(marks[below(5)]) + std::to_string(below(chance(3) ? 330 : 20));
    }
    return out;
  }

  std::string string() {
    constexpr std::string_view pieces[] = {
        "a",     "bc",        "key",          "  ",     "\\n",   "\\\"", "\\\\", "\\/",
        "é",     "漢字",      "\xf0\x9d\x84\x9e", "\\u0041", "\\u00e9", "{",    "}",    "[,]:",
        "\\u0000", "\\ud83d\\ude00", "\\ud800", "\\udc00"};
    std::string out = "\"";
    for (std::size_t n = below(6); n > 0; --n) out += pieces[below(std::size(pieces))];
    return out + "\"";
  }

  std::string array(int depth) {
    std::string out = "[" + space();
    for (std::size_t n = below(4), i = 0; i < n; ++i) {
      if (i > 0) out += "," + space();
      out += value(depth - 1) + space();
    }
    return out + "]";
  }

  std::string object(int depth) {
    std::string out = "{" + space();
    for (std::size_t n = below(4), i = 0; i < n; ++i) {
      if (i > 0) out += "," + space();
      out += string() + space() + ":" + space() + value(depth - 1) + space();
    }
    return out + "}";
  }

  std::string space() {
    constexpr std::string_view kinds[] = {"", "", "", " ", "\n", "\t", "\r\n "};
    return std::string(kinds[below(std::size(kinds))]);
  }

  std::string mutated(std::string text) {
    constexpr std::string_view bytes =
        "\"\\{}[],:0123456789.eE+-tfnu \x80\xbf\xc3\xe2\xf0\xff\x1f/d8";
    for (std::size_t n = 1 + below(3); n > 0; --n) {
      const std::size_t at = below(text.size() + 1);
      const char byte = chance(8) ? static_cast<char>(1 + below(255)) : bytes[below(bytes.size())];
      switch (below(4)) {
        case 0: text.insert(at, 1, byte); break;
        case 1: if (at < text.size()) text.erase(at, 1 + below(3)); break;
        case 2: if (at < text.size()) text[at] = byte; break;
        default: text.insert(at, text.substr(below(text.size() + 1), below(8))); break;
      }
    }
    return text;
  }

 private:
  std::mt19937_64 random_{20261121};
};

// nlohmann refuses escapes of lone surrogates, which we take; so none is left in what both judge.
std::string without_surrogate_escapes(std::string text) {
  for (std::size_t at = 0; at + 5 < text.size(); ++at) {
    constexpr std::string_view second = "89abcdefABCDEF";
    const bool surrogate = text[at] == '\\' && text[at + 1] == 'u' &&
                           (text[at + 2] == 'd' || text[at + 2] == 'D') &&
                           second.find(text[at + 3]) != std::string::npos;
    if (surrogate) {
      text[at + 2] = '0';
      text[at + 3] = '0';
    }
  }
  return text;
}

bool byte_order_mark(std::string_view text) { return text.starts_with("\xEF"); }

TEST(CheckJsonProperty, AgreesWithNlohmannOnMutatedTexts) {
  Generator generate;
  int accepted = 0, refused = 0;
  for (int i = 0; i < 60'000; ++i) {
    const std::string base = generate.space() + generate.value(4) + generate.space();
    ASSERT_TRUE(check_json(without_surrogate_escapes(base)) ||
                !json::accept(without_surrogate_escapes(base)))
        << base;
    const std::string original = generate.mutated(base);
    if (byte_order_mark(original)) continue;  // nlohmann skips one
    const std::string text = without_surrogate_escapes(original);
    const bool ours = check_json(text).has_value();
    ASSERT_EQ(ours, json::accept(text)) << text;
    ASSERT_EQ(ours, check_json(original).has_value()) << original;
    ++(ours ? accepted : refused);
  }
  EXPECT_GT(accepted, 5'000);
  EXPECT_GT(refused, 5'000);
}

TEST(CheckJsonProperty, AgreesWithNlohmannOnEveryCutOfAText) {
  Generator generate;
  for (int i = 0; i < 300; ++i) {
    const std::string text = without_surrogate_escapes(generate.object(4));
    for (std::size_t length = 0; length <= text.size(); ++length) {
      const std::string cut = text.substr(0, length);
      ASSERT_EQ(check_json(cut).has_value(), json::accept(cut)) << cut;
    }
  }
}

TEST(CheckJsonProperty, FindsExactlyTheObjectsWithDuplicateKeys) {
  Generator generate;
  for (int i = 0; i < 20'000; ++i) {
    std::set<std::string> names;
    bool duplicate = false;
    std::string text = "{";
    for (std::size_t n = generate.below(6), k = 0; k < n; ++k) {
      const std::string literal = generate.string();
      duplicate = !names.insert(json::parse(without_surrogate_escapes(literal)).dump()).second ||
                  duplicate;
      text += (k > 0 ? "," : "") + without_surrogate_escapes(literal) + ":{\"x\":1}";
    }
    text += "}";
    ASSERT_EQ(check_json(text, DuplicateKeys::refuse).has_value(), !duplicate) << text;
  }
}

TEST(JsonMemberProperty, IsWhatAParserFinds) {
  Generator generate;
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = without_surrogate_escapes(generate.object(3));
    const json parsed = json::parse(text, nullptr, false);
    if (parsed.is_discarded()) continue;  // a number too large
    for (const auto& [key, value] : parsed.items()) {
      const std::string_view raw = json_member(text, key);
      ASSERT_EQ(json::parse(raw), value) << text << " key " << key;
    }
    ASSERT_EQ(json_member(text, "no such key"), "");
  }
}

TEST(JsonStringProperty, IsReadBackAsWritten) {
  Generator generate;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes;
    for (std::size_t n = generate.below(30); n > 0; --n) {
      bytes += generate.chance(3) ? "é" : std::string(1, static_cast<char>(generate.below(256)));
    }
    const std::string literal = json_string(bytes);
    ASSERT_TRUE(check_json(literal).has_value()) << literal;
    ASSERT_TRUE(json::accept(literal)) << literal;
    if (!is_valid_utf8(bytes)) continue;
    ASSERT_EQ(json::parse(literal).get<std::string>(), bytes);
  }
}

}  // namespace
}  // namespace sequential
