#pragma once
// What the server answers, read forgivingly: a member that is missing or of another type is empty,
// because a newer or older server must not make the client fail.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace sequential::cli {

// nullopt if it is not JSON. Escaped lone surrogates, which JavaScript can produce, become U+FFFD.
std::optional<nlohmann::json> parse_body(std::string_view text);

std::string text_of(const nlohmann::json& object, const char* key);
std::int64_t number_of(const nlohmann::json& object, const char* key);
bool has(const nlohmann::json& object, const char* key);  // there and not null
bool is_true(const nlohmann::json& object, const char* key);
// Empty ones if it is not there, or something else.
const nlohmann::json& object_of(const nlohmann::json& object, const char* key);
const nlohmann::json& list_of(const nlohmann::json& object, const char* key);

// JSON text indented for people; the text itself if it cannot be read.
std::string pretty(std::string_view json_text);
std::string pretty(const nlohmann::json& value);

}  // namespace sequential::cli
