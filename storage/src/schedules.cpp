#include "sequential/storage/schedules.h"

#include <array>
#include <cstddef>

namespace sequential::storage {
namespace {

constexpr std::array<std::string_view, 4> kOverlaps{"allow", "skip", "queue", "cancel"};

}  // namespace

std::string_view overlap_name(Overlap overlap) noexcept {
  const auto index = static_cast<std::size_t>(overlap);
  return index < kOverlaps.size() ? kOverlaps[index] : std::string_view();
}

std::optional<Overlap> overlap_from(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kOverlaps.size(); ++i) {
    if (kOverlaps[i] == name) return static_cast<Overlap>(i);
  }
  return std::nullopt;
}

}  // namespace sequential::storage
