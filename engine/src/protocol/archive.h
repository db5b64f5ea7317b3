#pragma once
// Three archives over one description of the messages: Measure and Encoder write, Decoder reads.
// A message's description is a free function `fields(archive, message)` that names its members
// once, so what is written and what is read cannot disagree.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sequential/base/check.h"
#include "sequential/engine/limits.h"
#include "sequential/engine/protocol.h"

namespace sequential::engine::protocol {

static_assert(std::endian::native == std::endian::little,
              "integers are copied as they lie in memory; both sides run on one machine");

// Integers but not bool and not enums, which have ranges of their own.
template <class T>
concept WireInteger = std::is_same_v<T, std::int64_t> || std::is_same_v<T, std::uint64_t> ||
    std::is_same_v<T, std::uint32_t>;

// Bytes that a message takes on the wire.
class Measure {
 public:
  template <class... T>
  void operator()(const T&... values) {
    (add(values), ...);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  void add(bool) { bytes_ += 1; }
  void add(SliceDoneStatus) { bytes_ += 1; }
  template <WireInteger T>
  void add(T) {
    bytes_ += sizeof(T);
  }
  void add(const std::string& text) { bytes_ += sizeof(std::uint32_t) + text.size(); }
  template <class T>
  void add(const std::vector<T>& list) {
    bytes_ += sizeof(std::uint32_t);
    for (const T& item : list) add(item);
  }
  template <class T>
  void add(const std::optional<T>& value) {
    bytes_ += 1;
    if (value) add(*value);
  }
  template <class T>
  requires std::is_class_v<T>
  void add(const T& message) { fields(*this, message); }

  std::size_t bytes_ = 0;
};

class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}
  template <class... T>
  void operator()(const T&... values) {
    (put(values), ...);
  }

 private:
  void put(bool value) { out_.push_back(value ? '\1' : '\0'); }
  void put(SliceDoneStatus value) { out_.push_back(static_cast<char>(value)); }
  template <WireInteger T>
  void put(T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out_.append(bytes, sizeof(T));
  }
  void put_size(std::size_t size) {
    SEQUENTIAL_CHECK(size <= std::numeric_limits<std::uint32_t>::max());
    put(static_cast<std::uint32_t>(size));
  }
  void put(const std::string& text) {
    put_size(text.size());
    out_.append(text);
  }
  template <class T>
  void put(const std::vector<T>& list) {
    put_size(list.size());
    for (const T& item : list) put(item);
  }
  template <class T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  template <class T>
  requires std::is_class_v<T>
  void put(const T& message) { fields(*this, message); }

  std::string& out_;
};

// The shortest that a T can be on the wire: a list cannot hold more of them than fit in what is
// left.
template <class T>
std::size_t wire_bytes_min() {
  static const std::size_t bytes = [] {
    Measure measure;
    measure(T{});
    return measure.bytes();
  }();
  return bytes;
}

// Reads until the first thing that is wrong; from then on everything is left at its default and
// problem() says what it was.
class Decoder {
 public:
  // `lists_max` bounds what the engine may list; nullptr where the sender is trusted to know.
  Decoder(std::string_view bytes, const Limits* lists_max) : bytes_(bytes), lists_max_(lists_max) {}
  template <class... T>
  void operator()(T&... values) {
    (get(values), ...);
  }
  const char* problem() const { return problem_; }
  std::size_t position() const { return position_; }
  void expect_end() {
    if (problem_ == nullptr && position_ != bytes_.size()) problem_ = "trailing bytes";
  }

 private:
  bool fail(const char* what) {
    if (problem_ == nullptr) problem_ = what;
    return false;
  }
  std::size_t remaining() const { return bytes_.size() - position_; }
  bool take(void* to, std::size_t count) {
    if (problem_ != nullptr) return false;
    if (count > remaining()) return fail("the frame ends too early");
    std::memcpy(to, bytes_.data() + position_, count);
    position_ += count;
    return true;
  }

  template <WireInteger T>
  void get(T& value) {
    take(&value, sizeof(T));
  }
  void get(bool& value) {
    std::uint8_t byte = 0;
    if (!take(&byte, 1)) return;
    if (byte > 1) {
      fail("a flag that is neither 0 nor 1");
      return;
    }
    value = byte == 1;
  }
  void get(SliceDoneStatus& value) {
    std::uint8_t byte = 0;
    if (!take(&byte, 1)) return;
    if (byte > static_cast<std::uint8_t>(SliceDoneStatus::cancelled)) {
      fail("no such status");
      return;
    }
    value = static_cast<SliceDoneStatus>(byte);
  }
  void get(std::string& text) {
    std::uint32_t size = 0;
    if (!take(&size, sizeof size)) return;
    if (size > remaining()) {
      fail("a text that reaches beyond the frame");
      return;
    }
    text.assign(bytes_.data() + position_, size);
    position_ += size;
  }
  template <class T>
  void get(std::vector<T>& list) {
    std::uint32_t count = 0;
    if (!take(&count, sizeof count)) return;
    if (count > remaining() / wire_bytes_min<T>()) {
      fail("a list that reaches beyond the frame");
      return;
    }
    if (lists_max_ != nullptr && count > count_max<T>()) {
      fail("a list longer than its limit");
      return;
    }
    // Items are larger in memory than on the wire, so a count that fits could still ask for several
    // times the frame: what is reserved stays within the frame's length.
    list.reserve(std::min<std::size_t>(count, 1 + remaining() / sizeof(T)));
    for (std::uint32_t i = 0; i < count && problem_ == nullptr; ++i) get(list.emplace_back());
  }
  template <class T>
  void get(std::optional<T>& value) {
    bool present = false;
    get(present);
    if (present && problem_ == nullptr) get(value.emplace());
  }
  template <class T>
  requires std::is_class_v<T>
  void get(T& message) { fields(*this, message); }

  template <class T>
  std::uint64_t count_max() const {
    if constexpr (std::is_same_v<T, CallFrame> || std::is_same_v<T, DroppedFrame>) {
      return static_cast<std::uint64_t>(lists_max_->calls_in_flight);
    } else if constexpr (std::is_same_v<T, LogFrame>) {
      return static_cast<std::uint64_t>(lists_max_->log_entries_per_slice) + 3;
    } else {
      return std::numeric_limits<std::uint32_t>::max();
    }
  }

  std::string_view bytes_;
  const Limits* lists_max_;
  std::size_t position_ = 0;
  const char* problem_ = nullptr;
};

}  // namespace sequential::engine::protocol
