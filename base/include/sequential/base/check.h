#pragma once
// SEQUENTIAL_CHECK: an invariant of ours. On in release, aborts with file and line. Never reachable
// from input.

#include <cstdio>
#include <cstdlib>

namespace sequential {
[[noreturn]] inline void check_failed(const char* what, const char* file, int line) noexcept {
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, what);
  std::abort();
}
}  // namespace sequential

#define SEQUENTIAL_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::sequential::check_failed(#condition, __FILE__, __LINE__))
