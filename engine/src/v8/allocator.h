#pragma once
// BudgetAllocator: the memory of an isolate's ArrayBuffers, with a ceiling. At the ceiling V8
// collects garbage, asks again, and then throws a RangeError into the task.
//
// Threads: V8 frees from its own threads too.

#include <v8.h>

#include <atomic>
#include <cstddef>

namespace sequential::engine::v8host {

class BudgetAllocator final : public v8::ArrayBuffer::Allocator {
 public:
  explicit BudgetAllocator(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  void* Allocate(std::size_t length) override;
  void* AllocateUninitialized(std::size_t length) override;
  void Free(void* data, std::size_t length) override;

  std::size_t used() const { return used_.load(std::memory_order_relaxed); }

  // Whether a request was refused for good since the last call: V8 asks again for the same length
  // after each collection, so a refusal followed by that length is none.
  bool take_refused();

 private:
  void* take(std::size_t length, bool zeroed);

  const std::size_t bytes_max_;
  std::atomic<std::size_t> used_{0};
  std::atomic<std::size_t> refused_length_{0};
};

}  // namespace sequential::engine::v8host
