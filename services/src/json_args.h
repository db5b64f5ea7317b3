#pragma once
// Reading a call's arguments without re-serialising them: views into the JSON text as it came.
//
// Threads:  pure functions.
// Lifetime: views borrow the text.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/base/error.h"

namespace sequential::services {

// The raw texts of a JSON array's elements. A value that is no array is the only element: a call by
// hand may pass one bare argument. Errors: invalid_arguments if `text` is not JSON.
Result<std::vector<std::string_view>> json_arguments(std::string_view text);

// The elements of a text known to be a valid JSON array; empty for anything else.
std::vector<std::string_view> json_elements(std::string_view array_text);

// The raw texts of a valid JSON object's members, in the order written. Names are decoded.
struct JsonMember {
  std::string name;
  std::string_view value;
};
std::vector<JsonMember> json_members(std::string_view object_text);

// What a valid JSON value is, by its first byte.
inline bool json_is_string(std::string_view v) { return !v.empty() && v.front() == '"'; }
inline bool json_is_object(std::string_view v) { return !v.empty() && v.front() == '{'; }
inline bool json_is_array(std::string_view v) { return !v.empty() && v.front() == '['; }
inline bool json_is_null(std::string_view v) { return v.empty() || v == "null"; }
inline bool json_is_number(std::string_view v) {
  return !v.empty() && (v.front() == '-' || (v.front() >= '0' && v.front() <= '9'));
}

// The value of a valid JSON string literal; nullopt if it is no string.
std::optional<std::string> json_text_value(std::string_view literal);

// A number that is whole and within ±2^53; nullopt otherwise.
std::optional<std::int64_t> json_whole_number(std::string_view literal);
std::optional<double> json_double(std::string_view literal);

}  // namespace sequential::services
