#pragma once
// A body that may have nothing to say for long, so that the connection is watched meanwhile.

#include "http/stream.h"

namespace sequential::server {

class WatchedSource : public BodySource {
 public:
  // The client has gone: a `next` that waits is to come back. Called by the connection, as `next`.
  virtual void abandon() = 0;
};

}  // namespace sequential::server
