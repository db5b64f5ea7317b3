#pragma once
// The scanning steps that checking, splicing and escaping of JSON texts share.
//
// Threads: pure functions. Positions run from 0 to text.size(); none reads beyond the text.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace sequential::json_scan {

inline unsigned char byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

inline bool is_space(unsigned char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
inline bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }

inline std::size_t skip_space(std::string_view text, std::size_t at) {
  while (at < text.size() && is_space(byte_at(text, at))) ++at;
  return at;
}

// True if one of the eight bytes is a quote, a backslash, a control character or not ASCII: the
// bytes at which reading a string literal must stop and look. (Hacker's Delight §6-1; exact for
// "any", which is all we ask.)
inline bool has_special(std::uint64_t word) {
  constexpr std::uint64_t ones = 0x0101010101010101;
  constexpr std::uint64_t highs = 0x8080808080808080;
  const std::uint64_t quotes = word ^ (ones * '"');
  const std::uint64_t slashes = word ^ (ones * '\\');
  const std::uint64_t found =
      (((quotes - ones) & ~quotes) | ((slashes - ones) & ~slashes) | (word - ones * 0x20)) & highs;
  return (found | (word & highs)) != 0;
}

inline bool is_special(unsigned char c) { return c < 0x20 || c >= 0x80 || c == '"' || c == '\\'; }

// The first special byte at or after `at`, or the end.
inline std::size_t skip_plain(std::string_view text, std::size_t at) {
  while (at + sizeof(std::uint64_t) <= text.size()) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + at, sizeof word);
    if (has_special(word)) break;
    at += sizeof word;
  }
  while (at < text.size() && !is_special(byte_at(text, at))) ++at;
  return at;
}

// Length of the well-formed UTF-8 sequence at `at` (Unicode table 3-7), or 0 if there is none.
inline std::size_t utf8_length(std::string_view text, std::size_t at) {
  const std::size_t left = text.size() - at;
  const unsigned char lead = byte_at(text, at);
  const auto follows = [&](std::size_t offset) {
    return (byte_at(text, at + offset) & 0xC0) == 0x80;
  };
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;  // a continuation byte, or an overlong form
  if (lead < 0xE0) return left >= 2 && follows(1) ? 2 : 0;
  if (lead < 0xF0) {
    if (left < 3 || !follows(1) || !follows(2)) return 0;
    const unsigned char second = byte_at(text, at + 1);
    if (lead == 0xE0 && second < 0xA0) return 0;  // overlong
    if (lead == 0xED && second > 0x9F) return 0;  // a surrogate
    return 3;
  }
  if (lead > 0xF4 || left < 4 || !follows(1) || !follows(2) || !follows(3)) return 0;
  const unsigned char second = byte_at(text, at + 1);
  if (lead == 0xF0 && second < 0x90) return 0;  // overlong
  if (lead == 0xF4 && second > 0x8F) return 0;  // beyond U+10FFFF
  return 4;
}

inline int hex_value(unsigned char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The code unit of four hex digits at `at`, or -1.
inline int hex4(std::string_view text, std::size_t at) {
  if (text.size() - at < 4 || at > text.size()) return -1;
  int unit = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const int digit = hex_value(byte_at(text, at + i));
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

// Decodes what stands between the quotes of a valid literal. A lone surrogate escape, which UTF-8
// cannot hold, becomes its three-byte WTF-8 form, so that different literals stay different.
std::string decode_string(std::string_view literal_body);

}  // namespace sequential::json_scan
