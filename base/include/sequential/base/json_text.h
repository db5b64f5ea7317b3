#pragma once
// JSON as text: payloads are stored and replayed byte for byte, so most of the broker only needs to
// know that a text *is* JSON and to splice texts together.
//
// Threads: pure functions.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sequential/base/error.h"

namespace sequential {

// Nesting deeper than this is refused everywhere (V8's own parser recurses further, ours must not).
inline constexpr std::size_t kJsonDepthMax = 512;

enum class DuplicateKeys { allow, refuse };

// OK if `text` is exactly one JSON value in strict UTF-8, no deeper than kJsonDepthMax, with
// numbers that a double can hold. (1e400 is refused; an escaped lone surrogate is not, because
// JSON.stringify writes them.) Errors: invalid_json with the byte offset and what was expected. No
// recursion. Linear time and no allocation, unless duplicates are refused: then n log n, and the
// keys.
Result<void> check_json(std::string_view text, DuplicateKeys duplicates = DuplicateKeys::allow);

bool is_valid_utf8(std::string_view text) noexcept;

// Appends `text` as a JSON string literal with quotes. Invalid UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);
std::string json_string(std::string_view text);

// For error messages: control characters are escaped (so the text stays one line), invalid UTF-8
// becomes U+FFFD, and what is longer than `bytes_max` bytes is cut at a character and ends in "…".
std::string clip_utf8(std::string_view text, std::size_t bytes_max);

// The raw text of a top-level member of a JSON object text already known to be valid, or empty. Of
// a key given twice the last counts, as in JSON.parse.
// `{"a": {"b":1}}`, "a" → `{"b":1}`.
std::string_view json_member(std::string_view object_text, std::string_view key);

// A simple writer for flat objects built from texts:
//   JsonObject o;
//   o.string("name", n).raw("input", input_text).number("id", 3);
//   std::move(o).text()
class JsonObject {
 public:
  JsonObject& string(std::string_view key, std::string_view value);
  JsonObject& raw(std::string_view key, std::string_view json);  // empty json → null
  JsonObject& number(std::string_view key, std::int64_t value);
  JsonObject& boolean(std::string_view key, bool value);
  JsonObject& null(std::string_view key);
  std::string text() &&;

 private:
  void key(std::string_view name);
  std::string out_ = "{";
};

}  // namespace sequential
