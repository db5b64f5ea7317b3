#pragma once
// Random numbers that need not be secret: pauses, and the tokens of transitions.

#include <cstdint>
#include <random>

#include "sequential/base/clock.h"

namespace sequential::storage::postgres {

inline std::mt19937_64& thread_random() {
  thread_local std::mt19937_64 random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return random;
}

// Positive, of 62 random bits.
inline std::int64_t random_token() {
  return static_cast<std::int64_t>(thread_random()() >> 2) + 1;
}

// Half of it to the whole.
inline Millis jittered(Millis length) {
  const auto half = static_cast<std::uint64_t>(length.count() / 2 + 1);
  return Millis{length.count() - static_cast<std::int64_t>(thread_random()() % half)};
}

}  // namespace sequential::storage::postgres
