#include "effects.h"

#include <chrono>

namespace sequential::engine::v8host {

void Effects::mark_first_effect() {
  if (first_effect_us >= 0) return;
  first_effect_us = std::chrono::duration_cast<Micros>(system_clock().monotonic() - began).count();
}

}  // namespace sequential::engine::v8host
