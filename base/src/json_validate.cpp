// check_json: RFC 8259 read with one loop and a stack of bits, so that hostile nesting costs 64
// bytes and no recursion.
//
//   value   = object / array / string / number / "true" / "false" / "null"
//   number  = [ "-" ] int [ frac ] [ exp ]       no larger than a double can hold
//   string  = DQUOTE *( unescaped / escape ) DQUOTE     lone surrogate escapes are allowed: the
//             well-formed JSON.stringify of ECMAScript produces them
#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "json_scan.h"
#include "sequential/base/error.h"
#include "sequential/base/json_text.h"

namespace sequential {
namespace {

using json_scan::byte_at;
using json_scan::is_digit;

// The kinds of the open containers, outermost first.
class Nesting {
 public:
  bool empty() const { return depth_ == 0; }
  bool full() const { return depth_ == kJsonDepthMax; }
  bool in_object() const { return (bits_[(depth_ - 1) / 64] >> ((depth_ - 1) % 64) & 1) != 0; }
  void push(bool object) {
    const std::uint64_t bit = std::uint64_t{1} << (depth_ % 64);
    std::uint64_t& word = bits_[depth_ / 64];
    word = object ? word | bit : word & ~bit;
    ++depth_;
  }
  void pop() { --depth_; }

 private:
  static_assert(kJsonDepthMax % 64 == 0);
  std::array<std::uint64_t, kJsonDepthMax / 64> bits_{};
  std::size_t depth_ = 0;
};

// The keys of the open objects, innermost last. Compared by value: "a" and "\u0061" are the same.
class Keys {
 public:
  void open() { starts_.push_back(keys_.size()); }
  void add(std::string_view literal_body, std::size_t at) {
    if (literal_body.find('\\') == std::string_view::npos) {
      keys_.push_back({literal_body, at});
      return;
    }
    keys_.push_back({decoded_.emplace_back(json_scan::decode_string(literal_body)), at});
  }
  // Position of the second of two equal keys of the innermost object, or npos.
  std::size_t close() {
    const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(starts_.back());
    std::size_t at = std::string_view::npos;
    std::sort(first, keys_.end());
    for (auto it = first; it != keys_.end() && it + 1 != keys_.end(); ++it) {
      if (it->text == (it + 1)->text) at = std::min(at, (it + 1)->at);
    }
    keys_.erase(first, keys_.end());
    starts_.pop_back();
    return at;
  }

 private:
  struct Key {
    std::string_view text;
    std::size_t at = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  std::vector<Key> keys_;
  std::vector<std::size_t> starts_;
  std::deque<std::string> decoded_;  // a deque, because keys_ points into it
};

class Validator {
 public:
  Validator(std::string_view text, DuplicateKeys duplicates)
      : text_(text) {
    if (duplicates == DuplicateKeys::refuse) keys_.emplace();
  }

  Result<void> run() {
    bool ok = value();
    while (ok && !nesting_.empty()) ok = after_value();
    if (ok) {
      skip_space();
      if (at_ == text_.size()) return success();
      fail("expected the end of the text");
    }
    return Error(Errc::invalid_json,
                 "Not valid JSON at byte " + std::to_string(at_) + ": " + problem_ + ".");
  }

 private:
  bool fail(const char* problem) {
    problem_ = problem;
    return false;
  }
  void skip_space() { at_ = json_scan::skip_space(text_, at_); }
  unsigned char peek() const { return at_ < text_.size() ? byte_at(text_, at_) : '\0'; }

  // Reads a scalar, an empty container, or descends to the first scalar of a container.
  bool value() {
    for (;;) {
      skip_space();
      switch (peek()) {
        case '"': return string();
        case '{': {
          if (!open(true)) return false;
          if (peek() == '}') return close();
          if (!key()) return false;
          break;
        }
        case '[': {
          if (!open(false)) return false;
          if (peek() == ']') return close();
          break;
        }
        case 't': return word("true");
        case 'f': return word("false");
        case 'n': return word("null");
        default: return number();
      }
    }
  }

  // A value of the innermost container has just ended: its end, or the next value.
  bool after_value() {
    skip_space();
    const bool object = nesting_.in_object();
    const unsigned char next = peek();
    if (next == (object ? '}' : ']')) return close();
    if (next != ',') return fail(object ? "expected ',' or '}'" : "expected ',' or ']'");
    ++at_;
    if (object) {
      skip_space();
      if (!key()) return false;
    }
    return value();
  }

  bool open(bool object) {
    if (nesting_.full()) return fail("nested deeper than 512 levels");
    nesting_.push(object);
    if (object && keys_) keys_->open();
    ++at_;
    skip_space();
    return true;
  }

