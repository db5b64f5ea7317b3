#pragma once
// "Did you mean": the known names nearest to one that is not known. Threads: pure.

#include <string>
#include <string_view>
#include <vector>

namespace sequential::services {

// Up to `count` of `known` within a plausible distance of `name`, nearest first.
std::vector<std::string> nearest_names(std::string_view name,
                                       const std::vector<std::string_view>& known,
                                       std::size_t count);

// A sentence for an error: `did you mean "a" or "b"?`, or the list of all when it is short, or
// empty.
std::string suggestion(std::string_view name, const std::vector<std::string_view>& known);

}  // namespace sequential::services
