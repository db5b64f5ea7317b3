#pragma once
// Strong 64-bit ids: a TaskRunId cannot be passed where a StackRunId is meant. 0 is never a valid
// id.

#include <compare>
#include <cstdint>
#include <functional>

namespace sequential {

template <class Tag>
struct Id {
  std::int64_t value = 0;

  constexpr Id() = default;
  constexpr explicit Id(std::int64_t v) : value(v) {}
  constexpr explicit operator bool() const { return value != 0; }
  friend constexpr auto operator<=>(const Id&, const Id&) = default;
};

using TaskFunctionId = Id<struct TaskFunctionTag>;  // one version of a task function
using TaskRunId = Id<struct TaskRunTag>;
using StackRunId = Id<struct StackRunTag>;

}  // namespace sequential

template <class Tag>
struct std::hash<sequential::Id<Tag>> {
  std::size_t operator()(const sequential::Id<Tag>& id) const noexcept {
    return std::hash<std::int64_t>{}(id.value);
  }
};
