#pragma once
// "Did you mean": the known name nearest to one that is not.

#include <span>
#include <string>
#include <string_view>

namespace sequential::config {

// The nearest of `known` if it is near enough to be a slip of the keyboard, else "".
std::string nearest(std::string_view name, std::span<const std::string> known);

}  // namespace sequential::config
