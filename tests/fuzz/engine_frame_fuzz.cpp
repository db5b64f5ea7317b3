// The engine protocol: what the decoders take is canonical, and the reader finds the same frames
// however the stream is cut. The first byte of the input cuts the stream.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sequential/base/check.h"
#include "sequential/engine/protocol.h"

namespace {

using namespace sequential::engine::protocol;

constexpr std::int64_t kFrameBytesMax = 1 << 16;

void decode(std::string_view frame) {
  const auto encodes_back = [frame](const auto& message) {
    return message.has_error() ||
           std::string_view(encode(message.value())).substr(kFrameHeadBytes) == frame;
  };
  SEQUENTIAL_CHECK(encodes_back(decode_to_engine(frame)));
  SEQUENTIAL_CHECK(encodes_back(decode_from_engine(frame)));
}

// The frames of the stream, and "dead" if it ended in an error.
std::vector<std::string> split(std::string_view stream, std::size_t piece) {
  std::vector<std::string> frames;
  FrameReader reader(kFrameBytesMax);
  for (std::size_t at = 0; at <= stream.size(); at += piece) {
    reader.feed(stream.substr(at, piece));
    for (;;) {
      const auto frame = reader.next();
      if (frame.has_error()) {
        frames.emplace_back("dead");
        return frames;
      }
      if (!frame.value()) break;
      frames.emplace_back(*frame.value());
    }
  }
  return frames;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(data, data + size);
  decode(input);
  if (size == 0) return 0;
  const std::string_view stream = std::string_view(input).substr(1);
  const auto whole = split(stream, std::max<std::size_t>(1, stream.size()));
  SEQUENTIAL_CHECK(whole == split(stream, 1 + data[0]));
  for (const std::string& frame : whole) decode(frame);
  return 0;
}
