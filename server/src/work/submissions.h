#pragma once
// What every way of submitting a task run has in common.
//
// Threads: pure functions.

#include <string>
#include <string_view>

#include "sequential/base/bytes.h"
#include "sequential/storage/store.h"

namespace sequential::server {

inline constexpr std::size_t kKeyBytesMax = 256;    // of an idempotency key
inline constexpr std::size_t kTagsBytesMax = 4'096;
inline constexpr std::int64_t kDelayMsMax = 366ll * 24 * 3600 * 1000;
inline constexpr int kPriorityMax = 1'000;

// Idempotency keys that begin so are the server's own; nobody else may send one.
inline constexpr std::string_view kOwnKeys = "sequential:";

// Of everything that must agree for the same idempotency key. `version` as it was asked for.
inline std::string request_hash(const storage::Submission& s, int version) {
  std::string all;
  for (const auto& part : {s.task_name, std::to_string(version), s.input,
                           std::to_string(s.priority), s.tags, std::to_string(s.delay.count())}) {
    all += std::to_string(part.size()) + ":" + part;
  }
  // Left out if there is none: keys from before there were queues keep their meaning.
  if (!s.queue_key.empty()) all += std::to_string(s.queue_key.size()) + ":" + s.queue_key;
  return to_hex(sha256(all));
}

}  // namespace sequential::server
