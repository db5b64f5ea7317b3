#pragma once
// Channel: the engine's end of the socket to the broker, blocking.
//
// Threads: the JS thread only. Errors: corrupt, for a frame or stream that the protocol does not
// allow; the engine then ends.

#include <cstdint>
#include <optional>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/engine/protocol.h"

namespace sequential::engine::v8host {

class Channel {
 public:
  explicit Channel(int fd) : fd_(fd) {}

  // The first frame, which tells how long the others may be. nullopt: the broker has closed its
  // end.
  Result<std::optional<protocol::Hello>> read_hello();

  // Waits for the next message; after read_hello. nullopt as above.
  Result<std::optional<protocol::ToEngine>> read();

  // True as soon as a read would not have to wait, false if that takes longer than `patience`.
  bool ready(Micros patience);

  // False if the broker is gone.
  bool write(const protocol::FromEngine& message);

 private:
  Result<std::optional<protocol::ToEngine>> take_buffered();
  // 0: end of the stream.
  std::int64_t read_some(char* data, std::size_t bytes) const;
  bool read_exactly(char* data, std::size_t bytes) const;

  const int fd_;
  std::optional<protocol::FrameReader> reader_;
  std::optional<protocol::ToEngine> ahead_;  // taken by ready()
};

}  // namespace sequential::engine::v8host
