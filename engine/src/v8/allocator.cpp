#include "allocator.h"

#include <cstdlib>

namespace sequential::engine::v8host {
namespace {
// What a small buffer costs beside its bytes, so that a million tiny ones count too.
constexpr std::size_t kOverheadBytes = 64;
}  // namespace

void* BudgetAllocator::take(std::size_t length, bool zeroed) {
  if (length > bytes_max_) {
    refused_length_.store(length, std::memory_order_relaxed);
    return nullptr;
  }
  const std::size_t cost = length + kOverheadBytes;
  if (used_.fetch_add(cost, std::memory_order_relaxed) + cost > bytes_max_) {
    used_.fetch_sub(cost, std::memory_order_relaxed);
    refused_length_.store(length, std::memory_order_relaxed);
    return nullptr;
  }
  const std::size_t bytes = length == 0 ? 1 : length;
  void* const data = zeroed ? std::calloc(bytes, 1) : std::malloc(bytes);
  if (data == nullptr) {
    used_.fetch_sub(cost, std::memory_order_relaxed);
    refused_length_.store(length, std::memory_order_relaxed);
    return nullptr;
  }
  if (refused_length_.load(std::memory_order_relaxed) == length) {
    refused_length_.store(0, std::memory_order_relaxed);
  }
  return data;
}

void* BudgetAllocator::Allocate(std::size_t length) { return take(length, true); }
void* BudgetAllocator::AllocateUninitialized(std::size_t length) { return take(length, false); }

void BudgetAllocator::Free(void* data, std::size_t length) {
  std::free(data);
  used_.fetch_sub(length + kOverheadBytes, std::memory_order_relaxed);
}

bool BudgetAllocator::take_refused() {
  return refused_length_.exchange(0, std::memory_order_relaxed) != 0;
}

}  // namespace sequential::engine::v8host
