#include "channel.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "last_words.h"

namespace sequential::engine::v8host {
namespace {

constexpr std::uint32_t kHelloBytesMax = 4'096;
constexpr std::size_t kReadBytes = 64 << 10;

}  // namespace

std::int64_t Channel::read_some(char* data, std::size_t bytes) const {
  for (;;) {
    const ssize_t count = ::read(fd_, data, bytes);
    if (count >= 0) return count;
    if (errno != EINTR) return 0;  // a reset is an end like any other
  }
}

bool Channel::read_exactly(char* data, std::size_t bytes) const {
  while (bytes > 0) {
    const std::int64_t count = read_some(data, bytes);
    if (count == 0) return false;
    data += count;
    bytes -= static_cast<std::size_t>(count);
  }
  return true;
}

Result<std::optional<protocol::Hello>> Channel::read_hello() {
  std::uint32_t length = 0;
  static_assert(sizeof length == protocol::kFrameHeadBytes);
  if (!read_exactly(reinterpret_cast<char*>(&length), sizeof length)) {
    return std::optional<protocol::Hello>{};
  }
  if (length == 0 || length > kHelloBytesMax) {
    return make_error(Errc::corrupt, "the first frame is no Hello");
  }
  std::string frame(length, '\0');
  if (!read_exactly(frame.data(), frame.size())) return std::optional<protocol::Hello>{};
  SEQUENTIAL_TRY(protocol::ToEngine message, protocol::decode_to_engine(frame));
  const auto* const hello = std::get_if<protocol::Hello>(&message);
  if (hello == nullptr) return make_error(Errc::corrupt, "the first frame is no Hello");
  if (hello->version != protocol::kVersion) {
    return make_error(Errc::corrupt, "the broker speaks another protocol version");
  }
  reader_.emplace(hello->limits.frame_bytes);
  return std::optional(*hello);
}

Result<std::optional<protocol::ToEngine>> Channel::take_buffered() {
  SEQUENTIAL_TRY(const auto frame, reader_->next());
  if (!frame) return std::optional<protocol::ToEngine>{};
  SEQUENTIAL_TRY(protocol::ToEngine message, protocol::decode_to_engine(*frame));
  return std::optional(std::move(message));
}

Result<std::optional<protocol::ToEngine>> Channel::read() {
  if (ahead_) return std::exchange(ahead_, std::nullopt);
  for (;;) {
    SEQUENTIAL_TRY(auto message, take_buffered());
    if (message) return std::optional(std::move(*message));
    const auto room = reader_->prepare(kReadBytes);
    const std::int64_t count = read_some(room.data(), room.size());
    if (count == 0) return std::optional<protocol::ToEngine>{};
    reader_->commit(static_cast<std::size_t>(count));
  }
}

bool Channel::ready(Micros patience) {
  if (ahead_) return true;
  auto message = take_buffered();
  if (message.has_error()) return true;  // read() meets it again
  if (message.value()) {
    ahead_ = std::move(*message.value());
    return true;
  }
  pollfd poll_fd{.fd = fd_, .events = POLLIN, .revents = 0};
  const timespec wait{.tv_sec = patience.count() / 1'000'000,
                      .tv_nsec = patience.count() % 1'000'000 * 1'000};
  return ::ppoll(&poll_fd, 1, &wait, nullptr) > 0;
}

bool Channel::write(const protocol::FromEngine& message) {
  const std::string frame = protocol::encode(message);
  const FrameWriteScope writing;
  std::size_t written = 0;
  while (written < frame.size()) {
    const ssize_t count = ::write(fd_, frame.data() + written, frame.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    written += static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace sequential::engine::v8host
