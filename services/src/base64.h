#pragma once
// Base64 as JSON carries bytes (RFC 4648 §4, padded). Threads: pure.

#include <optional>
#include <string>
#include <string_view>

namespace sequential::services {

std::string to_base64(std::string_view bytes);
// Padding may be missing and line breaks may be there; anything else that is not base64 is refused.
// Takes the URL alphabet too: Gmail uses it.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace sequential::services
