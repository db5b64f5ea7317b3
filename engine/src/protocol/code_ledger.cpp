#include <cstddef>
#include <cstdint>
#include <vector>

#include "sequential/engine/protocol.h"

namespace sequential::engine::protocol {

bool CodeLedger::use(std::int64_t function_id) {
  const auto found = index_.find(function_id);
  if (found == index_.end()) return false;
  by_use_.splice(by_use_.begin(), by_use_, found->second);
  return true;
}

std::vector<std::int64_t> CodeLedger::hold(std::int64_t function_id, std::size_t code_bytes) {
  if (use(function_id)) {
    bytes_ -= by_use_.front().bytes;
    by_use_.front().bytes = code_bytes;
  } else {
    by_use_.push_front({function_id, code_bytes});
    index_.emplace(function_id, by_use_.begin());
  }
  bytes_ += code_bytes;

  std::vector<std::int64_t> dropped;
  while (by_use_.size() > 1 && (by_use_.size() > kFunctionsMax || bytes_ > kBytesMax)) {
    const Entry oldest = by_use_.back();
    by_use_.pop_back();
    index_.erase(oldest.function_id);
    bytes_ -= oldest.bytes;
    dropped.push_back(oldest.function_id);
  }
  return dropped;
}

}  // namespace sequential::engine::protocol
