#include "suggest.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace sequential::services {
namespace {

constexpr std::size_t kNameBytesMax = 128;  // longer names are not compared: cost is quadratic
constexpr std::size_t kListedMax = 12;      // a list this short is shown whole

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Edit distance that ignores case: wrong case alone costs nothing, so it ranks first.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t same = diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0u : 1u);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, same});
    }
  }
  return row[b.size()];
}

}  // namespace

std::vector<std::string> nearest_names(std::string_view name,
                                       const std::vector<std::string_view>& known,
                                       std::size_t count) {
  std::vector<std::string> names;
  if (name.empty() || name.size() > kNameBytesMax) return names;
  const std::size_t far = std::max<std::size_t>(2, name.size() / 3);
  std::vector<std::pair<std::size_t, std::string_view>> ranked;
  for (const std::string_view candidate : known) {
    if (candidate.size() > kNameBytesMax) continue;
    std::size_t apart = distance(name, candidate);
    // "messages.list" for "users.messages.list": the end is right, the beginning is missing.
    if (candidate.size() > name.size() + 1 && candidate.ends_with(name) &&
        candidate[candidate.size() - name.size() - 1] == '.') {
      apart = std::min<std::size_t>(apart, 1);
    }
    if (apart <= far) ranked.emplace_back(apart, candidate);
  }
  std::sort(ranked.begin(), ranked.end());
  for (const auto& [apart, candidate] : ranked) {
    if (names.size() == count) break;
    names.emplace_back(candidate);
  }
  return names;
}

std::string suggestion(std::string_view name, const std::vector<std::string_view>& known) {
  const auto join = [](const auto& names, std::string_view last) {
    std::string text;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (i != 0) text += i + 1 == names.size() ? last : std::string_view(", ");
      text += names[i];
    }
    return text;
  };
  if (known.empty()) return {};
  if (known.size() <= kListedMax) return "there are: " + join(known, ", ");
  const auto near = nearest_names(name, known, 3);
  return near.empty() ? std::string{} : "did you mean " + join(near, " or ") + "?";
}

}  // namespace sequential::services
