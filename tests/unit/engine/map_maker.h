#pragma once
// Makes source maps as bundlers write them.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sequential::engine {

inline std::string to_base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t j = i; j < i + 3; ++j) {
      bits = bits << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0u);
    }
    for (int k = 3; k >= 0; --k) text += kDigits[bits >> (6 * k) & 63];
  }
  for (std::size_t i = bytes.size() % 3; i != 0 && i < 3; ++i) text[text.size() - (3 - i)] = '=';
  return text;
}

// A place in the stored code and where it comes from, all from 0. source -1: from nowhere.
struct Mapping {
  int line = 0, column = 0, source = -1, source_line = 0, source_column = 0;
};

class MapMaker {
 public:
  explicit MapMaker(std::vector<std::string> sources) : sources_(std::move(sources)) {}

  // In the order of lines.
  MapMaker& add(Mapping next) {
    while (line_ < next.line) {
      text_ += ';';
      column_ = 0;
      ++line_;
    }
    if (!text_.empty() && text_.back() != ';') text_ += ',';
    number(next.column - column_);
    column_ = next.column;
    if (next.source < 0) return *this;
    number(next.source - source_);
    number(next.source_line - source_line_);
    number(next.source_column - source_column_);
    source_ = next.source;
    source_line_ = next.source_line;
    source_column_ = next.source_column;
    return *this;
  }

  std::string mappings() const { return text_; }
  std::string json() const {
    std::string sources;
    for (const std::string& source : sources_) {
      sources += (sources.empty() ? "\"" : ",\"") + source + "\"";
    }
    return R"({"version":3,"sources":[)" + sources + R"(],"mappings":")" + text_ +
           R"(","names":["x"]})";
  }
  std::string line() const { return line_of(json()); }
  static std::string line_of(std::string_view json) {
    return "//# sourceMappingURL=data:application/json;base64," + to_base64(json);
  }

 private:
  void number(int value) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    auto bits = static_cast<std::uint64_t>(value < 0 ? -static_cast<std::int64_t>(value) : value)
                << 1;
    if (value < 0) bits |= 1;
    do {
      const auto rest = bits >> 5;
      text_ += kDigits[(bits & 31) | (rest != 0 ? 32 : 0)];
      bits = rest;
    } while (bits != 0);
  }

  std::vector<std::string> sources_;
  std::string text_;
  int line_ = 0, column_ = 0, source_ = 0, source_line_ = 0, source_column_ = 0;
};

}  // namespace sequential::engine
