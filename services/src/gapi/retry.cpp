#include "gapi/retry.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "sequential/base/bytes.h"

namespace sequential::services::gapi {
namespace {

constexpr std::int64_t kFirstPauseMs = 200;
constexpr int kGrowth = 3;
constexpr std::int64_t kRetryAfterSecondsMax = 24 * 3600;

}  // namespace

Millis retry_pause(int retry, double random) {
  std::int64_t pause = kFirstPauseMs;
  for (int i = 1; i < retry; ++i) pause *= kGrowth;
  return Millis{static_cast<std::int64_t>(static_cast<double>(pause) * (0.5 + random / 2))};
}

bool is_retryable_status(int status) {
  return status == 408 || status == 429 || (status >= 500 && status <= 599);
}

std::optional<Millis> retry_after(const HttpResponse& response, WallTime now) {
  const auto header = std::find_if(response.headers.begin(), response.headers.end(),
                                   [](const auto& each) { return each.first == "retry-after"; });
  if (header == response.headers.end()) return std::nullopt;
  const std::string& text = header->second;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc{} || end != text.data() + text.size()) {
    const auto date = static_cast<std::int64_t>(curl_getdate(text.c_str(), nullptr));
    if (date < 0) return std::nullopt;
    seconds = date - now.ms / 1000;
  }
  return Millis{std::clamp<std::int64_t>(seconds, 0, kRetryAfterSecondsMax) * 1000};
}

double random01() {
  // 53 bits: as many as a double holds.
  return static_cast<double>(random_u64() >> 11) / static_cast<double>(std::uint64_t{1} << 53);
}

}  // namespace sequential::services::gapi
