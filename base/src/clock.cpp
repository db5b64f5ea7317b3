#include "sequential/base/clock.h"

#include <chrono>

namespace sequential {
namespace {

class SystemClock final : public Clock {
 public:
  WallTime now() const override {
    const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
    return {std::chrono::duration_cast<Millis>(since_epoch).count()};
  }
  MonoTime monotonic() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

}  // namespace sequential