  bool close() {
    if (nesting_.in_object() && keys_) {
      if (const std::size_t at = keys_->close(); at != std::string_view::npos) {
        at_ = at;
        return fail("the same key twice in one object");
      }
    }
    nesting_.pop();
    ++at_;
    return true;
  }

  bool key() {
    if (peek() != '"') return fail("expected a key in quotes");
    const std::size_t start = at_;
    if (!string()) return false;
    if (keys_) keys_->add(text_.substr(start + 1, at_ - start - 2), start);
    skip_space();
    if (peek() != ':') return fail("expected ':'");
    ++at_;
    return true;
  }

  bool word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) return fail("expected a value");
    at_ += expected.size();
    return true;
  }

  bool string() {
    ++at_;
    for (;;) {
      at_ = json_scan::skip_plain(text_, at_);
      if (at_ == text_.size()) return fail("a string without its closing quote");
      const unsigned char c = byte_at(text_, at_);
      if (c == '"') {
        ++at_;
        return true;
      }
      if (c == '\\') {
        if (!escape()) return false;
      } else if (c < 0x20) {
        return fail("a control character in a string must be escaped");
      } else {
        const std::size_t length = json_scan::utf8_length(text_, at_);
        if (length == 0) return fail("not UTF-8");
        at_ += length;
      }
    }
  }

  bool escape() {
    ++at_;
    switch (peek()) {
      case '"':
      case '\\':
      case '/':
      case 'b':
      case 'f':
      case 'n':
      case 'r':
      case 't': ++at_; return true;
      case 'u':
        if (json_scan::hex4(text_, at_ + 1) < 0) return fail("expected four hex digits");
        at_ += 5;
        return true;
      default: return fail("unknown escape in a string");
    }
  }

  void skip_digits() {
    while (is_digit(peek())) ++at_;
  }

  bool number() {
    const std::size_t start = at_;
    if (peek() == '-') ++at_;
    if (!is_digit(peek())) {
      at_ = start;
      return fail("expected a value");
    }
    const std::size_t digits = at_;
    if (peek() == '0') {
      ++at_;
      if (is_digit(peek())) return fail("a number must not start with 0");
    } else {
      skip_digits();
    }
    bool suspect = at_ - digits > kDigitsSurelyFinite;
    if (peek() == '.') {
      ++at_;
      if (!is_digit(peek())) return fail("expected a digit after '.'");
      skip_digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      suspect = true;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!is_digit(peek())) return fail("expected a digit in the exponent");
      skip_digits();
    }
    if (suspect && overflows(text_.substr(digits, at_ - digits))) {
      at_ = start;
      return fail("a number too large for a double");
    }
    return true;
  }

  // `literal` is an unsigned number of the grammar. Its value is 0.d₁d₂… × 10^magnitude.
  static bool overflows(std::string_view literal) {
    constexpr std::int64_t exponent_cap = 1'000'000'000;  // saturates: no text is that long
    const std::size_t e = std::min(literal.find_first_of("eE"), literal.size());
    const std::string_view mantissa = literal.substr(0, e);
    const std::size_t first = mantissa.find_first_not_of("0.");
    if (first == std::string_view::npos) return false;
    const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
    std::int64_t exponent = 0;
    bool negative = false;
    for (std::size_t i = e + 1; i < literal.size(); ++i) {
      if (literal[i] == '-') negative = true;
      if (is_digit(byte_at(literal, i))) {
        exponent = std::min(exponent * 10 + (literal[i] - '0'), exponent_cap);
      }
    }
    std::int64_t magnitude = static_cast<std::int64_t>(point) - static_cast<std::int64_t>(first);
    if (magnitude < 0) ++magnitude;  // the point itself lies between
    magnitude += negative ? -exponent : exponent;
    if (magnitude != kMagnitudeOfMaxDouble) return magnitude > kMagnitudeOfMaxDouble;
    double value = 0;  // the border: only reading it tells
    return std::from_chars(literal.data(), literal.data() + literal.size(), value).ec ==
           std::errc::result_out_of_range;
  }

  static constexpr std::size_t kDigitsSurelyFinite = 308;   // 10^308 is a double
  static constexpr std::int64_t kMagnitudeOfMaxDouble = 309;  // 0.179…e309

  const std::string_view text_;
  std::size_t at_ = 0;
  const char* problem_ = "";
  Nesting nesting_;
  std::optional<Keys> keys_;  // only when duplicates are refused
};

}  // namespace

Result<void> check_json(std::string_view text, DuplicateKeys duplicates) {
  return Validator(text, duplicates).run();
}

bool is_valid_utf8(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t word = 0;
    if (text.size() - at >= sizeof word) {
      std::memcpy(&word, text.data() + at, sizeof word);
      if ((word & 0x8080808080808080) == 0) {
        at += sizeof word;
        continue;
      }
    }
    const std::size_t length = json_scan::utf8_length(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

}  // namespace sequential
