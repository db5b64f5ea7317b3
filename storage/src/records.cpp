#include "sequential/storage/records.h"

#include <array>
#include <cstddef>

namespace sequential::storage {
namespace {

constexpr std::array<std::string_view, 7> kRunStatus = {
    "queued", "running", "suspended_waiting_child", "paused", "completed", "failed", "cancelled"};
constexpr std::array<std::string_view, 7> kStackStatus = {
    "pending", "processing", "suspended_waiting_child", "paused",
    "completed", "failed", "cancelled"};
constexpr std::array<std::string_view, 4> kVia = {"chain", "timer", "sweep", "manual"};
constexpr std::array<std::string_view, 3> kResumeKind = {"warm", "replay", "checkpoint"};
constexpr std::array<std::string_view, 2> kDelivery = {"at_least_once", "at_most_once"};

template <class Enum, std::size_t n>
constexpr std::string_view name_of(const std::array<std::string_view, n>& names, Enum value) {
  const auto index = static_cast<std::size_t>(value);
  return index < n ? names[index] : std::string_view();
}

template <class Enum, std::size_t n>
constexpr std::optional<Enum> value_of(const std::array<std::string_view, n>& names,
                                       std::string_view name) {
  for (std::size_t i = 0; i < n; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace

std::string_view run_status_name(RunStatus status) noexcept { return name_of(kRunStatus, status); }
std::string_view stack_status_name(StackStatus status) noexcept {
  return name_of(kStackStatus, status);
}
std::optional<RunStatus> run_status_from(std::string_view name) noexcept {
  return value_of<RunStatus>(kRunStatus, name);
}
std::optional<StackStatus> stack_status_from(std::string_view name) noexcept {
  return value_of<StackStatus>(kStackStatus, name);
}
std::string_view via_name(Via via) noexcept { return name_of(kVia, via); }
std::string_view resume_kind_name(ResumeKind kind) noexcept { return name_of(kResumeKind, kind); }
std::string_view delivery_name(Delivery delivery) noexcept { return name_of(kDelivery, delivery); }

}  // namespace sequential::storage
