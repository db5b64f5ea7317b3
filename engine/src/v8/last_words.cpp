#include "last_words.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>

#include "sequential/base/check.h"
#include "sequential/engine/protocol.h"

namespace sequential::engine::v8host {
namespace {

// Process-wide because V8's out-of-memory callback gets no argument of ours.
constexpr std::size_t kFrameBytesMax = 128;
std::array<char, kFrameBytesMax> frame;
std::atomic<std::size_t> frame_bytes{0};
std::atomic<int> writing{0};

}  // namespace

void prepare_last_words(std::int64_t run, bool alone) {
  const std::string encoded = protocol::encode(
      protocol::FromEngine(protocol::Dying{.run = run, .alone = alone, .limit = "memory_limit"}));
  SEQUENTIAL_CHECK(encoded.size() <= frame.size());
  frame_bytes.store(0, std::memory_order_relaxed);
  std::memcpy(frame.data(), encoded.data(), encoded.size());
  frame_bytes.store(encoded.size(), std::memory_order_release);
}

FrameWriteScope::FrameWriteScope() { writing.fetch_add(1); }
FrameWriteScope::~FrameWriteScope() { writing.fetch_sub(1); }

void die_of_memory() noexcept {
  const std::size_t bytes = frame_bytes.load(std::memory_order_acquire);
  if (bytes > 0 && writing.load() == 0) {
    const ssize_t written = ::write(protocol::kSocketFd, frame.data(), bytes);
    static_cast<void>(written);
  }
  ::_exit(kExitOutOfMemory);
}

void install_new_handler() {
  std::set_new_handler([] { die_of_memory(); });
}

}  // namespace sequential::engine::v8host
