#pragma once
// Statistics of the benchmarks, and the two texts they read: times and problem documents.
// Pure functions.

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "sequential/base/clock.h"

namespace sequential::bench {

// The value with at least `percent` of the values at or below it (nearest rank). 0 for no values.
double percentile(std::vector<double> values, double percent);
// The middle value, or the mean of the two middle ones.
double median(std::vector<double> values);
double rounded_to(double value, int digits);

// "2026-01-02T03:04:05.678Z", as the server writes times.
std::optional<WallTime> parse_iso_time(std::string_view text);

// Mean ms per call for each `window` consecutive calls. `ended_ms[0]` is when the first call could
// begin, ended_ms[i] when call i was recorded. The stored times are whole milliseconds, so each
// mean is exact to 1/window ms.
std::vector<double> window_means(const std::vector<std::int64_t>& ended_ms, std::size_t window);

// Theil-Sen: the median slope between all pairs of points (index, value); one disturbed window
// does not move it.
double trend(const std::vector<double>& values);

}  // namespace sequential::bench
