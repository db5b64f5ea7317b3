#pragma once
// Whether JavaScript is complete by itself. Pure.

#include <string_view>

namespace sequential::cli {

// Whether the code imports, re-exports or requires anything. Comments, texts, templates and regular
// expressions are told from code; code that is not JavaScript gives some answer, in linear time.
bool imports_anything(std::string_view code);

}  // namespace sequential::cli
