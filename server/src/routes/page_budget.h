#pragma once
// One page of a list whose items may be large: it ends after so many items, or after about so many
// bytes. Rows are read in portions, small ones first, so that not much more is read from the store
// than the page holds.
//
// Threads: one.

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sequential::server {

inline constexpr std::int64_t kPageBytesMax = 4 << 20;

class PageBudget {
 public:
  PageBudget(std::int64_t items_max, std::int64_t bytes_max)
      : items_left_(items_max), bytes_left_(bytes_max) {}

  // How many rows to read now; 0: the page is full.
  int portion() {
    if (full_ || items_left_ <= 0) return 0;
    if (taken_ > 0) {
      const std::int64_t fit = bytes_left_ / std::max<std::int64_t>(bytes_ / taken_, 1);
      portion_ = std::clamp<std::int64_t>(fit, 1, portion_ * 8);
    }
    return static_cast<int>(std::min(portion_, items_left_));
  }
  // Whether an item of that size still belongs to the page; the first one always does.
  bool take(std::size_t size) {
    const auto bytes = static_cast<std::int64_t>(size);
    if (taken_ > 0 && bytes > bytes_left_) full_ = true;
    if (full_ || items_left_ <= 0) return false;
    bytes_left_ -= bytes;
    bytes_ += bytes;
    ++taken_;
    --items_left_;
    if (bytes_left_ <= 0) full_ = true;
    return true;
  }

 private:
  std::int64_t items_left_, bytes_left_;
  std::int64_t taken_ = 0, bytes_ = 0;
  std::int64_t portion_ = 8;
  bool full_ = false;
};

}  // namespace sequential::server
