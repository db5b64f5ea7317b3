#pragma once
// "Did you mean": the known word nearest to one that is not.

#include <string>
#include <string_view>
#include <vector>

namespace sequential::cli {

// The nearest of `known` if it is near enough to be a slip of the keyboard, else "".
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace sequential::cli
