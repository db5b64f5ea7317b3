#pragma once
// The one source of chance of a simulation: the same seed gives the same numbers everywhere.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sequential::simulation {

constexpr std::uint64_t mix(std::uint64_t x) {  // splitmix64's finaliser
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() { return mix(state_++); }
  // In [0, limit); limit > 0.
  int below(int limit) { return static_cast<int>(next() % static_cast<std::uint64_t>(limit)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  bool chance(int per_mille) { return below(1000) < per_mille; }
  template <class T>
  T& pick(std::vector<T>& from) {
    return from[static_cast<std::size_t>(below(static_cast<int>(from.size())))];
  }
  template <class T>
  T take(std::vector<T>& from) {
    const auto place = from.begin() + below(static_cast<int>(from.size()));
    T taken = std::move(*place);
    from.erase(place);
    return taken;
  }

 private:
  std::uint64_t state_;
};

}  // namespace sequential::simulation
