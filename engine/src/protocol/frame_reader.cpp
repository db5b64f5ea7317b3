#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sequential/base/check.h"
#include "sequential/engine/protocol.h"

namespace sequential::engine::protocol {
namespace {
// Storage beyond this is given back once what it held has been taken: one large frame must not cost
// its size for as long as the engine lives.
constexpr std::size_t kKeptBytesMax = 1u << 20;
}  // namespace

std::span<char> FrameReader::prepare(std::size_t bytes_min) {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (buffer_.size() > kKeptBytesMax) std::string().swap(buffer_);
  }
  if (buffer_.size() - end_ < bytes_min) {
    const std::size_t held = end_ - begin_;
    // Moving costs at most what was taken since the last move, growing doubles: both are linear in
    // the bytes of the stream.
    if (begin_ > 0 && held <= begin_) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, held);
      begin_ = 0;
      end_ = held;
    }
    if (buffer_.size() - end_ < bytes_min) {
      buffer_.resize(std::max(end_ + bytes_min, 2 * end_));
    }
  }
  return {buffer_.data() + end_, buffer_.size() - end_};
}

void FrameReader::commit(std::size_t bytes) {
  SEQUENTIAL_CHECK(bytes <= buffer_.size() - end_);
  end_ += bytes;
}

void FrameReader::feed(std::string_view bytes) {
  if (bytes.empty()) return;
  std::memcpy(prepare(bytes.size()).data(), bytes.data(), bytes.size());
  commit(bytes.size());
}

Result<std::optional<std::string_view>> FrameReader::next() {
  if (end_ - begin_ < kFrameHeadBytes) return std::optional<std::string_view>{};
  std::uint32_t length = 0;
  static_assert(sizeof length == kFrameHeadBytes);
  std::memcpy(&length, buffer_.data() + begin_, sizeof length);
  // The head stays where it is, so every later call finds the same error: the stream is dead.
  if (length == 0) return make_error(Errc::corrupt, "engine frame of length 0");
  if (static_cast<std::int64_t>(length) > frame_bytes_max_) {
    return make_error(Errc::corrupt, "engine frame of " + std::to_string(length) +
                                         " bytes, the limit is " +
                                         std::to_string(frame_bytes_max_));
  }
  if (end_ - begin_ - kFrameHeadBytes < length) return std::optional<std::string_view>{};
  const std::string_view frame(buffer_.data() + begin_ + kFrameHeadBytes, length);
  begin_ += kFrameHeadBytes + length;
  return std::optional(frame);
}

}  // namespace sequential::engine::protocol
