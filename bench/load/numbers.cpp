#include "numbers.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <string>

namespace sequential::bench {

double percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
  const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
  return values[std::min(index, values.size() - 1)];
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

double rounded_to(double value, int digits) {
  const double scale = std::pow(10.0, digits);
  return std::round(value * scale) / scale;
}

std::optional<WallTime> parse_iso_time(std::string_view text) {
  std::tm utc{};
  int ms = 0;
  char zone = 0;
  const std::string copy(text);
  const int fields =
      std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d.%3d%c", &utc.tm_year, &utc.tm_mon,
                  &utc.tm_mday, &utc.tm_hour, &utc.tm_min, &utc.tm_sec, &ms, &zone);
  if (fields != 8 || zone != 'Z' || copy.size() != 24) return std::nullopt;
  utc.tm_year -= 1900;
  utc.tm_mon -= 1;
  return WallTime{static_cast<std::int64_t>(::timegm(&utc)) * 1000 + ms};
}

std::vector<double> window_means(const std::vector<std::int64_t>& ended_ms, std::size_t window) {
  std::vector<double> means;
  for (std::size_t from = 0; window > 0 && from + window < ended_ms.size(); from += window) {
    const auto elapsed = static_cast<double>(ended_ms[from + window] - ended_ms[from]);
    means.push_back(elapsed / static_cast<double>(window));
  }
  return means;
}

double trend(const std::vector<double>& values) {
  std::vector<double> slopes;
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (std::size_t j = i + 1; j < values.size(); ++j) {
      slopes.push_back((values[j] - values[i]) / static_cast<double>(j - i));
    }
  }
  return median(std::move(slopes));
}

}  // namespace sequential::bench
